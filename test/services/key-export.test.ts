import { deepStrictEqual, equal, match, throws } from 'node:assert/strict';
import type { IkeOutput } from '../../firmware/ike/input-output.ts';
import type { SessionKeys } from '../../firmware/ike/session-keys.ts';
import type { ForwardingState, SaSpec, TunnelSpec } from '../../firmware/model.ts';
import { KeyExport, type KeyExportOrder } from '../../firmware/services/key-export.ts';
import type { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { Site } from '../../firmware/services/service.ts';
import { Alarms } from '../../platform/alarms.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { ManualClock } from './manual-clock.ts';

const MINUTE_MS = 60_000;
const EVERYTHING: KeyExportOrder = { tenant: undefined, peer: undefined, minutes: 10 };

function octets(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

function sa(id: number): SaSpec {
  const unlimited = { softPackets: 1, softBytes: 1, hardPackets: 1, hardBytes: 1 };
  return { id, spi: 0x0200_0000 + id, suite: 'aes-256-gcm-16', key: octets(32, id), salt: octets(4, id), esn: true, windowPackets: 64, ...unlimited };
}

function tunnel(tenant: number, peer: string, ids: readonly number[]): TunnelSpec {
  return { id: ids[0] ?? 1, tenant, peer, kind: 'vxlan-esp', inside: 1, paths: [], mtu: 1400, tx: undefined, rx: ids.map(sa), idleDummyMs: 0 };
}

function ikeKeys(tenant: number, peer: string, spi: number, key = spi): SessionKeys {
  return {
    tenant, peer, profile: 'p', remote: { address: '192.0.2.9', port: 500 },
    spiInitiator: octets(8, spi), spiResponder: octets(8, spi), skEi: octets(36, key), skEr: octets(36, key), skAi: new Uint8Array(0), skAr: new Uint8Array(0),
    algorithms: { encryption: 'aes-256-gcm-16', integrity: undefined, prf: 'sha256', group: 31, additional: undefined },
  };
}

function make(first?: KeyExportOrder) {
  const clock = new ManualClock();
  const sink = new MemorySink();
  const log = new SinkLog([sink], () => clock.unixMs());
  const alarms = new Alarms(log.channel('alarms'), () => clock.unixMs());
  const disk = new Map<string, string>();
  const refusal = { full: false };
  const write = (file: string, text: string): void => {
    if (refusal.full) throw new Error('no space left on device');
    disk.set(file, text);
  };
  let onState: (state: ForwardingState) => void = () => undefined;
  const forwarding = { onState: (listener: typeof onState) => void (onState = listener) } as unknown as ForwardingService;
  const keys = new KeyExport({ clock, log, alarms } as unknown as Site, forwarding, 'debug', { write, remove: (file) => void disk.delete(file) }, first);
  const tunnels = (...list: readonly TunnelSpec[]): void => onState({ tunnels: list } as unknown as ForwardingState);
  const spis = (): string[] => [...(disk.get('debug/esp_sa') ?? '').matchAll(/"IPv4","\*","\*","0x0*2[0-9a-f]*([0-9a-f])"/g)].map((m) => m[1]!);
  const ike = (): string[] => (disk.get('debug/ikev2_decryption_table') ?? '').split('\n').filter((line) => line !== '').map((line) => line.slice(0, 2));
  return { clock, alarms, disk, refusal, keys, tunnels, spis, ike, sink };
}

function inUse(keys: SessionKeys): IkeOutput {
  return { kind: 'session-keys', keys };
}

describe('services: decryptable debugging', () => {
  it('writes nothing and wants no keys without an order', async () => {
    const { keys, tunnels, disk, alarms } = make();
    await keys.start();
    tunnels(tunnel(1, 'b', [1]));
    keys.onOutput(inUse(ikeKeys(1, 'b', 1)));
    deepStrictEqual([keys.wants(ikeKeys(1, 'b', 1)), disk.size, alarms.active().length, keys.view().on], [false, 0, 0, false]);
  });

  it('writes what lives when it is ordered and what comes later, with an alarm', () => {
    const { keys, tunnels, spis, ike, alarms } = make();
    tunnels(tunnel(1, 'b', [1]));
    keys.attach(() => [ikeKeys(1, 'b', 1)]);
    keys.begin(EVERYTHING);
    tunnels(tunnel(1, 'b', [1, 2]));
    keys.onOutput(inUse(ikeKeys(1, 'c', 2)));
    deepStrictEqual([spis(), ike()], [['1', '2'], ['01', '02']]);
    deepStrictEqual(alarms.active().map((a) => a.name), ['session-keys-exported']);
    match(alarms.active()[0]!.cause, /all tenants are written to debug until 2023-11-14T22:23:20/);
  });

  it('writes both keys of an SA with AES-CBC and an HMAC', () => {
    const { keys, tunnels, disk } = make();
    keys.begin(EVERYTHING);
    const key = new Uint8Array([...octets(32, 1), ...octets(48, 2)]);
    tunnels({ ...tunnel(1, 'b', []), rx: [{ ...sa(1), suite: 'aes-256-cbc/hmac-sha384-192', key, salt: octets(0, 0) }] });
    const [line] = disk.get('debug/esp_sa')!.split('\n');
    equal(line, `"IPv4","*","*","0x02000001","AES-CBC [RFC3602]","0x${'01'.repeat(32)}","HMAC-SHA-384-192 [RFC4868]","0x${'02'.repeat(48)}"`);
  });

  it('ends by itself: the alarm is cleared and the files are removed', () => {
    const { keys, tunnels, clock, disk, alarms } = make();
    keys.begin(EVERYTHING);
    tunnels(tunnel(1, 'b', [1]));
    clock.advance(10 * MINUTE_MS - 1);
    equal(disk.size, 1);
    clock.advance(1);
    tunnels(tunnel(1, 'b', [2]));
    deepStrictEqual([disk.size, alarms.active().length, keys.view().on, clock.waiting], [0, 0, false, 0]);
  });

  it('keeps to the tenant and the peer of the order', () => {
    const { keys, tunnels, spis, ike } = make();
    keys.begin({ tenant: 1, peer: 'b', minutes: 5 });
    tunnels(tunnel(1, 'b', [1]), tunnel(2, 'b', [2]), tunnel(1, 'c', [3]));
    for (const other of [ikeKeys(1, 'b', 1), ikeKeys(2, 'b', 2), ikeKeys(1, 'c', 3)]) keys.onOutput(inUse(other));
    deepStrictEqual([spis(), ike()], [['1'], ['01']]);
  });

  it('finds a peer whose identity becomes known only at the end of the authentication', () => {
    const { keys, ike } = make();
    let peer = '192.0.2.9';
    keys.attach(() => [ikeKeys(1, peer, 1)].filter((k) => keys.wants(k)));
    keys.begin({ tenant: undefined, peer: 'branch@acme.example', minutes: 5 });
    deepStrictEqual(ike(), []);
    peer = 'branch@acme.example';
    keys.onOutput({ kind: 'ike-rekeyed', ikeSa: 1, profile: 'p', spis: '', suite: '' });
    deepStrictEqual(ike(), ['01']);
  });

  it('replaces the keys of an IKE SA whose keys an additional key exchange replaced', () => {
    const { keys, disk } = make();
    keys.begin(EVERYTHING);
    keys.onOutput(inUse(ikeKeys(1, 'b', 1, 0xaa)));
    keys.onOutput(inUse(ikeKeys(1, 'b', 1, 0xbb)));
    const table = disk.get('debug/ikev2_decryption_table')!;
    deepStrictEqual([table.includes('bbbb'), table.includes('aaaa')], [true, false]);
  });

  it('begins with the order of the configuration, and removes what an earlier life left', async () => {
    const { keys, disk, alarms } = make({ ...EVERYTHING, minutes: 1440 });
    disk.set('debug/esp_sa', 'old');
    await keys.start();
    deepStrictEqual([disk.size, keys.view().on, alarms.active().length], [0, true, 1]);
  });

  it('refuses times that would not end', () => {
    const { keys } = make();
    for (const minutes of [0, -1, 1.5, 1441, Number.NaN]) throws(() => keys.begin({ ...EVERYTHING, minutes }), /minutes are a number from 1 to 1440/);
    equal(keys.view().on, false);
  });

  it('ends with its cause in the log when the disk is full', () => {
    const { keys, tunnels, refusal, sink, alarms } = make();
    keys.begin(EVERYTHING);
    refusal.full = true;
    tunnels(tunnel(1, 'b', [1]));
    equal(keys.view().on, false);
    equal(alarms.active().length, 0);
    equal(sink.records.find((r) => r.sentence === 'session keys could not be written')?.fields['cause'], 'no space left on device');
  });
});
