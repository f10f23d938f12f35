// The provider's certificate authority: one ECDSA P-256 root that issues device, Director and bundle-signing
// certificates directly. What a request asks for is ignored: every name in a certificate comes from Director's database.
import type { SiteId, TenantId } from '../firmware/model.ts';
import { toHex } from '../platform/bytes.ts';
import type { Random } from '../platform/random.ts';
import type { Clock } from '../platform/time.ts';
import { certificateFacts, createAuthority, createCsr, generateKeyPair, issueCrl, issueFromCsr } from '../platform/x509.ts';
import type { Authority as Signer, Revocation } from '../platform/x509.ts';
import { bundleSignerUri, deviceIdentity, directorUri, siteTenantUri, stagingIdentity } from './ztp/names.ts';

/** What must outlive a restart. */
export interface AuthorityKeys {
  readonly root: Signer;
  readonly bundleSigner: Signer;
}

export interface DeviceSubject {
  readonly device: string;
  readonly serial: string;
  readonly siteId: SiteId;
  readonly tenants: readonly { readonly tenant: TenantId; readonly organization: string }[];
}

export interface IssuedCertificate {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly serialNumber: string;
  readonly notAfterUnixMs: number;
}

export interface Authority {
  /** The provider's trust anchor, DER. */
  readonly anchor: Uint8Array;
  readonly bundleSigner: Signer;
  /** @throws UsageError when the request is not signed by its own key */
  issueDevice(csr: Uint8Array, subject: DeviceSubject): Promise<IssuedCertificate>;
  /** Director's server certificate with a key of its own. */
  issueDirector(addresses: readonly string[], dnsNames: readonly string[]): Promise<Signer>;
  crl(revoked: readonly Revocation[]): Promise<Uint8Array>;
}

const ROOT_DAYS = 7300;
const DEVICE_DAYS = 365;
const DIRECTOR_DAYS = 825;
/** Boxes ask again long before; the longer time lets a Director be away. */
const CRL_DAYS = 30;
const SERIAL_NUMBER_BYTES = 16;

/** Hexadecimal, positive and never starting with a zero octet. */
function freshSerialNumber(random: Random): string {
  const bytes = random.bytes(SERIAL_NUMBER_BYTES);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return toHex(bytes);
}

const NO_NAMES = { emails: [], uris: [], dnsNames: [], ipAddresses: [], client: false, server: false } as const;

/** A new root and its bundle-signing certificate, for a provider's first start. */
export async function createAuthorityKeys(provider: string, clock: Clock, random: Random): Promise<AuthorityKeys> {
  const unixMs = clock.unixMs();
  const root = await createAuthority({ commonName: `${provider} trust anchor`, unixMs, days: ROOT_DAYS });
  const pair = await generateKeyPair('ecdsa-p256');
  const subject = `${provider} configuration`;
  const certificate = await issueFromCsr(root, await createCsr({ privateKey: pair.privateKey, subject }), {
    ...NO_NAMES,
    subject,
    uris: [bundleSignerUri(provider)],
    days: ROOT_DAYS,
    unixMs,
    serialNumber: freshSerialNumber(random),
  });
  return { root: { certificate: root.certificate, privateKey: root.privateKey }, bundleSigner: { certificate, privateKey: pair.privateKey } };
}

export function openAuthority(provider: string, keys: AuthorityKeys, clock: Clock, random: Random): Authority {
  let lastCrlNumber = 0;
  return {
    anchor: keys.root.certificate,
    bundleSigner: keys.bundleSigner,
    async issueDevice(csr, subject) {
      const serialNumber = freshSerialNumber(random);
      const certificate = await issueFromCsr(keys.root, csr, {
        ...NO_NAMES,
        subject: subject.device,
        emails: [
          ...subject.tenants.map(({ organization }) => deviceIdentity(subject.device, organization, provider)),
          stagingIdentity(subject.serial, provider),
        ],
        uris: subject.tenants.map(({ tenant }) => siteTenantUri(provider, subject.siteId, tenant)),
        client: true,
        days: DEVICE_DAYS,
        unixMs: clock.unixMs(),
        serialNumber,
      });
      return { certificate, serialNumber, notAfterUnixMs: certificateFacts(certificate).notAfterUnixMs };
    },
    async issueDirector(ipAddresses, dnsNames) {
      const { privateKey } = await generateKeyPair('ecdsa-p256');
      const subject = `${provider} Director`;
      const certificate = await issueFromCsr(keys.root, await createCsr({ privateKey, subject }), {
        ...NO_NAMES,
        subject,
        uris: [directorUri(provider)],
        ipAddresses,
        dnsNames,
        server: true,
        days: DIRECTOR_DAYS,
        unixMs: clock.unixMs(),
        serialNumber: freshSerialNumber(random),
      });
      return { certificate, privateKey };
    },
    crl(revoked) {
      const unixMs = clock.unixMs();
      // By the clock, so that it rises over restarts and over a restored backup too.
      lastCrlNumber = Math.max(lastCrlNumber + 1, unixMs);
      return issueCrl(keys.root, { revoked, unixMs, days: CRL_DAYS, number: lastCrlNumber });
    },
  };
}
