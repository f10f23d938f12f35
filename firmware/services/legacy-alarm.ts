// The alarm that lasts as long as a VPN profile accepts algorithms that are not safe any more.
import type { Alarms } from '../../platform/alarms.ts';
import type { IkeProfile } from '../ike/profile.ts';

const ALARM = 'legacy-algorithms';

/** @param alarmed profiles that the alarm lasts for; returns those it lasts for now */
export function watchLegacy(alarms: Alarms, alarmed: ReadonlySet<string>, profiles: readonly IkeProfile[]): ReadonlySet<string> {
  const legacy = new Set(profiles.filter((profile) => profile.legacy === true).map((profile) => profile.name));
  for (const object of alarmed) if (!legacy.has(object)) alarms.clear(ALARM, object);
  for (const object of legacy) {
    alarms.raise({ name: ALARM, object, severity: 'major', cause: 'the profile accepts MODP-1024 and SHA-1, which are not safe any more', nextStep: 'give its peers better proposals, then turn the option off' });
  }
  return legacy;
}
