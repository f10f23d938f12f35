import { deepStrictEqual, equal, match } from 'node:assert/strict';
import type { IkeInput } from '../../firmware/ike/input-output.ts';
import { TlsSessions } from '../../firmware/services/tls-sessions.ts';
import { FakeSuite } from '../../platform/crypto-fake.ts';
import type { TlsEngine, TlsOptions, TlsStep } from '../../platform/tls-engine.ts';

const EXPORTER = { label: 'x', context: undefined };
const OPTIONS: TlsOptions = {
  role: 'client', chain: [], privateKey: new Uint8Array(0), anchors: [], exporters: { '1.2': EXPORTER, '1.3': EXPORTER }, exportedBytes: 1, greeting: new Uint8Array(1),
};
const NOTHING = new Uint8Array(0);

describe('services: TLS sessions', () => {
  let open: number;
  let told: IkeInput[];
  let sessions: TlsSessions;

  class CountingSuite extends FakeSuite {
    override openTls(options: TlsOptions): TlsEngine {
      const engine = super.openTls(options);
      open++;
      return { step: (bytes, done) => engine.step(bytes, done), close: () => void open-- };
    }
  }

  beforeEach(() => {
    open = 0;
    told = [];
    sessions = new TlsSessions(new CountingSuite(), (input) => void told.push(input));
  });

  function last(): TlsStep {
    const input = told.at(-1);
    if (input?.kind !== 'tls') throw new Error('TLS was not answered');
    return input.step;
  }

  function begin(ikeSa: number): void {
    sessions.handle({ kind: 'tls-open', ikeSa, options: OPTIONS });
    sessions.handle({ kind: 'tls-feed', ikeSa, bytes: NOTHING });
  }

  it('answers each feed for the IKE SA that it came from', () => {
    begin(7);
    begin(8);
    deepStrictEqual(told.map((input) => (input.kind === 'tls' ? input.ikeSa : 0)), [7, 8]);
    equal(last().failure, undefined);
  });

  it('answers a peer beyond the limit by a failure, until another one is done', () => {
    for (let ikeSa = 1; ikeSa <= 200; ikeSa++) begin(ikeSa);
    equal(last().failure, undefined);
    begin(201);
    match(last().failure ?? '', /^more than 200 peers are in the midst of TLS$/);
    equal(open, 200);
    sessions.handle({ kind: 'tls-close', ikeSa: 201 });
    sessions.handle({ kind: 'tls-close', ikeSa: 5 });
    begin(202);
    equal(last().failure, undefined);
  });

  it('closes every engine at the end', () => {
    begin(1);
    begin(2);
    sessions.closeAll();
    equal(open, 0);
  });
});
