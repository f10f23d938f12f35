// Traffic selectors (RFC 7296 3.13.1): type 1 | protocol 1 | length 2 | start port 2 | end port 2 | start | end address.
import type { Reader, Writer } from '../../../platform/bytes.ts';
import { compareBytes } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { addressBytes, addressText } from '../address.ts';
import { NotifyType } from './numbers.ts';

const TYPE_IPV4 = 7;
const TYPE_IPV6 = 8;
const HEADER_BYTES = 8;

/** A range of addresses, ports and one protocol; protocol 0 and ports 0-65535 mean "any". */
export interface TrafficSelector {
  readonly protocol: number;
  readonly startPort: number;
  readonly endPort: number;
  /** Canonical text; both ends of one family. */
  readonly startAddress: string;
  readonly endAddress: string;
}

export const ANY_IPV4: TrafficSelector = {
  protocol: 0,
  startPort: 0,
  endPort: 65535,
  startAddress: '0.0.0.0',
  endAddress: '255.255.255.255',
};

export const ANY_IPV6: TrafficSelector = {
  ...ANY_IPV4,
  startAddress: '::',
  endAddress: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
};

/** Selectors of other types are skipped: they cannot match anything here. */
export function decodeSelectors(reader: Reader): TrafficSelector[] {
  const count = reader.u8();
  reader.skip(3);
  const selectors: TrafficSelector[] = [];
  for (let i = 0; i < count; i++) {
    const type = reader.u8();
    const protocol = reader.u8();
    const length = reader.u16();
    if (length < 4) throw new WireError(`traffic selector claims ${length} octets, its header has 4`, NotifyType.INVALID_SYNTAX);
    const body = reader.sub(length - 4, 'traffic selector');
    const addressLength = type === TYPE_IPV4 ? 4 : type === TYPE_IPV6 ? 16 : 0;
    if (addressLength === 0) continue;
    const startPort = body.u16();
    const endPort = body.u16();
    const startAddress = addressText(body.take(addressLength));
    const endAddress = addressText(body.take(addressLength));
    body.expectEnd();
    selectors.push({ protocol, startPort, endPort, startAddress, endAddress });
  }
  reader.expectEnd();
  return selectors;
}

export function encodeSelectors(writer: Writer, selectors: readonly TrafficSelector[]): void {
  writer.u8(selectors.length).zeros(3);
  for (const selector of selectors) {
    const start = addressBytes(selector.startAddress);
    writer.u8(start.length === 4 ? TYPE_IPV4 : TYPE_IPV6).u8(selector.protocol).u16(HEADER_BYTES + 2 * start.length);
    writer.u16(selector.startPort).u16(selector.endPort).put(start).put(addressBytes(selector.endAddress));
  }
}

/** What both selectors cover, or undefined when nothing is. */
export function intersectSelectors(a: TrafficSelector, b: TrafficSelector): TrafficSelector | undefined {
  // Before any address is read: most pairs of selectors are of different families.
  if (a.startAddress.includes(':') !== b.startAddress.includes(':')) return undefined;
  if (a.protocol !== 0 && b.protocol !== 0 && a.protocol !== b.protocol) return undefined;
  const [aStart, aEnd, bStart, bEnd] = [a.startAddress, a.endAddress, b.startAddress, b.endAddress].map(addressBytes);
  const start = compareBytes(aStart!, bStart!) > 0 ? aStart! : bStart!;
  const end = compareBytes(aEnd!, bEnd!) < 0 ? aEnd! : bEnd!;
  const startPort = Math.max(a.startPort, b.startPort);
  const endPort = Math.min(a.endPort, b.endPort);
  if (compareBytes(start, end) > 0 || startPort > endPort) return undefined;
  return { protocol: a.protocol || b.protocol, startPort, endPort, startAddress: addressText(start), endAddress: addressText(end) };
}

/** Every non-empty intersection of two lists (RFC 7296 2.9), the same range only once. */
export function narrowSelectors(offered: readonly TrafficSelector[], own: readonly TrafficSelector[], limit: number): TrafficSelector[] {
  const found = new Map<string, TrafficSelector>();
  for (const a of offered) {
    for (const b of own) {
      const both = intersectSelectors(a, b);
      if (both !== undefined && found.size < limit) found.set(formatSelector(both), both);
    }
  }
  return [...found.values()];
}

/** `10.0.0.0-10.0.0.255 protocol 6 ports 80-80`; the parts that mean "any" are left out. */
export function formatSelector(selector: TrafficSelector): string {
  const protocol = selector.protocol === 0 ? '' : ` protocol ${selector.protocol}`;
  const ports = selector.startPort === 0 && selector.endPort === 65535 ? '' : ` ports ${selector.startPort}-${selector.endPort}`;
  return `${selector.startAddress}-${selector.endAddress}${protocol}${ports}`;
}
