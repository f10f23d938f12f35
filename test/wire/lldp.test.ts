import assert from 'node:assert/strict';
import { decodeLldp, encodeLldp } from '../../firmware/wire/lldp.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';
import { SeededRandom } from '../../platform/random.ts';

const UNIT = {
  chassis: fromHex('525400000001'),
  port: 'vni-0/0',
  ttlSeconds: 120,
  portDescription: 'WAN',
  systemName: 'branch-1',
  systemDescription: 'Selvage',
  managementAddress: fromHex('0aff0001'),
};
const GOLDEN = `0207 04 525400000001  0408 05 ${toHex(Buffer.from('vni-0/0'))}  0602 0078  0803 57414e
  0a08 ${toHex(Buffer.from('branch-1'))}  0c07 ${toHex(Buffer.from('Selvage'))}  100c 05 01 0aff0001 01 00000000 00  0000`;

describe('LLDP', () => {
  it('encodes and decodes a data unit octet by octet', () => {
    assert.equal(toHex(encodeLldp(UNIT)), toHex(fromHex(GOLDEN)));
    assert.deepEqual(decodeLldp(fromHex(GOLDEN)), UNIT);
  });

  it('reads a unit with mandatory TLVs only and skips what it does not know', () => {
    const unit = decodeLldp(fromHex('0204 07 616263  0403 07 6162  0602 0000  fe04 00120f01  0000'));
    assert.equal(unit.chassis, undefined);
    assert.equal(unit.port, 'ab');
    assert.equal(unit.systemName, undefined);
  });

  it('answers truncation at every length and random changes with WireError or a unit', () => {
    const golden = fromHex(GOLDEN);
    for (let length = 0; length < golden.length; length++) assert.throws(() => decodeLldp(golden.subarray(0, length)), WireError);
    const random = new SeededRandom('lldp');
    for (let i = 0; i < 3000; i++) {
      const bytes = golden.slice();
      bytes[random.uint32() % bytes.length]! ^= 1 << (random.uint32() % 8);
      try {
        decodeLldp(bytes);
      } catch (error) {
        assert.ok(error instanceof WireError);
      }
    }
  });
});
