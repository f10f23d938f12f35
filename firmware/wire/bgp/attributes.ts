// Path attributes as one table: code, name, flags, codec, and what to do when a received one is malformed (RFC 7606 7).
// Every attribute of a reflected route that is not understood here travels on as it came (RFC 4271 5, RFC 4456 10).
//
// +------------+------------+-----------------+-------+
// | Flags (1)  | Type (1)   | Length (1 or 2) | value |     Flags: 0x80 optional, 0x40 transitive, 0x20 partial,
// +------------+------------+-----------------+-------+            0x10 two-octet length
//
// AS_PATH always has 4-octet AS numbers: sessions without that capability are refused (RFC 6793).
// TUNNEL_ENCAP is checked for its outer framing only; what is inside belongs to the overlay.
import { WireError } from '../../../platform/errors.ts';
import { Reader, Writer } from '../../../platform/bytes.ts';
import { addressBytes, addressText } from '../address.ts';
import { EXTENDED_COMMUNITY_BYTES } from './community.ts';

export const FLAG_OPTIONAL = 0x80;
export const FLAG_TRANSITIVE = 0x40;
export const FLAG_PARTIAL = 0x20;
export const FLAG_EXTENDED_LENGTH = 0x10;

export const NEXT_HOP = 3;
export const MP_REACH_NLRI = 14;
export const MP_UNREACH_NLRI = 15;

export const ORIGIN_IGP = 0;
export const ORIGIN_INCOMPLETE = 2;

export const AS_SET = 1;
export const AS_SEQUENCE = 2;
const LAST_SEGMENT_TYPE = 4;
const MOST_SEGMENT_NUMBERS = 255;

export interface AsSegment {
  /** 1 set, 2 sequence, 3 confederation sequence, 4 confederation set. */
  readonly type: number;
  readonly asNumbers: readonly number[];
}

/** An attribute kept as bytes. */
export interface RawAttribute {
  readonly code: number;
  readonly flags: number;
  readonly value: Uint8Array;
}

/** What a route says besides NLRI and next hop. */
export interface PathAttributes {
  /** 0 IGP, 1 EGP, 2 incomplete. */
  readonly origin: number;
  readonly asPath: readonly AsSegment[];
  readonly med: number | undefined;
  /** Absent on routes from another AS. */
  readonly localPref: number | undefined;
  readonly communities: readonly number[];
  /** IPv4 text. */
  readonly originatorId: string | undefined;
  /** IPv4 texts, nearest cluster first. */
  readonly clusterList: readonly string[];
  /** 8 octets each. */
  readonly extendedCommunities: readonly Uint8Array[];
  /** Value of attribute 23: whole TLVs. */
  readonly tunnelEncapsulation: Uint8Array | undefined;
  /** 12 octets each. */
  readonly largeCommunities: readonly Uint8Array[];
  /** Attributes without a row here, and those that are only passed on. */
  readonly others: readonly RawAttribute[];
  /** Types of understood attributes that came with Partial set; it is never cleared again (RFC 4271 4.3). */
  readonly partial: readonly number[];
}

export type MutableAttributes = { -readonly [K in keyof PathAttributes]: PathAttributes[K] };

export const NO_ATTRIBUTES: PathAttributes = {
  origin: ORIGIN_INCOMPLETE,
  asPath: [],
  med: undefined,
  localPref: undefined,
  communities: [],
  originatorId: undefined,
  clusterList: [],
  extendedCommunities: [],
  tunnelEncapsulation: undefined,
  largeCommunities: [],
  others: [],
  partial: [],
};

/** RFC 7606 2, mildest first; `reset` ends the session. */
export type ErrorAction = 'discard' | 'treat-as-withdraw' | 'reset';

export interface AttributeRow {
  readonly code: number;
  readonly name: string;
  /** Optional and Transitive as they must be, and Extended Length where we always set it. */
  readonly flags: number;
  readonly onError: ErrorAction;
  /** Whether it means something only inside an AS: from outside it is discarded (RFC 7606 7.5, 7.9, 7.10). */
  readonly internalOnly?: true;
  readonly decode: (value: Reader, into: MutableAttributes) => void;
  /** The value, or undefined when the route does not carry the attribute. */
  readonly encode: (attributes: PathAttributes) => Uint8Array | undefined;
}

const NOTHING = (): undefined => undefined;

