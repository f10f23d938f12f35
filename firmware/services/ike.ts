// Joins the IKE endpoint to its sockets and its results to the forwarding state. One endpoint negotiates the tunnels
// of all tenants: staging on the WAN ports (UDP 500, and 4500 through the forwarder, which owns that port), post-staging
// on each tenant's clear TVI.
import type { Logger } from '../../platform/log.ts';
import { after, type CancelTimer } from '../../platform/time.ts';
import type { DatagramSocket } from '../../drivers/port.ts';
import type { IkeEndpoint } from '../ike/endpoint.ts';
import type { ChildUp, EndpointMoved, IkeDropReason, IkeInput, IkeOutput, IkeUp } from '../ike/input-output.ts';
import type { CircuitConfiguration, TenantConfiguration } from '../configuration.ts';
import type { Endpoint, ForwarderEvent, IpAddress } from '../model.ts';
import type { ForwardingService } from './forwarding.ts';
import { IkeTunnels, tunnelKey, type TunnelContext } from './ike-tunnels.ts';
import { watchLegacy } from './legacy-alarm.ts';
import { MachineRunner } from './machine-runner.ts';
import type { Service, ServiceStatus, Site } from './service.ts';
import { TlsSessions } from './tls-sessions.ts';

export const IKE_PORT = 500;
export const IKE_NATT_PORT = 4500;
/** A deleted child still receives this long: what the peer sent before the deletion may be on its way. */
const RETIRED_CHILD_MS = 10_000;

/** How long a stopping box waits for its deletions to be answered. */
const GOODBYE_MS = 200;

/** What a role does with IKE's results. */
export interface IkeRole {
  /** The tunnel of a new child SA, or a cause why there is none (the child is then deleted with its IKE SA). */
  tunnelContext(child: ChildUp, ike: IkeUp): TunnelContext | string;
  onOutput(output: IkeOutput): void;
}

interface Live {
  up: IkeUp;
  readonly tunnels: Set<number>;
  /** Newest last; with the endpoints that the peer has now. */
  children: ChildUp[];
}

export class IkeService implements Service {
  readonly name = 'ike';
  readonly #site: Site;
  readonly #forwarding: ForwardingService;
  readonly #role: IkeRole;
  readonly #log: Logger;
  readonly #runner: MachineRunner<IkeInput, IkeOutput>;
  readonly #tunnels: IkeTunnels;
  readonly #tls: TlsSessions;
  readonly #sockets = new Map<string, { readonly where: string; readonly socket: DatagramSocket }>();
  readonly #live = new Map<number, Live>();
  readonly #drops = new Map<IkeDropReason, number>();
  readonly #refusals = new Map<string, number>();
  readonly #timers = new Set<CancelTimer>();
  #legacyProfiles: ReadonlySet<string> = new Set();
  readonly endpoint: IkeEndpoint;

