// Overlay and staging addresses.
import assert from 'node:assert/strict';
import { formatAddress, parseAddress, parsePrefix, poolSlots, prefixesOverlap, slotAddresses, subPrefix } from '../../provisioning/director/ipam.ts';
import { populate, startDirector } from './director-fixture.ts';

describe('IPAM', () => {
  it('writes addresses in their canonical form', () => {
    for (const [text, canonical] of [
      ['10.0.0.1', '10.0.0.1'],
      ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
      ['::', '::'],
      ['::1', '::1'],
      ['1::', '1::'],
    ] as const) {
      const { family, value } = parseAddress(text)!;
      assert.equal(formatAddress(family, value), canonical);
    }
  });

  it('refuses texts that are no address or prefix', () => {
    for (const text of ['', '10.0.0', '10.0.0.256', '01.0.0.1', '1:2:3:4:5:6:7', '1::2::3', 'g::1', '1:2:3:4:5:6:7::8']) assert.equal(parseAddress(text), undefined, text);
    for (const text of ['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0', '2001:db8::/129', '10.0.0.0/']) assert.equal(parsePrefix(text), undefined, text);
  });

  it('gives two neighbouring addresses per slot and never the network or broadcast address', () => {
    const pool = parsePrefix('10.9.0.0/29')!;
    assert.equal(poolSlots(pool), 3);
    assert.deepEqual(slotAddresses(pool, 0), { slot: 0, encryptedAddress: '10.9.0.1', clearAddress: '10.9.0.2' });
    assert.deepEqual(slotAddresses(pool, 2), { slot: 2, encryptedAddress: '10.9.0.5', clearAddress: '10.9.0.6' });
    assert.equal(poolSlots(parsePrefix('10.9.0.0/31')!), 0);
    assert.equal(slotAddresses(parsePrefix('2001:db8:1::/64')!, 1).clearAddress, '2001:db8:1::4');
  });

  it('cuts sub-prefixes and sees overlaps', () => {
    const pool = parsePrefix('172.30.0.0/16')!;
    assert.equal(subPrefix(pool, 24, 1), '172.30.1.0/24');
    assert.equal(subPrefix(pool, 24, 256), undefined);
    assert.ok(prefixesOverlap(pool, parsePrefix('172.30.4.0/24')!));
    assert.ok(!prefixesOverlap(pool, parsePrefix('172.31.0.0/16')!));
  });

  it('returns the addresses of a deleted site to the pool, and says when a pool is full', async () => {
    const fixture = await startDirector();
    try {
      await populate(fixture);
      const { operator } = fixture;
      await operator.createOrganization({ name: 'Small', overlayPool: '10.9.0.0/29' });
      const circuits = [{ id: 1, name: 'vni-0/0', transport: 'INTERNET', addresses: ['192.0.2.20/24'], gateways: [] }];
      const create = (n: number) => operator.createSite({ name: `S-${n}`, serial: `S${n}`, circuits, tenants: [{ organization: 'Small', lanPorts: [] }] });
      // The Controller has the first slot.
      assert.equal((await create(1)).tenants[1]!.encryptedAddress, '10.9.0.3');
      assert.equal((await create(2)).tenants[1]!.encryptedAddress, '10.9.0.5');
      await assert.rejects(create(3), /overlay pool 10.9.0.0\/29 of tenant 3 has no free address pair/);
      await operator.call('DELETE', '/api/v1/sites/S-1');
      assert.equal((await create(3)).tenants[1]!.encryptedAddress, '10.9.0.3');
    } finally {
      await fixture.close();
    }
  });
});
