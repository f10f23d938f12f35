// Redirection (RFC 5685) between a branch, a gateway that sends it away, and others.
import { deepStrictEqual, equal } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { MAX_REDIRECTS } from '../../firmware/ike/redirect.ts';
import type { Gateway } from '../../firmware/wire/ike/gateway.ts';
import { encodeGateway } from '../../firmware/wire/ike/gateway.ts';
import { decodeMessage, encodeMessage } from '../../firmware/wire/ike/message.ts';
import { NotifyType } from '../../firmware/wire/ike/numbers.ts';
import { findNotify, findPayload, notify } from '../../firmware/wire/ike/payloads.ts';
import type { Node } from './pair.ts';
import { pair, pskProfile } from './pair.ts';

const SECOND = '192.0.2.3';

function gateway(value: string): Gateway {
  return { kind: value.includes(':') ? 'ipv6' : /^[0-9.]+$/.test(value) ? 'ipv4' : 'fqdn', value };
}

/** A branch that follows, a gateway with these settings, and a second one. */
function three(first: Partial<IkeProfile>, options: { readonly branch?: Partial<IkeProfile>; readonly second?: Partial<IkeProfile> } = {}): ReturnType<typeof pair> & { second: Node } {
  const made = pair({ branch: { followRedirects: true, ...options.branch }, controller: first });
  const second = made.world.add('second', SECOND, { profiles: [pskProfile('branches', 'c1@acme.example', undefined, options.second)] });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(1_000);
  return { ...made, second };
}

