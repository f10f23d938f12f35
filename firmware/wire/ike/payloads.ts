// Payloads of IKEv2 (RFC 7296 3.3-3.16) as plain data, and the table that reads and writes each of them.
// SK and SKF are in sealed.ts, proposals in proposal.ts, traffic selectors in selector.ts.
import type { Reader, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { NotifyType, PayloadType } from './numbers.ts';
import type { Proposal } from './proposal.ts';
import { decodeProposals, encodeProposals } from './proposal.ts';
import type { TrafficSelector } from './selector.ts';
import { decodeSelectors, encodeSelectors } from './selector.ts';

const MIN_NONCE_BYTES = 16;
const MAX_NONCE_BYTES = 256;

export interface CfgAttributeValue {
  readonly type: number;
  readonly value: Uint8Array;
}

export type Payload =
  | { readonly kind: 'SA'; readonly proposals: readonly Proposal[] }
  | { readonly kind: 'KE'; readonly group: number; readonly data: Uint8Array }
  | { readonly kind: 'IDi' | 'IDr'; readonly idType: number; readonly data: Uint8Array }
  | { readonly kind: 'CERT' | 'CERTREQ'; readonly encoding: number; readonly data: Uint8Array }
  | { readonly kind: 'AUTH'; readonly method: number; readonly data: Uint8Array }
  | { readonly kind: 'Nonce' | 'VendorId' | 'EAP'; readonly data: Uint8Array }
  | { readonly kind: 'Notify'; readonly protocol: number; readonly spi: Uint8Array; readonly type: number; readonly data: Uint8Array }
  | { readonly kind: 'Delete'; readonly protocol: number; readonly spis: readonly Uint8Array[] }
  | { readonly kind: 'TSi' | 'TSr'; readonly selectors: readonly TrafficSelector[] }
  | { readonly kind: 'CP'; readonly type: number; readonly attributes: readonly CfgAttributeValue[] };

export type PayloadKind = Payload['kind'];
export type PayloadOf<Kind extends PayloadKind> = Payload & { readonly kind: Kind };

interface Codec {
  readonly type: number;
  decode(reader: Reader): Payload;
  encode(writer: Writer, payload: Payload): void;
}

function codec<Kind extends PayloadKind>(
  kind: Kind,
  decode: (reader: Reader) => PayloadOf<Kind>,
  encode: (writer: Writer, payload: PayloadOf<Kind>) => void,
): Codec {
  return { type: PayloadType[kind], decode, encode: encode as Codec['encode'] };
}

function identityCodec(kind: 'IDi' | 'IDr'): Codec {
  return codec(
    kind,
    (r) => {
      const idType = r.u8();
      r.skip(3);
      return { kind, idType, data: r.rest() } as PayloadOf<typeof kind>;
    },
    (w, p) => void w.u8(p.idType).zeros(3).put(p.data),
  );
}

function certificateCodec(kind: 'CERT' | 'CERTREQ'): Codec {
  return codec(
    kind,
    (r) => ({ kind, encoding: r.u8(), data: r.rest() }) as PayloadOf<typeof kind>,
    (w, p) => void w.u8(p.encoding).put(p.data),
  );
}

function opaqueCodec(kind: 'VendorId' | 'EAP'): Codec {
  return codec(kind, (r) => ({ kind, data: r.rest() }) as PayloadOf<typeof kind>, (w, p) => void w.put(p.data));
}

function selectorCodec(kind: 'TSi' | 'TSr'): Codec {
  return codec(
    kind,
    (r) => ({ kind, selectors: decodeSelectors(r) }) as PayloadOf<typeof kind>,
    (w, p) => encodeSelectors(w, p.selectors),
  );
}

function decodeNonce(r: Reader): PayloadOf<'Nonce'> {
  if (r.remaining < MIN_NONCE_BYTES || r.remaining > MAX_NONCE_BYTES) {
    const allowed = `${MIN_NONCE_BYTES} to ${MAX_NONCE_BYTES}`;
    throw new WireError(`a nonce of ${r.remaining} octets; ${allowed} are legal`, NotifyType.INVALID_SYNTAX);
  }
  return { kind: 'Nonce', data: r.rest() };
}

function decodeNotify(r: Reader): PayloadOf<'Notify'> {
  const protocol = r.u8();
  const spiBytes = r.u8();
  const type = r.u16();
  return { kind: 'Notify', protocol, type, spi: r.take(spiBytes), data: r.rest() };
}

function decodeDelete(r: Reader): PayloadOf<'Delete'> {
  const protocol = r.u8();
  const spiBytes = r.u8();
  const count = r.u16();
  if (spiBytes * count !== r.remaining) {
    throw new WireError(`Delete claims ${count} SPIs of ${spiBytes} octets, ${r.remaining} remain`, NotifyType.INVALID_SYNTAX);
  }
  const spis: Uint8Array[] = [];
  // An IKE SA's Delete carries no SPI, whatever its count says.
  for (let i = 0; spiBytes > 0 && i < count; i++) spis.push(r.take(spiBytes));
  return { kind: 'Delete', protocol, spis };
}

function decodeConfiguration(r: Reader): PayloadOf<'CP'> {
  const type = r.u8();
  r.skip(3);
  const attributes: CfgAttributeValue[] = [];
  while (r.remaining > 0) attributes.push({ type: r.u16() & 0x7fff, value: r.take(r.u16()) });
  return { kind: 'CP', type, attributes };
}

const CODECS: Readonly<Record<PayloadKind, Codec>> = {
  SA: codec('SA', (r) => ({ kind: 'SA', proposals: decodeProposals(r) }), (w, p) => encodeProposals(w, p.proposals)),
  KE: codec(
    'KE',
    (r) => {
      const group = r.u16();
      r.skip(2);
      return { kind: 'KE', group, data: r.rest() };
    },
    (w, p) => void w.u16(p.group).u16(0).put(p.data),
  ),
  IDi: identityCodec('IDi'),
  IDr: identityCodec('IDr'),
  CERT: certificateCodec('CERT'),
  CERTREQ: certificateCodec('CERTREQ'),
  AUTH: codec(
    'AUTH',
    (r) => {
      const method = r.u8();
      r.skip(3);
      return { kind: 'AUTH', method, data: r.rest() };
    },
    (w, p) => void w.u8(p.method).zeros(3).put(p.data),
  ),
  Nonce: codec('Nonce', decodeNonce, (w, p) => void w.put(p.data)),
  Notify: codec('Notify', decodeNotify, (w, p) => void w.u8(p.protocol).u8(p.spi.length).u16(p.type).put(p.spi).put(p.data)),
  Delete: codec('Delete', decodeDelete, (w, p) => {
    w.u8(p.protocol).u8(p.spis[0]?.length ?? 0).u16(p.spis.length);
    for (const spi of p.spis) w.put(spi);
  }),
  VendorId: opaqueCodec('VendorId'),
  TSi: selectorCodec('TSi'),
  TSr: selectorCodec('TSr'),
  CP: codec('CP', decodeConfiguration, (w, p) => {
    w.u8(p.type).zeros(3);
    for (const attribute of p.attributes) w.u16(attribute.type).u16(attribute.value.length).put(attribute.value);
  }),
  EAP: opaqueCodec('EAP'),
};

const BY_TYPE: ReadonlyMap<number, Codec> = new Map(Object.values(CODECS).map((entry) => [entry.type, entry]));

/** The payload, or undefined for a type that is not known here. `reader` covers exactly the payload's body. */
export function decodePayload(type: number, reader: Reader): Payload | undefined {
  return BY_TYPE.get(type)?.decode(reader);
}

export function encodePayload(writer: Writer, payload: Payload): void {
  CODECS[payload.kind].encode(writer, payload);
}

export function payloadType(payload: Payload): number {
  return CODECS[payload.kind].type;
}

export function notify(type: number, data: Uint8Array = new Uint8Array(0)): PayloadOf<'Notify'> {
  return { kind: 'Notify', protocol: 0, spi: new Uint8Array(0), type, data };
}

/** The first payload of a kind. */
export function findPayload<Kind extends PayloadKind>(payloads: readonly Payload[], kind: Kind): PayloadOf<Kind> | undefined {
  return payloads.find((payload) => payload.kind === kind) as PayloadOf<Kind> | undefined;
}

export function findNotify(payloads: readonly Payload[], type: number): PayloadOf<'Notify'> | undefined {
  return payloads.find((payload) => payload.kind === 'Notify' && payload.type === type) as PayloadOf<'Notify'> | undefined;
}
