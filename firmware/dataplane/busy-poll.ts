// How long a forwarder looks for packets before it sleeps. Falling asleep and being woken costs more than a short wait,
// so while waits are short it spins for as long as they take; a wait that a spin would not have caught halves the spin,
// and an idle thread soon does not spin at all.

/** A wait that is longer than this is left to the kernel. */
export const LONGEST_SPIN_US = 60;
const SHORTEST_SPIN_US = 4;
/** Packets must be this much more regular than chance before the processor is spent on them. */
const SHORT_WAITS_NEEDED = 8;

export class BusyPoll {
  #budgetUs = 0;
  #shortWaits = 0;

  /** For the next wait; 0 = sleep at once. */
  get budgetUs(): number {
    return this.#budgetUs;
  }

  /** Tells how long a wait took, and whether something came. */
  waited(us: number, found: boolean): void {
    if (!found || us > LONGEST_SPIN_US) {
      this.#shortWaits = 0;
      this.#budgetUs = this.#budgetUs <= SHORTEST_SPIN_US ? 0 : this.#budgetUs >> 1;
    } else if (this.#shortWaits < SHORT_WAITS_NEEDED) this.#shortWaits++;
    else this.#budgetUs = LONGEST_SPIN_US;
  }
}
