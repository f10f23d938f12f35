// What goes into and comes out of the IKE endpoint.
import type { CertificatePath } from '../../platform/crypto.ts';
import type { LogEvent } from '../../platform/log.ts';
import type { TlsOptions, TlsStep } from '../../platform/tls-engine.ts';
import type { Endpoint, IpAddress, SaSpec } from '../model.ts';
import type { Gateway } from '../wire/ike/gateway.ts';
import type { TrafficSelector } from '../wire/ike/selector.ts';
import type { IkeIdentity, IkeProfile } from './profile.ts';
import type { SessionKeys } from './session-keys.ts';

export type IkeInput =
  /** `socket` is the service's name for a local socket; `natt`: it is a UDP 4500 one and the non-ESP marker is removed. */
  | { readonly kind: 'datagram'; readonly socket: string; readonly natt: boolean; readonly local: Endpoint; readonly remote: Endpoint; readonly bytes: Uint8Array }
  | InitiateInput
  | { readonly kind: 'terminate'; readonly ikeSa: number; readonly reason: string }
  | { readonly kind: 'rekey-child'; readonly child: number; readonly reason?: RekeyReason }
  | { readonly kind: 'rekey-ike'; readonly ikeSa: number }
  /** Our address changed: a connection that we began goes on from there (MOBIKE), or is ended for a new one. `nattSocket`: of UDP 4500, where there is one. */
  | { readonly kind: 'move'; readonly ikeSa: number; readonly socket: string; readonly nattSocket: string | undefined; readonly local: Endpoint }
  /** Sends the peer of a connection that it began to another gateway (RFC 5685). */
  | { readonly kind: 'redirect'; readonly ikeSa: number; readonly gateway: Gateway }
  /** Tells the peer from where its packets come (notify OBSERVED_ENDPOINT). */
  | { readonly kind: 'observed-endpoint'; readonly ikeSa: number; readonly endpoint: Endpoint }
  /** More certificates are revoked than before: SAs whose peer has shown one of them end, one slice after the other. */
  | { readonly kind: 'revocations' }
  /** What came of a `tls-feed`. */
  | { readonly kind: 'tls'; readonly ikeSa: number; readonly step: TlsStep }
  /** Replaces all profiles; SAs of profiles that are gone are ended. */
  | { readonly kind: 'profiles'; readonly profiles: readonly IkeProfile[] };

export interface InitiateInput {
  readonly kind: 'initiate';
  readonly profile: string;
  readonly socket: string;
  /** The UDP 4500 socket to change to when there is a NAT; undefined: stay. */
  readonly nattSocket: string | undefined;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Default: `local` with port 4500. */
  readonly nattLocal?: Endpoint;
}

export interface CertificateFacts {
  readonly emails: readonly string[];
  readonly uris: readonly string[];
  /** DER, leaf first: whether it has been revoked is asked again later. */
  readonly chain?: readonly Uint8Array[];
}

/** What a remote client is told besides its addresses (RFC 7296 3.15.1, RFC 8598). */
export interface ClientSettings {
  readonly dns?: readonly IpAddress[];
  /** Prefixes behind the responder. */
  readonly subnets?: readonly string[];
  /** Names that are to be asked of `dns`. */
  readonly dnsDomains?: readonly string[];
}

export interface IkeUp {
  readonly kind: 'ike-up';
  /** Number of the connection; it stays the same when the IKE SA is rekeyed. */
  readonly ikeSa: number;
  readonly profile: string;
  readonly tenant: number;
  readonly role: 'initiator' | 'responder';
  readonly localIdentity: IkeIdentity;
  readonly remoteIdentity: IkeIdentity;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly socket: string;
  readonly natt: boolean;
  readonly nat: { readonly local: boolean; readonly remote: boolean };
  /** Overlay address: assigned to us (initiator) or by us (responder). */
  readonly assigned: IpAddress | undefined;
  readonly directorAddresses: readonly IpAddress[] | undefined;
  /** A second overlay address, of the other family. */
  readonly alsoAssigned?: IpAddress | undefined;
  readonly settings?: ClientSettings | undefined;
  /** How the peer sees us. */
  readonly observed: Endpoint | undefined;
  /** What the peer says about itself. */
  readonly serial: string | undefined;
  readonly peerTenant: number | undefined;
  readonly certificate: CertificateFacts | undefined;
  /** Hexadecimal, `initiator/responder`. */
  readonly spis: string;
  readonly suite: string;
}

export interface ChildUp {
  readonly kind: 'child-up';
  readonly child: number;
  readonly ikeSa: number;
  readonly profile: string;
  readonly tenant: number;
  readonly inbound: SaSpec;
  readonly outbound: SaSpec;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** ESP is to be encapsulated in UDP 4500. */
  readonly natt: boolean;
  /** Agreed by both: ESP travels in VXLAN. */
  readonly vxlanVni: number | undefined;
  readonly localSelectors: readonly TrafficSelector[];
  readonly remoteSelectors: readonly TrafficSelector[];
  /** The child that this one rekeys; it keeps receiving until its own child-down and some seconds longer. */
  readonly replaces: number | undefined;
  /** We began the exchange that made this child: the peer can receive on it already. */
  readonly initiator: boolean;
}

