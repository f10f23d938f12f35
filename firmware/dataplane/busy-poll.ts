// How long a forwarder looks for packets before it sleeps. Falling asleep and being woken costs more than a short wait,
// so while waits are short it spins for as long as they take; a wait that a spin would not have caught halves the spin,
// and an idle thread soon does not spin at all. A processor that sleeps for long loses its caches, and a virtual one its
// place on the host: for a while after a packet the thread sleeps in naps, and finds the next packet warm.

/** A wait that is longer than this is left to the kernel. */
export const LONGEST_SPIN_US = 60;
const SHORTEST_SPIN_US = 4;
/** Packets must be this much more regular than chance before the processor is spent on them. */
const SHORT_WAITS_NEEDED = 8;
/** One nap. Of one millisecond they brought less, and cost more. */
export const NAP_MS = 2;
/** So long after a packet a thread naps: a ping of every 200 ms and a key stroke are followed by another. */
export const NAPPING_MS = 250;
/** Longest sleep otherwise; a deadline and wakeups end it earlier. */
export const LONGEST_SLEEP_MS = 1000;

export class BusyPoll {
  #budgetUs = 0;
  #shortWaits = 0;
  /** Since something came. */
  #quietUs = Infinity;

  /** For the next wait; 0 = sleep at once. */
  get budgetUs(): number {
    return this.#budgetUs;
  }

  /** How long the next wait may take at most, in ms. */
  get longestMs(): number {
    return this.#quietUs < NAPPING_MS * 1000 ? NAP_MS : LONGEST_SLEEP_MS;
  }

  /** Tells how long a wait took, and whether something came. */
  waited(us: number, found: boolean): void {
    this.#quietUs = found ? 0 : this.#quietUs + us;
    if (!found || us > LONGEST_SPIN_US) {
      this.#shortWaits = 0;
      this.#budgetUs = this.#budgetUs <= SHORTEST_SPIN_US ? 0 : this.#budgetUs >> 1;
    } else if (this.#shortWaits < SHORT_WAITS_NEEDED) this.#shortWaits++;
    else this.#budgetUs = LONGEST_SPIN_US;
  }
}
