import assert from 'node:assert/strict';
import { UsageError } from '../../../platform/errors.ts';
import { fromHex, toHex } from '../../../platform/bytes.ts';
import { SeededRandom } from '../../../platform/random.ts';
import {
  colorCommunity, colorOf, encapsulationCommunity, formatRouteDistinguisher, formatRouteTarget, isRouteTarget, isTransitiveCommunity, routeDistinguisher,
  routeTarget,
} from '../../../firmware/wire/bgp/community.ts';

describe('route distinguishers and extended communities', () => {
  const targets: readonly [string, string][] = [
    ['65000:2', '0002fde800000002'],
    ['0:4294967295', '00020000ffffffff'],
    ['192.0.2.1:7', '0102c00002010007'],
    ['4200000001:2', '0202fa56ea010002'],
    ['65000L:2', '02020000fde80002'],
  ];
  for (const [text, hex] of targets) {
    it(`reads and writes the route target ${text}`, () => {
      assert.equal(toHex(routeTarget(text)), hex);
      assert.equal(formatRouteTarget(fromHex(hex)), text);
      assert.ok(isRouteTarget(fromHex(hex)));
    });
  }

  const distinguishers: readonly [string, string][] = [
    ['65000:2', '0000fde800000002'],
    ['192.0.2.1:7', '0001c00002010007'],
    ['4200000001:2', '0002fa56ea010002'],
    ['65000L:2', '00020000fde80002'],
    ['0xffff000000000001', 'ffff000000000001'],
  ];
  for (const [text, hex] of distinguishers) {
    it(`reads and writes the route distinguisher ${text}`, () => {
      assert.equal(toHex(routeDistinguisher(text)), hex);
      assert.equal(formatRouteDistinguisher(fromHex(hex)), text);
    });
  }

  for (const text of ['', '65000', '65000:', ':2', '4294967296:1', '65536:65536', '192.0.2.1:65536', '1.2.3:4', '-1:2', '65000:4294967296', ' 1:2']) {
    it(`refuses "${text}"`, () => {
      assert.throws(() => routeTarget(text), UsageError);
      assert.throws(() => routeDistinguisher(text), UsageError);
    });
  }

  it('gives any eight octets a route distinguisher text that reads back', () => {
    const random = new SeededRandom('rd');
    for (let i = 0; i < 2000; i++) {
      const bytes = random.bytes(8);
      if (i % 2 === 0) bytes.set([0, i % 3], 0);
      assert.equal(toHex(routeDistinguisher(formatRouteDistinguisher(bytes))), toHex(bytes));
    }
  });

  it('writes color and encapsulation', () => {
    assert.equal(toHex(colorCommunity(101)), '030b000000000065');
    assert.equal(toHex(encapsulationCommunity(25)), '030c000000000019');
    assert.equal(colorOf(colorCommunity(4_000_000_000)), 4_000_000_000);
    assert.equal(colorOf(encapsulationCommunity(25)), undefined);
    assert.equal(isRouteTarget(colorCommunity(1)), false);
    assert.equal(isTransitiveCommunity(fromHex('4002fde800000002')), false);
    assert.equal(isTransitiveCommunity(routeTarget('1:1')), true);
  });
});
