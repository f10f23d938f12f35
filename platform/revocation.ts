// What is known of one certificate's revocation, from lists and from OCSP responses. What has ended may not know the
// newest revocations, but what it names stays revoked.
import type { CertificateFields } from './certificate.ts';
import { commonName } from './certificate.ts';
import { CrlReader } from './crl.ts';
import type { RevocationCheck } from './crypto.ts';
import { toHex } from './bytes.ts';
import { WireError } from './errors.ts';
import { decodeOcspResponse, isResponseSigned, statusOf } from './ocsp.ts';
import type { OcspResponse } from './ocsp.ts';
import { rfc3339 } from './time.ts';

const USAGE_CRL_SIGN = 0x02;
/** A response without an end is as good as a list without one for so long. */
const ENDLESS_RESPONSE_MS = 3_600_000;

export interface RevocationQuestion {
  readonly certificate: CertificateFields;
  readonly issuer: CertificateFields;
  readonly unixMs: number;
}

export interface RevocationAnswer {
  readonly revokedUnixMs: number | undefined;
  /** Something that has not ended yet knows the certificate, or would name it. */
  readonly isCurrent: boolean;
}

/** Lists and responses as they were last used: reading one and checking its signature costs more than a whole chain. */
export class RevocationReader {
  readonly #lists = new CrlReader();
  readonly #responses = new WeakMap<Uint8Array, OcspResponse | undefined>();

  look(question: RevocationQuestion, { crls, ocspResponses = [] }: RevocationCheck): RevocationAnswer {
    const byList = this.#askLists(question, crls);
    if (byList.revokedUnixMs !== undefined) return byList;
    const byResponse = this.#askResponses(question, crls, ocspResponses);
    return { revokedUnixMs: byResponse.revokedUnixMs, isCurrent: byList.isCurrent || byResponse.isCurrent };
  }

  #askLists({ certificate, issuer, unixMs }: RevocationQuestion, crls: readonly Uint8Array[]): RevocationAnswer {
    const { keyUsage, publicKey, subject } = issuer;
    const name = toHex(subject);
    let isCurrent = false;
    for (const der of keyUsage !== undefined && (keyUsage & USAGE_CRL_SIGN) === 0 ? [] : crls) {
      const crl = this.#lists.open(der);
      if (crl === undefined || toHex(crl.issuer) !== name || !this.#lists.isSignedBy(crl, publicKey)) continue;
      const revokedUnixMs = crl.revoked.get(certificate.serialNumber);
      if (revokedUnixMs !== undefined) return { revokedUnixMs, isCurrent: true };
      isCurrent ||= crl.nextUpdateUnixMs === undefined || unixMs <= crl.nextUpdateUnixMs;
    }
    return { revokedUnixMs: undefined, isCurrent };
  }

  #askResponses({ certificate, issuer, unixMs }: RevocationQuestion, crls: readonly Uint8Array[], responses: readonly Uint8Array[]): RevocationAnswer {
    const isRevoked = (serialNumber: string): boolean =>
      this.#askLists({ certificate: { ...certificate, serialNumber }, issuer, unixMs }, crls).revokedUnixMs !== undefined;
    let isCurrent = false;
    for (const der of responses) {
      const response = this.#open(der);
      const status = response && statusOf(response, certificate.serialNumber, issuer);
      if (response === undefined || status === undefined || !isResponseSigned(response, issuer, unixMs, isRevoked)) continue;
      if (status.state === 'revoked') return { revokedUnixMs: status.revokedUnixMs, isCurrent: true };
      const endsUnixMs = status.nextUpdateUnixMs ?? status.thisUpdateUnixMs + ENDLESS_RESPONSE_MS;
      isCurrent ||= status.state === 'good' && unixMs <= endsUnixMs;
    }
    return { revokedUnixMs: undefined, isCurrent };
  }

  #open(der: Uint8Array): OcspResponse | undefined {
    if (!this.#responses.has(der)) this.#responses.set(der, readable(der));
    return this.#responses.get(der);
  }
}

function readable(der: Uint8Array): OcspResponse | undefined {
  try {
    return decodeOcspResponse(der);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

export interface RevocationProblem {
  /** A clause: "certificate was revoked on 2026-01-02". */
  readonly cause: string;
  readonly revoked: boolean;
}

/** Why a certificate does not count, called `what`; undefined when it does. */
export function revocationProblem(reader: RevocationReader, question: RevocationQuestion, check: RevocationCheck, what: string): RevocationProblem | undefined {
  const { revokedUnixMs, isCurrent } = reader.look(question, check);
  if (revokedUnixMs !== undefined) return { cause: `${what} was revoked on ${rfc3339(revokedUnixMs).slice(0, 10)}`, revoked: true };
  if (isCurrent || check.policy === 'soft') return undefined;
  return { cause: `${what} cannot be checked: no current CRL or OCSP response of issuer ${nameOf(question.issuer.subject)} (hard fail)`, revoked: false };
}

/** For a log line. */
export function nameOf(name: Uint8Array): string {
  try {
    return commonName(name) || 'without a name';
  } catch (error) {
    if (error instanceof WireError) return 'with an unreadable name';
    throw error;
  }
}
