// Two things that race over two paths: what the forwarder is told, and what the peer is told.
import { deepStrictEqual } from 'node:assert/strict';
import type { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import type { ChildUp, IkeOutput, IkeUp } from '../../firmware/ike/input-output.ts';
import type { ForwardingState, SaSpec } from '../../firmware/model.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import { IkeService } from '../../firmware/services/ike.ts';
import type { Site } from '../../firmware/services/service.ts';
import { SinkLog } from '../../platform/log.ts';
import { ManualClock } from './manual-clock.ts';

const LOCAL = { address: '192.0.2.1', port: 500 };
const REMOTE = { address: '192.0.2.2', port: 500 };

function childUp(child: number): IkeOutput {
  const sa = (id: number): SaSpec => ({ id, spi: id, suite: 'aes-256-gcm-16' }) as SaSpec;
  return { kind: 'child-up', child, ikeSa: child, profile: 'p', tenant: 1, inbound: sa(child * 10), outbound: sa(child * 10 + 1), replaces: undefined, initiator: false } as unknown as ChildUp;
}

function ikeUp(ikeSa: number): IkeOutput {
  return { kind: 'ike-up', ikeSa, profile: 'p', remoteIdentity: { kind: 'email', value: 'peer@peers.example' } } as IkeUp;
}

function answer(): IkeOutput {
  return { kind: 'send', socket: 's', natt: false, local: LOCAL, remote: REMOTE, bytes: new Uint8Array(1) };
}

/** An IkeService whose endpoint says what the test tells it; `story` is what forwarder and peer get, in order. */
function make(): { story: string[]; output(...outputs: IkeOutput[]): void } {
  const story: string[] = [];
  const outputs: IkeOutput[] = [];
  const endpoint = { handle: () => undefined, poll: () => outputs.shift(), deadline: () => undefined } as unknown as IkeEndpoint;
  const clock = new ManualClock();
  const network = { openDatagram: () => ({ send: () => story.push('answer'), close: () => undefined }) };
  const site = { clock, log: new SinkLog([], () => 0), network } as unknown as Site;
  const apply = ({ tunnels }: ForwardingState): void => void story.push(tunnels.map((t) => `${t.tx?.id ?? 'none'}<-${t.rx.map((r) => r.id).join(',')}`).join(' '));
  const forwarding = new ForwardingService(site, { apply } as unknown as ForwarderHandle);
  const context = { peer: 'peer', tenant: 1, kind: 'esp', inside: 1, paths: [], mtu: 1400, idleDummyMs: 0, routes: [] } as const;
  const service = new IkeService(site, forwarding, endpoint, { tunnelContext: () => context, onOutput: () => undefined });
  service.openSocket('s', 'vr', LOCAL.address);
  return {
    story,
    output: (...next) => {
      outputs.push(...next);
      service.push({ kind: 'datagram', socket: 's', natt: false, local: LOCAL, remote: REMOTE, bytes: new Uint8Array(1) });
    },
  };
}

describe('services/ike order', () => {
  it('lets the forwarder receive on a new child before the peer hears of it', () => {
    const { story, output } = make();
    output(ikeUp(1), childUp(1), answer());
    deepStrictEqual(story, ['11<-10', 'answer']);
  });

  it('lets the forwarder leave a deleted child before the peer hears that it is gone', () => {
    // IKE_AUTH { SA } -->   <-- IKE_AUTH { SA }      a second IKE SA of the same peer
    // INFORMATIONAL { D } -->   <-- INFORMATIONAL    of the first: the peer stops receiving on it at this answer
    const { story, output } = make();
    output(ikeUp(1), childUp(1), answer());
    output(ikeUp(2), childUp(2), answer());
    story.length = 0;
    output({ kind: 'child-down', child: 1, ikeSa: 1, reason: 'the peer deleted the IKE SA' }, answer());
    deepStrictEqual(story, ['21<-10,20', 'answer']);
  });
});
