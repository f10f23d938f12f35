// Outside: starts the fault lab in an enclosure and hands out its verdicts as they come.
import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../../platform/time.ts';
import { enclose } from '../../provisioning/lab/enclosure.ts';

export interface Verdict {
  readonly name: string;
  readonly seconds: number;
  /** Stack of the assertion that did not hold; undefined: proven. */
  readonly failure: string | undefined;
}

const SCRIPT = join(import.meta.dirname, 'fault-lab-main.ts');
const POLL_MS = 50;

export class FaultLabRun {
  readonly #directory = mkdtempSync(join(tmpdir(), 'selvage-faults-'));
  readonly #ended: Promise<number>;
  #code: number | undefined;

  constructor() {
    this.#ended = enclose(SCRIPT, [this.#verdicts], { keepOnFailure: true, announce: false });
    this.#ended.then(
      (code) => (this.#code = code),
      () => (this.#code = 1),
    );
  }

  get #verdicts(): string {
    return join(this.#directory, 'verdicts');
  }

  /** Waits for the fact's verdict and fails with its failure. */
  async holds(name: string): Promise<void> {
    for (;;) {
      const ended = this.#code;
      const verdict = this.#read().find((v) => v.name === name);
      if (verdict !== undefined) {
        assert.equal(verdict.failure, undefined, verdict.failure);
        return;
      }
      assert.equal(ended, undefined, `the fault lab ended with code ${ended} before it came to this`);
      await sleep(POLL_MS);
    }
  }

  /** Resolves when nothing of the lab runs any longer. */
  async end(): Promise<void> {
    await this.#ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #read(): Verdict[] {
    if (!existsSync(this.#verdicts)) return [];
    const lines = readFileSync(this.#verdicts, 'utf8').split('\n');
    // The last one is empty, or not yet written to its end.
    return lines.slice(0, -1).map((line) => JSON.parse(line) as Verdict);
  }
}
