// Overlay addresses: every device has two per tenant (encrypted TVI, clear TVI), taken as one slot of the tenant's pool.
// The lowest free slot is used, so freed addresses come back. Nothing about the device is encoded in the address.
import type { IpAddress } from '../../firmware/model.ts';
import type { Db } from './store/tables.ts';
import { refusal } from './refusal.ts';

export interface Prefix {
  readonly family: 4 | 6;
  readonly network: bigint;
  readonly length: number;
}

const BITS = { 4: 32, 6: 128 } as const;
/** Director counts sites by 14-bit ids; more slots than that are never asked for. */
const SLOT_LIMIT = 1 << 20;

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some((part) => !/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255)) return undefined;
  return parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string | undefined): string[] => (half === undefined || half === '' ? [] : half.split(':'));
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array<string>(missing).fill('0'), ...tail];
  if (all.some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return all.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

/** An address as a number, or undefined when the text is none. Zone ids and embedded IPv4 are not accepted. */
export function parseAddress(text: string): { readonly family: 4 | 6; readonly value: bigint } | undefined {
  const family = text.includes(':') ? 6 : 4;
  const value = family === 6 ? parseIpv6(text) : parseIpv4(text);
  return value === undefined ? undefined : { family, value };
}

/** Canonical text: dotted quad, or RFC 5952 (longest run of at least two zero groups compressed, lower case). */
export function formatAddress(family: 4 | 6, value: bigint): IpAddress {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  let start = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === '0') run++;
    if (run > longest) [start, longest] = [i, run];
  }
  if (start < 0) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + longest).join(':')}`;
}

/** `10.0.0.0/8`; undefined for anything else, and for host bits that are not zero. */
export function parsePrefix(text: string): Prefix | undefined {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const address = match ? parseAddress(match[1]!) : undefined;
  const length = Number(match?.[2]);
  if (!address || length > BITS[address.family]) return undefined;
  const hostBits = BigInt(BITS[address.family] - length);
  if ((address.value >> hostBits) << hostBits !== address.value) return undefined;
  return { family: address.family, network: address.value, length };
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  if (a.family !== b.family) return false;
  const shift = BigInt(BITS[a.family] - Math.min(a.length, b.length));
  return a.network >> shift === b.network >> shift;
}

/** How many devices a pool can hold. The network's own address and an IPv4 broadcast address are never given out. */
export function poolSlots(pool: Prefix): number {
  const size = 1n << BigInt(BITS[pool.family] - pool.length);
  const usable = size - (pool.family === 4 ? 2n : 1n);
  const slots = usable < 2n ? 0n : usable / 2n;
  return slots > BigInt(SLOT_LIMIT) ? SLOT_LIMIT : Number(slots);
}

export interface OverlayAddresses {
  readonly slot: number;
  readonly encryptedAddress: IpAddress;
  readonly clearAddress: IpAddress;
}

export function slotAddresses(pool: Prefix, slot: number): OverlayAddresses {
  const first = pool.network + 1n + 2n * BigInt(slot);
  return { slot, encryptedAddress: formatAddress(pool.family, first), clearAddress: formatAddress(pool.family, first + 1n) };
}

/** The pool's i-th sub-prefix of `length` bits, or undefined beyond its end. */
export function subPrefix(pool: Prefix, length: number, index: number): string | undefined {
  const more = length - pool.length;
  if (more < 0 || (more < 31 && index >= 2 ** more)) return undefined;
  const network = pool.network + (BigInt(index) << BigInt(BITS[pool.family] - length));
  return `${formatAddress(pool.family, network)}/${length}`;
}

/**
 * The lowest free slot of a tenant. Call inside the transaction that stores it.
 * @throws OperationalError `exhausted`
 */
export async function allocateOverlay(db: Db, tenant: number, overlayPool: string): Promise<OverlayAddresses> {
  const pool = parsePrefix(overlayPool);
  const rows = await db.selectFrom('site_tenants').select('slot').where('tenant', '=', tenant).orderBy('slot').execute();
  let slot = 0;
  for (const row of rows) {
    if (row.slot !== slot) break;
    slot++;
  }
  if (!pool || slot >= poolSlots(pool)) {
    throw refusal('exhausted', `overlay pool ${overlayPool} of tenant ${tenant} has no free address pair`, 'give the organisation a larger overlay pool or delete unused sites');
  }
  return slotAddresses(pool, slot);
}
