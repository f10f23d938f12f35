import { equal, throws } from 'node:assert/strict';
import { concat, fromHex, utf8 } from '../../platform/bytes.ts';
import { encodeElement, Tag } from '../../platform/der.ts';
import { nameText, sameName } from '../../platform/distinguished-name.ts';
import { WireError } from '../../platform/errors.ts';

const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;
const BMP_STRING = 0x1e;
const COMMON_NAME = fromHex('550403');
const ORGANIZATION = fromHex('55040a');

function attribute(type: Uint8Array, tag: number, value: Uint8Array): Uint8Array {
  return encodeElement(Tag.sequence, encodeElement(Tag.oid, type), encodeElement(tag, value));
}

function name(...sets: readonly (readonly Uint8Array[])[]): Uint8Array {
  return encodeElement(Tag.sequence, ...sets.map((attributes) => encodeElement(Tag.set, ...attributes)));
}

function common(text: string, tag = UTF8_STRING): Uint8Array {
  return name([attribute(COMMON_NAME, tag, utf8(text))]);
}

describe('platform/distinguished-name', () => {
  it('is told in the order in which it is encoded', () => {
    const organization = attribute(ORGANIZATION, PRINTABLE_STRING, utf8('Acme'));
    equal(nameText(name([organization], [attribute(COMMON_NAME, UTF8_STRING, utf8('b1'))])), 'O=Acme, CN=b1');
    equal(nameText(name([organization, attribute(fromHex('2a0304'), UTF8_STRING, utf8('x'))])), 'O=Acme+1.2.3.4=x');
    equal(nameText(name()), '');
  });

  it('cannot pose as another one, nor as lines of a log', () => {
    equal(nameText(common('b1, O=Acme')), 'CN=b1\\, O\\=Acme');
    equal(nameText(common(' #b1\n')), 'CN=\\ #b1\\0a');
    equal(nameText(common('é')), 'CN=\\c3\\a9');
    equal(nameText(name([attribute(COMMON_NAME, BMP_STRING, fromHex('00620031'))])), 'CN=#1e0400620031');
    equal(nameText(name([attribute(COMMON_NAME, UTF8_STRING, fromHex('ff'))])), 'CN=#0c01ff');
  });

  it('is the same whatever the kind of string and the case, and not otherwise', () => {
    equal(sameName(common('Branch-1'), common('BRANCH-1', PRINTABLE_STRING)), true);
    equal(sameName(common('branch-1'), common('branch-2')), false);
    equal(sameName(common('b1'), name([attribute(ORGANIZATION, UTF8_STRING, utf8('b1'))])), false);
  });

  it('throws WireError for what is no name, which is the same as nothing', () => {
    const good = common('b1');
    const deep = name(Array.from({ length: 65 }, () => attribute(COMMON_NAME, UTF8_STRING, utf8('x'))));
    for (const bad of [good.slice(0, -1), concat(good, Uint8Array.of(0)), new Uint8Array(0), deep, encodeElement(Tag.sequence, encodeElement(Tag.set, Uint8Array.of(5, 0)))]) {
      throws(() => nameText(bad), WireError);
      equal(sameName(bad, bad), false);
    }
  });
});
