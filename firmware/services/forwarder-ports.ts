// Opens and closes the forwarder's ports so that they match a ForwardingState: TUN devices of the insides, UDP 4790,
// UDP 4500 and raw ESP of the outsides. What cannot be opened stays wanted and is tried again.
import { OperationalError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { DatagramPort, Devices, Link, ParallelDevices, SocketAddress } from '../../drivers/port.ts';
import type { OutsidePorts } from '../dataplane/ports.ts';
import { deviceName, type ForwardingState, type InsideSpec, type OutsideSpec } from '../model.ts';
import { PORT_NATT, PORT_VXLAN_GPE } from '../wire/udp.ts';

/** What the forwarder behind a handle has to do about ports. */
export interface PortUser {
  /** A link for each worker, or one that worker 0 reads and all write to. */
  attachInside(id: number, links: readonly Link[]): void;
  /** `closed` is to be called when the forwarder has let go of the port. */
  detachInside(id: number, closed: () => void): void;
  /** The ports of each worker. */
  attachOutside(id: number, shares: readonly OutsidePorts[]): void;
  detachOutside(id: number, closed: () => void): void;
}

/** Opens what workers use side by side: a LAN's device with a queue for each, and each one's own socket of UDP 4790. */
export interface PortOpener {
  readonly workers: number;
  readonly devices: Devices;
  openLan(vr: string, device: string, mtu: number): readonly Link[];
  openVxlan(vr: string, local: SocketAddress): readonly DatagramPort[];
}

export function openerForOne(devices: Devices): PortOpener {
  return {
    workers: 1,
    devices,
    openLan: (vr, device, mtu) => [devices.openTun(vr, device, mtu)],
    openVxlan: (vr, local) => [devices.openUdp(vr, local)],
  };
}

export function openerForSeveral(devices: ParallelDevices, workers: number): PortOpener {
  if (workers === 1) return openerForOne(devices);
  return {
    workers,
    devices,
    openLan: (vr, device, mtu) => devices.openTunQueues(vr, device, mtu, workers),
    openVxlan: (vr, local) => devices.openUdpGroup(vr, local, workers),
  };
}

interface OpenInside {
  readonly key: string;
  readonly vr: string;
  readonly links: readonly Link[];
}

interface OpenOutside {
  readonly key: string;
  readonly shares: readonly OutsidePorts[];
}

export class ForwarderPorts {
  readonly #opener: PortOpener;
  readonly #log: Logger;
  readonly #user: PortUser;
  readonly #insides = new Map<number, OpenInside>();
  readonly #outsides = new Map<number, OpenOutside>();
  /** Problems that were logged, so that trying again says nothing new. */
  readonly #known = new Set<string>();

  constructor(opener: PortOpener, log: Logger, user: PortUser) {
    this.#opener = opener;
    this.#log = log;
    this.#user = user;
  }

  /** Returns whether everything that the state wants is open. */
  match(state: ForwardingState): boolean {
    const insides = new Map(state.insides.map((spec) => [spec.id, spec]));
    const outsides = new Map(state.outsides.map((spec) => [spec.id, spec]));
    for (const [id, open] of this.#insides) {
      const wanted = insides.get(id);
      if (wanted === undefined || insideKey(wanted) !== open.key) this.#closeInside(id, open);
    }
    for (const [id, open] of this.#outsides) {
      const wanted = outsides.get(id);
      if (wanted === undefined || outsideKey(wanted) !== open.key) this.#closeOutside(id, open);
    }
    let complete = true;
    for (const spec of insides.values()) complete = this.#openInside(spec) && complete;
    for (const spec of outsides.values()) complete = this.#openOutside(spec) && complete;
    return complete;
  }

  /** Hands every open port to a worker that was started anew. */
  attachAll(to: Pick<PortUser, 'attachInside' | 'attachOutside'>): void {
    for (const [id, { links }] of this.#insides) to.attachInside(id, links);
    for (const [id, { shares }] of this.#outsides) to.attachOutside(id, shares);
  }

  /** The sockets of UDP 4790 that share an address, one group after the other. */
  vxlanGroups(): readonly (readonly DatagramPort[])[] {
    return [...this.#outsides.values()].flatMap(({ shares }) => shares[0]!.vxlan.map((_, i) => shares.map((share) => share.vxlan[i]!)));
  }

  /** Closes the insides whose device is not there any more, and says which they were. */
  closeLost(isAttached: (link: Link) => boolean): readonly { readonly vr: string; readonly device: string }[] {
    const lost = [...this.#insides].filter(([, { links }]) => !links.every(isAttached));
    return lost.map(([id, open]) => {
      this.#closeInside(id, open);
      return { vr: open.vr, device: open.links[0]!.name };
    });
  }

  closeAll(): void {
    for (const [id, open] of this.#insides) this.#closeInside(id, open);
    for (const [id, open] of this.#outsides) this.#closeOutside(id, open);
  }

  #openInside(spec: InsideSpec): boolean {
    if (this.#insides.has(spec.id)) return true;
    const { devices } = this.#opener;
    const links = this.#try(`${spec.vr} ${spec.name}`, () =>
      spec.kind === 'lan' ? this.#opener.openLan(spec.vr, deviceName(spec.name), spec.mtu) : [devices.openTun(spec.vr, deviceName(spec.name), spec.mtu)],
    );
    if (links === undefined) return false;
    this.#insides.set(spec.id, { key: insideKey(spec), vr: spec.vr, links });
    this.#user.attachInside(spec.id, links);
    return true;
  }

  #openOutside(spec: OutsideSpec): boolean {
    if (this.#outsides.has(spec.id)) return true;
    const { devices, workers } = this.#opener;
    const opened: (readonly DatagramPort[] | undefined)[] = [];
    /** Groups of sockets, one group for each address. */
    const open = (what: (address: string) => string, run: (address: string) => readonly DatagramPort[]): (readonly DatagramPort[])[] =>
      spec.addresses.flatMap((address) => {
        const group = this.#try(`${spec.vr} ${what(address)}`, () => run(address));
        opened.push(group);
        return group === undefined ? [] : [group];
      });
    const vxlan = open((address) => `udp ${address} ${PORT_VXLAN_GPE}`, (address) => this.#opener.openVxlan(spec.vr, { address, port: PORT_VXLAN_GPE }));
    const natt = open((address) => `udp ${address} ${PORT_NATT}`, (address) => [devices.openUdp(spec.vr, { address, port: PORT_NATT })]);
    const esp = open((address) => `esp ${address}`, (address) => [devices.openEsp(spec.vr, address)]);
    if (opened.includes(undefined)) {
      for (const port of opened.flatMap((group) => group ?? [])) port.close();
      return false;
    }
    const shares = Array.from({ length: workers }, (_, worker): OutsidePorts => ({
      vxlan: vxlan.map((group) => group[worker]!),
      natt: worker === 0 ? natt.flat() : [],
      esp: worker === 0 ? esp.flat() : [],
    }));
    this.#outsides.set(spec.id, { key: outsideKey(spec), shares });
    this.#user.attachOutside(spec.id, shares);
    return true;
  }

  #try<P>(what: string, run: () => P): P | undefined {
    try {
      const port = run();
      this.#known.delete(what);
      return port;
    } catch (error) {
      if (!this.#known.has(what)) {
        this.#known.add(what);
        const nextStep = error instanceof OperationalError ? error.nextStep : 'it is tried again';
        this.#log.error('forwarder port cannot be opened', { port: what, cause: (error as Error).message, nextStep });
      }
      return undefined;
    }
  }

  #closeInside(id: number, { links }: OpenInside): void {
    this.#insides.delete(id);
    this.#user.detachInside(id, () => {
      for (const link of links) link.close();
    });
  }

  #closeOutside(id: number, { shares }: OpenOutside): void {
    this.#outsides.delete(id);
    this.#user.detachOutside(id, () => {
      for (const { vxlan, natt, esp } of shares) for (const port of [...vxlan, ...natt, ...esp]) port.close();
    });
  }
}

/** What makes it another port: the MTU is the kernel plan's business once the device is there. */
function insideKey(spec: InsideSpec): string {
  return `${spec.vr} ${spec.name}`;
}

function outsideKey(spec: OutsideSpec): string {
  return [spec.vr, ...spec.addresses].join(' ');
}
