// strongSwan's side of a case: which releases there are, and the connection that it is given.
import { debianRoot } from '../system/debian-root.ts';
import { authSections } from './authentication.ts';
import type { StrongswanCredential } from './authentication.ts';
import type { Release } from './row.ts';
import { INSIDE } from './topology.ts';

export const OUR_IDENTITY = 'ours@peers.example';
export const THEIR_IDENTITY = 'theirs@peers.example';

/** Short waits, so that losses cost little time. */
const QUICK_RETRANSMISSION = 'retransmit_tries = 12\n retransmit_timeout = 0.3\n retransmit_base = 1.2';

export interface StrongswanSide {
  /** Default: the pre-shared key of the case. */
  readonly credential?: StrongswanCredential;
  /** As swanctl.conf has them; `theirs` empty: what strongSwan takes of its certificate by itself. Default: mail addresses. */
  readonly identities?: { readonly ours: string; readonly theirs: string };
  /** Besides the usual ones. */
  readonly plugins?: readonly string[];
  /** Addresses in the tunnel are asked for, or handed out. */
  readonly addresses?: 'asked' | 'given';
  /** Default: off. */
  readonly mobike?: boolean;
  /** Lines of the connection, e.g. `encap = yes`. */
  readonly connection?: string;
  readonly ikeProposals?: string;
  readonly espProposals?: string;
  /** A post-quantum pre-shared key, hexadecimal. */
  readonly ppk?: { readonly id: string; readonly secret: string };
  /** Lines of the child. */
  readonly child?: string;
  /** Lines of the daemon's section of strongswan.conf. */
  readonly settings?: string;
}

interface ReleaseFacts {
  /** Undefined: this machine's own. */
  readonly debian: string | undefined;
  /** ESP without UDP in user space came with 6.0. */
  readonly bareEsp: boolean;
}

export const RELEASE_FACTS: Readonly<Record<Release, ReleaseFacts>> = {
  '5.9': { debian: undefined, bareEsp: false },
  '6.0': { debian: 'trixie', bareEsp: true },
  '6.1': { debian: 'sid', bareEsp: true },
};

/** Its root file system, which is made when it is not there. */
export function releaseRoot(release: Release): string | undefined {
  const { debian } = RELEASE_FACTS[release];
  return debian === undefined ? undefined : debianRoot(debian);
}

export interface SwanctlContext {
  readonly release: Release;
  readonly lossy: boolean;
  readonly local: string;
  readonly remote: string;
}

export function swanctlConfiguration(side: StrongswanSide & Required<Pick<StrongswanSide, 'credential'>>, { release, local, remote }: SwanctlContext): string {
  const auth = authSections(side.credential, side.identities ?? { ours: OUR_IDENTITY, theirs: THEIR_IDENTITY });
  const given = side.addresses === 'given' ? `pools { four { addrs = ${INSIDE.ours.ipv4}/32 } \n six { addrs = ${INSIDE.ours.ipv6}/128 } }` : '';
  const pools = side.addresses === 'given' ? 'pools = four, six' : side.addresses === 'asked' ? 'vips = 0.0.0.0, ::' : '';
  return `
connections {
  peer {
    version = 2
    local_addrs = ${local}
    remote_addrs = ${remote}
    proposals = ${side.ikeProposals ?? 'aes256gcm16-prfsha384-x25519'}
    mobike = ${side.mobike === true ? 'yes' : 'no'}
    ${RELEASE_FACTS[release].bareEsp ? '' : 'encap = yes'}
    ${side.connection ?? ''}
    ${pools}
    local { ${auth.local} }
    remote { ${auth.remote} }
    children {
      net {
        local_ts = ${side.addresses === 'asked' ? 'dynamic' : `${INSIDE.theirs.ipv4}/32, ${INSIDE.theirs.ipv6}/128`}
        remote_ts = ${side.addresses === 'given' ? 'dynamic' : `${INSIDE.ours.ipv4}/32, ${INSIDE.ours.ipv6}/128`}
        esp_proposals = ${side.espProposals ?? 'aes256gcm16'}
        ${side.child ?? ''}
      }
    }
  }
}
${given}
${auth.secrets}
${side.ppk === undefined ? '' : `secrets { ppk { id = "${side.ppk.id}" \n secret = 0x${side.ppk.secret} } }`}
`;
}

/** Lines of the daemon's section of strongswan.conf. */
export function daemonSettings(side: StrongswanSide, { lossy }: SwanctlContext): string {
  return [lossy ? QUICK_RETRANSMISSION : '', side.settings ?? ''].join('\n');
}
