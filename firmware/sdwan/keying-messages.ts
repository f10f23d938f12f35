// What goes into and comes out of the keying machine of one tenant (tenant-keying.ts).
import type { HashName, Suite } from '../../platform/crypto.ts';
import type { Fields, LogEvent } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import type { KeyingPolicy } from '../configuration.ts';
import type { IpAddress, SaSpec, SiteId } from '../model.ts';
import type { RekeyReason } from '../wire/bgp/tunnel-encap-container.ts';
import type { NodeIdentity } from './key-route.ts';
import type { RouteBytes, RouteSigner, RouteTrust } from './signed-route.ts';

export interface TenantKeyingOptions {
  readonly node: NodeIdentity;
  readonly policy: KeyingPolicy;
  readonly suite: Suite;
  readonly random: Random;
  readonly trust: RouteTrust;
  readonly signer: RouteSigner;
  /** Of the tenant's control VR; passed through to `publish`. */
  readonly routeTarget: string;
  /** Risen and made durable by the caller before every start; high half of the rekey counter. */
  readonly bootCount: number;
  /** What the last `persist` of this boot said; 0 after a boot. */
  readonly lastCounter?: number;
  /** Epochs already acted upon, from the last `persist`. */
  readonly epochs?: Readonly<Record<IpAddress, number>>;
  /** A fresh SA id, unique in the process. */
  readonly saId: () => number;
  /** Unix time at a machine instant, for certificates and directives. */
  readonly unixMs: (now: Instant) => number;
  /** 2 x (largest path RTT + jitter); held within 10 to 60 s. */
  readonly lingerMs?: number;
  /** Wait for `applied` before a key is published; set it when the data plane takes the SAs asynchronously. */
  readonly acknowledged?: boolean;
  /** Mixed into every SK_d when the whole tenant has it (RFC 8784). */
  readonly ppk?: Uint8Array;
  /** HMAC-SHA2-256 unless the tenant's policy says otherwise. */
  readonly prf?: HashName;
}

export interface RouteInput {
  /** The BGP peer it came from. */
  readonly from: string;
  /** The whole SAFI 74 item: type, length in bits, value. */
  readonly nlri: Uint8Array;
  /** The attribute's value; undefined when the route is withdrawn. */
  readonly tunnelEncapsulation: Uint8Array | undefined;
}

export type KeyingInput =
  | { readonly kind: 'start' }
  | ({ readonly kind: 'key-route' } & RouteInput)
  | ({ readonly kind: 'directive' } & RouteInput)
  /** `nodeId` tells peers apart whose SPIs collide. */
  | { readonly kind: 'first-packet'; readonly spi: number; readonly nodeId?: IpAddress | undefined }
  | { readonly kind: 'sa-limit'; readonly spi: number }
  /** An operator's order on this box. */
  | { readonly kind: 'rekey'; readonly reason: RekeyReason }
  /** The data plane runs the associations of this version. */
  | { readonly kind: 'applied'; readonly version: number }
  /** The trust has learned of revocations: SAs of peers whose newest key a revoked certificate has signed end at once. */
  | { readonly kind: 'revocations' }
  /** A renewed device certificate; published with the next key. */
  | { readonly kind: 'signer'; readonly signer: RouteSigner }
  /** The tenant's new policy; the next key follows it, not before the least interval. */
  | { readonly kind: 'policy'; readonly policy: KeyingPolicy }
  /** Withdraws the key and wipes all secrets; the machine is then over. */
  | { readonly kind: 'stop' };

/** One SA pair as the data plane takes it. */
export interface Association {
  readonly peerKeyId: number;
  readonly selfKeyId: number;
  readonly spiIn: number;
  readonly spiOut: number;
  readonly createdAt: Instant;
  readonly rx: SaSpec;
  readonly tx: SaSpec;
}

export interface PeerAssociations {
  readonly nodeId: IpAddress;
  readonly siteId: SiteId;
  readonly name: string;
  readonly associations: readonly Association[];
  /** The one that sends; undefined: the peer cannot be reached. */
  readonly tx: SaSpec | undefined;
}

export type AlarmName =
  | 'key-route-refused'
  | 'rekey-counter-conflict'
  | 'no-sa'
  | 'no-traffic-on-new-key'
  | 'own-key-foreign';

export type KeyingOutput =
  /** Must be durable before the next `publish` is sent. */
  | { readonly kind: 'persist'; readonly bootCount: number; readonly counter: number; readonly epochs: Readonly<Record<IpAddress, number>> }
  /** All SAs of the tenant, when an SA or a choice for sending changed; replaces the last one as a whole. Precedes the `publish` that makes peers use them. */
  | { readonly kind: 'associations'; readonly version: number; readonly peers: readonly PeerAssociations[] }
  | ({ readonly kind: 'publish'; readonly key: string; readonly routeTarget: string } & RouteBytes)
  | { readonly kind: 'withdraw'; readonly key: string; readonly nlri: Uint8Array }
  /** A Controller's order says that a site was revoked: time to ask for the newest revocation list. */
  | { readonly kind: 'revocation-ordered' }
  | { readonly kind: 'alarm'; readonly alarm: AlarmName; readonly fields: Fields }
  | { readonly kind: 'log'; readonly event: LogEvent };

export interface KeyingCounters {
  /** Bad signature, certificate, identity or encoding. */
  refused: number;
  /** Lower rekey counter than the one in use. */
  stale: number;
  /** Same rekey counter, other content. */
  conflicts: number;
  /** No SA could be derived. */
  underivable: number;
  rekeys: number;
  republished: number;
  /** First packets that fit several peers. */
  ambiguous: number;
}

/** Everything that `show dhkey site <tenant> <site>` prints. */
export interface KeyingSnapshot {
  readonly tenant: number;
  readonly siteId: SiteId;
  readonly nodeId: IpAddress;
  readonly profile: string;
  readonly lifetimeSeconds: number;
  readonly rekeySeconds: number;
  readonly groups: readonly number[];
  readonly groupMask: number;
  readonly transforms: readonly number[];
  readonly transformMask: number;
  readonly selfKeys: readonly SelfKeyRow[];
  readonly peerKeys: readonly PeerKeyRow[];
  readonly associations: readonly AssociationRow[];
  readonly counters: Readonly<KeyingCounters>;
  readonly nextRekeySeconds: number | undefined;
}

export interface SelfKeyRow {
  readonly id: number;
  readonly rekeyCounter: string;
  readonly state: string;
  readonly ageSeconds: number;
  readonly secondsLeft: number;
  readonly groups: readonly number[];
}

export interface PeerKeyRow {
  readonly siteId: SiteId;
  readonly name: string;
  readonly nodeId: IpAddress;
  readonly id: number;
  readonly rekeyCounter: string;
  readonly groups: readonly number[];
  readonly ageSeconds: number;
  readonly secondsLeft: number;
  /** No Controller shows the peer any more. */
  readonly headless: boolean;
}

/** new: nothing heard on it.  up: heard.  linger: superseded, receives until its end. */
export type AssociationState = 'new' | 'up' | 'linger';

export interface AssociationRow {
  /** `00103:0x03:0x05`: peer's site, peer's key, own key. */
  readonly id: string;
  readonly nodeId: IpAddress;
  readonly state: AssociationState;
  readonly sends: boolean;
  readonly spiIn: number;
  readonly spiOut: number;
  readonly suite: SaSpec['suite'];
  readonly group: number;
  readonly ageSeconds: number;
  readonly secondsLeft: number;
}
