// The key derivation of IKE-less SAs: from my private value, the peer's published value, both nonces and both Node-IDs
// to one SA in each direction. The procedure is draft-carrel-ipsecme-controller-ike's with IKEv2's formulas (RFC 7296
// 2.13, 2.14, 2.17); docs/WIRE.md holds the exact text and test/golden/dim-kdf.txt the vectors.
//
// Deviations from the draft: SPIs below 256 or with top octet 0x02 (IKE's own) are drawn again; the identities enter
// SK_d (id-bound); a PPK may be mixed in as in RFC 8784.
import type { DhKeyPair, HashName, Suite } from '../../platform/crypto.ts';
import { prfPlus } from '../../platform/crypto.ts';
import { compareBytes, concat, utf8, wipe } from '../../platform/bytes.ts';
import type { SaSpec } from '../model.ts';
import type { KeyExchange, SaProposal } from '../wire/bgp/tunnel-encap-keys.ts';
import { TRANSFORM_ENCR, TRANSFORM_ESN } from '../wire/bgp/tunnel-encap-keys.ts';

/** Here only AEADs. */
export type EspSuiteName = Exclude<SaSpec['suite'], `${string}-cbc/${string}`>;

interface Cipher {
  readonly transform: number;
  readonly keyBits: number | undefined;
  readonly keyBytes: number;
}

const CIPHERS: Readonly<Record<EspSuiteName, Cipher>> = {
  'aes-256-gcm-16': { transform: 20, keyBits: 256, keyBytes: 32 },
  'aes-128-gcm-16': { transform: 20, keyBits: 128, keyBytes: 16 },
  'chacha20-poly1305': { transform: 28, keyBits: undefined, keyBytes: 32 },
};

const SALT_BYTES = 4;
const ESN_ON = 1;
/** RFC 4303 2.1 reserves SPIs up to 255; 0x02 is the top octet of the SPIs that IKE allocates. */
const SPI_LEAST = 256;
const IKE_SPI_TOP_OCTET = 0x02;
/** One PRF block holds four draws, nearly always enough; the longer stream begins with the same octets. */
const SPI_STREAM_BYTES = [32, 256];

/** The proposal that offers `suite` with extended sequence numbers, as the defaults publish it. */
export function proposalOf(suite: EspSuiteName): SaProposal {
  const { transform, keyBits } = CIPHERS[suite];
  return [
    { type: TRANSFORM_ENCR, id: transform, keyBits },
    { type: TRANSFORM_ESN, id: ESN_ON, keyBits: undefined },
  ];
}

/** The suite that a proposal stands for, or undefined when it is none of ours or lacks ESN. */
export function suiteOf(proposal: SaProposal): EspSuiteName | undefined {
  const encr = proposal.find((t) => t.type === TRANSFORM_ENCR);
  const esn = proposal.find((t) => t.type === TRANSFORM_ESN);
  if (encr === undefined || esn?.id !== ESN_ON || proposal.length !== 2) return undefined;
  for (const [name, cipher] of Object.entries(CIPHERS)) {
    if (cipher.transform === encr.id && cipher.keyBits === encr.keyBits) return name as EspSuiteName;
  }
  return undefined;
}

/** What one node publishes about one of its key sets. */
export interface PublishedKey {
  /** Octets of the Node-ID. */
  readonly id: Uint8Array;
  readonly nonce: Uint8Array;
  readonly rekeyCounter: bigint;
  readonly keyExchanges: readonly KeyExchange[];
  readonly proposals: readonly SaProposal[];
}

export interface DerivationInput {
  readonly local: PublishedKey;
  /** The private values behind `local.keyExchanges`. */
  readonly pairs: readonly DhKeyPair[];
  readonly peer: PublishedKey;
  readonly prf: HashName;
  /** True except in the draft's own form, which exists for its vectors. */
  readonly idBound: boolean;
  readonly ppk?: Uint8Array | undefined;
}

/** One direction; the receiver of `key` owns it and wipes it at its end. */
export interface DirectionKey {
  readonly spi: number;
  readonly key: Uint8Array;
  readonly salt: Uint8Array;
}

export type Derivation =
  | { readonly ok: true; readonly initiator: boolean; readonly suite: EspSuiteName; readonly group: number; readonly inbound: DirectionKey; readonly outbound: DirectionKey }
  /** `cause` is a clause for a log line. */
  | { readonly ok: false; readonly cause: string };

interface Side extends PublishedKey {
  readonly isLocal: boolean;
}