function exactly(value: Reader, length: number): void {
  if (value.remaining !== length) throw new WireError(`${value.what} has ${value.remaining} octets instead of ${length}`);
}

/** The value cut into items of `size` octets; at least one (RFC 7606 7.8, 7.10, 7.14; RFC 8092 5). */
function items(value: Reader, size: number): Uint8Array[] {
  if (value.remaining === 0 || value.remaining % size !== 0) {
    throw new WireError(`${value.what} has ${value.remaining} octets, not a positive multiple of ${size}`);
  }
  const out: Uint8Array[] = [];
  while (value.remaining > 0) out.push(value.take(size));
  return out;
}

function joined(parts: readonly Uint8Array[]): Uint8Array | undefined {
  if (parts.length === 0) return undefined;
  const writer = new Writer();
  for (const part of parts) writer.put(part);
  return writer.finish();
}

function decodeOrigin(value: Reader, into: MutableAttributes): void {
  exactly(value, 1);
  const origin = value.u8();
  if (origin > ORIGIN_INCOMPLETE) throw new WireError(`ORIGIN is ${origin}, allowed are 0 to ${ORIGIN_INCOMPLETE}`);
  into.origin = origin;
}

function decodeAsPath(value: Reader, into: MutableAttributes): void {
  const segments: AsSegment[] = [];
  while (value.remaining > 0) {
    const type = value.u8();
    const count = value.u8();
    // RFC 7606 7.2: unknown type, overrun and an empty segment are all malformed.
    if (type < AS_SET || type > LAST_SEGMENT_TYPE) throw new WireError(`AS_PATH segment type ${type}`);
    if (count === 0) throw new WireError('AS_PATH segment without AS numbers');
    segments.push({ type, asNumbers: Array.from({ length: count }, () => value.u32()) });
  }
  into.asPath = segments;
}

function encodeAsPath(attributes: PathAttributes): Uint8Array {
  const writer = new Writer(16);
  for (const { type, asNumbers } of attributes.asPath) {
    for (let at = 0; at < asNumbers.length; at += MOST_SEGMENT_NUMBERS) {
      const part = asNumbers.slice(at, at + MOST_SEGMENT_NUMBERS);
      writer.u8(type).u8(part.length);
      for (const asNumber of part) writer.u32(asNumber);
    }
  }
  return writer.finish();
}

function decodeTunnelEncapsulation(value: Reader, into: MutableAttributes): void {
  const whole = new Reader(value.bytes, value.what, value.position, value.end);
  if (value.remaining === 0) throw new WireError('TUNNEL_ENCAP is empty');
  while (value.remaining > 0) {
    value.skip(2);
    value.skip(value.u16());
  }
  into.tunnelEncapsulation = whole.rest();
}

const uint32 = (value: number | undefined): Uint8Array | undefined => (value === undefined ? undefined : new Writer(4).u32(value).finish());

/** Passed on unchanged; `length` when the value has one. */
function kept(code: number, name: string, flags: number, onError: ErrorAction, length?: number): AttributeRow {
  return {
    code,
    name,
    flags,
    onError,
    decode: (value, into) => {
      if (length !== undefined) exactly(value, length);
      into.others = [...into.others, { code, flags, value: value.rest() }];
    },
    encode: NOTHING,
  };
}

