// The state of a box with two system slots: what the software of one slot may have written in a way that the other does
// not read is kept per slot, everything else is shared. A slot that has no such document yet reads the other's and
// writes its own; so a return to the former slot finds the configuration as that slot left it.
import type { Store } from './store.ts';

export type SlotName = 'A' | 'B';

/** Documents whose schema belongs to the software: the configuration. */
const PER_SLOT: readonly string[] = ['ztp-bundle'];

function otherSlot(slot: SlotName): SlotName {
  return slot === 'A' ? 'B' : 'A';
}

export class SlotStore implements Store {
  readonly #base: Store;
  readonly #slot: SlotName;

  constructor(base: Store, slot: SlotName) {
    this.#base = base;
    this.#slot = slot;
  }

  read(name: string): Uint8Array | undefined {
    if (!PER_SLOT.includes(name)) return this.#base.read(name);
    return this.#base.read(`${name}.${this.#slot}`) ?? this.#base.read(`${name}.${otherSlot(this.#slot)}`);
  }

  write(name: string, bytes: Uint8Array): void {
    this.#base.write(PER_SLOT.includes(name) ? `${name}.${this.#slot}` : name, bytes);
  }

  /** Of every slot: what is forgotten must not come back with the other one. */
  remove(name: string): void {
    if (!PER_SLOT.includes(name)) return this.#base.remove(name);
    for (const slot of ['A', 'B']) this.#base.remove(`${name}.${slot}`);
  }

  list(): readonly string[] {
    return this.#base.list();
  }

  /** Before another system is written to the other slot: it begins with the configuration of this one. */
  forgetOther(): void {
    for (const name of PER_SLOT) {
      // Where this slot still reads the other's document, it takes it over first.
      const own = this.read(name);
      if (own !== undefined) this.write(name, own);
      this.#base.remove(`${name}.${otherSlot(this.#slot)}`);
    }
  }
}

/** The slot that the kernel was started from (`rauc.slot=A`), or undefined on a host without slots. */
export function slotOf(commandLine: string): SlotName | undefined {
  return /(?:^|\s)rauc\.slot=([AB])(?:\s|$)/.exec(commandLine)?.[1] as SlotName | undefined;
}
