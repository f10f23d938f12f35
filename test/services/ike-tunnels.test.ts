import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { ESP_SHAPES } from '../../drivers/esp-suite.ts';
import type { SaSpec } from '../../firmware/model.ts';
import { IkeTunnels, type ChildSas, type TunnelContext } from '../../firmware/services/ike-tunnels.ts';
import { espBytes } from '../../firmware/wire/esp.ts';

const CONTEXT: TunnelContext = {
  peer: 'branch-1',
  tenant: 2,
  kind: 'vxlan-esp',
  inside: 9,
  paths: [],
  mtu: 1394,
  idleDummyMs: 2000,
  routes: [{ prefix: '10.0.0.4/32', label: 0 }],
};

function sa(id: number): SaSpec {
  const limit = 2 ** 32;
  return {
    id,
    spi: 0x0200_0000 + id,
    suite: 'aes-256-gcm-16',
    key: new Uint8Array(32),
    salt: new Uint8Array(4),
    esn: true,
    windowPackets: 1024,
    softPackets: limit,
    softBytes: limit,
    hardPackets: limit,
    hardBytes: limit,
  };
}

function child(number: number, replaces?: number, sendAtOnce = false): ChildSas {
  return { child: number, inbound: sa(number * 10), outbound: sa(number * 10 + 1), replaces, sendAtOnce };
}

function tunnels(): IkeTunnels {
  const ids = new Map<string, number>();
  return new IkeTunnels((key) => ids.get(key) ?? ids.set(key, ids.size + 1).get(key)!);
}

/** `tx<-rx,rx` by SA id. */
function state(all: IkeTunnels): string[] {
  return (all.part().tunnels ?? []).map((t) => `${t.tx?.id ?? 'none'}<-${t.rx.map((r) => r.id).join(',')}`);
}

describe('services/ike-tunnels', () => {
  it('makes one tunnel with its routes for a first child', () => {
    const all = tunnels();
    const tunnel = all.childUp('p|a', CONTEXT, child(1));
    deepStrictEqual(state(all), ['11<-10']);
    deepStrictEqual(all.part().routes, [{ inside: 9, prefix: '10.0.0.4/32', tunnel, label: 0 }]);
  });

  it('receives on both children of a rekey, and sends on the old one until the peer was heard on the new one', () => {
    const all = tunnels();
    const tunnel = all.childUp('p|a', CONTEXT, child(1));
    strictEqual(all.childUp('p|a', CONTEXT, child(2, 1)), tunnel);
    deepStrictEqual(state(all), ['11<-10,20']);
    strictEqual(all.firstPacket(tunnel, 0x0200_0000 + 20), true);
    deepStrictEqual(state(all), ['21<-10,20']);
    strictEqual(all.firstPacket(tunnel, 0x0200_0000 + 20), false);
  });

  it('sends on the new child at once when this side began the rekey', () => {
    const all = tunnels();
    all.childUp('p|a', CONTEXT, child(1));
    all.childUp('p|a', CONTEXT, child(2, 1, true));
    deepStrictEqual(state(all), ['21<-10,20']);
  });

  it('sends on the old child until the peer was heard on one that it made anew without a rekey', () => {
    // IKE_AUTH { SA } -->   <-- IKE_AUTH { SA }: before that answer arrives the peer cannot receive on the new child.
    const all = tunnels();
    const tunnel = all.childUp('p|a', CONTEXT, child(1));
    all.childUp('p|a', CONTEXT, child(2));
    deepStrictEqual(state(all), ['11<-10,20']);
    strictEqual(all.firstPacket(tunnel, 0x0200_0000 + 20), true);
    deepStrictEqual(state(all), ['21<-10,20']);
  });

  it('moves sending to what is left when the child in use is deleted', () => {
    const all = tunnels();
    all.childUp('p|a', CONTEXT, child(1));
    all.childUp('p|a', CONTEXT, child(2));
    all.retire(1);
    deepStrictEqual(state(all), ['21<-10,20']);
  });

  it('moves sending when the replaced child is deleted before a packet came on the new one', () => {
    const all = tunnels();
    all.childUp('p|a', CONTEXT, child(1));
    all.childUp('p|a', CONTEXT, child(2, 1));
    all.retire(1);
    deepStrictEqual(state(all), ['21<-10,20']);
    all.forget(1);
    deepStrictEqual(state(all), ['21<-20']);
  });

  it('keeps receiving on a deleted child until it is forgotten, but never sends on it', () => {
    const all = tunnels();
    all.childUp('p|a', CONTEXT, child(1));
    all.retire(1);
    deepStrictEqual(state(all), ['none<-10']);
    all.forget(1);
    deepStrictEqual(state(all), []);
  });

  it('sends at once on a child of a new connection when the former one is gone', () => {
    const all = tunnels();
    all.childUp('p|a', CONTEXT, child(1));
    all.retire(1);
    all.childUp('p|a', CONTEXT, child(2));
    deepStrictEqual(state(all), ['21<-10,20']);
  });

  it('leaves room for what AES-CBC and its HMAC take more than an AEAD, whatever the packet', () => {
    const all = tunnels();
    const suite = 'aes-256-cbc/hmac-sha512-256';
    const { inbound, outbound, ...rest } = child(1);
    all.childUp('k', CONTEXT, { ...rest, inbound: { ...inbound, suite }, outbound: { ...outbound, suite } });
    const { mtu } = all.part().tunnels![0]!;
    const [aead, cbc] = [ESP_SHAPES['aes-256-gcm-16'], ESP_SHAPES[suite]].map(({ ivBytes, icvBytes, blockBytes }) => (bytes: number): number => espBytes(bytes, ivBytes, icvBytes, blockBytes));
    for (let label = 0; label <= 16; label++) ok(cbc!(label + mtu) <= aead!(label + CONTEXT.mtu));
    all.childUp('k', CONTEXT, child(2, 1, true));
    strictEqual(all.part().tunnels![0]!.mtu, CONTEXT.mtu);
  });

  it('keeps peers of one profile apart', () => {
    const all = tunnels();
    const a = all.childUp('p|a', CONTEXT, child(1));
    const b = all.childUp('p|b', { ...CONTEXT, peer: 'branch-2' }, child(2));
    strictEqual(a === b, false);
    all.firstPacket(a, 0x0200_0000 + 20);
    deepStrictEqual(state(all), ['11<-10', '21<-20']);
  });
});
