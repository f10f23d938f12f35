import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { UsageError } from '../../platform/errors.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { addressBytes, addressText, isAddress, parsePrefix, prefixContains, prefixText } from '../../firmware/wire/address.ts';

describe('IP addresses as text and octets', () => {
  // RFC 5952 4 and 5: the recommended form of each.
  const pairs: readonly [string, string, string][] = [
    ['192.0.2.1', 'c0000201', '192.0.2.1'],
    ['0.0.0.0', '00000000', '0.0.0.0'],
    ['2001:0db8:0:0:0:0:2:1', '20010db8000000000000000000020001', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '20010000000000010000000000000001', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['2001:DB8::AAAA', '20010db800000000000000000000aaaa', '2001:db8::aaaa'],
    ['::', '00000000000000000000000000000000', '::'],
    ['::1', '00000000000000000000000000000001', '::1'],
    ['fe80::', 'fe800000000000000000000000000000', 'fe80::'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:7::', '00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
  ];
  for (const [text, hex, canonical] of pairs) {
    it(`reads ${text} and writes ${canonical}`, () => {
      assert.equal(toHex(addressBytes(text)), hex);
      assert.equal(addressText(fromHex(hex)), canonical);
    });
  }

  const malformed = [
    '', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', '1.2.3.4/32', ' 1.2.3.4', ':', ':::', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::', '12345::', 'g::', 'fe80::1%eth0', '::1.2.3', '1.2.3.4::', '::1.2.3.4:5', '1:', ':1', '1e1.0.0.0',
  ];
  for (const text of malformed) {
    it(`refuses "${text}"`, () => {
      assert.equal(isAddress(text), false);
      assert.throws(() => addressBytes(text), UsageError);
    });
  }

  it('agrees with the runtime on which random texts are addresses', () => {
    const random = new SeededRandom('address text');
    const alphabet = '0123456789af:.';
    for (let i = 0; i < 20_000; i++) {
      let text = '';
      for (let left = 1 + randomBelow(random, 12); left > 0; left--) text += alphabet[randomBelow(random, alphabet.length)]!;
      assert.equal(isAddress(text), isIP(text) !== 0, text);
    }
  });

  it('reads back what it wrote for any octets, many of them zero', () => {
    const random = new SeededRandom('address octets');
    for (let i = 0; i < 5000; i++) {
      const bytes = random.bytes(i % 2 === 0 ? 4 : 16).map((octet) => (octet < 160 ? 0 : octet));
      const text = addressText(bytes);
      assert.notEqual(isIP(text), 0, text);
      assert.equal(toHex(addressBytes(text)), toHex(bytes));
    }
  });

  it('refuses octets that are neither 4 nor 16', () => {
    assert.throws(() => addressText(new Uint8Array(5)), UsageError);
  });
});

describe('prefixes', () => {
  it('clears host bits both ways', () => {
    const { bytes, length } = parsePrefix('10.1.2.3/20');
    assert.equal(toHex(bytes), '0a010000');
    assert.equal(length, 20);
    assert.equal(prefixText(fromHex('0a0102ff'), 25), '10.1.2.128/25');
    assert.equal(prefixText(fromHex('20010db8000000000000000000000001'), 32), '2001:db8::/32');
    assert.equal(prefixText(fromHex('ffffffff'), 0), '0.0.0.0/0');
  });

  it('takes an address alone as a host prefix', () => {
    assert.equal(parsePrefix('10.0.0.1').length, 32);
    assert.equal(parsePrefix('::1').length, 128);
  });

  for (const text of ['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/1/2', '10.0.0/8', '/8', '10.0.0.0/08']) {
    it(`refuses "${text}"`, () => assert.throws(() => parsePrefix(text), UsageError));
  }

  it('contains by bits and never across families', () => {
    assert.equal(prefixContains('10.0.0.0/15', '10.1.255.255'), true);
    assert.equal(prefixContains('10.0.0.0/15', '10.2.0.0'), false);
    assert.equal(prefixContains('0.0.0.0/0', '203.0.113.9'), true);
    assert.equal(prefixContains('::/0', '203.0.113.9'), false);
    assert.equal(prefixContains('2001:db8::/33', '2001:db8:8000::'), false);
  });
});
