// Certificate revocation lists (RFC 5280 5), read synchronously so that path validation can use them. Only complete
// lists of the issuer itself count: a list with a critical extension (delta lists, lists for a part of the certificates,
// indirect lists) is not usable here.
import { createPublicKey, verify } from 'node:crypto';
import { Reader, toHex } from './bytes.ts';
import { bitStringOctets, expectElement, oidText, peekTag, readElement, Tag, timeUnixMs } from './der.ts';
import { WireError } from './errors.ts';

export const LARGEST_CRL_BYTES = 8 * 1024 * 1024;
/** RFC 5280 5.2.3, with one octet for the sign. */
const LONGEST_NUMBER_BYTES = 21;
const CRL_NUMBER = '2.5.29.20';

/** Algorithms that certificates and lists may be signed with, and the hash that node:crypto needs for each. */
export const SIGNATURE_HASHES: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.10045.4.3.2', 'sha256'], // ecdsa-with-SHA256
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', null], // Ed25519
  ['1.2.840.113549.1.1.11', 'sha256'], // sha256WithRSAEncryption
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
]);

export interface Crl {
  /** DER of the issuer's name. */
  readonly issuer: Uint8Array;
  readonly thisUpdateUnixMs: number;
  /** Undefined: the issuer does not say when it makes the next one. */
  readonly nextUpdateUnixMs: number | undefined;
  /** CRL number (RFC 5280 5.2.3): a newer list of the issuer has a higher one. */
  readonly number: bigint | undefined;
  /** Serial number (lower-case hex, no leading zero octets) -> when it was revoked, Unix milliseconds. */
  readonly revoked: ReadonlyMap<string, number>;
  readonly signatureOid: string;
  readonly signature: Uint8Array;
  /** What is signed. */
  readonly signed: Uint8Array;
}

/** Throws WireError for what is not one usable list. Nothing of it may be believed before `isCrlSignedBy`. */
export function decodeCrl(der: Uint8Array): Crl {
  if (der.length > LARGEST_CRL_BYTES) throw new WireError(`revocation list has ${der.length} octets, at most ${LARGEST_CRL_BYTES} are read`);
  const outer = new Reader(der, 'revocation list');
  const list = expectElement(outer, Tag.sequence, 'revocation list').content;
  outer.expectEnd();
  const { content: tbs, encoded: signed } = expectElement(list, Tag.sequence, 'tbsCertList');
  if (peekTag(tbs) === Tag.integer) readElement(tbs, 'version');
  const signatureOid = algorithmOid(tbs);
  const issuer = expectElement(tbs, Tag.sequence, 'issuer').encoded;
  const thisUpdateUnixMs = timeUnixMs(readElement(tbs, 'thisUpdate'));
  const hasNext = peekTag(tbs) === Tag.utcTime || peekTag(tbs) === Tag.generalizedTime;
  const nextUpdateUnixMs = hasNext ? timeUnixMs(readElement(tbs, 'nextUpdate')) : undefined;
  const revoked = peekTag(tbs) === Tag.sequence ? decodeEntries(expectElement(tbs, Tag.sequence, 'revokedCertificates').content) : new Map<string, number>();
  const extensions = tbs.remaining > 0 ? readExtensions(expectElement(tbs, 0xa0, 'crlExtensions').content) : undefined;
  tbs.expectEnd();
  if (algorithmOid(list) !== signatureOid) throw new WireError('revocation list names two signature algorithms');
  const signature = bitStringOctets(expectElement(list, Tag.bitString, 'signatureValue').content);
  list.expectEnd();
  const number = extensions?.get(CRL_NUMBER);
  return { issuer, thisUpdateUnixMs, nextUpdateUnixMs, number: number && decodeNumber(number), revoked, signatureOid, signature, signed };
}

function algorithmOid(reader: Reader): string {
  return oidText(expectElement(expectElement(reader, Tag.sequence, 'signature').content, Tag.oid, 'signature algorithm').content);
}

function decodeEntries(entries: Reader): ReadonlyMap<string, number> {
  const revoked = new Map<string, number>();
  while (entries.remaining > 0) {
    const entry = expectElement(entries, Tag.sequence, 'revoked certificate').content;
    const serialNumber = toHex(expectElement(entry, Tag.integer, 'serialNumber').content.rest()).replace(/^(00)+(?=..)/, '');
    revoked.set(serialNumber, timeUnixMs(readElement(entry, 'revocationDate')));
    if (entry.remaining > 0) readExtensions(entry);
  }
  return revoked;
}

/** Values of SEQUENCE OF Extension, read to its end, by OBJECT IDENTIFIER; a critical one is refused. */
function readExtensions(reader: Reader): ReadonlyMap<string, Reader> {
  const extensions = expectElement(reader, Tag.sequence, 'extensions').content;
  const values = new Map<string, Reader>();
  while (extensions.remaining > 0) {
    const extension = expectElement(extensions, Tag.sequence, 'extension').content;
    const oid = oidText(expectElement(extension, Tag.oid, 'extension id').content);
    if (peekTag(extension) === Tag.boolean && expectElement(extension, Tag.boolean, 'critical').content.u8() !== 0) {
      throw new WireError(`revocation list has the critical extension ${oid}, which is not understood`);
    }
    values.set(oid, expectElement(extension, Tag.octetString, 'extension value').content);
  }
  return values;
}

function decodeNumber(value: Reader): bigint {
  const octets = expectElement(value, Tag.integer, 'CRL number').content.rest();
  if (octets.length === 0 || octets.length > LONGEST_NUMBER_BYTES || octets[0]! > 0x7f) throw new WireError(`CRL number has ${octets.length} octets or is negative`);
  return BigInt(`0x${toHex(octets)}`);
}

/** Whether the holder of this key (SPKI DER) has signed the list. */
export function isCrlSignedBy(crl: Crl, publicKey: Uint8Array): boolean {
  const hash = SIGNATURE_HASHES.get(crl.signatureOid);
  if (hash === undefined) return false;
  try {
    return verify(hash, crl.signed, createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }), crl.signature);
  } catch {
    return false; // key and signature are of different kinds
  }
}

/** Lists as they were last used: reading one and checking its signature costs more than a whole chain. */
export class CrlReader {
  readonly #opened = new WeakMap<Uint8Array, Crl | undefined>();
  readonly #signers = new WeakMap<Crl, Map<string, boolean>>();

  /** Undefined for what is not a usable list. */
  open(der: Uint8Array): Crl | undefined {
    if (!this.#opened.has(der)) this.#opened.set(der, readable(der));
    return this.#opened.get(der);
  }

  isSignedBy(crl: Crl, publicKey: Uint8Array): boolean {
    const known = this.#signers.get(crl) ?? new Map<string, boolean>();
    this.#signers.set(crl, known);
    const key = toHex(publicKey);
    const signed = known.get(key) ?? isCrlSignedBy(crl, publicKey);
    known.set(key, signed);
    return signed;
  }
}

function readable(der: Uint8Array): Crl | undefined {
  try {
    return decodeCrl(der);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}
