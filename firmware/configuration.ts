// What Director tells an appliance, as data. The signed bundle around it and its schema check are in provisioning/ztp.
import type { IpAddress, SiteId, TenantId } from './model.ts';

export type ApplianceRole = 'branch' | 'controller';

/** `dhcp`: IPv4 by DHCP. `slaac`: IPv6 by router advertisements, and by DHCPv6 where those say so. */
export type AddressingMethod = 'dhcp' | 'slaac';

/** One WAN circuit of the box. */
export interface CircuitConfiguration {
  /** 1-16, unique on the box; Port-Local-ID of its circuit route. */
  readonly id: number;
  /** `vni-0/0` */
  readonly name: string;
  /** Transport domain, e.g. `INTERNET`; its VR is `<transport>-Transport-VR`. */
  readonly transport: string;
  /** `192.0.2.10/24`, `2001:db8::10/64`; at most one per family. */
  readonly addresses: readonly string[];
  /** Next hops, at most one per family. */
  readonly gateways: readonly IpAddress[];
  /** Families whose address and gateway the network gives; they have none above. Default: none. Branches only. */
  readonly automatic?: readonly AddressingMethod[];
}

export interface ControllerEndpoint {
  readonly transport: string;
  readonly address: IpAddress;
}

/** A Controller as a tenant of a box sees it. */
export interface TenantController {
  readonly siteId: SiteId;
  readonly name: string;
  readonly clearAddress: IpAddress;
  readonly encryptedAddress: IpAddress;
  /** IKE identity on this tenant, e-mail form. */
  readonly identity: string;
  readonly endpoints: readonly ControllerEndpoint[];
}

/** IKE-less keying policy of a tenant (protocols 1.7, 1.8). */
export interface KeyingPolicy {
  readonly lifetimeSeconds: number;
  readonly rekeyPercent: number;
  /** In order of preference. */
  readonly groups: readonly number[];
  readonly suites: readonly ('aes-256-gcm-16' | 'aes-128-gcm-16' | 'chacha20-poly1305')[];
  readonly replayWindowPackets: number;
}

export interface LanPortConfiguration {
  /** Interface name on the box, e.g. `vni-0/2`. */
  readonly name: string;
  /** Addresses with prefix length; the LAN's gateway addresses. */
  readonly addresses: readonly string[];
}

export interface TenantConfiguration {
  readonly tenant: TenantId;
  readonly organization: string;
  readonly vni: number;
  readonly clearAddress: IpAddress;
  readonly encryptedAddress: IpAddress;
  /** The pool that all overlay addresses of the tenant come from; routed into the TVIs. */
  readonly overlayPrefix: string;
  /** This box's IKE identity on the tenant. */
  readonly identity: string;
  readonly asNumber: number;
  /** `65000:2`: type 0 when the AS fits 16 bits, else type 2. */
  readonly routeDistinguisher: string;
  readonly routeTarget: string;
  readonly keying: KeyingPolicy;
  /** For a branch: the Controllers to connect to. For a Controller: the other Controllers. */
  readonly controllers: readonly TenantController[];
  /** Undefined for the provider's tenant and on Controllers. */
  readonly lan: { readonly ports: readonly LanPortConfiguration[] } | undefined;
}

export interface DeviceConfiguration {
  readonly schema: 1;
  /** Rises with every change that Director makes; a lower one is refused. */
  readonly generation: number;
  readonly device: { readonly name: string; readonly serial: string; readonly siteId: SiteId; readonly role: ApplianceRole };
  /** The provider's organisation name; it owns tenant 1. */
  readonly provider: string;
  readonly softwareVersion: string;
  readonly director: { readonly addresses: readonly IpAddress[]; readonly port: number };
  /** DER, base64. */
  readonly trustAnchors: readonly string[];
  readonly circuits: readonly CircuitConfiguration[];
  readonly tenants: readonly TenantConfiguration[];
  /** Controllers only. */
  readonly staging: { readonly pool: string; readonly identity: string } | undefined;
  /** Controllers only: the port towards Director, in the provider's control VR. */
  readonly southbound: { readonly name: string; readonly addresses: readonly string[]; readonly gateways: readonly IpAddress[] } | undefined;
}

/** What a Controller must know of the sites it serves; fetched from Director, replaced as a whole. */
export interface SiteDirectory {
  readonly generation: number;
  readonly sites: readonly SiteRecord[];
}

export interface SiteRecord {
  readonly siteId: SiteId;
  readonly device: string;
  readonly serial: string;
  readonly state: 'enabled' | 'revoked';
  /** Staging identity and its pre-shared key (base64), until the site is onboarded. */
  readonly staging: { readonly identity: string; readonly psk: string } | undefined;
  readonly tenants: readonly {
    readonly tenant: TenantId;
    readonly identity: string;
    readonly clearAddress: IpAddress;
    readonly encryptedAddress: IpAddress;
  }[];
}

/** All that a factory-fresh branch knows (a file, a USB stick, an activation link): never a shared key. */
export interface PrestagingRecord {
  readonly serial: string;
  readonly provider: string;
  readonly circuits: readonly CircuitConfiguration[];
  readonly controllers: readonly ControllerEndpoint[];
  /** Lower-case hex SHA-256 of the provider's trust anchor (DER). */
  readonly trustAnchorSha256: string;
  readonly staging: {
    readonly localIdentity: string;
    readonly remoteIdentity: string;
    /** Base64, at least 16 octets, of this device alone. */
    readonly psk: string;
    readonly tenant: TenantId;
  };
}
