// The pre-shared key of a site that is to be onboarded: in force from its order until the site is onboarded, or until
// the activation link that carries it expires.
import type { DirectorContext } from './context.ts';
import type { SiteTable } from './store/tables.ts';

/** Base64, or undefined when no prestaging record of the site is in force. */
export function stagingKeyOf(context: DirectorContext, site: SiteTable): string | undefined {
  const { staging_psk: key, staging_expires_unix_ms: expires } = site;
  return key === null || (expires !== null && expires <= context.clock.unixMs()) ? undefined : key;
}
