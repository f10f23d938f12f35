// Distinguished names (RFC 5280 4.1.2.4) as text in the order in which they are encoded, with the short names and the
// escapes of RFC 4514.
import { fromUtf8, Reader, toHex } from './bytes.ts';
import { expectElement, oidText, readElement, Tag } from './der.ts';
import type { DerElement } from './der.ts';
import { WireError } from './errors.ts';

const MOST_ATTRIBUTES = 64;
const SHORT_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN', '2.5.4.5': 'serialNumber', '2.5.4.6': 'C', '2.5.4.7': 'L', '2.5.4.8': 'ST', '2.5.4.10': 'O', '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.1': 'UID', '0.9.2342.19200300.100.1.25': 'DC', '1.2.840.113549.1.9.1': 'E',
};
/** UTF8String, PrintableString, IA5String. */
const TEXT_TAGS: ReadonlySet<number> = new Set([0x0c, 0x13, 0x16]);

/** Throws WireError for what is no name. */
export function nameText(name: Uint8Array): string {
  const outer = new Reader(name, 'name');
  const list = expectElement(outer, Tag.sequence, 'name').content;
  outer.expectEnd();
  const parts: string[] = [];
  for (let attributes = 0; list.remaining > 0; ) {
    const set = expectElement(list, Tag.set, 'part of a name').content;
    const together: string[] = [];
    for (; set.remaining > 0; attributes++) {
      if (attributes === MOST_ATTRIBUTES) throw new WireError(`name has more than ${MOST_ATTRIBUTES} attributes`);
      const attribute = expectElement(set, Tag.sequence, 'attribute').content;
      const type = oidText(expectElement(attribute, Tag.oid, 'attribute type').content);
      together.push(`${SHORT_NAMES[type] ?? type}=${valueText(readElement(attribute, 'attribute value'))}`);
      attribute.expectEnd();
    }
    parts.push(together.join('+'));
  }
  return parts.join(', ');
}

function valueText({ tag, content, encoded }: DerElement): string {
  const octets = content.rest();
  if (!TEXT_TAGS.has(tag)) return `#${toHex(encoded)}`;
  const text = fromUtf8(octets);
  // What does not come out as it went in is not text.
  if (Buffer.compare(Buffer.from(text), octets) !== 0) return `#${toHex(encoded)}`;
  const escaped = text.replace(/[\\,+"<>;=]/g, '\\$&').replace(/^[ #]| $/g, '\\$&');
  // Names end in logs: whatever is not printable is told in hexadecimal.
  return escaped.replace(/[^\x20-\x7e]/gu, (character) => [...Buffer.from(character)].map((octet) => `\\${toHex(Uint8Array.of(octet))}`).join(''));
}

/** Whether two names mean the same: kinds of strings and cases make no difference (RFC 5280 7.1); false for what is no name. */
export function sameName(a: Uint8Array, b: Uint8Array): boolean {
  try {
    return asciiLowerCase(nameText(a)) === asciiLowerCase(nameText(b));
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
