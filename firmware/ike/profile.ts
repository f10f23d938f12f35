// What an operator or Director configures about an IKE connection, and the defaults that are filled in.
import { fromHex, fromUtf8, toHex, utf8 } from '../../platform/bytes.ts';
import type { SignatureAlgorithm } from '../../platform/crypto.ts';
import { nameText, sameName } from '../../platform/distinguished-name.ts';
import { assert } from '../../platform/errors.ts';
import { addressBytes, addressText } from '../wire/address.ts';
import { IdType } from '../wire/ike/numbers.ts';
import type { Gateway } from '../wire/ike/gateway.ts';
import type { TrafficSelector } from '../wire/ike/selector.ts';
import { ANY_IPV4, ANY_IPV6 } from '../wire/ike/selector.ts';
import type { ChildProposal, IkeProposal } from './algorithms.ts';
import { DEFAULT_CHILD_PROPOSALS, DEFAULT_IKE_PROPOSALS, isWeak, LEGACY_CHILD_PROPOSAL, LEGACY_IKE_PROPOSAL } from './algorithms.ts';
import type { EapMethodName } from './eap/method.ts';
import type { Ppk } from './ppk.ts';

export interface IkeIdentity {
  /** `user`: authenticated by EAP. No ID payload carries it, so no other peer can claim to be the same. */
  readonly kind: 'email' | 'fqdn' | 'ipv4' | 'ipv6' | 'dn' | 'key-id' | 'user';
  /** Text; in hexadecimal a key id, and the DER of a distinguished name. */
  readonly value: string;
}

/** A certificate, and how its key signs. */
export interface SigningCredential {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  readonly algorithm: SignatureAlgorithm;
}

export interface CertificateAuth extends SigningCredential {
  readonly kind: 'certificate';
  /** Further credentials of the same identity, in order of preference: a peer gets the first one that it can verify. */
  readonly alternatives?: readonly SigningCredential[];
}

export type LocalAuth =
  | { readonly kind: 'psk'; readonly key: Uint8Array }
  /** The pre-shared key that `lookupPeer` finds for the peer: one key of this pair alone, used both ways. */
  | { readonly kind: 'lookup' }
  | CertificateAuth
  | EapUser;

/** Initiator only; the responder must authenticate by certificate, and is the EAP server itself. */
export type EapUser = {
  readonly kind: 'eap';
  /** Printable ASCII; for a password with or without a `DOMAIN\\` in front, for EAP-TLS an e-mail or DNS name of the certificate. */
  readonly identity: string;
} & (
  | { readonly password: string }
  | {
      /** EAP-TLS: DER, leaf first, and PKCS#8 DER. */
      readonly certificate: { readonly chain: readonly Uint8Array[]; readonly privateKey: Uint8Array };
      /** The responder need not show its certificate in IKE as well (RFC 5998). */
      readonly eapOnly?: boolean;
    }
);

export type PeerCredentials =
  | { readonly kind: 'psk'; readonly key: Uint8Array }
  | { readonly kind: 'certificate'; readonly anchors: readonly Uint8Array[] };

export interface EapAuth {
  readonly kind: 'eap';
  /** In order of preference; never empty. `tls` needs `anchors` and our own certificate. */
  readonly methods: readonly EapMethodName[];
  /** DER of the roots of the users' certificates, for EAP-TLS. */
  readonly anchors?: readonly Uint8Array[];
  /** A peer that asks for it sees our certificate in EAP-TLS only (RFC 5998). */
  readonly eapOnly?: boolean;
  /** The user must authenticate anew after this time (RFC 4478). Default 24 h. */
  readonly lifetimeMs?: number;
}

/**
 * `lookup`: responder only, the endpoint's option lookupPeer decides by IDi. `eap`: responder only, its option lookupEap
 * knows the users; a `remoteIdentity` is then that of the IDi payload.
 */
export type RemoteAuth = PeerCredentials | { readonly kind: 'lookup' } | EapAuth;

export interface IkeProfile {
  readonly name: string;
  readonly tenant: number;
  readonly localIdentity: IkeIdentity;
  /** The identity that the peer must present; undefined: any that authenticates. */
  readonly remoteIdentity: IkeIdentity | undefined;
  readonly localAuth: LocalAuth;
  readonly remoteAuth: RemoteAuth;
  readonly proposals?: readonly IkeProposal[];
  readonly childProposals?: readonly ChildProposal[];
  /** Default 86400 s. */
  readonly ikeLifetimeMs?: number;
  /** Default 28800 s. */
  readonly childLifetimeMs?: number;
  /** Silence after which the peer is asked whether it lives; 0 = never. Default 30 s. */
  readonly dpdMs?: number;
  readonly mode?: 'tunnel';
  readonly trafficSelectors?: { readonly local: readonly TrafficSelector[]; readonly remote: readonly TrafficSelector[] };
  /** The child travels in VXLAN with this VNI; a peer that does not agree is refused. */
  readonly vxlan?: { readonly vni: number };
  /** Initiator: ask for an overlay address and Director's addresses. */
  readonly requestConfiguration?: boolean;
  readonly deviceSerial?: string;
  /** Largest IKE message that is sent in one piece. Default 1200. */
  readonly fragmentBytes?: number;
  /** Receive window of ESP, a power of two. Default 1024. */
  readonly windowPackets?: number;
  /** Act as if there were a NAT, for peers that can only do UDP-encapsulated ESP. */
  readonly forceUdpEncapsulation?: boolean;
  /** Initiator: make the first child by an exchange of its own where the peer can (RFC 6023). Default: in IKE_AUTH. */
  readonly childless?: boolean;
  /** Offer and accept MOBIKE (RFC 4555), never with `vxlan`. Default true. */
  readonly mobike?: boolean;
  /** Responder: send peers that can follow to another gateway (RFC 5685), at once or after they have authenticated. */
  readonly redirect?: { readonly gateway: Gateway; readonly at: 'init' | 'auth' };
  /** Initiator: go where the peer sends us. Default false. */
  readonly followRedirects?: boolean;
  /** Post-quantum pre-shared key (RFC 8784). */
  readonly ppk?: Ppk;
  /**
   * Also MODP-1024, SHA-1 and RSA signatures with SHA-1, for stock Windows: behind the other proposals of IKE and ESP,
   * unless they name such algorithms themselves. An alarm lasts as long as it is on. Default false.
   */
  readonly legacy?: boolean;
}

