// The product's nouns, shared by control plane, data plane, provisioning and shell. Plain immutable data only.
import type { EspSuite } from '../drivers/esp-suite.ts';

/** Global tenant id (1 is the provider). */
export type TenantId = number;
/** Site ids: Controllers 1-99, branches 100-16383. */
export type SiteId = number;

/** An IP address in its canonical text form: dotted quad, or RFC 5952 for IPv6. */
export type IpAddress = string;

export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}

/** `10.0.0.1:500` or `[2001:db8::1]:500`. */
export function formatEndpoint(e: Endpoint): string {
  return e.address.includes(':') ? `[${e.address}]:${e.port}` : `${e.address}:${e.port}`;
}

/** The clear TVI of tenant n is tvi-0/(2n), the encrypted one tvi-0/(2n+1). */
export function clearTviName(tenant: TenantId): string {
  return `tvi-0/${2 * tenant}`;
}

export function encryptedTviName(tenant: TenantId): string {
  return `tvi-0/${2 * tenant + 1}`;
}

/** A slash is illegal in a Linux device name: `tvi-0/2` is the device `tvi-0_2`. */
export function deviceName(interfaceName: string): string {
  return interfaceName.replaceAll('/', '_');
}

export function controlVrName(organization: string): string {
  return `${organization}-Control-VR`;
}

export function lanVrName(organization: string): string {
  return `${organization}-LAN-VR`;
}

export function transportVrName(transport: string): string {
  return `${transport}-Transport-VR`;
}

// ---------------------------------------------------------------------------------------------------- SAs

/** One direction of one SA as negotiated or derived; the data plane's row is made from it. */
export interface SaSpec {
  /** Stable over the SA's life and unique in the process, so that states can be diffed. */
  readonly id: number;
  readonly spi: number;
  readonly suite: EspSuite;
  readonly key: Uint8Array;
  readonly salt: Uint8Array;
  /** Extended sequence numbers (RFC 4303 2.2.1): the AAD then is SPI | high | low. */
  readonly esn: boolean;
  /** Receive only: replay window in packets, a power of two (RFC 6479). */
  readonly windowPackets: number;
  /** Soft limits; the forwarder reports `sa-limit` once when one is passed. */
  readonly softPackets: number;
  readonly softBytes: number;
  /** Hard limits; beyond these the SA drops with a reason. */
  readonly hardPackets: number;
  readonly hardBytes: number;
}

// ---------------------------------------------------------------------------------------- forwarding state

export type InsideKind = 'clear-tvi' | 'encrypted-tvi' | 'lan';

/** A device on the tenant's side of the forwarder: a TVI of a control VR or the core device of a LAN VR. */
export interface InsideSpec {
  readonly id: number;
  readonly tenant: TenantId;
  readonly kind: InsideKind;
  /** VR name = namespace name. */
  readonly vr: string;
  /** Interface name with its slash (`tvi-0/2`, `core0`). */
  readonly name: string;
  readonly mtu: number;
  /** The box's own addresses on it, without prefix length. */
  readonly addresses: readonly IpAddress[];
}

/** One WAN circuit. The forwarder opens UDP 4790, UDP 4500 and raw ESP on each of its addresses. */
export interface OutsideSpec {
  readonly id: number;
  /** Interface name of the WAN port, e.g. `vni-0/0`. */
  readonly name: string;
  readonly vr: string;
  /** Local addresses, at most one per family. */
  readonly addresses: readonly IpAddress[];
}

/**
 * vxlan-clear: VXLAN | ext | GRE | MPLS | IP, IKE and keyed probes only.   vxlan-esp: VXLAN | ext | ESP{GRE | MPLS | IP}.
 * esp: bare ESP tunnel mode (IP protocol 50).   esp-udp: the same in UDP 4500 (RFC 3948).
 */
export type TunnelKind = 'vxlan-clear' | 'vxlan-esp' | 'esp' | 'esp-udp';

export interface PathSpec {
  readonly outside: number;
  readonly remote: Endpoint;
}

