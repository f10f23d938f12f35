import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import type { IkeInput, IkeOutput } from '../../firmware/ike/input-output.ts';
import { Connector, LONGEST_RETRY_MS, type Initiate } from '../../firmware/services/connector.ts';
import type { Site } from '../../firmware/services/service.ts';
import { SeededRandom } from '../../platform/random.ts';
import { ManualClock } from './manual-clock.ts';

const REMOTE = { address: '192.0.2.1', port: 500 };

function initiate(remote: string): Initiate {
  return { kind: 'initiate', profile: 'p', socket: 's', nattSocket: undefined, local: { address: '192.0.2.9', port: 500 }, remote: { address: remote, port: 500 } };
}

function failed(cause = 'the peer did not answer'): IkeOutput {
  return { kind: 'connect-failed', profile: 'p', remote: REMOTE, cause, nextStep: 'check the path' };
}

function up(ikeSa: number): IkeOutput {
  return { kind: 'ike-up', ikeSa, profile: 'p' } as IkeOutput;
}

function down(ikeSa: number): IkeOutput {
  return { kind: 'ike-down', ikeSa, profile: 'p', reason: 'peer down', remote: REMOTE };
}

function make(): { clock: ManualClock; pushed: IkeInput[]; connector: Connector } {
  const clock = new ManualClock();
  const pushed: IkeInput[] = [];
  const connector = new Connector({ clock, random: new SeededRandom(1) } as unknown as Site, (input) => pushed.push(input));
  return { clock, pushed, connector };
}

describe('services/connector', () => {
  it('connects at once, and after each failure later and later but never later than the limit', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    strictEqual(pushed.length, 1);
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      connector.onOutput(failed());
      const before: number = pushed.length;
      let waited = 0;
      while (pushed.length === before) {
        clock.advance(50);
        waited += 50;
      }
      waits.push(waited);
    }
    ok(waits[0]! <= 1300 && waits[3]! > 3000, `waits ${waits.join()}`);
    for (const wait of waits) ok(wait <= LONGEST_RETRY_MS * 1.25 + 50, `waits ${waits.join()}`);
  });

  it('tries the candidates in turn', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1'), initiate('192.0.2.2')] });
    connector.onOutput(failed());
    clock.advance(2_000);
    connector.onOutput(failed());
    clock.advance(5_000);
    deepStrictEqual(
      pushed.map((input) => (input as Initiate).remote.address),
      ['192.0.2.1', '192.0.2.2', '192.0.2.1'],
    );
  });

  it('stays up when a replaced IKE SA goes down after its successor came up', () => {
    const { pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    connector.onOutput(up(1));
    connector.onOutput(up(2));
    connector.onOutput(down(1));
    strictEqual(connector.states()[0]!.state, 'up');
    strictEqual(pushed.length, 1);
  });

  it('says why it waits, and starts over after an IKE SA went down', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    connector.onOutput(up(1));
    connector.onOutput(down(1));
    deepStrictEqual(connector.states()[0], { profile: 'p', state: 'waiting', failures: 1, lastCause: 'peer down' });
    clock.advance(2_000);
    strictEqual(pushed.length, 2);
  });

  it('ends what is up and never tries again when the connection is no longer wanted', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    connector.onOutput(up(7));
    connector.forget('p', 'no longer configured');
    deepStrictEqual(pushed.at(-1), { kind: 'terminate', ikeSa: 7, reason: 'no longer configured' });
    connector.onOutput(down(7));
    clock.advance(600_000);
    strictEqual(pushed.length, 2);
  });

  it('goes on with an attempt and its backoff when the same is wanted again', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    strictEqual(pushed.length, 1);
    connector.onOutput(failed());
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    strictEqual(pushed.length, 1);
    strictEqual(connector.states()[0]!.failures, 1);
    clock.advance(2_000);
    strictEqual(pushed.length, 2);
  });

  it('stays up when a connection comes up that a retry was waiting for', () => {
    // want A --> attempt; want B --> refused as busy, a retry waits; the attempt of A comes up
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1'), initiate('192.0.2.2')] });
    connector.onOutput(failed('the profile is already connecting or connected to this peer'));
    connector.onOutput(up(1));
    clock.advance(10_000);
    strictEqual(connector.states()[0]!.state, 'up');
    strictEqual(pushed.length, 2);
  });

  it('waits with a cause while there is nothing to connect from, and connects at once when there is', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [] });
    clock.advance(600_000);
    deepStrictEqual([pushed.length, connector.states()[0]!.state, connector.states()[0]!.lastCause], [0, 'waiting', 'no circuit has an address to connect from']);
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    deepStrictEqual([pushed.length, connector.states()[0]!.state], [1, 'connecting']);
  });

  it('forgets the connections that are not named any longer', () => {
    const { clock, pushed, connector } = make();
    connector.want({ profile: 'p', candidates: [initiate('192.0.2.1')] });
    connector.onOutput(failed());
    connector.retain(new Set(['q']), 'no longer configured');
    deepStrictEqual(connector.states(), []);
    clock.advance(600_000);
    strictEqual(pushed.length, 1);
  });
});