/** The peer's (or our) outer address changed: the children go there now. */
export interface EndpointMoved {
  readonly kind: 'endpoint';
  readonly ikeSa: number;
  readonly socket: string;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** The children's ESP is to be encapsulated in UDP 4500. */
  readonly natt: boolean;
  readonly nat: { readonly local: boolean; readonly remote: boolean };
}

export type HistoryEvent =
  | 'IKE Done'
  | 'IKE Failed'
  /** The SA that goes on. */
  | 'IKE Rekeyed'
  /** The SA that another one replaces. */
  | 'IKE Replaced'
  | 'IKE Deleted'
  | 'IKE Moved'
  | 'IKE Redirected'
  | 'Peer Down'
  | 'Child Done'
  | 'Child Rekeyed'
  | 'Child Replaced'
  | 'Child Deleted';

export interface HistoryEntry {
  readonly unixMs: number;
  readonly event: HistoryEvent;
  readonly profile: string;
  readonly tenant: number;
  readonly role: 'initiator' | 'responder';
  /** Identity of the peer, or its address while that is not known. */
  readonly peer: string;
  readonly remote: string;
  /** Of the IKE SA `initiator/responder`, or of the child `inbound/outbound`; hexadecimal. */
  readonly spis: string;
  readonly nat: boolean;
  /** Why, in words; '' where there is nothing to say. */
  readonly cause: string;
  /** SPIs of the SA that this one replaces. */
  readonly replaces?: string;
  readonly replacedBy?: string;
}

/** Why an SA is rekeyed, for the history. */
export const REKEY_REASONS = {
  lifetime: 'its soft lifetime ended',
  order: 'ordered on this box',
  limit: 'its packet or octet limit is near',
  peer: 'the peer rekeyed it',
} as const;
export type RekeyReason = keyof typeof REKEY_REASONS;

/**
 * Why a datagram was dropped: no IKE message, for an SPI that is not ours, on a socket that nobody answers, too many from
 * there or in all, not from the peer, or not in its turn.
 */
export type IkeDropReason = 'malformed' | 'unknown-spi' | 'no-profile' | 'rate-limited' | 'too-many-half-open' | 'unauthentic' | 'unexpected';

export type IkeOutput =
  /** On a `natt` socket the service puts the non-ESP marker in front. */
  | { readonly kind: 'send'; readonly socket: string; readonly natt: boolean; readonly local: Endpoint; readonly remote: Endpoint; readonly bytes: Uint8Array }
  /** NAT keepalive (RFC 3948 2.3): one octet 0xFF, without marker. */
  | { readonly kind: 'keepalive'; readonly socket: string; readonly local: Endpoint; readonly remote: Endpoint }
  | IkeUp
  /** The same connection goes on under new SPIs. */
  | { readonly kind: 'ike-rekeyed'; readonly ikeSa: number; readonly profile: string; readonly spis: string; readonly suite: string }
  | { readonly kind: 'ike-down'; readonly ikeSa: number; readonly profile: string; readonly reason: string; readonly remote: Endpoint }
  /** `remote` is the one of the `initiate` input. */
  | { readonly kind: 'connect-failed'; readonly profile: string; readonly remote: Endpoint; readonly cause: string; readonly nextStep: string }
  /** Responder: a peer failed to authenticate or was not authorized; what it said about itself is unproven. */
  | { readonly kind: 'peer-refused'; readonly profile: string; readonly remote: Endpoint; readonly identity: IkeIdentity | undefined; readonly serial: string | undefined; readonly cause: string }
  | ChildUp
  /** The peer's certificate leads to an anchor on this way; whether it is revoked is worth knowing from now on. */
  | { readonly kind: 'certificate-seen'; readonly path: CertificatePath }
  | { readonly kind: 'child-down'; readonly child: number; readonly ikeSa: number; readonly reason: string }
  | { readonly kind: 'observed'; readonly ikeSa: number; readonly endpoint: Endpoint }
  | EndpointMoved
  /** TLS for an EAP conversation: the service opens an engine of the suite, and answers each feed by one `tls` input. */
  | { readonly kind: 'tls-open'; readonly ikeSa: number; readonly options: TlsOptions }
  | { readonly kind: 'tls-feed'; readonly ikeSa: number; readonly bytes: Uint8Array }
  | { readonly kind: 'tls-close'; readonly ikeSa: number }
  /** For counters; what exactly was wrong is a debug line. */
  | { readonly kind: 'dropped'; readonly reason: IkeDropReason }
  /** For counters: a request of a peer was answered with this error notify; its log line names the cause. */
  | { readonly kind: 'refused'; readonly answer: string }
  | { readonly kind: 'history'; readonly entry: HistoryEntry }
  /** Only where the option `exportsKeys` asks for it: new keys are in use. */
  | { readonly kind: 'session-keys'; readonly keys: SessionKeys }
  | { readonly kind: 'log'; readonly event: LogEvent };

/** For `show`. */
export interface IkeSnapshot {
  readonly ikeSas: readonly {
    readonly ikeSa: number;
    readonly profile: string;
    readonly tenant: number;
    readonly role: 'initiator' | 'responder';
    readonly state: string;
    readonly peer: string;
    readonly local: Endpoint;
    readonly remote: Endpoint;
    readonly natt: boolean;
    readonly spis: string;
    readonly suite: string;
    readonly children: readonly { readonly child: number; readonly spis: string; readonly suite: string; readonly state: string; readonly vxlanVni: number | undefined }[];
  }[];
}
