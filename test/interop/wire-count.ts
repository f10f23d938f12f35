// What has passed strongSwan's end of the wire, counted by the kernel: ESP of either form, and packets of the inside that
// nobody encrypted.
import type { TestNetwork } from '../system/namespaces.ts';
import { INSIDE } from './topology.ts';

const TABLE = 'inet interop_count';
/** ESP in UDP 4500 starts with an SPI, IKE there with four zero octets; a keepalive is one octet (RFC 3948 2). */
const ESP_IN_UDP = 'udp length > 12 @th,64,32 != 0';
const CLEAR = [...Object.values(INSIDE.ours), ...Object.values(INSIDE.theirs)].map((address) => `${address.includes(':') ? 'ip6' : 'ip'} saddr ${address} counter name clear`);

const RULES = `
table ${TABLE} {
  counter in { }
  counter out { }
  counter clear { }
  chain arriving {
    type filter hook prerouting priority -300;
    iifname "wan" meta l4proto esp counter name in
    iifname "wan" udp dport 4500 ${ESP_IN_UDP} counter name in
    ${CLEAR.map((rule) => `iifname "wan" ${rule}`).join('\n    ')}
  }
  chain leaving {
    type filter hook postrouting priority 300;
    oifname "wan" meta l4proto esp counter name out
    oifname "wan" udp sport 4500 ${ESP_IN_UDP} counter name out
    ${CLEAR.map((rule) => `oifname "wan" ${rule}`).join('\n    ')}
  }
}
`;

export interface WireCounts {
  /** Packets of ESP to and from strongSwan's end. */
  readonly in: number;
  readonly out: number;
  readonly clear: number;
}

export function countWire(network: TestNetwork, namespace: string): void {
  network.run(namespace, ['nft', '-f', '-'], RULES);
}

export function wireCounts(network: TestNetwork, namespace: string): WireCounts {
  const listed = network.run(namespace, ['nft', 'list', 'counters', 'table', ...TABLE.split(' ')]);
  const packets = (name: string): number => Number(new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(listed)?.[1] ?? Number.NaN);
  return { in: packets('in'), out: packets('out'), clear: packets('clear') };
}
