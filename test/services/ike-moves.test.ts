// A connection whose outer addresses change: its tunnels go there at once, under the same keys.
import { deepStrictEqual } from 'node:assert/strict';
import type { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import type { ChildUp, IkeInput, IkeOutput, IkeUp } from '../../firmware/ike/input-output.ts';
import type { ForwardingState, SaSpec } from '../../firmware/model.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import { IkeService } from '../../firmware/services/ike.ts';
import type { TunnelContext } from '../../firmware/services/ike-tunnels.ts';
import type { Site } from '../../firmware/services/service.ts';
import { SinkLog } from '../../platform/log.ts';
import { ManualClock } from './manual-clock.ts';

const HERE = { address: '192.0.2.1', port: 500 };
const THERE = { address: '192.0.2.2', port: 500 };
const ELSEWHERE = { address: '203.0.113.9', port: 14_500 };
const HERE_NATT = { address: '192.0.2.1', port: 4500 };

const UP = { kind: 'ike-up', ikeSa: 1, profile: 'p', role: 'responder', remoteIdentity: { kind: 'email', value: 'peer@peers.example' }, socket: 'wan:3:4', local: HERE, remote: THERE, natt: false } as unknown as IkeUp;

function childUp(): ChildUp {
  const sa = (id: number): SaSpec => ({ id, spi: id, suite: 'aes-256-gcm-16' }) as SaSpec;
  return { kind: 'child-up', child: 5, ikeSa: 1, profile: 'p', tenant: 1, inbound: sa(50), outbound: sa(51), local: HERE, remote: THERE, natt: false, replaces: undefined, initiator: false } as unknown as ChildUp;
}

const MOVED: IkeOutput = { kind: 'endpoint', ikeSa: 1, socket: 'natt:3', local: HERE_NATT, remote: ELSEWHERE, natt: true, nat: { local: false, remote: true } };

/** An IkeService whose endpoint says what the test tells it; `states` is what the forwarder gets. */
function make(context: (child: ChildUp, up: IkeUp) => TunnelContext | string): { service: IkeService; states: string[]; inputs: IkeInput[]; output(...outputs: IkeOutput[]): void } {
  const states: string[] = [];
  const inputs: IkeInput[] = [];
  const outputs: IkeOutput[] = [];
  const endpoint = { handle: (input: IkeInput) => void inputs.push(input), poll: () => outputs.shift(), deadline: () => undefined } as unknown as IkeEndpoint;
  const site = { clock: new ManualClock(), log: new SinkLog([], () => 0) } as unknown as Site;
  const apply = ({ tunnels }: ForwardingState): void => {
    states.push(tunnels.map(({ kind, paths, tx, rx }) => `${kind} ${paths.map((p) => `${p.outside}>${p.remote.address}:${p.remote.port}`).join()} ${tx?.id}<-${rx.map((r) => r.id).join()}`).join());
  };
  const forwarding = new ForwardingService(site, { apply } as unknown as ForwarderHandle);
  const service = new IkeService(site, forwarding, endpoint, { tunnelContext: context, onOutput: () => undefined });
  return {
    service,
    states,
    inputs,
    output: (...next) => {
      outputs.push(...next);
      service.push({ kind: 'rekey-ike', ikeSa: 0 });
      inputs.length = 0;
    },
  };
}

function following(child: ChildUp): TunnelContext {
  return { peer: 'peer', tenant: 1, kind: child.natt ? 'esp-udp' : 'esp', inside: 1, paths: [{ outside: 3, remote: child.remote }], mtu: 1400, idleDummyMs: 0, routes: [] };
}

describe('services/ike moves', () => {
  it('sends the tunnel to the new address and port at once, encapsulated where there is a NAT, with the same SAs', () => {
    const { service, states, output } = make(following);
    output(UP, childUp());
    output(MOVED);
    deepStrictEqual(states, ['esp 3>192.0.2.2:500 51<-50', 'esp-udp 3>203.0.113.9:14500 51<-50']);
    const [up] = service.liveIkeSas();
    deepStrictEqual([up!.remote, up!.local, up!.socket, up!.natt, up!.nat.remote], [ELSEWHERE, HERE_NATT, 'natt:3', true, true]);
  });

  it('leaves a tunnel of VXLAN to where the forwarder has learned it to be', () => {
    const { states, output } = make(() => ({ peer: 'peer', tenant: 1, kind: 'vxlan-esp', inside: 1, paths: [], mtu: 1400, idleDummyMs: 0, routes: [] }));
    output(UP, childUp());
    output(MOVED);
    deepStrictEqual(states, ['vxlan-esp  51<-50', 'vxlan-esp  51<-50']);
  });

  it('ends a connection that has moved to where no tunnel can go', () => {
    const { service, states, output, inputs } = make((child) => (child.natt ? 'no circuit has the address' : following(child)));
    output(UP, childUp());
    const pushed: IkeInput[] = [];
    const { push } = service;
    service.push = (input) => {
      pushed.push(input);
      push.call(service, input);
    };
    output(MOVED);
    deepStrictEqual(pushed.filter((input) => input.kind === 'terminate'), [{ kind: 'terminate', ikeSa: 1, reason: 'no circuit has the address' }]);
    deepStrictEqual([states.at(-1), inputs], ['esp 3>192.0.2.2:500 51<-50', []]);
  });

  it('asks for the context of every tunnel again when circuits of this box have changed', () => {
    let outside = 3;
    const { service, states, output } = make((child) => ({ ...following(child), paths: [{ outside, remote: child.remote }] }));
    output(UP, childUp());
    outside = 4;
    service.renewContexts();
    output();
    deepStrictEqual([states[0], service.outsideOf(1)], ['esp 3>192.0.2.2:500 51<-50', 4]);
  });
});