/** Never throws for what the peer published: a value that fails RFC 6989's checks gives a cause. */
export function derive(suite: Suite, input: DerivationInput): Derivation {
  // 1. Roles: the larger nonce is the initiator's.
  const order = compareNonces(input.local.nonce, input.peer.nonce);
  if (order === 0) return { ok: false, cause: 'the peer published the same nonce as this node' };
  const local: Side = { ...input.local, isLocal: true };
  const peer: Side = { ...input.peer, isLocal: false };
  const [i, r] = order > 0 ? [local, peer] : [peer, local];
  // 2. Policy: the responder's order decides.
  const proposal = chooseProposal(i, r);
  if (proposal === undefined) return { ok: false, cause: 'no SA proposal in common' };
  const group = r.keyExchanges.find((ke) => i.keyExchanges.some((other) => other.group === ke.group))?.group;
  const pair = input.pairs.find((p) => p.group === group);
  const publicValue = input.peer.keyExchanges.find((ke) => ke.group === group)?.publicValue;
  if (group === undefined || pair === undefined || publicValue === undefined) return { ok: false, cause: 'no Diffie-Hellman group in common' };
  // 3, 4. RFC 6989's checks and g^ir.
  const shared = suite.dhShared(pair, publicValue);
  if (shared === undefined) return { ok: false, cause: `the public value of group ${group} fails the checks of RFC 6989` };
  // 5. SPIs.
  const nonces = concat(i.nonce, r.nonce);
  const spis = spisOf(suite, input.prf, nonces, i, r, proposal.numbers);
  if (spis === undefined) return { ok: false, cause: 'the SPI stream has no usable pair' };
  // 6 to 8. SKEYSEED, SK_d, KEYMAT.
  const secret = secretOf(suite, input, shared, nonces, i, r, spis);
  const { keyBytes } = CIPHERS[proposal.suite];
  const material = prfPlus(suite, input.prf, secret, nonces, 2 * (keyBytes + SALT_BYTES));
  const fromInitiator = directionKey(material, 0, keyBytes, spis.responder);
  const fromResponder = directionKey(material, keyBytes + SALT_BYTES, keyBytes, spis.initiator);
  wipe(shared, secret, material);
  return {
    ok: true, initiator: i.isLocal, suite: proposal.suite, group,
    inbound: i.isLocal ? fromResponder : fromInitiator,
    outbound: i.isLocal ? fromInitiator : fromResponder,
  };
}

/** Big-endian; the shorter one is padded on the right with zeros. */
function compareNonces(a: Uint8Array, b: Uint8Array): number {
  const length = Math.max(a.length, b.length);
  return compareBytes(concat(a, new Uint8Array(length - a.length)), concat(b, new Uint8Array(length - b.length)));
}

/** Numbers count from 1; they enter the SPI stream only when somebody offers a choice. */
function chooseProposal(i: Side, r: Side): { suite: EspSuiteName; numbers: Uint8Array } | undefined {
  const offered = i.proposals.map(suiteOf);
  for (const [index, proposal] of r.proposals.entries()) {
    const suite = suiteOf(proposal);
    const other = suite === undefined ? -1 : offered.indexOf(suite);
    if (suite === undefined || other < 0) continue;
    const choice = i.proposals.length > 1 || r.proposals.length > 1;
    return { suite, numbers: choice ? Uint8Array.of(other + 1, index + 1) : new Uint8Array(0) };
  }
  return undefined;
}

/** `initiator` is the SPI that the initiator receives on. */
interface Spis {
  readonly initiator: number;
  readonly responder: number;
}

function spisOf(suite: Suite, prf: HashName, nonces: Uint8Array, i: Side, r: Side, numbers: Uint8Array): Spis | undefined {
  for (const bytes of SPI_STREAM_BYTES) {
    const view = new DataView(prfPlus(suite, prf, nonces, concat(utf8('SPI generation'), numbers), bytes).buffer);
    for (let at = 0; at < bytes; at += 8) {
      const initiator = withCounters(view.getUint32(at), i.rekeyCounter, r.rekeyCounter);
      const responder = withCounters(view.getUint32(at + 4), r.rekeyCounter, i.rekeyCounter);
      if (usable(initiator) && usable(responder)) return { initiator, responder };
    }
  }
  return undefined;
}

/** Low bits of an SPI: 3-2 the other side's counter, 1-0 the receiver's, so that keys in flight never share one. */
function withCounters(spi: number, receiver: bigint, other: bigint): number {
  return ((spi & ~0xf) | (Number(other & 3n) << 2) | Number(receiver & 3n)) >>> 0;
}

function usable(spi: number): boolean {
  return spi >= SPI_LEAST && spi >>> 24 !== IKE_SPI_TOP_OCTET;
}

function secretOf(suite: Suite, input: DerivationInput, shared: Uint8Array, nonces: Uint8Array, i: Side, r: Side, spis: Spis): Uint8Array {
  const spiOctets = new Uint8Array(8);
  new DataView(spiOctets.buffer).setUint32(0, spis.initiator);
  new DataView(spiOctets.buffer).setUint32(4, spis.responder);
  const skeyseed = suite.hmac(input.prf, nonces, shared);
  const seed = input.idBound ? concat(nonces, spiOctets, i.id, r.id) : concat(nonces, spiOctets);
  const skD = prfPlus(suite, input.prf, skeyseed, seed, skeyseed.length);
  wipe(skeyseed);
  if (input.ppk === undefined) return skD;
  const mixed = prfPlus(suite, input.prf, input.ppk, skD, skD.length);
  wipe(skD);
  return mixed;
}

function directionKey(material: Uint8Array, at: number, keyBytes: number, spi: number): DirectionKey {
  return { spi, key: material.slice(at, at + keyBytes), salt: material.slice(at + keyBytes, at + keyBytes + SALT_BYTES) };
}
