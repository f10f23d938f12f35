// TLS for the EAP conversations of the IKE endpoint: one engine each, which answers when it can.
import type { Suite } from '../../platform/crypto.ts';
import type { TlsEngine } from '../../platform/tls-engine.ts';
import type { IkeInput, IkeOutput } from '../ike/input-output.ts';

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
        this.#engines.set(ikeSa, this.#suite.openTls(output.options));
        return;
      case 'tls-feed':
        this.#engines.get(ikeSa)?.step(output.bytes, (step) => this.#push({ kind: 'tls', ikeSa, step }));
        return;
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
