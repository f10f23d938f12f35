// What a circuit must be beyond its shape: each address family is configured or given by the network, never both.
import type { CircuitConfiguration } from '../../firmware/configuration.ts';

export interface CircuitProblem {
  readonly key: 'addresses' | 'gateways';
  readonly value: string;
  readonly allowed: string;
}

function isIpv6(text: string): boolean {
  return text.includes(':');
}

/** What is wrong with a circuit, or undefined. */
export function circuitProblem({ addresses, gateways, automatic = [] }: CircuitConfiguration): CircuitProblem | undefined {
  if (addresses.length + automatic.length === 0) {
    return { key: 'addresses', value: '[]', allowed: 'an address such as 192.0.2.10/24, or "automatic" with dhcp or slaac' };
  }
  for (const [key, list] of [['addresses', addresses], ['gateways', gateways]] as const) {
    const families = list.map(isIpv6);
    if (new Set(families).size !== families.length) return { key, value: JSON.stringify(list), allowed: 'at most one IPv4 and one IPv6 address' };
    for (const [method, family] of [['dhcp', false], ['slaac', true]] as const) {
      const configured = list.find((text) => isIpv6(text) === family);
      if (configured === undefined || !automatic.includes(method)) continue;
      return { key, value: JSON.stringify(configured), allowed: `no ${family ? 'IPv6' : 'IPv4'} address, for "automatic" has ${method}` };
    }
  }
  return undefined;
}