export interface TunnelSpec {
  /** Stable over the tunnel's life and unique in the process. */
  readonly id: number;
  readonly tenant: TenantId;
  /** Peer device name, for counters and `show`. */
  readonly peer: string;
  readonly kind: TunnelKind;
  /** Inside that receives what arrives with explicit null (vxlan) or without label (esp): a TVI. */
  readonly inside: number;
  /** In order of preference; empty for a peer whose endpoint is not known yet. */
  readonly paths: readonly PathSpec[];
  /** Inner MTU: the largest inner IP packet. */
  readonly mtu: number;
  readonly tx: SaSpec | undefined;
  readonly rx: readonly SaSpec[];
  /** Send a dummy packet (next header 59) every this many ms while idle; 0 = never. */
  readonly idleDummyMs: number;
  /** Find out what the path carries; for peers of our own kind. Default: only when the host refuses to send. */
  readonly probesMtu?: boolean;
  /** Which of the forwarder's workers has its SAs, from 0, for the tunnel's whole life. Default 0; the forwarder's handle chooses. */
  readonly worker?: number;
}

/** Longest-prefix route of packets read from `inside`. */
export interface RouteSpec {
  readonly inside: number;
  /** `10.1.0.0/16` or `2001:db8::/32`. */
  readonly prefix: string;
  readonly tunnel: number;
  /** MPLS label to push (vxlan kinds): explicit null 0 / 2 for control VRs, the peer's VPN label for LANs. */
  readonly label: number;
}

/** What an arriving VPN label means: it belongs to one inside, and only over that inside's tenant's SAs. */
export interface LabelSpec {
  readonly label: number;
  readonly inside: number;
}

export interface TenantSpec {
  readonly tenant: TenantId;
  /** 24 bits; a hint on receive, checked against the SA's tenant after decryption. */
  readonly vni: number;
}

/** The whole desired data plane. Immutable; a newer version replaces it as a whole and is acknowledged. */
export interface ForwardingState {
  readonly version: number;
  readonly tenants: readonly TenantSpec[];
  readonly insides: readonly InsideSpec[];
  readonly outsides: readonly OutsideSpec[];
  readonly tunnels: readonly TunnelSpec[];
  readonly routes: readonly RouteSpec[];
  readonly labels: readonly LabelSpec[];
}

export const EMPTY_FORWARDING_STATE: ForwardingState = {
  version: 0,
  tenants: [],
  insides: [],
  outsides: [],
  tunnels: [],
  routes: [],
  labels: [],
};

/** Rare events that the forwarder reports to the control plane. */
export type ForwarderEvent =
  | { readonly kind: 'applied'; readonly version: number }
  /** First packet whose tag was good on a receive SA (rekey rules R3 and R4). */
  | { readonly kind: 'first-packet'; readonly tunnel: number; readonly spi: number }
  /** The peer's outer address or port changed, seen on a packet whose tag was good. */
  | { readonly kind: 'endpoint-moved'; readonly tunnel: number; readonly outside: number; readonly remote: Endpoint }
  | { readonly kind: 'sa-limit'; readonly tunnel: number; readonly spi: number; readonly limit: 'packets' | 'bytes' | 'failures' }
  /** IKE that arrived on UDP 4500; the non-ESP marker is removed. */
  | { readonly kind: 'ike'; readonly outside: number; readonly local: Endpoint; readonly remote: Endpoint; readonly bytes: Uint8Array }
  /** A device that somebody had removed from this virtual router is there again, without addresses and routes. */
  | { readonly kind: 'device-renewed'; readonly vr: string }
  /** Inner packets up to this size get through to the peer: less than the tunnel's MTU, or as much again. */
  | { readonly kind: 'path-mtu'; readonly tunnel: number; readonly mtu: number };

export interface DropCount {
  readonly reason: string;
  readonly packets: number;
}

export interface TunnelCount {
  readonly tunnel: number;
  readonly txPackets: number;
  readonly txBytes: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
}

export interface ForwarderCounters {
  readonly version: number;
  /** Packets that one worker of the forwarder handed to another. */
  readonly handedOver: number;
  readonly drops: readonly DropCount[];
  readonly tunnels: readonly TunnelCount[];
}
