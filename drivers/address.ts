// Socket addresses between text and the octets of a burst's address column, for the drivers that Node or memory serve.
// Node's URL parser does the work for IPv6: it reads every RFC 4291 form and writes RFC 5952.

/** 4 or 16 octets; undefined when the text is not an address. */
export function addressOctets(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!text.includes(':')) {
    const parts = text.split('.').map(Number);
    return parts.length === 4 && parts.every((part) => Number.isInteger(part) && part >= 0 && part < 256) ? Uint8Array.from(parts) : undefined;
  }
  const url = URL.parse(`http://[${text}]/`);
  if (url === null) return undefined;
  const sides = url.hostname.slice(1, -1).split('::');
  const groups = sides.map((side) => (side === '' ? [] : side.split(':').map((group) => Number.parseInt(group, 16))));
  const left = groups[0]!;
  const right = groups[1] ?? [];
  const zeros = new Array<number>(8 - left.length - right.length).fill(0);
  return Uint8Array.from([...left, ...zeros, ...right].flatMap((group) => [group >>> 8, group & 0xff]));
}

/** Canonical text of the 4 or 16 octets at `at`. */
export function octetsText(bytes: Uint8Array, at: number, family: number): string {
  if (family === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[at + 2 * i]! << 8) | bytes[at + 2 * i + 1]!).toString(16));
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
