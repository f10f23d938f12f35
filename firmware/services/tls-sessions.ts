// TLS for the EAP conversations of the IKE endpoint: one engine each, which answers when it can.
import type { Suite } from '../../platform/crypto.ts';
import type { TlsEngine, TlsStep } from '../../platform/tls-engine.ts';
import type { IkeInput, IkeOutput } from '../ike/input-output.ts';

/** Peers have not authenticated before TLS has done its work, and each engine takes about 100 kB. */
const MOST_SESSIONS = 200;
const NOTHING = new Uint8Array(0);
const TOO_MANY: TlsStep = { bytes: NOTHING, received: NOTHING, session: undefined, failure: `more than ${MOST_SESSIONS} peers are in the midst of TLS` };

export type TlsOutput = Extract<IkeOutput, { kind: 'tls-open' | 'tls-feed' | 'tls-close' }>;

export class TlsSessions {
  readonly #suite: Suite;
  readonly #push: (input: IkeInput) => void;
  readonly #engines = new Map<number, TlsEngine>();

  constructor(suite: Suite, push: (input: IkeInput) => void) {
    this.#suite = suite;
    this.#push = push;
  }

  handle(output: TlsOutput): void {
    const { ikeSa } = output;
    switch (output.kind) {
      case 'tls-open':
        if (this.#engines.size < MOST_SESSIONS) this.#engines.set(ikeSa, this.#suite.openTls(output.options));
        return;
      case 'tls-feed': {
        const engine = this.#engines.get(ikeSa);
        const done = (step: TlsStep): void => this.#push({ kind: 'tls', ikeSa, step });
        if (engine === undefined) done(TOO_MANY);
        else engine.step(output.bytes, done);
        return;
      }
      case 'tls-close':
        this.#engines.get(ikeSa)?.close();
        this.#engines.delete(ikeSa);
        return;
    }
  }

  closeAll(): void {
    for (const engine of this.#engines.values()) engine.close();
    this.#engines.clear();
  }
}
