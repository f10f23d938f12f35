// Contents of CERTREQ (RFC 7296 3.7): SHA-1 of the public key of every authority that we trust.
import { concat, Reader } from '../../platform/bytes.ts';
import { expectElement, peekTag, readElement, Tag } from '../../platform/der.ts';
import { WireError } from '../../platform/errors.ts';
import { sha1 } from './sha1.ts';

const EXPLICIT_VERSION = 0xa0;

/** An anchor that is not a readable certificate contributes nothing; checkChain will say so where it matters. */
export function certificateRequestData(anchors: readonly Uint8Array[]): Uint8Array {
  return concat(...anchors.map((anchor) => publicKeyOf(anchor)).filter((key) => key !== undefined).map(sha1));
}

/** SubjectPublicKeyInfo of a certificate (RFC 5280 4.1). */
function publicKeyOf(certificate: Uint8Array): Uint8Array | undefined {
  try {
    const outer = expectElement(new Reader(certificate, 'trust anchor'), Tag.sequence, 'certificate').content;
    const tbs = expectElement(outer, Tag.sequence, 'tbsCertificate').content;
    if (peekTag(tbs) === EXPLICIT_VERSION) readElement(tbs, 'version');
    for (const what of ['serialNumber', 'signature', 'issuer', 'validity', 'subject']) readElement(tbs, what);
    return expectElement(tbs, Tag.sequence, 'subjectPublicKeyInfo').encoded;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}
