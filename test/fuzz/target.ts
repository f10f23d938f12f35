// What every fuzz target is, and how its cases are run and its findings told.
import { toHex } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';
import { SeededRandom } from '../../platform/random.ts';

export interface FuzzTarget {
  readonly name: string;
  /** What is mutated, in words. */
  readonly about: string;
  /** What must hold besides that nothing throws, in words. */
  readonly promise: string;
  /** One case, a function of the dice and the corpus alone; throws when a promise is broken. `trail` takes what was fed. */
  readonly run: (dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail) => void;
  /** Feeds one input of the corpus as it is, with the same checks. */
  readonly replay: (bytes: Uint8Array) => void;
}

/** The last inputs of a case. */
export class Trail {
  static readonly #MOST = 6;
  readonly #inputs: Uint8Array[] = [];

  add(bytes: Uint8Array): Uint8Array {
    this.#inputs.push(bytes);
    if (this.#inputs.length > Trail.#MOST) this.#inputs.shift();
    return bytes;
  }

  lines(): string {
    return this.#inputs.map((bytes) => toHex(bytes)).join('\n');
  }
}

/** A decoder may return or throw WireError. */
export function decodes(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
  }
}

/** Runs case `number` of a seed; throws an Error that says how to run it again. */
export function runCase(target: FuzzTarget, seed: string, number: number, corpus: readonly Uint8Array[]): void {
  const trail = new Trail();
  try {
    target.run(new SeededRandom(`${target.name} ${seed} ${number}`), corpus, trail);
  } catch (error) {
    const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new Error(`${target.name}, seed ${seed}, case ${number}: ${cause}\nThe last inputs:\n${trail.lines()}`, { cause: error });
  }
}
