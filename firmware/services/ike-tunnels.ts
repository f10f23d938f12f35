// From live IKE child SAs to tunnels and routes. Pure bookkeeping: one tunnel per peer and profile, receiving on every
// child that is still alive and sending on the newest one that the peer is known to have.
import { ESP_SHAPES } from '../../drivers/esp-suite.ts';
import type { IpAddress, PathSpec, RouteSpec, SaSpec, TenantId, TunnelKind, TunnelSpec } from '../model.ts';
import type { ForwardingPart } from './forwarding.ts';
import type { IdFor } from './vr-plan.ts';

/** What the role knows about the peer of a tunnel. */
export interface TunnelContext {
  readonly peer: string;
  readonly tenant: TenantId;
  readonly kind: TunnelKind;
  /** Inside that the tunnel's packets come from and go to. */
  readonly inside: number;
  readonly paths: readonly PathSpec[];
  /** With an AEAD. */
  readonly mtu: number;
  readonly idleDummyMs: number;
  /** Prefixes of `inside` that lead into the tunnel, with the label to push. */
  readonly routes: readonly { readonly prefix: string; readonly label: number }[];
}

export interface ChildSas {
  readonly child: number;
  readonly inbound: SaSpec;
  readonly outbound: SaSpec;
  /** Child that this one replaces by a rekey. */
  readonly replaces: number | undefined;
  /** True for the side that began the exchange: the peer has installed the new SAs before it answered. */
  readonly sendAtOnce: boolean;
}

interface Child extends ChildSas {
  ready: boolean;
  /** Deleted by IKE; kept for receiving what is still under way. */
  retired: boolean;
}

interface Peer {
  context: TunnelContext;
  readonly tunnel: number;
  learnedOutside: number | undefined;
  /** Oldest first. */
  children: Child[];
}

export class IkeTunnels {
  readonly #idFor: IdFor;
  readonly #peers = new Map<string, Peer>();

  constructor(idFor: IdFor) {
    this.#idFor = idFor;
  }

  /** Returns the tunnel's id. */
  childUp(key: string, context: TunnelContext, sas: ChildSas): number {
    const peer: Peer = this.#peers.get(key) ?? { context, tunnel: this.#idFor(`ike:${key}`), learnedOutside: undefined, children: [] };
    if (this.#peers.has(key)) this.renew(key, context);
    // Also one that replaces nothing may follow a living one: a peer that authenticates anew makes before it breaks.
    const sending = newestReady(peer) !== undefined;
    peer.children.push({ ...sas, ready: sas.sendAtOnce || !sending, retired: false });
    this.#peers.set(key, peer);
    return peer.tunnel;
  }

  /** The same tunnel by other paths, or with other routes; its children stay. */
  renew(key: string, context: TunnelContext): void {
    const peer = this.#peers.get(key);
    if (peer === undefined) return;
    // The forwarder, too, keeps what it learned as long as the first path stays.
    if (JSON.stringify(context.paths[0]) !== JSON.stringify(peer.context.paths[0])) peer.learnedOutside = undefined;
    peer.context = context;
  }

  /** The forwarder goes on through another port, because the peer's packets came there. */
  moved(tunnel: number, outside: number): void {
    for (const peer of this.#peers.values()) if (peer.tunnel === tunnel) peer.learnedOutside = outside;
  }

  /** The port through which a tunnel leaves; undefined when it has no path. */
  outsideOf(tunnel: number): number | undefined {
    for (const peer of this.#peers.values()) if (peer.tunnel === tunnel) return peer.learnedOutside ?? peer.context.paths[0]?.outside;
    return undefined;
  }

  /** IKE deleted the child: nothing is sent on it any more, what is left takes over; it still receives until `forget`. */
  retire(child: number): void {
    for (const peer of this.#peers.values()) {
      const found = peer.children.find((c) => c.child === child);
      if (found === undefined) continue;
      found.retired = true;
      const sending = newestReady(peer) !== undefined;
      for (const other of peer.children) if (other.replaces === child || !sending) other.ready = true;
    }
  }

  forget(child: number): void {
    for (const [key, peer] of this.#peers) {
      peer.children = peer.children.filter((c) => c.child !== child);
      if (peer.children.length === 0) this.#peers.delete(key);
    }
  }

  /** A packet on the new inbound SA shows that the peer sends there, so it also receives. True when sending moves. */
  firstPacket(tunnel: number, spi: number): boolean {
    for (const peer of this.#peers.values()) {
      if (peer.tunnel !== tunnel) continue;
      const child = peer.children.find((c) => c.inbound.spi === spi);
      if (child === undefined || child.ready) return false;
      child.ready = true;
      return true;
    }
    return false;
  }

  childOfInboundSpi(tunnel: number, spi: number): number | undefined {
    for (const peer of this.#peers.values()) {
      if (peer.tunnel !== tunnel) continue;
      return peer.children.find((c) => c.inbound.spi === spi || c.outbound.spi === spi)?.child;
    }
    return undefined;
  }

  /** The child that a tunnel sends on, or undefined while it is down. */
  sendingChild(tunnel: number): number | undefined {
    for (const peer of this.#peers.values()) if (peer.tunnel === tunnel) return newestReady(peer)?.child;
    return undefined;
  }

  part(): ForwardingPart {
    const tunnels: TunnelSpec[] = [];
    const routes: RouteSpec[] = [];
    for (const peer of this.#peers.values()) {
      const { context, tunnel } = peer;
      const tx = newestReady(peer)?.outbound;
      tunnels.push({
        id: tunnel,
        tenant: context.tenant,
        peer: context.peer,
        kind: context.kind,
        inside: context.inside,
        paths: context.paths,
        mtu: context.mtu - (tx === undefined ? 0 : extraBytes(tx)),
        ...(context.kind === 'vxlan-esp' ? { probesMtu: true } : {}),
        tx,
        rx: peer.children.map((c) => c.inbound),
        idleDummyMs: context.idleDummyMs,
      });
      for (const { prefix, label } of context.routes) routes.push({ inside: context.inside, prefix, tunnel, label });
    }
    return { tunnels, routes };
  }
}

/** By how much ESP with this SA may be longer than with an AEAD: IV, ICV, and padding to whole blocks. */
function extraBytes({ suite }: SaSpec): number {
  const [shape, aead] = [ESP_SHAPES[suite], ESP_SHAPES['aes-256-gcm-16']];
  if (shape.blockBytes === aead.blockBytes) return 0;
  return shape.ivBytes - aead.ivBytes + shape.icvBytes - aead.icvBytes + shape.blockBytes - 1;
}

function newestReady(peer: Peer): Child | undefined {
  return peer.children.findLast((c) => c.ready && !c.retired);
}

/** Key of a peer's tunnel: one per VPN profile and authenticated identity. */
export function tunnelKey(profile: string, identity: string): string {
  return `${profile}|${identity}`;
}

/** IPv4 before IPv6 does not matter; the address family of the remote decides which local address is used. */
export function pathTo(outside: number, address: IpAddress, port: number): PathSpec {
  return { outside, remote: { address, port } };
}