/** Rows in the order in which they are sent. MP_REACH and MP_UNREACH are read and written by update.ts. */
export const ATTRIBUTES: readonly AttributeRow[] = [
  { code: 1, name: 'ORIGIN', flags: 0x40, onError: 'treat-as-withdraw', decode: decodeOrigin, encode: (a) => Uint8Array.of(a.origin) },
  { code: 2, name: 'AS_PATH', flags: 0x40, onError: 'treat-as-withdraw', decode: decodeAsPath, encode: encodeAsPath },
  { code: NEXT_HOP, name: 'NEXT_HOP', flags: 0x40, onError: 'treat-as-withdraw', decode: (value) => exactly(value, 4), encode: NOTHING },
  {
    code: 4, name: 'MULTI_EXIT_DISC', flags: 0x80, onError: 'treat-as-withdraw',
    decode: (value, into) => {
      exactly(value, 4);
      into.med = value.u32();
    },
    encode: (a) => uint32(a.med),
  },
  {
    code: 5, name: 'LOCAL_PREF', flags: 0x40, onError: 'treat-as-withdraw', internalOnly: true,
    decode: (value, into) => {
      exactly(value, 4);
      into.localPref = value.u32();
    },
    encode: (a) => uint32(a.localPref),
  },
  kept(6, 'ATOMIC_AGGREGATE', 0x40, 'discard', 0),
  kept(7, 'AGGREGATOR', 0xc0, 'discard', 8),
  {
    code: 8, name: 'COMMUNITIES', flags: 0xc0, onError: 'treat-as-withdraw',
    decode: (value, into) => {
      into.communities = items(value, 4).map((item) => new Reader(item, 'community').u32());
    },
    encode: (a) => joined(a.communities.map((community) => uint32(community)!)),
  },
  {
    code: 9, name: 'ORIGINATOR_ID', flags: 0x80, onError: 'treat-as-withdraw', internalOnly: true,
    decode: (value, into) => {
      exactly(value, 4);
      into.originatorId = addressText(value.take(4));
    },
    encode: (a) => (a.originatorId === undefined ? undefined : addressBytes(a.originatorId)),
  },
  {
    code: 10, name: 'CLUSTER_LIST', flags: 0x80, onError: 'treat-as-withdraw', internalOnly: true,
    decode: (value, into) => {
      into.clusterList = items(value, 4).map(addressText);
    },
    encode: (a) => joined(a.clusterList.map(addressBytes)),
  },
  { code: MP_REACH_NLRI, name: 'MP_REACH_NLRI', flags: 0x90, onError: 'reset', decode: () => {}, encode: NOTHING },
  { code: MP_UNREACH_NLRI, name: 'MP_UNREACH_NLRI', flags: 0x90, onError: 'reset', decode: () => {}, encode: NOTHING },
  {
    code: 16, name: 'EXTENDED_COMMUNITIES', flags: 0xc0, onError: 'treat-as-withdraw',
    decode: (value, into) => {
      into.extendedCommunities = items(value, EXTENDED_COMMUNITY_BYTES);
    },
    encode: (a) => joined(a.extendedCommunities),
  },
  // From a peer with 4-octet AS numbers these two must be discarded (RFC 6793 4.1).
  { code: 17, name: 'AS4_PATH', flags: 0xc0, onError: 'discard', decode: () => {}, encode: NOTHING },
  { code: 18, name: 'AS4_AGGREGATOR', flags: 0xc0, onError: 'discard', decode: () => {}, encode: NOTHING },
  { code: 23, name: 'TUNNEL_ENCAP', flags: 0xd0, onError: 'treat-as-withdraw', decode: decodeTunnelEncapsulation, encode: (a) => a.tunnelEncapsulation },
  {
    code: 32, name: 'LARGE_COMMUNITIES', flags: 0xc0, onError: 'treat-as-withdraw',
    decode: (value, into) => {
      into.largeCommunities = items(value, 12);
    },
    encode: (a) => joined(a.largeCommunities),
  },
];

const ROW_BY_CODE: ReadonlyMap<number, AttributeRow> = new Map(ATTRIBUTES.map((row) => [row.code, row]));

export function attributeRow(code: number): AttributeRow | undefined {
  return ROW_BY_CODE.get(code);
}

/** Appends one attribute; Extended Length is set where the value needs it. */
export function writeAttribute(writer: Writer, code: number, flags: number, value: Uint8Array): void {
  const extended = (flags & FLAG_EXTENDED_LENGTH) !== 0 || value.length > 255;
  writer.u8(extended ? flags | FLAG_EXTENDED_LENGTH : flags).u8(code);
  if (extended) writer.u16(value.length);
  else writer.u8(value.length);
  writer.put(value);
}

/** All attributes except NEXT_HOP and the MP ones, in ascending order of type. */
export function encodeAttributes(attributes: PathAttributes): Uint8Array<ArrayBuffer> {
  const all: RawAttribute[] = [...attributes.others];
  for (const { code, flags, encode } of ATTRIBUTES) {
    const value = encode(attributes);
    if (value !== undefined) all.push({ code, flags: attributes.partial.includes(code) ? flags | FLAG_PARTIAL : flags, value });
  }
  all.sort((a, b) => a.code - b.code);
  const writer = new Writer();
  for (const { code, flags, value } of all) writeAttribute(writer, code, flags, value);
  return writer.finish();
}
