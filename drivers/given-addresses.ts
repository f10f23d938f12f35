// What `ip -j` says of a port, as addresses that its network has given it. Pure.
import type { AddressFamily, GivenAddresses } from './port.ts';

/** `ip -j addr show dev ...`, as far as it matters here. */
export interface AddressDevice {
  readonly flags?: readonly string[];
  readonly addr_info?: readonly {
    readonly family?: string;
    readonly local?: string;
    readonly prefixlen?: number;
    readonly scope?: string;
    readonly tentative?: boolean;
    readonly dadfailed?: boolean;
    readonly deprecated?: boolean;
    readonly temporary?: boolean;
    readonly valid_life_time?: number;
  }[];
}

/** `ip -j route show default dev ...` */
export interface DefaultRoute {
  readonly gateway?: string;
  readonly metric?: number;
}

/** The kernel's word for a lifetime without end. */
const FOR_EVER = 0xffff_ffff;

function familyOf(address: string): AddressFamily {
  return address.includes(':') ? 6 : 4;
}

/** Addresses that can be used, of the families asked for: neither of the link only, nor temporary, nor in doubt (RFC 4862 5.4). */
export function addressesGiven(families: readonly AddressFamily[], devices: readonly AddressDevice[], routes: readonly DefaultRoute[]): GivenAddresses {
  const [device] = devices.filter((each) => each.addr_info !== undefined);
  const addresses = (device?.addr_info ?? []).flatMap((info) => {
    const { local, prefixlen, scope, tentative, dadfailed, temporary, deprecated = false, valid_life_time = FOR_EVER } = info;
    if (local === undefined || prefixlen === undefined || scope !== 'global' || tentative === true || dadfailed === true || temporary === true) return [];
    if (!families.includes(familyOf(local))) return [];
    return [{ address: `${local}/${prefixlen}`, deprecated, validSeconds: valid_life_time === FOR_EVER ? undefined : valid_life_time }];
  });
  const gateways = routes
    .flatMap(({ gateway, metric = 0 }) => (gateway === undefined || !families.includes(familyOf(gateway)) ? [] : [{ gateway, metric }]))
    .sort((a, b) => a.metric - b.metric)
    .map(({ gateway }) => gateway);
  return { carrier: device?.flags?.includes('LOWER_UP') ?? false, addresses, gateways };
}
