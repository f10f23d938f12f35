// What checks of certificate paths have in common, so that a certificate that comes again costs neither its reading nor
// the verification of its signature: both depend on nothing but its octets and the issuer's key. Validity, revocation and
// everything else that may change is judged anew each time (chain.ts).
import { createHash, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { toHex } from './bytes.ts';
import { decodeCertificate } from './certificate.ts';
import type { CertificateFields } from './certificate.ts';
import { KeyMemory } from './key-memory.ts';
import { RevocationReader } from './revocation.ts';

/** Certificates of good paths that are kept; those longest unused go first. Some 10 kB each, with what OpenSSL keeps. */
export const MOST_KEPT_CERTIFICATES = 512;

export interface Link {
  readonly fields: CertificateFields;
  readonly x509: X509Certificate;
}

function openCertificate(der: Uint8Array): Link {
  const link = { fields: decodeCertificate(der), x509: new X509Certificate(der) };
  // OpenSSL also takes PEM and ignores trailing octets; both views must be of the same octets.
  if (!link.x509.raw.equals(der)) throw new Error('there are octets after its end');
  return link;
}

function digestOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('base64');
}

export class ChainMemory {
  readonly revocations = new RevocationReader();
  readonly #keys: KeyMemory;
  readonly #anchors = new WeakMap<Uint8Array, Link>();
  /** By digest; the one that was used last is last. */
  readonly #kept = new Map<string, Link>();
  readonly #issued = new WeakMap<Link, WeakMap<Link, boolean>>();

  constructor(keys: KeyMemory = new KeyMemory()) {
    this.#keys = keys;
  }

  /** `der` must not change. Throws for what is no certificate. */
  anchor(der: Uint8Array): Link {
    const known = this.#anchors.get(der) ?? openCertificate(der);
    this.#anchors.set(der, known);
    return known;
  }

  /** Throws for what is no certificate. */
  certificate(der: Uint8Array): Link {
    return this.#kept.get(digestOf(der)) ?? openCertificate(new Uint8Array(der));
  }

  /** To be called for certificates of good paths only, else strangers could push out those of the peers. */
  keep(links: readonly Link[]): void {
    for (const link of links) {
      const digest = digestOf(link.x509.raw);
      this.#kept.delete(digest);
      this.#kept.set(digest, link);
    }
    for (const digest of this.#kept.keys()) {
      if (this.#kept.size <= MOST_KEPT_CERTIFICATES) break;
      this.#kept.delete(digest);
    }
  }

  /** Throws for a key that OpenSSL cannot read. */
  keyOf({ fields, x509 }: Link): KeyObject {
    return this.#keys.find(fields.publicKey) ?? this.#keys.remember(fields.publicKey, x509.publicKey);
  }

  /** Whether `subject` names this issuer and carries a good signature of its key. */
  isIssued(issuer: Link, subject: Link): boolean {
    const ofIssuer = this.#issued.get(issuer) ?? new WeakMap<Link, boolean>();
    this.#issued.set(issuer, ofIssuer);
    const answer = ofIssuer.get(subject) ?? this.#verify(issuer, subject);
    ofIssuer.set(subject, answer);
    return answer;
  }

  #verify(issuer: Link, subject: Link): boolean {
    if (!isNamed(issuer, subject)) return false;
    try {
      return subject.x509.verify(this.keyOf(issuer));
    } catch {
      return false; // key and signature are of different kinds
    }
  }
}

/** Whether `subject` names `issuer` as the one that issued it. */
export function isNamed(issuer: Link, subject: Link): boolean {
  return toHex(issuer.fields.subject) === toHex(subject.fields.issuer);
}
