// What strangers can make us write to the log, at a bounded rate. A line that follows ones that were left out says how many.
import type { Fields } from '../../platform/log.ts';
import type { Instant } from '../../platform/time.ts';
import type { Environment } from './environment.ts';
import type { Sentence } from './sentences.ts';

/** Lines of one sentence. */
const BURST_LINES = 20;
const LINES_PER_SECOND = 0.5;

interface Ration {
  lines: number;
  filled: Instant;
  leftOut: number;
}

export class RationedLog {
  readonly #env: Pick<Environment, 'log'>;
  readonly #rations = new Map<Sentence, Ration>();

  constructor(env: Pick<Environment, 'log'>) {
    this.#env = env;
  }

  write(level: 'info' | 'warning', sentence: Sentence, fields: Fields, now: Instant): void {
    const ration = this.#rations.get(sentence) ?? { lines: BURST_LINES, filled: now, leftOut: 0 };
    this.#rations.set(sentence, ration);
    ration.lines = Math.min(BURST_LINES, ration.lines + ((now - ration.filled) / 1000) * LINES_PER_SECOND);
    ration.filled = now;
    if (ration.lines < 1) {
      ration.leftOut++;
      return;
    }
    ration.lines -= 1;
    this.#env.log(level, sentence, ration.leftOut === 0 ? fields : { ...fields, leftOut: ration.leftOut });
    ration.leftOut = 0;
  }
}