  constructor(site: Site, forwarding: ForwardingService, endpoint: IkeEndpoint, role: IkeRole) {
    this.#site = site;
    this.#forwarding = forwarding;
    this.#role = role;
    this.#log = site.log.channel('ipsec');
    this.endpoint = endpoint;
    this.#tunnels = new IkeTunnels((key) => forwarding.idFor(key));
    this.#tls = new TlsSessions(site.suite, (input) => this.push(input));
    this.#runner = new MachineRunner(endpoint, site.clock, (output) => this.#output(output));
    forwarding.onEvent((event) => this.#forwarderEvent(event));
  }

  async start(): Promise<void> {}

  /** Tells the peers, so that they need not find out by dead peer detection. */
  async stop(): Promise<void> {
    for (const ikeSa of this.#live.keys()) this.push({ kind: 'terminate', ikeSa, reason: 'this box stops' });
    if (this.#live.size > 0) await this.#wait(GOODBYE_MS);
    this.#runner.stop();
    this.#tls.closeAll();
    for (const cancel of this.#timers) cancel();
    this.retainSockets(new Set());
  }

  #wait(ms: number): Promise<void> {
    const { clock } = this.#site;
    return new Promise((resolve) => clock.at(after(clock.now(), ms), resolve));
  }

  status(): ServiceStatus {
    const live = this.#live.size;
    return live > 0 ? { state: 'up', detail: `${live} IKE SAs` } : { state: 'starting', detail: 'no IKE SA is established' };
  }

  push(input: IkeInput): void {
    if (input.kind === 'profiles') this.#legacyProfiles = watchLegacy(this.#site.alarms, this.#legacyProfiles, input.profiles);
    this.#runner.push(input);
  }

  /** Opens UDP 500 on one address; `id` names the socket in inputs and outputs of the endpoint. One elsewhere under this id is closed. */
  openSocket(id: string, vr: string, address: IpAddress): void {
    const where = `${vr} ${address}`;
    if (this.#sockets.get(id)?.where === where) return;
    this.#closeSocket(id);
    const local = { address, port: IKE_PORT };
    const socket = this.#site.network.openDatagram({
      vr,
      local,
      onDatagram: (bytes, remote) => this.push({ kind: 'datagram', socket: id, natt: false, local, remote, bytes }),
      onError: (error) => this.#log.warning('IKE socket reported an error', { socket: id, cause: error.message }),
    });
    this.#sockets.set(id, { where, socket });
  }

  /** Closes every socket that is not named. */
  retainSockets(ids: ReadonlySet<string>): void {
    for (const id of [...this.#sockets.keys()]) if (!ids.has(id)) this.#closeSocket(id);
  }

  #closeSocket(id: string): void {
    this.#sockets.get(id)?.socket.close();
    this.#sockets.delete(id);
  }

  /** Datagrams that IKE has dropped, by reason. */
  drops(): readonly { readonly reason: IkeDropReason; readonly datagrams: number }[] {
    return [...this.#drops].map(([reason, datagrams]) => ({ reason, datagrams }));
  }

  /** Requests of peers that were refused, by what they were answered. */
  refusals(): readonly { readonly answer: string; readonly requests: number }[] {
    return [...this.#refusals].map(([answer, requests]) => ({ answer, requests }));
  }

  /** The tunnel that the peer of an IKE SA uses now. */
  tunnelOf(ikeSa: number): number | undefined {
    return [...(this.#live.get(ikeSa)?.tunnels ?? [])].at(-1);
  }

  /** The port through which that tunnel leaves. */
  outsideOf(ikeSa: number): number | undefined {
    const tunnel = this.tunnelOf(ikeSa);
    return tunnel === undefined ? undefined : this.#tunnels.outsideOf(tunnel);
  }

  liveIkeSas(): readonly IkeUp[] {
    return [...this.#live.values()].map((live) => live.up);
  }

  /** Asks the role again for the context of every tunnel: circuits or routes of this box have changed. */
  renewContexts(): void {
    for (const live of this.#live.values()) this.#renew(live);
    this.#publish();
  }

  #publish(): void {
    this.#forwarding.setPart('ike', this.#tunnels.part());
  }

  #output(output: IkeOutput): void {
    switch (output.kind) {
      case 'send':
        this.#send(output);
        return;
      case 'keepalive':
        this.#forwarding.sendNatKeepalive(nattOutside(output.socket), output.remote);
        return;
      case 'log':
        this.#log.event(output.event);
        return;
      case 'tls-open':
      case 'tls-feed':
      case 'tls-close':
        this.#tls.handle(output);
        return;
      case 'refused':
        this.#refusals.set(output.answer, (this.#refusals.get(output.answer) ?? 0) + 1);
        return;
      case 'dropped':
        this.#drops.set(output.reason, (this.#drops.get(output.reason) ?? 0) + 1);
        return;
      case 'ike-up':
        this.#live.set(output.ikeSa, { up: output, tunnels: new Set(), children: [] });
        break;
      case 'ike-down':
        this.#live.delete(output.ikeSa);
        break;
      case 'child-up':
        this.#childUp(output);
        break;
      case 'child-down':
        this.#childDown(output.child, output.ikeSa);
        break;
      case 'endpoint':
        this.#moved(output);
        break;
    }
    this.#role.onOutput(output);
  }

  #send(output: Extract<IkeOutput, { kind: 'send' }>): void {
    if (output.natt) {
      this.#forwarding.sendIke(nattOutside(output.socket), output.remote, output.bytes);
      return;
    }
    const socket = this.#sockets.get(output.socket)?.socket;
    if (socket === undefined) {
      this.#log.warning('IKE message not sent: its socket is closed', { socket: output.socket, remote: output.remote.address });
      return;
    }
    socket.send(output.bytes, output.remote);
  }

  #childUp(child: ChildUp): void {
    const live = this.#live.get(child.ikeSa);
    if (live === undefined) return;
    const context = this.#context(child, live.up);
    if (context === undefined) return;
    live.children.push(child);
    const key = tunnelKey(child.profile, live.up.remoteIdentity.value);
    live.tunnels.add(
      this.#tunnels.childUp(key, context, {
        child: child.child,
        inbound: child.inbound,
        outbound: child.outbound,
        replaces: child.replaces,
        sendAtOnce: child.initiator,
      }),
    );
    // The reply that tells the peer about these SAs must not leave before the forwarder can receive on them.
    this.#publish();
    this.#forwarding.flush();
  }

  /** The tunnels of a connection whose outer addresses have changed go there at once. */
  #moved({ ikeSa, socket, local, remote, natt, nat }: EndpointMoved): void {
    const live = this.#live.get(ikeSa);
    if (live === undefined) return;
    live.up = { ...live.up, socket, local, remote, nat, natt: isNattSocket(socket) };
    live.children = live.children.map((child) => ({ ...child, local, remote, natt }));
    this.#renew(live);
    this.#publish();
    this.#forwarding.flush();
  }

  #renew(live: Live): void {
    const newest = live.children.at(-1);
    if (newest === undefined) return;
    const context = this.#context(newest, live.up);
    if (context !== undefined) this.#tunnels.renew(tunnelKey(newest.profile, live.up.remoteIdentity.value), context);
  }

  /** Undefined: the role has none, and the connection ends. */
  #context(child: ChildUp, up: IkeUp): TunnelContext | undefined {
    const context = this.#role.tunnelContext(child, up);
    if (typeof context !== 'string') return context;
    this.#log.error('child SA refused', { profile: child.profile, peer: up.remoteIdentity.value, cause: context });
    this.push({ kind: 'terminate', ikeSa: child.ikeSa, reason: context });
    return undefined;
  }

