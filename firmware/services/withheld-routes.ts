// Headless operation: without any Controller a box goes on with the routes it had for as long as its SAs live. That they
// expired says nothing about the peers, so withdrawals wait; they are carried out some time after a Controller is back
// and has not announced the route again.
import { after, type CancelTimer, type Clock } from '../../platform/time.ts';

/** A Controller that came back has told all its routes by then. */
export const RELEASE_WITHHELD_MS = 60_000;

export class WithheldRoutes {
  readonly #clock: Clock;
  readonly #hasController: () => boolean;
  readonly #waiting = new Map<string, () => void>();
  #cancel: CancelTimer | undefined;

  constructor(clock: Clock, hasController: () => boolean) {
    this.#clock = clock;
    this.#hasController = hasController;
  }

  /** To be called for every change of a route; true when it is a withdrawal that waits. `carryOut` is what it would do. */
  withholds(key: string, withdrawn: boolean, carryOut: () => void): boolean {
    if (!withdrawn) this.#waiting.delete(key);
    else if (!this.#hasController()) {
      this.#waiting.set(key, carryOut);
      return true;
    }
    return false;
  }

  controllerIsBack(): void {
    if (this.#waiting.size === 0) return;
    this.#cancel?.();
    this.#cancel = this.#clock.at(after(this.#clock.now(), RELEASE_WITHHELD_MS), () => this.#release());
  }

  stop(): void {
    this.#cancel?.();
    this.#waiting.clear();
  }

  #release(): void {
    if (!this.#hasController()) return;
    const due = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const carryOut of due) carryOut();
  }
}
