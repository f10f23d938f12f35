import assert from 'node:assert/strict';
import { Fib, type FibRoute } from '../../firmware/dataplane/fib.ts';
import { parsePrefix, prefixContains, addressBytes, addressText } from '../../firmware/wire/address.ts';
import { SeededRandom } from '../../platform/random.ts';

function routes(root: number, prefixes: readonly string[]): FibRoute[] {
  return prefixes.map((prefix, i) => ({ root, ...parsePrefix(prefix), tunnel: i, label: 100 + i }));
}

function tunnelFor(fib: Fib, root: number, address: string): number {
  return fib.tunnelOf[fib.lookup(root, addressBytes(address), 0)]!;
}

describe('FIB', () => {
  it('finds the longest prefix whatever the order of routes', () => {
    const prefixes = ['10.0.0.0/8', '0.0.0.0/0', '10.1.2.3/32', '10.1.0.0/16', '10.1.2.0/23', '10.1.128.0/17'];
    for (const list of [prefixes, [...prefixes].reverse()]) {
      const fib = new Fib(2, routes(1, list));
      const expect = (address: string, prefix: string): void => assert.equal(list[tunnelFor(fib, 1, address)], prefix, address);
      expect('10.1.2.3', '10.1.2.3/32');
      expect('10.1.2.4', '10.1.2.0/23');
      expect('10.1.3.255', '10.1.2.0/23');
      expect('10.1.4.0', '10.1.0.0/16');
      expect('10.1.200.1', '10.1.128.0/17');
      expect('10.2.0.1', '10.0.0.0/8');
      expect('11.0.0.1', '0.0.0.0/0');
      assert.equal(tunnelFor(fib, 2, '10.1.2.3'), -1, 'the other root stays empty');
    }
  });

  for (const version of [4, 6] as const) {
    it(`agrees with comparing every prefix, IPv${version}`, () => {
      const random = new SeededRandom(`fib ${version}`);
      const octets = version === 4 ? 4 : 16;
      // Few distinct octets, so that prefixes nest.
      const address = (): string => addressText(Uint8Array.from({ length: octets }, (_, i) => (i === 0 ? 0x20 : random.uint32() % 3 === 0 ? 128 : 0)));
      const prefixes = [...new Set(Array.from({ length: 200 }, () => {
        const { bytes, length } = parsePrefix(`${address()}/${random.uint32() % (octets * 8 + 1)}`);
        return `${addressText(bytes)}/${length}`;
      }))];
      const fib = new Fib(1, routes(1, prefixes));
      assert.equal(fib.refused, 0);
      for (let i = 0; i < 1000; i++) {
        const probe = address();
        let best = -1;
        let bits = -1;
        for (const [n, prefix] of prefixes.entries()) {
          const length = Number(prefix.split('/')[1]);
          if (length > bits && prefixContains(prefix, probe)) [best, bits] = [n, length];
        }
        assert.equal(tunnelFor(fib, 1, probe), best, probe);
      }
    });
  }

  it('refuses routes beyond its size and still answers for the others', () => {
    const many: FibRoute[] = [];
    for (let i = 0; i < 70_000; i++) many.push({ root: 1, bytes: Uint8Array.of(0x20, i >>> 16, i >>> 8, i, 1), length: 40, tunnel: i, label: 0 });
    const fib = new Fib(1, [...many, ...routes(1, ['::/0'])]);
    assert.ok(fib.refused > 0);
    assert.equal(fib.lookup(1, many[0]!.bytes, 0) > 0, true);
  });
});
