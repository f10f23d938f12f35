// Opens and closes the forwarder's ports so that they match a ForwardingState: TUN devices of the insides, UDP 4790,
// UDP 4500 and raw ESP of the outsides. What cannot be opened stays wanted and is tried again.
import { OperationalError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { DatagramPort, Devices, Link } from '../../drivers/port.ts';
import type { OutsidePorts } from '../dataplane/ports.ts';
import { deviceName, type ForwardingState, type InsideSpec, type OutsideSpec } from '../model.ts';
import { PORT_NATT, PORT_VXLAN_GPE } from '../wire/udp.ts';

/** What the forwarder behind a handle has to do about ports. */
export interface PortUser {
  attachInside(id: number, link: Link): void;
  /** `closed` is to be called when the forwarder has let go of the port. */
  detachInside(id: number, closed: () => void): void;
  attachOutside(id: number, ports: OutsidePorts): void;
  detachOutside(id: number, closed: () => void): void;
}

interface OpenInside {
  readonly key: string;
  readonly link: Link;
}

interface OpenOutside {
  readonly key: string;
  readonly ports: OutsidePorts;
}

export class ForwarderPorts {
  readonly #devices: Devices;
  readonly #log: Logger;
  readonly #user: PortUser;
  readonly #insides = new Map<number, OpenInside>();
  readonly #outsides = new Map<number, OpenOutside>();
  /** Problems that were logged, so that trying again says nothing new. */
  readonly #known = new Set<string>();

  constructor(devices: Devices, log: Logger, user: PortUser) {
    this.#devices = devices;
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

  /** Hands every open port to the user again: it was started anew. */
  attachAll(): void {
    for (const [id, { link }] of this.#insides) this.#user.attachInside(id, link);
    for (const [id, { ports }] of this.#outsides) this.#user.attachOutside(id, ports);
  }

  closeAll(): void {
    for (const [id, open] of this.#insides) this.#closeInside(id, open);
    for (const [id, open] of this.#outsides) this.#closeOutside(id, open);
  }

  #openInside(spec: InsideSpec): boolean {
    if (this.#insides.has(spec.id)) return true;
    const link = this.#try(`${spec.vr} ${spec.name}`, () => this.#devices.openTun(spec.vr, deviceName(spec.name), spec.mtu));
    if (link === undefined) return false;
    this.#insides.set(spec.id, { key: insideKey(spec), link });
    this.#user.attachInside(spec.id, link);
    return true;
  }

  #openOutside(spec: OutsideSpec): boolean {
    if (this.#outsides.has(spec.id)) return true;
    const opened: (DatagramPort | undefined)[] = [];
    const open = (what: string, run: () => DatagramPort): DatagramPort[] => {
      const port = this.#try(`${spec.vr} ${what}`, run);
      opened.push(port);
      return port === undefined ? [] : [port];
    };
    const udp = (port: number): DatagramPort[] =>
      spec.addresses.flatMap((address) => open(`udp ${address} ${port}`, () => this.#devices.openUdp(spec.vr, { address, port })));
    const ports: OutsidePorts = {
      vxlan: udp(PORT_VXLAN_GPE),
      natt: udp(PORT_NATT),
      esp: spec.addresses.flatMap((address) => open(`esp ${address}`, () => this.#devices.openEsp(spec.vr, address))),
    };
    if (opened.includes(undefined)) {
      for (const port of opened) port?.close();
      return false;
    }
    this.#outsides.set(spec.id, { key: outsideKey(spec), ports });
    this.#user.attachOutside(spec.id, ports);
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

  #closeInside(id: number, { link }: OpenInside): void {
    this.#insides.delete(id);
    this.#user.detachInside(id, () => link.close());
  }

  #closeOutside(id: number, { ports }: OpenOutside): void {
    this.#outsides.delete(id);
    this.#user.detachOutside(id, () => {
      for (const port of [...ports.vxlan, ...ports.natt, ...ports.esp]) port.close();
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
