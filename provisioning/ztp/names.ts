// The names that tie a device, its certificate and its IKE identities together. One place, because Director issues
// them and branches, Controllers and IKE check them.
import type { SiteId, TenantId } from '../../firmware/model.ts';

/** Where Director's API listens unless configured otherwise; the staging tunnel hands out addresses, never a port. */
export const DIRECTOR_PORT = 443;

/** The provider's own tenant: it carries staging and the Director channel. */
export const PROVIDER_TENANT: TenantId = 1;

export const FIRST_CONTROLLER_SITE: SiteId = 1;
export const LAST_CONTROLLER_SITE: SiteId = 99;
export const FIRST_BRANCH_SITE: SiteId = 100;
export const LAST_BRANCH_SITE: SiteId = 16383;

/** Organisation, transport and device names. */
export const NAME_PATTERN = '^[A-Za-z0-9._-]{1,40}$';
/** Hardware serial numbers; they become the local part of an identity. */
export const SERIAL_PATTERN = '^[A-Za-z0-9._-]{1,64}$';

/** IKE identity of a device on a tenant: `Branch-1@Acme.example`. */
export function deviceIdentity(device: string, organization: string, provider: string): string {
  return `${device}@${organization}.${provider}`;
}

/** IKE identity of a box that has nothing but its prestaging record. */
export function stagingIdentity(serial: string, provider: string): string {
  return `${serial}@staging.${provider}`;
}

/** IKE identity under which every Controller of a provider answers staging boxes. */
export function stagingControllerIdentity(provider: string): string {
  return `controller@staging.${provider}`;
}

/** The SAN that says which site may act for which tenant. */
export function siteTenantUri(provider: string, siteId: SiteId, tenant: TenantId): string {
  return `urn:selvage:${provider}:site:${siteId}:tenant:${tenant}`;
}

/** The SAN of Director's server certificate: without it any device certificate could pose as Director. */
export function directorUri(provider: string): string {
  return `urn:selvage:${provider}:director`;
}

/** The SAN of the certificate that signs configuration bundles. */
export function bundleSignerUri(provider: string): string {
  return `urn:selvage:${provider}:bundle-signer`;
}

/** The site id of a device certificate's URIs for this provider, or undefined when there is none or they disagree. */
export function siteIdOfUris(uris: readonly string[], provider: string): SiteId | undefined {
  const prefix = `urn:selvage:${provider}:site:`;
  const ids = new Set<number>();
  for (const uri of uris) {
    const match = uri.startsWith(prefix) ? /^(\d{1,5}):tenant:\d{1,10}$/.exec(uri.slice(prefix.length)) : null;
    if (match) ids.add(Number(match[1]));
  }
  return ids.size === 1 ? [...ids][0] : undefined;
}
