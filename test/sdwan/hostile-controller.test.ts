// What a Controller that changes, withholds or replays routes can do: nothing but deny. Every attack on a running pair
// is refused with its cause and counted, and the SAs stay.
import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { concat } from '../../platform/bytes.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { decodeTunnelEncapsulation, encodeTunnelEncapsulation } from '../../firmware/wire/bgp/tunnel-encap.ts';
import type { TunnelEncapsulation } from '../../firmware/wire/bgp/tunnel-encap.ts';
import { encodeSdwanItem } from '../../firmware/wire/bgp/sdwan.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { buildKeyRoute } from '../../firmware/sdwan/key-route.ts';
import { buildCircuitRoute } from '../../firmware/sdwan/circuit-route.ts';
import { signRoute } from '../../firmware/sdwan/signed-route.ts';
import { generateKeySet } from '../../firmware/sdwan/key-set.ts';
import type { RouteBytes, RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';
import { instant } from '../../platform/time.ts';
import { Box, settle } from './box.ts';
import { RD, TENANT, createProvider, nodeIdentity, signerFor, trustIn } from './credentials.ts';
import { POLICY } from './mesh.ts';

describe('sdwan/tenant-keying against a hostile Controller', () => {
  let trust: RouteTrust;
  let stranger: RouteSigner;
  let otherTenant: RouteSigner;
  const signers = new Map<number, RouteSigner>();

  before(async () => {
    const authority = await createProvider();
    trust = trustIn(authority);
    for (const site of [101, 102, 103]) signers.set(site, await signerFor(authority, site));
    stranger = await signerFor(await createProvider(), 102);
    otherTenant = await signerFor(authority, 102, [TENANT + 1]);
  });

  /** b has rekeyed; its new route is `fresh` and has not reached a. */
  function attacked(): { a: Box; b: Box; old: RouteBytes; fresh: RouteBytes; fields: TunnelEncapsulation } {
    const a = new Box(101, signers.get(101)!, trust).start();
    const b = new Box(102, signers.get(102)!, trust).start();
    settle(a, b);
    const old = b.published!;
    b.wait(10_000);
    b.give({ kind: 'rekey', reason: 5 });
    a.take();
    return { a, b, old, fresh: b.published!, fields: decodeTunnelEncapsulation(b.published!.tunnelEncapsulation)! };
  }

  function refuses(attack: (t: ReturnType<typeof attacked>) => RouteBytes, cause: RegExp): void {
    const t = attacked();
    const before = t.a.peer(t.b);
    t.a.learns(attack(t));
    const alarms = t.a.alarms();
    equal(alarms.length, 1);
    ok(cause.test(alarms[0]!), alarms[0]);
    equal(t.a.counters().refused, 1);
    deepStrictEqual(t.a.peer(t.b), before);
    ok(t.a.sendTo(t.b));
    ok(t.b.sendTo(t.a));
    // The true route still finds its way.
    t.a.learns(t.fresh, 'c2');
    equal(t.a.sends(t.b), '1/2');
  }

  const changed = (t: { fresh: RouteBytes; fields: TunnelEncapsulation }, change: Partial<TunnelEncapsulation>): RouteBytes => ({
    nlri: t.fresh.nlri, tunnelEncapsulation: encodeTunnelEncapsulation({ ...t.fields, ...change }),
  });

  it('refuses a public value that was swapped', () => {
    const mine = trust.suite.dhGenerate(31, new SeededRandom('hostile'));
    refuses((t) => changed(t, { keyExchanges: [{ group: 31, publicValue: mine.publicValue }] }), /its signature does not fit its content/);
  });

  it('refuses a route whose best proposal was taken out', () => {
    refuses((t) => changed(t, { proposals: t.fields.proposals.slice(1) }), /its signature does not fit its content/);
  });

  it('refuses a cleared id-bound flag, by anybody but the signer and by the signer', () => {
    refuses((t) => changed(t, { keyParameters: { ...t.fields.keyParameters!, idBound: false } }), /its signature does not fit its content/);
    refuses((t) => {
      const fields = { ...t.fields, signature: undefined, keyParameters: { ...t.fields.keyParameters!, idBound: false } };
      const nlri = { kind: 'key' as const, rd: RD, color: 102, nodeId: addressBytes('10.255.0.2') };
      return signRoute(trust.suite, signers.get(102)!, nlri, fields);
    }, /not bound to identities/);
  });

  it('refuses a lengthened lifetime and a raised rekey counter', () => {
    refuses((t) => changed(t, { keyParameters: { ...t.fields.keyParameters!, lifetimeSeconds: 1_000_000 } }), /its signature does not fit/);
    refuses((t) => changed(t, { deviceInformation: { ...t.fields.deviceInformation!, rekeyCounter: 1n << 60n } }), /its signature does not fit/);
  });

  it('refuses a route without signature or without certificate', () => {
    refuses((t) => changed(t, { signature: undefined }), /it is not signed/);
    refuses((t) => changed(t, { certificate: undefined }), /it carries no certificate/);
  });

  it("refuses a certificate of another site, of another provider and of another tenant", () => {
    refuses((t) => changed(t, { certificate: signers.get(103)!.certificate }), /does not hold urn:selvage:acme:site:102:tenant:2/);
    refuses((t) => changed(t, { certificate: stranger.certificate }), /its certificate is not trusted: certificate is not signed by the authority that it names/);
    refuses((t) => changed(t, { certificate: otherTenant.certificate }), /does not hold urn:selvage:acme:site:102:tenant:2/);
  });

  function forged(signer: RouteSigner, siteId: number, nodeId: string, rd = RD): RouteBytes {
    const key = generateKeySet(trust.suite, new SeededRandom('forged'), POLICY, addressBytes(nodeId), 9n << 32n, true, instant(0));
    return buildKeyRoute(trust.suite, signer, { ...nodeIdentity(siteId), nodeId, routeDistinguisher: rd }, {
      rekeyCounter: 9n << 32n, initialContact: true, nonce: key.published.nonce, pairs: key.pairs, proposals: key.published.proposals, keyId: 1, lifetimeSeconds: 28800,
    });
  }

  it("refuses a key that another site signed in this site's name, or for this site's node", () => {
    refuses(() => forged(signers.get(103)!, 102, '10.255.0.2'), /does not hold urn:selvage:acme:site:102:tenant:2/);
    refuses(() => forged(signers.get(103)!, 103, '10.255.0.2'), /its Node-ID belongs to site 102/);
  });

  it('refuses what its owner signed but contradicts itself', () => {
    const nlri = { kind: 'key' as const, rd: RD, color: 102, nodeId: addressBytes('10.255.0.2') };
    const signed = (change: (fields: TunnelEncapsulation) => Partial<TunnelEncapsulation>) => (t: { fields: TunnelEncapsulation }): RouteBytes =>
      signRoute(trust.suite, signers.get(102)!, nlri, { ...t.fields, signature: undefined, ...change(t.fields) });
    refuses(signed((fields) => ({ deviceInformation: { ...fields.deviceInformation!, id: addressBytes('10.255.0.9') } })), /its DIM names another node/);
    refuses(signed(() => ({ color: 103 })), /its color sub-TLV names another site/);
    refuses(signed(() => ({ keyExchanges: [] })), /it lacks public values/);
    refuses(signed(() => ({ deviceInformation: undefined })), /it lacks its DIM/);
    refuses(signed((fields) => ({ keyParameters: { ...fields.keyParameters!, lifetimeSeconds: 0 } })), /its key has no lifetime/);
  });

  it('refuses the route of another tenant', () => {
    refuses(() => forged(signers.get(102)!, 102, '10.255.0.2', '65000:3'), /its route distinguisher is 65000:3/);
  });

  it('refuses a good value under another NLRI', () => {
    refuses((t) => {
      const nlri = encodeSdwanItem({ kind: 'key', rd: RD, color: 102, nodeId: addressBytes('10.255.0.9') });
      return { nlri, tunnelEncapsulation: t.fresh.tunnelEncapsulation };
    }, /its signature does not fit its content/);
  });

  it('refuses a circuit route in place of a key route', () => {
    const circuit = { id: 1, transport: 'INTERNET', interfaceName: 'vni-0/0', local: { address: '192.0.2.1', port: 4790 }, observed: undefined, secondFamily: false };
    refuses(() => buildCircuitRoute(trust.suite, signers.get(102)!, nodeIdentity(102), circuit), /malformed or no key route/);
    refuses((t) => ({ nlri: t.fresh.nlri, tunnelEncapsulation: buildCircuitRoute(trust.suite, signers.get(102)!, nodeIdentity(102), circuit).tunnelEncapsulation }), /its signature does not fit/);
  });

  it('ignores and counts a replayed route', () => {
    const { a, b, old, fresh } = attacked();
    a.learns(fresh);
    a.take();
    a.learns(old, 'c2');
    a.learns(old);
    equal(a.counters().stale, 2);
    deepStrictEqual(a.alarms(), []);
    equal(a.sends(b), '1/2');
  });

  it('keeps the old bytes and raises an alarm when the owner signs two routes with one counter', () => {
    const { a, b, old } = attacked();
    const fields = decodeTunnelEncapsulation(old.tunnelEncapsulation)!;
    const nlri = { kind: 'key' as const, rd: RD, color: 102, nodeId: addressBytes(b.nodeId) };
    const before = a.peer(b);
    a.learns(signRoute(trust.suite, signers.get(102)!, nlri, { ...fields, signature: undefined, udpPort: 4791 }));
    deepStrictEqual(a.alarms(), ['rekey-counter-conflict: ']);
    equal(a.counters().conflicts, 1);
    deepStrictEqual(a.peer(b), before);
  });

  it("raises an alarm for a route of its own node that it did not make, and none for its own", () => {
    const { a } = attacked();
    a.learns(a.published!);
    deepStrictEqual(a.alarms(), []);
    a.learns(forged(signers.get(101)!, 101, '10.255.0.1'));
    deepStrictEqual(a.alarms(), ['own-key-foreign: ']);
    deepStrictEqual(a.peers.map((peer) => peer.siteId), [102]);
  });

  it('refuses a certificate that has expired', async () => {
    const authority = await createProvider();
    const shortLived = await signerFor(authority, 102, [TENANT], 1);
    const a = new Box(101, await signerFor(authority, 101), trustIn(authority)).start();
    const b = new Box(102, shortLived, trustIn(authority)).start();
    a.wait(25 * 3_600_000);
    a.take();
    a.hears(b);
    ok(/its certificate is not trusted: certificate expired on /.test(a.alarms()[0]!));
  });

  it('never throws for flipped bits and never takes them', () => {
    const { a, b, fresh } = attacked();
    const random = new SeededRandom('bits');
    for (let run = 0; run < 300; run++) {
      const whole = concat(fresh.nlri, fresh.tunnelEncapsulation);
      whole[randomBelow(random, whole.length)]! ^= 1 << randomBelow(random, 8);
      a.learns({ nlri: whole.subarray(0, fresh.nlri.length), tunnelEncapsulation: whole.subarray(fresh.nlri.length) });
    }
    for (let length = 0; length < fresh.tunnelEncapsulation.length; length += 7) {
      a.learns({ nlri: fresh.nlri, tunnelEncapsulation: fresh.tunnelEncapsulation.subarray(0, length) });
    }
    equal(a.sends(b), '1/1');
    deepStrictEqual(a.peers.map((peer) => peer.nodeId), [b.nodeId]);
    ok(a.sendTo(b));
  });
});
