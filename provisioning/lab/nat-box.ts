// The rules of a NAT box: endpoint-dependent mapping with port preservation, as Linux-based home routers do it.
import type { NatPolicy } from './topology.ts';

/**
 * A ruleset for nft -f. With input policy `accept` the box itself answers a stranger's packet to its outside address,
 * which leaves a connection entry that takes the port: a branch that then sends to that stranger gets another port.
 */
export function natRules(policy: NatPolicy): string {
  return `
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "outside" masquerade
  }
}
table inet filter {
  chain input {
    type filter hook input priority filter; policy ${policy};
    ct state established,related accept
    iifname "inside" accept
    meta l4proto { icmp, icmpv6 } accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "inside" oifname "outside" accept
  }
}
`;
}
