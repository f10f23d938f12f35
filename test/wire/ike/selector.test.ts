import { deepStrictEqual, equal } from 'node:assert/strict';
import type { TrafficSelector } from '../../../firmware/wire/ike/selector.ts';
import { ANY_IPV4, ANY_IPV6, formatSelector, intersectSelectors, narrowSelectors } from '../../../firmware/wire/ike/selector.ts';

function range(startAddress: string, endAddress: string, extra: Partial<TrafficSelector> = {}): TrafficSelector {
  return { ...ANY_IPV4, startAddress, endAddress, ...extra };
}

describe('wire/ike traffic selectors', () => {
  const table: readonly (readonly [string, TrafficSelector, TrafficSelector, TrafficSelector | undefined])[] = [
    ['any with a range', ANY_IPV4, range('10.0.0.0', '10.0.0.255'), range('10.0.0.0', '10.0.0.255')],
    ['overlapping ranges', range('10.0.0.0', '10.0.0.9'), range('10.0.0.5', '10.0.0.20'), range('10.0.0.5', '10.0.0.9')],
    ['ranges apart', range('10.0.0.0', '10.0.0.9'), range('10.0.0.10', '10.0.0.20'), undefined],
    ['different families', ANY_IPV4, ANY_IPV6, undefined],
    ['a protocol with any', range('0.0.0.0', '9.9.9.9', { protocol: 6 }), ANY_IPV4, range('0.0.0.0', '9.9.9.9', { protocol: 6 })],
    ['different protocols', range('0.0.0.0', '9.9.9.9', { protocol: 6 }), range('0.0.0.0', '9.9.9.9', { protocol: 17 }), undefined],
    ['ports apart', { ...ANY_IPV4, endPort: 79 }, { ...ANY_IPV4, startPort: 80 }, undefined],
  ];
  for (const [name, a, b, both] of table) {
    it(`intersects ${name}`, () => {
      deepStrictEqual(intersectSelectors(a, b), both);
      deepStrictEqual(intersectSelectors(b, a), both);
    });
  }

  it('narrows lists to their common part, each once and no more than the limit', () => {
    deepStrictEqual(narrowSelectors([ANY_IPV4, ANY_IPV4, ANY_IPV6], [ANY_IPV4, ANY_IPV6], 16), [ANY_IPV4, ANY_IPV6]);
    equal(narrowSelectors([ANY_IPV4, ANY_IPV6], [ANY_IPV4, ANY_IPV6], 1).length, 1);
  });

  it('prints what is not "any" only', () => {
    equal(formatSelector(ANY_IPV4), '0.0.0.0-255.255.255.255');
    equal(formatSelector({ ...ANY_IPV4, protocol: 6, startPort: 80, endPort: 80 }), '0.0.0.0-255.255.255.255 protocol 6 ports 80-80');
  });
});