  #childDown(child: number, ikeSa: number): void {
    const live = this.#live.get(ikeSa);
    if (live !== undefined) live.children = live.children.filter((each) => each.child !== child);
    this.#tunnels.retire(child);
    // The peer stops receiving on this child as soon as it has our answer: the forwarder must have left it before.
    this.#publish();
    this.#forwarding.flush();
    const cancel = this.#site.clock.at(after(this.#site.clock.now(), RETIRED_CHILD_MS), () => {
      this.#timers.delete(cancel);
      this.#tunnels.forget(child);
      this.#publish();
    });
    this.#timers.add(cancel);
  }

  #forwarderEvent(event: ForwarderEvent): void {
    switch (event.kind) {
      case 'ike':
        this.push({ kind: 'datagram', socket: nattSocket(event.outside), natt: true, local: event.local, remote: event.remote, bytes: event.bytes });
        return;
      case 'first-packet':
        if (this.#tunnels.firstPacket(event.tunnel, event.spi)) this.#publish();
        return;
      case 'sa-limit': {
        const child = this.#tunnels.childOfInboundSpi(event.tunnel, event.spi);
        if (child !== undefined) this.push({ kind: 'rekey-child', child, reason: 'limit' });
        return;
      }
      case 'endpoint-moved':
        this.#tunnels.moved(event.tunnel, event.outside);
        this.#endpointMoved(event.tunnel, event.remote);
        return;
    }
  }

  /** Tells a peer that tunnels IKE in VXLAN from where its packets come (notify OBSERVED_ENDPOINT). */
  #endpointMoved(tunnel: number, remote: Endpoint): void {
    for (const [ikeSa, live] of this.#live) {
      if (!live.tunnels.has(tunnel) || live.up.role !== 'responder') continue;
      this.push({ kind: 'observed-endpoint', ikeSa, endpoint: remote });
    }
  }
}

/** The sockets that circuits and tenants need. */
export function socketsOf(circuits: readonly CircuitConfiguration[], tenants: readonly TenantConfiguration[], outside: (circuit: string) => number): Set<string> {
  const wan = circuits.flatMap((c) => c.addresses.map((a) => wanSocket(outside(c.name), a)));
  return new Set([...wan, ...tenants.map((t) => clearSocket(t.tenant))]);
}

/** Socket names: `wan:<outside>:<family>`, `natt:<outside>`, `clear:<tenant>`. */
export function nattSocket(outside: number): string {
  return `natt:${outside}`;
}

function isNattSocket(socket: string): boolean {
  return socket.startsWith('natt:');
}

function nattOutside(socket: string): number {
  return Number(socket.slice('natt:'.length));
}

export function wanSocket(outside: number, address: IpAddress): string {
  return `wan:${outside}:${address.includes(':') ? 6 : 4}`;
}

export function clearSocket(tenant: number): string {
  return `clear:${tenant}`;
}
