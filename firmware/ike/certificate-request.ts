// Contents of CERTREQ (RFC 7296 3.7): SHA-1 of the public key of every authority that a peer trusts.
import { concat, equalBytes, Reader } from '../../platform/bytes.ts';
import { expectElement, peekTag, readElement, Tag } from '../../platform/der.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { WireError } from '../../platform/errors.ts';
import { CertEncoding } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { sha1 } from './sha1.ts';

/** OCSP responses of a peer that are looked at: one per certificate of a chain. */
const MOST_IN_BAND = 8;

/** What is known of revocations, with what the peer itself brings along (RFC 4806); a response proves itself. */
export function withInBandResponses(known: RevocationCheck | undefined, payloads: readonly Payload[]): RevocationCheck | undefined {
  const brought = payloads.flatMap((payload) => (payload.kind === 'CERT' && payload.encoding === CertEncoding.ocspContent ? [payload.data] : [])).slice(0, MOST_IN_BAND);
  if (brought.length === 0) return known;
  const { crls, policy, ocspResponses = [] } = known ?? { crls: [], policy: 'soft' };
  return { crls, policy, ocspResponses: [...ocspResponses, ...brought] };
}

const EXPLICIT_VERSION = 0xa0;
const HASH_BYTES = 20;

interface Names {
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** SubjectPublicKeyInfo (RFC 5280 4.1). */
  readonly publicKey: Uint8Array;
}

/** An anchor that is not a readable certificate contributes nothing; checkChain will say so where it matters. */
export function certificateRequestData(anchors: readonly Uint8Array[]): Uint8Array {
  return concat(...anchors.map((anchor) => namesOf(anchor)?.publicKey).filter((key) => key !== undefined).map(sha1));
}

/**
 * Whether a peer that sent these hashes knows an authority that our chain (leaf first) leads to. A root is not in the
 * chain; where we have it among our own anchors it counts as well.
 */
export function leadsToRequested(hashes: Uint8Array, chain: readonly Uint8Array[], anchors: readonly Uint8Array[]): boolean {
  const path = chain.map(namesOf).filter((names) => names !== undefined);
  const top = path.at(-1);
  if (top === undefined) return false;
  const roots = anchors.map(namesOf).filter((names) => names !== undefined && equalBytes(names.subject, top.issuer));
  return [...path.slice(1), ...roots].some((names) => includes(hashes, sha1(names!.publicKey)));
}

function includes(hashes: Uint8Array, hash: Uint8Array): boolean {
  for (let at = 0; at + HASH_BYTES <= hashes.length; at += HASH_BYTES) {
    if (equalBytes(hashes.subarray(at, at + HASH_BYTES), hash)) return true;
  }
  return false;
}

function namesOf(certificate: Uint8Array): Names | undefined {
  try {
    const outer = expectElement(new Reader(certificate, 'certificate'), Tag.sequence, 'certificate').content;
    const tbs = expectElement(outer, Tag.sequence, 'tbsCertificate').content;
    if (peekTag(tbs) === EXPLICIT_VERSION) readElement(tbs, 'version');
    for (const what of ['serialNumber', 'signature']) readElement(tbs, what);
    const issuer = readElement(tbs, 'issuer').encoded;
    readElement(tbs, 'validity');
    const subject = readElement(tbs, 'subject').encoded;
    return { issuer, subject, publicKey: expectElement(tbs, Tag.sequence, 'subjectPublicKeyInfo').encoded };
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}
