import { deepStrictEqual, equal, notEqual, ok } from 'node:assert/strict';
import { toHex } from '../../platform/bytes.ts';
import { instant } from '../../platform/time.ts';
import { certificateFacts, issueCrl } from '../../platform/x509.ts';
import type { Authority } from '../../platform/x509.ts';
import { decodeTunnelEncapsulation } from '../../firmware/wire/bgp/tunnel-encap.ts';
import { buildDirectiveRoute } from '../../firmware/sdwan/directive.ts';
import type { RekeyReason } from '../../firmware/wire/bgp/tunnel-encap-container.ts';
import type { RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';
import type { TenantKeyingOptions } from '../../firmware/sdwan/keying-messages.ts';
import { Box, settle } from './box.ts';
import { RD, UNIX_MS, createProvider, fakeCredentials, signerFor, trustIn } from './credentials.ts';
import { POLICY } from './mesh.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('sdwan/tenant-keying', () => {
  let authority: Authority;
  let trust: RouteTrust;
  const signers = new Map<number, RouteSigner>();

  before(async () => {
    authority = await createProvider();
    trust = trustIn(authority);
    for (const site of [101, 102, 103]) signers.set(site, await signerFor(authority, site));
  });

  function box(site: number, options: Partial<TenantKeyingOptions> = {}): Box {
    return new Box(site, signers.get(site)!, trust, options);
  }

  function pair(): [Box, Box] {
    const boxes: [Box, Box] = [box(101).start(), box(102).start()];
    settle(...boxes);
    for (const b of boxes) {
      b.wait(10_000);
      b.take();
    }
    return boxes;
  }

  function order(b: Box, epoch: number, reason: RekeyReason, more: { notBefore?: number; spread?: number; site?: number; controller?: string } = {}): void {
    const route = buildDirectiveRoute(RD, {
      controller: more.controller ?? '10.255.1.1', epoch, reason, notBeforeUnixSeconds: UNIX_MS / 1000 + (more.notBefore ?? 0),
      spreadSeconds: more.spread ?? 0, deadlineSeconds: 60, revokedSite: more.site,
    });
    b.give({ kind: 'directive', from: 'c1', ...route });
  }

  it('persists the counter, installs receive SAs, then publishes', () => {
    const [a, b] = pair();
    a.give({ kind: 'rekey', reason: 5 });
    deepStrictEqual(a.kinds(), ['persist', 'associations', 'publish']);
    deepStrictEqual(a.holds(b), ['1/1 up', '2/1 new']);
    equal(a.sends(b), '1/1');
  });

  it('sets initial contact in the first route of a boot only', () => {
    const [a] = pair();
    equal(decodeTunnelEncapsulation(a.published!.tunnelEncapsulation)!.deviceInformation!.initialContact, true);
    a.give({ kind: 'rekey', reason: 5 });
    const dim = decodeTunnelEncapsulation(a.published!.tunnelEncapsulation)!.deviceInformation!;
    equal(dim.initialContact, false);
    equal(dim.rekeyCounter, 0x1_0000_0002n);
  });

  it('goes on counting where the last start of the same boot ended', () => {
    const a = box(101, { lastCounter: 7 }).start();
    equal(decodeTunnelEncapsulation(a.published!.tunnelEncapsulation)!.deviceInformation!.rekeyCounter, 0x1_0000_0008n);
  });

  it('waits for the data plane before it publishes, but not for ever', () => {
    const a = box(101, { acknowledged: true });
    const b = box(102).start();
    a.hears(b);
    a.start();
    deepStrictEqual(a.kinds(), ['persist', 'associations']);
    a.give({ kind: 'applied', version: 1 });
    deepStrictEqual(a.kinds(), ['publish']);
    a.wait(MINUTE);
    a.give({ kind: 'rekey', reason: 5 });
    deepStrictEqual(a.kinds(), ['persist', 'associations']);
    a.wait(1_999);
    deepStrictEqual(a.kinds(), []);
    a.wait(1);
    ok(a.kinds().includes('publish'));
  });

  it('moves to a new key step by step: R1, R2, R3, R4', () => {
    const [a, b] = pair();
    a.give({ kind: 'rekey', reason: 5 });
    // key route a2 -->
    b.hears(a);
    deepStrictEqual(b.holds(a), ['1/1 up', '1/2 new']);
    equal(b.sends(a), '1/2');
    equal(a.sends(b), '1/1');
    deepStrictEqual(a.ownKeys(), ['1 retiring', '2 published']);
    // <-- first packet on a2 (R3 at a)
    ok(b.sendTo(a));
    equal(a.sends(b), '2/1');
    deepStrictEqual(a.holds(b), ['1/1 linger', '2/1 up']);
    deepStrictEqual(a.ownKeys(), ['1 retiring', '2 current']);
    // first packet on a2 --> (R4 at b)
    ok(a.sendTo(b));
    deepStrictEqual(b.holds(a), ['1/1 linger', '1/2 up']);
    for (const box of [a, b]) box.wait(9_999);
    equal(a.holds(b).length, 2);
    for (const box of [a, b]) box.wait(1);
    deepStrictEqual(a.holds(b), ['2/1 up']);
    deepStrictEqual(b.holds(a), ['1/2 up']);
    deepStrictEqual(a.ownKeys(), ['2 current']);
  });

  it('holds four pairs when both rekey at once and ends with the pair of both new keys', () => {
    const [a, b] = pair();
    a.give({ kind: 'rekey', reason: 5 });
    b.give({ kind: 'rekey', reason: 5 });
    a.hears(b);
    b.hears(a);
    deepStrictEqual(a.holds(b), ['1/1 up', '2/1 new', '1/2 new', '2/2 new']);
    deepStrictEqual([a.sends(b), b.sends(a)], ['1/2', '1/2']);
    ok(a.sendTo(b));
    ok(b.sendTo(a));
    deepStrictEqual([a.sends(b), b.sends(a)], ['2/2', '2/2']);
    ok(a.sendTo(b));
    ok(b.sendTo(a));
    for (const box of [a, b]) box.wait(10_000);
    deepStrictEqual(a.holds(b), ['2/2 up']);
    deepStrictEqual(b.holds(a), ['2/2 up']);
  });

  it('makes a third key only when the first is gone, or after a minute for stragglers', () => {
    const [a, b] = pair();
    a.give({ kind: 'rekey', reason: 5 });
    a.wait(5_000);
    a.give({ kind: 'rekey', reason: 5 });
    a.wait(50_000);
    deepStrictEqual(a.ownKeys(), ['1 retiring', '2 published']);
    a.wait(10_000);
    deepStrictEqual(a.ownKeys(), ['1 retiring', '2 retiring', '3 published']);
    equal(a.sends(b), '1/1');
    b.hears(a);
    ok(b.sendTo(a));
    equal(a.sends(b), '3/1');
  });

  it('never holds more than four key sets', () => {
    const [a, b] = pair();
    for (let i = 0; i < 6; i++) {
      a.give({ kind: 'rekey', reason: 5 });
      a.wait(MINUTE);
    }
    deepStrictEqual(a.ownKeys().map((key) => key.split(' ')[0]), ['4', '5', '6', '7']);
    equal(a.holds(b).length, 4);
  });

  it('rekeys by itself between 60 and 70 percent of the lifetime, earlier in the slot after a boot', () => {
    const a = box(101).start();
    const first = a.machine.snapshot(instant(0)).nextRekeySeconds!;
    ok(first >= 28800 * 0.3 && first <= 28800 * 0.7, String(first));
    a.wait(first * 1000 + 1000);
    equal(a.counters().rekeys, 1);
    const second = a.machine.snapshot(instant(a.now)).nextRekeySeconds!;
    ok(second >= 28800 * 0.6 - 1 && second <= 28800 * 0.7, String(second));
    notEqual(first, box(102).start().machine.snapshot(instant(0)).nextRekeySeconds);
  });

  it('never rekeys by its own timer within 240 seconds', () => {
    const a = box(101, { policy: { ...POLICY, lifetimeSeconds: 300 } }).start();
    a.wait(239_999);
    equal(a.counters().rekeys, 0);
    a.wait(2);
    equal(a.counters().rekeys, 1);
  });

  it('publishes at most one key route in five seconds', () => {
    const a = box(101).start();
    a.take();
    a.wait(1_000);
    a.give({ kind: 'rekey', reason: 3 });
    deepStrictEqual(a.kinds(), ['persist']);
    a.wait(3_999);
    deepStrictEqual(a.kinds(), []);
    a.wait(1);
    deepStrictEqual(a.kinds(), ['publish']);
  });

  it('publishes the same route again when a peer stays silent on the new key, at most three times', () => {
    const [a] = pair();
    a.give({ kind: 'rekey', reason: 5 });
    const first = a.published!;
    a.take();
    a.wait(5 * MINUTE);
    const again = a.take().filter((output) => output.kind === 'publish' || output.kind === 'alarm');
    deepStrictEqual(again.map((output) => output.kind), ['alarm', 'publish', 'alarm', 'publish', 'alarm', 'publish']);
    deepStrictEqual(a.published, first);
    equal(a.counters().republished, 3);
  });

  it('rekeys when an SA of its newest key reaches a limit', () => {
    const [a, b] = pair();
    a.give({ kind: 'sa-limit', spi: a.peer(b)!.associations[0]!.spiIn });
    deepStrictEqual(a.ownKeys(), ['1 retiring', '2 published']);
    a.give({ kind: 'sa-limit', spi: a.peer(b)!.associations[0]!.spiIn });
    a.wait(10 * MINUTE);
    equal(a.counters().rekeys, 1);
  });

  it('keeps SAs of a peer that nobody shows to their hard end, makes no new ones, and takes the peer back', () => {
    const [a, b] = pair();
    a.hears(b, 'c2');
    a.learns({ nlri: b.published!.nlri, tunnelEncapsulation: undefined }, 'c1');
    a.give({ kind: 'rekey', reason: 5 });
    equal(a.holds(b).length, 2);
    a.learns({ nlri: b.published!.nlri, tunnelEncapsulation: undefined }, 'c2');
    a.wait(2 * MINUTE);
    a.give({ kind: 'rekey', reason: 5 });
    deepStrictEqual(a.holds(b), ['1/1 up', '2/1 new']);
    ok(a.machine.snapshot(instant(a.now)).peerKeys[0]!.headless);
    a.hears(b);
    deepStrictEqual(a.holds(b), ['1/1 up', '2/1 new', '3/1 new']);
    a.learns({ nlri: b.published!.nlri, tunnelEncapsulation: undefined });
    a.wait(8 * HOUR);
    deepStrictEqual(a.peers, []);
    deepStrictEqual(a.machine.snapshot(instant(a.now)).peerKeys, []);
  });

  it('forgets liveness and lets old SAs linger when a peer boots again', () => {
    const [a, b] = pair();
    const again = box(102, { bootCount: 2 }).start();
    a.hears(again);
    deepStrictEqual(a.holds(b), ['1/1 linger', '1/1 new']);
    again.hears(a);
    ok(a.sendTo(again));
    ok(again.sendTo(a));
    a.wait(10_000);
    deepStrictEqual(a.holds(b), ['1/1 up']);
  });

  it('sends to a peer that booted again with the newest published key, which is the only one the peer can know', () => {
    const [a] = pair();
    a.give({ kind: 'rekey', reason: 5 });
    const again = box(102, { bootCount: 2 }).start();
    again.hears(a);
    a.hears(again);
    equal(a.sends(again), '2/1');
    ok(a.sendTo(again));
  });

  it('ends the SAs of the boot before after the linger, even when the peer stays silent', () => {
    const [a, b] = pair();
    a.hears(box(102, { bootCount: 2 }).start());
    a.wait(9_999);
    deepStrictEqual(a.holds(b), ['1/1 linger', '1/1 new']);
    a.wait(1);
    deepStrictEqual(a.holds(b), ['1/1 new']);
  });

  it('ends the shorter of the two lifetimes', () => {
    const a = box(101).start();
    const b = box(102, { policy: { ...POLICY, lifetimeSeconds: 1000 } }).start();
    settle(a, b);
    a.wait(999_999);
    equal(a.holds(b).length, 1);
    a.wait(1);
    equal(a.holds(b).length, 0);
    equal(a.peer(b)?.tx, undefined);
  });

  it('raises an alarm and makes no SA when no proposal is shared', () => {
    const a = box(101).start();
    const b = box(102, { policy: { ...POLICY, suites: ['aes-128-gcm-16'] } }).start();
    a.hears(b);
    deepStrictEqual(a.alarms(), ['no-sa: no SA proposal in common']);
    equal(a.peer(b), undefined);
  });

  it('gives SAs the limits, window and sequence numbers of the policy', () => {
    const [a, b] = pair();
    const { rx, tx } = a.peer(b)!.associations[0]!;
    for (const sa of [rx, tx]) deepStrictEqual([sa.suite, sa.esn, sa.softBytes, sa.hardBytes, sa.key.length, sa.salt.length], ['aes-256-gcm-16', true, 2 ** 38, 2 ** 40, 32, 4]);
    deepStrictEqual([rx.windowPackets, tx.windowPackets], [4096, 0]);
    notEqual(rx.id, tx.id);
  });

  it('wipes the octets of removed SAs only when no queued state can hold them', () => {
    const [a, b] = pair();
    const { rx } = a.peer(b)!.associations[0]!;
    order(a, 1, 4, { site: 102 });
    ok(rx.key.some((octet) => octet !== 0));
    a.wait(10_000);
    ok(rx.key.every((octet) => octet === 0));
  });

  describe('directives', () => {
    it('acts once per epoch and Controller', () => {
      const [a] = pair();
      order(a, 3, 5, { notBefore: 20 });
      a.wait(21_000);
      equal(a.counters().rekeys, 1);
      a.wait(2 * MINUTE);
      order(a, 3, 5);
      order(a, 2, 5);
      a.wait(MINUTE);
      equal(a.counters().rekeys, 1);
      order(a, 4, 5);
      a.wait(1_000);
      equal(a.counters().rekeys, 2);
      order(a, 1, 5, { notBefore: 500, controller: '10.255.1.2' });
      a.wait(10 * MINUTE);
      equal(a.counters().rekeys, 3);
    });

    it('remembers epochs over a restart', () => {
      const a = box(101, { epochs: { '10.255.1.1': 9 } }).start();
      order(a, 9, 5, { notBefore: 60 });
      a.wait(2 * MINUTE);
      equal(a.counters().rekeys, 0);
    });

    it('takes a standing directive of before its boot as fulfilled by the boot', () => {
      const a = box(101).start();
      order(a, 9, 5, { notBefore: -3600 });
      a.wait(2 * MINUTE);
      equal(a.counters().rekeys, 0);
    });

    it('starts at a random point of the spread, after not-before', () => {
      const [a] = pair();
      order(a, 1, 5, { notBefore: 100, spread: 60 });
      a.wait(89_000);
      equal(a.counters().rekeys, 0);
      a.wait(61_001);
      equal(a.counters().rekeys, 1);
    });

    it('keeps the 240 seconds for a policy change, not for an operator', () => {
      const [a] = pair();
      order(a, 1, 2, { notBefore: 10 });
      a.wait(229_000);
      equal(a.counters().rekeys, 0);
      a.wait(1_001);
      equal(a.counters().rekeys, 1);
    });

    it('lets old SAs linger shortly at once after a compromise', () => {
      const [a, b] = pair();
      order(a, 1, 3, { notBefore: 10, spread: 600 });
      deepStrictEqual(a.holds(b), ['1/1 linger', '2/1 new']);
      a.wait(10_000);
      deepStrictEqual(a.holds(b), ['2/1 new']);
      equal(a.sends(b), '2/1');
    });

    it("ends a revoked site's SAs at once and rekeys", () => {
      const [a, b] = pair();
      const c = box(103).start();
      settle(a, c);
      a.take();
      order(a, 1, 4, { notBefore: 10, site: 102 });
      equal(a.peer(b), undefined);
      ok(a.kinds().includes('revocation-ordered'));
      deepStrictEqual(a.holds(c), ['1/1 linger', '2/1 new']);
    });

    it('ends the SAs of peers that nobody shows when the revoked site is not named', () => {
      const [a, b] = pair();
      a.learns({ nlri: b.published!.nlri, tunnelEncapsulation: undefined });
      equal(a.holds(b).length, 1);
      order(a, 1, 4, { notBefore: 10 });
      equal(a.peer(b), undefined);
    });
  });

  it('follows a new policy with the next key, not before the least interval', () => {
    const [a, b] = pair();
    a.give({ kind: 'policy', policy: { ...POLICY, groups: [19], suites: ['aes-128-gcm-16'], lifetimeSeconds: 3600 } });
    a.wait(229_999);
    equal(a.counters().rekeys, 0);
    a.take();
    a.wait(1);
    deepStrictEqual(a.alarms(), ['no-sa: no SA proposal in common']);
    const { proposals, keyExchanges, keyParameters } = decodeTunnelEncapsulation(a.published!.tunnelEncapsulation)!;
    deepStrictEqual([proposals.length, keyExchanges.map((ke) => ke.group), keyParameters!.lifetimeSeconds], [1, [19], 3600]);
    deepStrictEqual(a.holds(b), ['1/1 up']);
    ok(a.sendTo(b));
  });

  it('signs the next key with a renewed certificate', async () => {
    const [a, b] = pair();
    a.give({ kind: 'signer', signer: await signerFor(authority, 101) });
    a.wait(5 * MINUTE);
    const certificates = [a, b].map((box) => decodeTunnelEncapsulation(box.published!.tunnelEncapsulation)!.certificate!);
    notEqual(toHex(certificates[0]!), toHex(signers.get(101)!.certificate));
    b.hears(a);
    equal(b.sends(a), '1/2');
  });

  it('ends the SAs of a peer whose certificate is revoked, refuses its keys, and leaves the others alone', async () => {
    const crls: Uint8Array[] = [];
    const watchful = { ...trust, revocation: () => ({ crls, policy: 'soft' as const }) };
    const [a, b, c] = [box(101, { trust: watchful }).start(), box(102).start(), box(103).start()];
    settle(a, b);
    settle(a, c);
    a.take();
    const { serialNumber } = certificateFacts(signers.get(102)!.certificate);
    crls.push(await issueCrl(authority, { revoked: [{ serialNumber, revokedUnixMs: UNIX_MS }], unixMs: UNIX_MS, days: 1, number: 1 }));
    equal(a.holds(b).length, 1);
    a.give({ kind: 'revocations' });
    equal(a.peer(b), undefined);
    equal(a.holds(c).length, 1);
    a.hears(b);
    b.give({ kind: 'rekey', reason: 5 });
    a.hears(b);
    const refused = 'key-route-refused: its certificate is not trusted: certificate was revoked on 2026-11-18';
    deepStrictEqual(a.alarms(), [refused, refused]);
  });

  it('withdraws its route, tells the data plane and wipes everything when it stops', () => {
    const [a, b] = pair();
    const { rx } = a.peer(b)!.associations[0]!;
    a.give({ kind: 'stop' });
    deepStrictEqual(a.kinds(), ['withdraw', 'associations']);
    deepStrictEqual(a.peers, []);
    ok(rx.key.every((octet) => octet === 0));
    equal(a.machine.deadline(), undefined);
    a.hears(b);
    deepStrictEqual(a.take(), []);
  });

  it('prints what `show dhkey` shows', () => {
    const [a] = pair();
    const { counters, nextRekeySeconds, ...shown } = a.machine.snapshot(instant(a.now));
    ok(counters.refused === 0 && nextRekeySeconds! > 0);
    equal(shown.associations.length, 1);
    const { spiIn, spiOut, ...row } = shown.associations[0]!;
    ok(spiIn !== spiOut);
    deepStrictEqual(row, { id: '00102:0x01:0x01', nodeId: '10.255.0.2', state: 'up', sends: true, suite: 'aes-256-gcm-16', group: 31, ageSeconds: 10, secondsLeft: 28790 });
    deepStrictEqual({ ...shown, associations: [] }, {
      tenant: 2, siteId: 101, nodeId: '10.255.0.1', profile: 'b2b-sdwan', lifetimeSeconds: 28800, rekeySeconds: 20160,
      groups: [31], groupMask: 0x800, transforms: [10, 11], transformMask: 0xc00, associations: [],
      selfKeys: [{ id: 1, rekeyCounter: '0x0000000100000001', state: 'current', ageSeconds: 10, secondsLeft: 28790, groups: [31] }],
      peerKeys: [{ siteId: 102, name: 'b102', nodeId: '10.255.0.2', id: 1, rekeyCounter: '0x0000000100000001', groups: [31], headless: false, ageSeconds: 10, secondsLeft: 28790 }],
    });
  });

  it('makes the SAs with many peers in slices and publishes after the last', () => {
    const sites = Array.from({ length: 151 }, (_, i) => 101 + i);
    const fake = fakeCredentials(sites);
    const [a, ...others] = sites.map((site) => new Box(site, fake.signers.get(site)!, fake.trust));
    for (const other of others) a!.hears(other.start());
    a!.start();
    const slices: string[] = [];
    for (let turn = 0; turn < 5; turn++) {
      const paired = a!.machine.snapshot(instant(0)).associations.length;
      slices.push(`${paired} ${a!.published === undefined ? 'unpublished' : 'published'}`);
      a!.wait(0);
      a!.give({ kind: 'timeout' });
    }
    equal(slices.at(-1), '150 published');
    ok(slices[0]!.startsWith('64 unpublished'), slices.join(', '));
  });
});