export type CompleteProfile = Required<Omit<IkeProfile, 'vxlan' | 'deviceSerial' | 'ppk' | 'redirect'>> & Pick<IkeProfile, 'vxlan' | 'deviceSerial' | 'ppk' | 'redirect'>;

const ANY = [ANY_IPV4, ANY_IPV6] as const;

export function completeProfile(profile: IkeProfile): CompleteProfile {
  const complete: CompleteProfile = {
    proposals: DEFAULT_IKE_PROPOSALS,
    childProposals: DEFAULT_CHILD_PROPOSALS,
    ikeLifetimeMs: 86_400_000,
    childLifetimeMs: 28_800_000,
    dpdMs: 30_000,
    mode: 'tunnel',
    trafficSelectors: { local: ANY, remote: ANY },
    requestConfiguration: false,
    fragmentBytes: 1200,
    windowPackets: 1024,
    forceUdpEncapsulation: false,
    childless: false,
    mobike: true,
    followRedirects: false,
    legacy: false,
    ...withoutUndefined(profile),
  };
  const { proposals, childProposals } = complete;
  const [weakIke, weakChild] = [proposals.some(isWeak), childProposals.some(isWeak)];
  assert(complete.legacy || !(weakIke || weakChild), `profile ${profile.name} has weak algorithms, for which it must say that it is a legacy profile`);
  if (!complete.legacy) return complete;
  return {
    ...complete,
    proposals: weakIke ? proposals : [...proposals, LEGACY_IKE_PROPOSAL],
    childProposals: weakChild ? childProposals : [...childProposals, LEGACY_CHILD_PROPOSAL],
  };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}

const MOST_NAME_BYTES = 1024;
const ID_TYPES: Readonly<Record<Exclude<IkeIdentity['kind'], 'user'>, number>> = {
  email: IdType.email,
  fqdn: IdType.fqdn,
  ipv4: IdType.ipv4,
  ipv6: IdType.ipv6,
  dn: IdType.derDn,
  'key-id': IdType.keyId,
};

export function encodeIdentity(identity: IkeIdentity): { idType: number; data: Uint8Array } {
  assert(identity.kind !== 'user', 'a user in an ID payload');
  const idType = ID_TYPES[identity.kind];
  if (identity.kind === 'key-id' || identity.kind === 'dn') return { idType, data: fromHex(identity.value) };
  if (identity.kind === 'ipv4' || identity.kind === 'ipv6') return { idType, data: addressBytes(identity.value) };
  return { idType, data: utf8(identity.value) };
}

/** Undefined for a type that is not spoken here, or contents that do not fit their type. */
export function decodeIdentity(idType: number, data: Uint8Array): IkeIdentity | undefined {
  switch (idType) {
    case IdType.email:
      return printable({ kind: 'email', value: fromUtf8(data) });
    case IdType.fqdn:
      return printable({ kind: 'fqdn', value: fromUtf8(data) });
    case IdType.ipv4:
      return data.length === 4 ? { kind: 'ipv4', value: addressText(data) } : undefined;
    case IdType.ipv6:
      return data.length === 16 ? { kind: 'ipv6', value: addressText(data) } : undefined;
    case IdType.derDn:
      return data.length <= MOST_NAME_BYTES && sameName(data, data) ? { kind: 'dn', value: toHex(data) } : undefined;
    case IdType.keyId:
      return data.length > 0 && data.length <= 256 ? { kind: 'key-id', value: toHex(data) } : undefined;
    default:
      return undefined;
  }
}

/** Identities end in logs and in certificates' names: control characters have no place in them. */
function printable(identity: IkeIdentity): IkeIdentity | undefined {
  const { value } = identity;
  return value.length > 0 && value.length <= 256 && /^[\x21-\x7e]+$/.test(value) ? identity : undefined;
}

export function sameIdentity(a: IkeIdentity, b: IkeIdentity): boolean {
  if (a.kind !== b.kind) return false;
  if (a.kind === 'dn') return sameName(fromHex(a.value), fromHex(b.value));
  // Names of mail hosts and of DNS do not tell cases apart.
  return a.kind === 'email' || a.kind === 'fqdn' ? a.value.toLowerCase() === b.value.toLowerCase() : a.value === b.value;
}

export function identityText(identity: IkeIdentity): string {
  if (identity.kind === 'dn') return nameText(fromHex(identity.value));
  return identity.kind === 'key-id' ? `key-id ${identity.value}` : identity.value;
}
