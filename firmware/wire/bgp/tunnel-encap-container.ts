// Sub-TLV 253 (experimental range) holds what only we understand: `type 1 | length 2 | value`, repeated.
//
//   1 key parameters  key id 4 | lifetime seconds 4 | flags 1 (0x01 id-bound derivation)
//   2 site            site id 4 | name | model | version            each string: length 1 + UTF-8
//   3 signature       algorithm 2 | SHA-256 of the signer's SPKI 32 | signature
//   4 directive       epoch 4 | not-before 8 (Unix seconds) | spread 4 (s) | deadline 4 (s) | reason 1
//   5 certificate     DER
//   6 circuit         transport | interface name
import { Reader, Writer, fromUtf8, utf8 } from '../../../platform/bytes.ts';
import { UsageError, WireError } from '../../../platform/errors.ts';

export const CONTAINER_SIGNATURE = 3;
const ID_BOUND = 0x01;

export interface KeyParameters {
  readonly keyId: number;
  readonly lifetimeSeconds: number;
  readonly idBound: boolean;
}

export interface SiteInformation {
  readonly siteId: number;
  readonly name: string;
  readonly model: string;
  readonly version: string;
}

/** 1 Ed25519, 2 ECDSA P-256/SHA-256, 3 ECDSA P-384/SHA-384. */
export type RouteSignatureAlgorithm = 1 | 2 | 3;

export interface RouteSignature {
  readonly algorithm: RouteSignatureAlgorithm;
  readonly signerSha256: Uint8Array;
  readonly signature: Uint8Array;
}

/** 1 scheduled, 2 policy change, 3 key compromise, 4 node revoked, 5 operator. */
export type RekeyReason = 1 | 2 | 3 | 4 | 5;

export interface Directive {
  readonly epoch: number;
  readonly notBeforeUnixSeconds: number;
  readonly spreadSeconds: number;
  readonly deadlineSeconds: number;
  readonly reason: RekeyReason;
}

export interface CircuitInformation {
  readonly transport: string;
  readonly interfaceName: string;
}

export interface Containers {
  readonly keyParameters?: KeyParameters | undefined;
  readonly site?: SiteInformation | undefined;
  readonly signature?: RouteSignature | undefined;
  readonly directive?: Directive | undefined;
  readonly certificate?: Uint8Array | undefined;
  readonly circuit?: CircuitInformation | undefined;
}

type Family<T> = { readonly type: number; readonly decode: (r: Reader) => T; readonly encode: (w: Writer, value: T) => void };

const FAMILIES: { readonly [K in keyof Required<Containers>]: Family<NonNullable<Containers[K]>> } = {
  keyParameters: {
    type: 1,
    decode: (r) => ({ keyId: r.u32(), lifetimeSeconds: r.u32(), idBound: (r.u8() & ID_BOUND) !== 0 }),
    encode: (w, v) => w.u32(v.keyId).u32(v.lifetimeSeconds).u8(v.idBound ? ID_BOUND : 0),
  },
  site: {
    type: 2,
    decode: (r) => ({ siteId: r.u32(), name: text(r), model: text(r), version: text(r) }),
    encode: (w, v) => putText(putText(putText(w.u32(v.siteId), v.name), v.model), v.version),
  },
  circuit: {
    type: 6,
    decode: (r) => ({ transport: text(r), interfaceName: text(r) }),
    encode: (w, v) => putText(putText(w, v.transport), v.interfaceName),
  },
  directive: { type: 4, decode: decodeDirective, encode: encodeDirective },
  certificate: { type: 5, decode: (r) => r.rest(), encode: (w, v) => w.put(v) },
  signature: {
    type: CONTAINER_SIGNATURE,
    decode: (r) => ({ algorithm: algorithm(r.u16()), signerSha256: r.take(32), signature: r.rest() }),
    encode: (w, v) => w.u16(v.algorithm).put(v.signerSha256).put(v.signature),
  },
};

/** Adds what one sub-TLV 253 holds to `into`; unknown types are skipped, a repeated one is malformed. */
export function decodeContainers(r: Reader, into: Record<string, unknown>): void {
  while (r.remaining > 0) {
    const type = r.u8();
    const value = r.sub(r.u16(), `container ${type}`);
    for (const [name, family] of Object.entries(FAMILIES)) {
      if (family.type !== type) continue;
      if (into[name] !== undefined) throw new WireError(`container ${type} (${name}) appears twice`);
      into[name] = family.decode(value);
      value.expectEnd();
    }
  }
}

/** Writes all containers that are set; the signature comes last. */
export function encodeContainers(w: Writer, containers: Containers): void {
  const put = <T>(family: Family<T>, value: T | undefined): void => {
    if (value === undefined) return;
    w.u8(family.type).u16(0);
    const start = w.length;
    family.encode(w, value);
    w.patch16(start - 2, w.length - start);
  };
  put(FAMILIES.keyParameters, containers.keyParameters);
  put(FAMILIES.site, containers.site);
  put(FAMILIES.circuit, containers.circuit);
  put(FAMILIES.directive, containers.directive);
  put(FAMILIES.certificate, containers.certificate);
  put(FAMILIES.signature, containers.signature);
}

function decodeDirective(r: Reader): Directive {
  const epoch = r.u32();
  const notBefore = r.u64();
  if (notBefore > BigInt(Number.MAX_SAFE_INTEGER)) throw new WireError(`directive's not-before ${notBefore} is out of range`);
  const spreadSeconds = r.u32();
  const deadlineSeconds = r.u32();
  const reason = r.u8();
  if (reason < 1 || reason > 5) throw new WireError(`directive has reason ${reason}, 1 to 5 are legal`);
  return { epoch, notBeforeUnixSeconds: Number(notBefore), spreadSeconds, deadlineSeconds, reason: reason as RekeyReason };
}

function encodeDirective(w: Writer, d: Directive): void {
  w.u32(d.epoch).u64(BigInt(d.notBeforeUnixSeconds)).u32(d.spreadSeconds).u32(d.deadlineSeconds).u8(d.reason);
}

function algorithm(value: number): RouteSignatureAlgorithm {
  if (value !== 1 && value !== 2 && value !== 3) throw new WireError(`signature algorithm ${value}, 1 to 3 are legal`);
  return value;
}

function text(r: Reader): string {
  return fromUtf8(r.take(r.u8()));
}

function putText(w: Writer, value: string): Writer {
  const bytes = utf8(value);
  if (bytes.length > 255) throw new UsageError(`${value.slice(0, 20)}... has ${bytes.length} octets, 255 fit`);
  return w.u8(bytes.length).put(bytes);
}