describe('ike: redirection', () => {
  it('is followed in IKE_SA_INIT, before any key is computed, and the new gateway is told by whom', () => {
    // { SA, KE, Ni, N(REDIRECT_SUPPORTED) } -->   <-- { N(REDIRECT, second, Ni) }
    // { SA, KE, Ni, N(REDIRECTED_FROM, first) } --> second
    const { world, branch, controller, second } = three({ redirect: { gateway: gateway(SECOND), at: 'init' } });
    equal(branch.of('ike-up')[0]?.remote.address, SECOND, world.story());
    deepStrictEqual([controller.of('ike-up').length, second.of('child-up').length, controller.endpoint.snapshot().ikeSas.length], [0, 1, 0]);
    deepStrictEqual([branch.of('connect-failed').length, branch.of('ike-down').length], [0, 0]);
    const [first, answer, next] = world.packets.map(({ send }) => decodeMessage(send.bytes));
    equal(findNotify(first!.payloads, NotifyType.REDIRECT_SUPPORTED) !== undefined, true);
    deepStrictEqual(answer!.payloads.map((payload) => payload.kind), ['Notify']);
    deepStrictEqual(findNotify(next!.payloads, NotifyType.REDIRECTED_FROM)?.data, encodeGateway(gateway(controller.address)));
    equal(findNotify(next!.payloads, NotifyType.REDIRECT_SUPPORTED), undefined);
    equal(branch.of('history').map(({ entry }) => entry.event).join(), 'IKE Redirected,IKE Done,Child Done');
  });

  it('is followed in IKE_AUTH, after the first gateway has proven itself, which is left without a child', () => {
    // IKE_AUTH { IDi, AUTH, SA, TSi, TSr } -->   <-- { IDr, AUTH, N(REDIRECT, second) }   INFORMATIONAL { D } -->
    const { world, branch, controller, second } = three({ redirect: { gateway: gateway(SECOND), at: 'auth' } });
    equal(branch.of('ike-up')[0]?.remote.address, SECOND, world.story());
    deepStrictEqual([controller.of('child-up').length, controller.of('ike-up').length, second.of('child-up').length], [0, 0, 1]);
    equal(controller.endpoint.snapshot().ikeSas.filter((sa) => sa.state !== 'closed').length, 0);
    equal(branch.endpoint.snapshot().ikeSas.length, 1);
  });

  it('is followed by an established connection, which is left when the new one is up', () => {
    const { world, branch, controller, second } = three({});
    equal(branch.of('ike-up').length, 1);
    // INFORMATIONAL <-- { N(REDIRECT, second) }
    world.input(controller, { kind: 'redirect', ikeSa: controller.of('ike-up')[0]!.ikeSa, gateway: gateway(SECOND) });
    world.run(1_000);
    deepStrictEqual(branch.of('ike-up').map(({ remote }) => remote.address), [controller.address, SECOND]);
    const order = branch.outputs.filter(({ kind }) => kind === 'child-up' || kind === 'child-down').map(({ kind }) => kind);
    deepStrictEqual(order, ['child-up', 'child-up', 'child-down']);
    deepStrictEqual([branch.of('ike-down')[0]?.reason, controller.of('ike-down').length, second.of('child-up').length], [`the peer sent us to ${SECOND}:500`, 1, 1]);
  });

  it('is followed by an established connection also after rekeys', () => {
    const { world, branch, controller } = three({});
    world.input(branch, { kind: 'rekey-ike', ikeSa: branch.of('ike-up')[0]!.ikeSa });
    world.run(1_000);
    world.input(controller, { kind: 'redirect', ikeSa: controller.of('ike-up')[0]!.ikeSa, gateway: gateway(SECOND) });
    world.run(1_000);
    deepStrictEqual(branch.endpoint.snapshot().ikeSas.map(({ remote, state }) => [remote.address, state]), [[SECOND, 'established']]);
  });

  it('keeps an established connection while the new gateway cannot be reached', () => {
    const { world, branch, controller } = three({});
    world.input(controller, { kind: 'redirect', ikeSa: controller.of('ike-up')[0]!.ikeSa, gateway: gateway('203.0.113.200') });
    world.run(200_000);
    equal(branch.of('connect-failed').length, 1);
    deepStrictEqual([branch.of('ike-down').length, controller.of('ike-down').length], [0, 0]);
  });

  it('is not followed where the profile does not allow it, nor offered then', () => {
    const { branch, controller } = three({ redirect: { gateway: gateway(SECOND), at: 'init' } }, { branch: { followRedirects: false } });
    equal(branch.of('ike-up')[0]?.remote.address, controller.address);
  });

  it('is not believed in IKE_SA_INIT from somebody who does not know our nonce', () => {
    const { world, branch, controller } = pair({ branch: { followRedirects: true } });
    world.initiate(branch, controller, 'to-controller');
    const { header, payloads } = decodeMessage(world.packets[0]!.send.bytes);
    const nonce = findPayload(payloads, 'Nonce')!.data.slice();
    nonce[0]! ^= 1;
    const bytes = encodeMessage({ ...header, fromInitiator: false, response: true }, [notify(NotifyType.REDIRECT, encodeGateway(gateway('203.0.113.66'), nonce))]);
    world.input(branch, { kind: 'datagram', socket: 'wan', natt: false, local: { address: branch.address, port: 500 }, remote: { address: controller.address, port: 500 }, bytes });
    world.run(1_000);
    equal(branch.of('ike-up')[0]?.remote.address, controller.address, world.story());
  });

  it('ends after some rounds when gateways send each other their peers', () => {
    const [a, b] = ['192.0.2.2', '192.0.2.3'];
    const { world, branch } = pair({ branch: { followRedirects: true }, controller: { redirect: { gateway: gateway(b), at: 'auth' } } });
    world.add('second', b, { profiles: [pskProfile('branches', 'c1@acme.example', undefined, { redirect: { gateway: gateway(a), at: 'auth' } })] });
    world.initiate(branch, a, 'to-controller');
    world.run(10_000);
    equal(branch.logged('IKE peer redirects us to another gateway').length, MAX_REDIRECTS);
    equal(branch.of('connect-failed')[0]?.cause, `the peer sends us to ${a}, after 5 redirections within 300 s`);
    equal(branch.of('ike-up').length, 0);
    world.run(60_000);
    equal(branch.endpoint.snapshot().ikeSas.length, 0);
  });

  it('does not send a peer back to where it was sent away', () => {
    const { branch } = three({ redirect: { gateway: gateway(SECOND), at: 'init' } }, { second: { redirect: { gateway: gateway('192.0.2.2'), at: 'init' } } });
    equal(branch.of('ike-up')[0]?.remote.address, SECOND);
  });

  for (const elsewhere of ['gw.example', '2001:db8::9']) {
    it(`says why it cannot go to ${elsewhere}`, () => {
      const { branch } = three({ redirect: { gateway: gateway(elsewhere), at: 'auth' } });
      equal(branch.of('connect-failed')[0]?.cause.startsWith(`the peer sends us to ${elsewhere}, `), true);
    });
  }

  it('is not tried on a peer that does not follow', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, controller, 'to-controller');
    world.run(1_000);
    const before = world.packets.length;
    world.input(controller, { kind: 'redirect', ikeSa: controller.of('ike-up')[0]!.ikeSa, gateway: gateway(SECOND) });
    equal(world.packets.length, before);
    deepStrictEqual(controller.logged('IKE SA cannot be redirected').map(({ cause }) => cause), ['the peer does not follow']);
  });
});
