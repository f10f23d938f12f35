// Address families as BGP carries them (RFC 4760): AFI and SAFI, with the names that logs and `show` use.

export interface Family {
  readonly afi: number;
  readonly safi: number;
}

export const AFI_IPV4 = 1;
export const AFI_IPV6 = 2;
export const SAFI_UNICAST = 1;
export const SAFI_SDWAN = 74;
export const SAFI_VPN = 128;
export const SAFI_ROUTE_TARGET = 132;

export const UNICAST4: Family = { afi: AFI_IPV4, safi: SAFI_UNICAST };
export const UNICAST6: Family = { afi: AFI_IPV6, safi: SAFI_UNICAST };
export const VPN4: Family = { afi: AFI_IPV4, safi: SAFI_VPN };
export const VPN6: Family = { afi: AFI_IPV6, safi: SAFI_VPN };
export const SDWAN4: Family = { afi: AFI_IPV4, safi: SAFI_SDWAN };
export const SDWAN6: Family = { afi: AFI_IPV6, safi: SAFI_SDWAN };
/** Route target constraint (RFC 4684). */
export const RTC: Family = { afi: AFI_IPV4, safi: SAFI_ROUTE_TARGET };

const FAMILIES: readonly (Family & { readonly name: string })[] = [
  { ...UNICAST4, name: 'ipv4-unicast' },
  { ...UNICAST6, name: 'ipv6-unicast' },
  { ...VPN4, name: 'ipv4-vpn' },
  { ...VPN6, name: 'ipv6-vpn' },
  { ...SDWAN4, name: 'ipv4-sdwan' },
  { ...SDWAN6, name: 'ipv6-sdwan' },
  { ...RTC, name: 'route-target' },
];

/** `ipv4-vpn`, or `afi/safi` for a family without a name here. Unique per family, so it also serves as a map key. */
export function familyName(family: Family): string {
  return FAMILIES.find((row) => sameFamily(row, family))?.name ?? `${family.afi}/${family.safi}`;
}

/** Whether this product has an NLRI codec for the family. */
export function isKnownFamily(family: Family): boolean {
  return FAMILIES.some((row) => sameFamily(row, family));
}

export function sameFamily(a: Family, b: Family): boolean {
  return a.afi === b.afi && a.safi === b.safi;
}
