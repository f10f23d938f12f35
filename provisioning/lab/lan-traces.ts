// What of a LAN could be seen on the WAN: its addresses, alone in a header that is read, or in the raw octets as they
// stand beside each other in an IP header, or as the words that the hosts say. Random ciphertext hits none of the raw
// patterns in any capture of this size: the shortest has 48 bits.
import { InternalError } from '../../platform/errors.ts';
import type { LabTopology } from './topology.ts';
import { hostsOf } from './topology.ts';

interface Prefix {
  readonly text: string;
  readonly bytes: Buffer;
  /** IPv4 has so short a prefix that its neighbour decides. */
  readonly isIpv4: boolean;
}

const IPV4_BYTES = 4;

function ipv6Bytes(address: string): Buffer {
  const [head, tail = ''] = address.split('::') as [string, string?];
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const out = Buffer.alloc(16);
  for (const [index, group] of groups(head).entries()) out.writeUInt16BE(group, index * 2);
  const right = groups(tail);
  for (const [index, group] of right.entries()) out.writeUInt16BE(group, 16 - (right.length - index) * 2);
  return out;
}

function prefixOf(text: string): Prefix {
  const [address, length] = text.split('/') as [string, string];
  if (Number(length) % 8 !== 0) throw new InternalError(`${text} ends within an octet`);
  const isIpv4 = !address.includes(':');
  const bytes = isIpv4 ? Buffer.from(address.split('.').map(Number)) : ipv6Bytes(address);
  return { text, isIpv4, bytes: bytes.subarray(0, Number(length) / 8) };
}

export class LanTraces {
  readonly #prefixes: readonly Prefix[];
  readonly #words: readonly { readonly text: string; readonly bytes: Buffer }[];

  constructor(topology: LabTopology) {
    const texts = topology.wires.filter(({ use }) => use.kind === 'lan').flatMap(({ ends }) => ends[1].addresses);
    const all = new Map(texts.map(prefixOf).map((prefix) => [prefix.bytes.toString('hex'), prefix]));
    this.#prefixes = [...all.values()];
    this.#words = hostsOf(topology).map(({ name }) => ({ text: name, bytes: Buffer.from(name) }));
  }

  /** `address` as wan-packet.ts writes it. */
  isLanAddress(address: string): boolean {
    const bytes = address.includes(':') ? ipv6Bytes(address) : Buffer.from(address.split('.').map(Number));
    return this.#prefixes.some((prefix) => prefix.isIpv4 === (bytes.length === IPV4_BYTES) && bytes.subarray(0, prefix.bytes.length).equals(prefix.bytes));
  }

  /** What of a LAN stands in these octets, or undefined. */
  find(frame: Uint8Array): string | undefined {
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    for (const { text, bytes: word } of this.#words) if (bytes.includes(word)) return `the words "${text}"`;
    for (const prefix of this.#prefixes) {
      for (let at = bytes.indexOf(prefix.bytes); at >= 0; at = bytes.indexOf(prefix.bytes, at + 1)) {
        if (!prefix.isIpv4 || this.#startsAddress(bytes, at + IPV4_BYTES)) return `an address in the network of ${prefix.text}`;
      }
    }
    return undefined;
  }

  /** Whether another LAN address follows, as the destination follows the source. */
  #startsAddress(bytes: Buffer, at: number): boolean {
    return this.#prefixes.some((prefix) => prefix.isIpv4 && bytes.subarray(at, at + prefix.bytes.length).equals(prefix.bytes));
  }
}
