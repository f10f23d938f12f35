// The three sub-TLVs of IKE-less keying (draft-sajassi-bess-secure-evpn section 10, registered codes 194 to 196):
// device information, Diffie-Hellman public values, SA proposals.
//
//   194  | ID length 1 | nonce length 2 | I + 7 zero bits 1 | rekey counter 8 | ID | nonce |
//   195  | DH group 2 | zero 2 | public value |
//   196  | number of transforms 1 | zero 3 | transforms: attribute length 2, type 1, zero 1, id 2, zero 2, attributes |
//
// Deviation: of transform attributes only Key Length (14, RFC 7296 3.3.5) is legal, since nobody could answer others.
import { Reader, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';

const INITIAL_CONTACT = 0x80;
/** RFC 7296 2.10. */
const NONCE_BYTES_MIN = 16;
const NONCE_BYTES_MAX = 256;
const KEY_LENGTH_ATTRIBUTE = 0x800e;

export const TRANSFORM_ENCR = 1;
export const TRANSFORM_INTEG = 3;
export const TRANSFORM_ESN = 5;

/** Octets of a public value by IANA IKEv2 group: MODP 2048 to 8192, ECP 256/384/521, Curve25519, Curve448. */
const PUBLIC_BYTES: ReadonlyMap<number, number> = new Map([
  [14, 256], [15, 384], [16, 512], [17, 768], [18, 1024], [19, 64], [20, 96], [21, 132], [31, 32], [32, 56],
]);

export interface DeviceInformation {
  /** Set in the first route after a boot. */
  readonly initialContact: boolean;
  /** Boot count (high 32 bits) and counter (low 32 bits). */
  readonly rekeyCounter: bigint;
  /** The Node-ID's octets. */
  readonly id: Uint8Array;
  readonly nonce: Uint8Array;
}

export interface KeyExchange {
  /** IANA IKEv2 group number; a group unknown here is kept. */
  readonly group: number;
  readonly publicValue: Uint8Array;
}

export interface SaTransform {
  /** 1 ENCR, 3 INTEG or 5 ESN. */
  readonly type: number;
  readonly id: number;
  readonly keyBits: number | undefined;
}

/** At most one transform of each type: no reply exists that could say which one was chosen. */
export type SaProposal = readonly SaTransform[];

export function decodeDeviceInformation(r: Reader): DeviceInformation {
  const idLength = r.u8();
  const nonceLength = r.u16();
  const flags = r.u8();
  const rekeyCounter = r.u64();
  if (idLength !== 4 && idLength !== 16) throw new WireError(`DIM has an ID of ${idLength} octets, 4 or 16 are legal`);
  if (nonceLength < NONCE_BYTES_MIN || nonceLength > NONCE_BYTES_MAX || nonceLength % 4 !== 0) {
    throw new WireError(`DIM has a nonce of ${nonceLength} octets, 16 to 256 in fours are legal`);
  }
  const id = r.take(idLength);
  const nonce = r.take(nonceLength);
  r.expectEnd();
  return { initialContact: (flags & INITIAL_CONTACT) !== 0, rekeyCounter, id, nonce };
}

export function encodeDeviceInformation(w: Writer, dim: DeviceInformation): void {
  w.u8(dim.id.length).u16(dim.nonce.length).u8(dim.initialContact ? INITIAL_CONTACT : 0).u64(dim.rekeyCounter);
  w.put(dim.id).put(dim.nonce);
}

export function decodeKeyExchange(r: Reader): KeyExchange {
  const group = r.u16();
  r.skip(2);
  const expected = PUBLIC_BYTES.get(group);
  if (expected !== undefined && expected !== r.remaining) {
    throw new WireError(`public value of group ${group} has ${r.remaining} octets, ${expected} are needed`);
  }
  return { group, publicValue: r.rest() };
}

export function encodeKeyExchange(w: Writer, ke: KeyExchange): void {
  w.u16(ke.group).u16(0).put(ke.publicValue);
}

export function decodeSaProposal(r: Reader): SaProposal {
  const count = r.u8();
  r.skip(3);
  const transforms: SaTransform[] = [];
  for (let i = 0; i < count; i++) {
    const attributeLength = r.u16();
    const type = r.u8();
    r.skip(1);
    const id = r.u16();
    r.skip(2);
    const keyBits = keyBitsOf(r.sub(attributeLength, 'transform attributes'));
    if (type !== TRANSFORM_ENCR && type !== TRANSFORM_INTEG && type !== TRANSFORM_ESN) throw new WireError(`proposal has transform type ${type}; 1, 3 and 5 are legal`);
    if (transforms.some((t) => t.type === type)) throw new WireError(`proposal has two transforms of type ${type}`);
    transforms.push({ type, id, keyBits });
  }
  r.expectEnd();
  return transforms;
}

function keyBitsOf(r: Reader): number | undefined {
  if (r.remaining === 0) return undefined;
  const kind = r.u16();
  if (kind !== KEY_LENGTH_ATTRIBUTE) throw new WireError(`transform attribute 0x${kind.toString(16)} is not Key Length`);
  const bits = r.u16();
  r.expectEnd();
  return bits;
}

export function encodeSaProposal(w: Writer, proposal: SaProposal): void {
  w.u8(proposal.length).u24(0);
  for (const t of proposal) {
    w.u16(t.keyBits === undefined ? 0 : 4).u8(t.type).u8(0).u16(t.id).u16(0);
    if (t.keyBits !== undefined) w.u16(KEY_LENGTH_ATTRIBUTE).u16(t.keyBits);
  }
}
