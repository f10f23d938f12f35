// How anyone connects to Director: full verification against the provider's anchor, and the name that only Director's
// certificate has. On first contact the anchor itself is not known yet, only its SHA-256.
import type { PeerCertificate, SecureVersion } from 'node:tls';
import { encodePem } from '../../platform/pem.ts';
import { directorUri } from './names.ts';

/** Certificate and key of a device. */
export interface DeviceIdentity {
  /** DER, leaf first. */
  readonly certificateChain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
}

export interface DirectorTls {
  readonly ca: string;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly minVersion: SecureVersion;
  readonly rejectUnauthorized: true;
  checkServerIdentity(host: string, certificate: PeerCertificate): Error | undefined;
}

/**
 * TLS options for a verified connection.
 * @param anchor the provider's trust anchor, DER
 * @param provider undefined on a Controller's first contact, when only the anchor is known
 * @param identity of the calling device; undefined before it has one
 */
export function directorTls(anchor: Uint8Array, provider: string | undefined, identity: DeviceIdentity | undefined): DirectorTls {
  return {
    ca: encodePem('CERTIFICATE', anchor),
    cert: identity?.certificateChain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    key: identity && encodePem('PRIVATE KEY', identity.privateKey),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    // Not the address: boxes reach Director by whatever address the Controller tells them.
    checkServerIdentity(_host, certificate) {
      const names = (certificate.subjectaltname ?? '').split(', ');
      const isDirector = provider === undefined ? names.some((name) => /^URI:urn:selvage:[^:]+:director$/.test(name)) : names.includes(`URI:${directorUri(provider)}`);
      return isDirector ? undefined : new Error(`the server's certificate is not Director's${provider === undefined ? '' : ` of provider ${provider}`}`);
    },
  };
}
