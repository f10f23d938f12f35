// Judges the capture of the whole WAN: no LAN address in clear anywhere, nothing that is not known to be sealed, and
// branches that talk to each other without the Controller between them.
import type { IpAddress } from '../../firmware/model.ts';
import { OperationalError } from '../../platform/errors.ts';
import { LanTraces } from './lan-traces.ts';
import { pcapRecords } from './pcap-file.ts';
import type { LabTopology } from './topology.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import type { CaptureEnd, CapturedWire } from './wan-capture.ts';
import { readWanPacket } from './wan-packet.ts';
import type { WanKind, WanPacket } from './wan-packet.ts';

/** Findings of one sort that are kept; all are counted. */
const FINDINGS_KEPT = 5;
/** Share of packets that may be missing from a capture that is still called whole. */
const LOST_SHARE = 0.01;
/** Each way between two branches; less is a lab that nobody used. */
const LEAST_DIRECT_PACKETS = 20;
/** From this much direct traffic on, the Controller's share is judged. */
const BULK_OCTETS = 10_000_000;
const CONTROLLER_SHARE = 0.1;

export interface DirectTraffic {
  readonly from: string;
  readonly to: string;
  readonly packets: number;
  readonly octets: number;
}

export interface WanAudit {
  readonly packets: number;
  readonly octets: number;
  readonly kinds: Readonly<Partial<Record<WanKind, number>>>;
  readonly leaks: { readonly count: number; readonly first: readonly string[] };
  readonly unexpected: { readonly count: number; readonly first: readonly string[] };
  /** Overlay packets between branches, as seen from the Internet. */
  readonly direct: readonly DirectTraffic[];
  readonly controllerOctets: number;
  readonly lostByCapture: number;
  /** Frames of which only the first octets were recorded. */
  readonly cutFrames: number;
  readonly verdict: Verdict;
}

/** What the auditor must know of the topology. */
export interface WanRoles {
  readonly branches: readonly string[];
  readonly controllers: readonly string[];
}

class Findings {
  count = 0;
  readonly first: string[] = [];

  add(text: string): void {
    this.count++;
    if (this.first.length < FINDINGS_KEPT) this.first.push(text);
  }
}

interface Flow {
  packets: number;
  octets: number;
}

export class WanAuditor {
  readonly #roles: WanRoles;
  readonly #traces: LanTraces;
  /** By the outer address that the Internet sees. */
  readonly #owners = new Map<IpAddress, string>();
  readonly #kinds = new Map<WanKind, number>();
  readonly #direct = new Map<string, Flow>();
  /** `<destination> <SPI>` of packets between branches, and of packets that a Controller sent. */
  readonly #directSas = new Set<string>();
  readonly #controllerSas = new Set<string>();
  readonly #leaks = new Findings();
  readonly #unexpected = new Findings();
  #packets = 0;
  #octets = 0;
  #controllerOctets = 0;
  #cutFrames = 0;

  constructor(topology: LabTopology, wires: readonly CapturedWire[], roles: WanRoles) {
    this.#roles = roles;
    this.#traces = new LanTraces(topology);
    for (const { sender, addresses, inside } of wires) if (!inside) for (const address of addresses) this.#owners.set(fullAddress(address), sender);
  }

  add(wire: CapturedWire, frame: Uint8Array, lengthBytes: number): void {
    const packet = readWanPacket(frame);
    const from = `packet ${++this.#packets} (${wire.sender}${wire.inside ? ', inside its NAT box' : ''}, ${packet.kind}, ${packet.source} to ${packet.destination})`;
    this.#octets += lengthBytes;
    if (lengthBytes > frame.length) this.#cutFrames++;
    this.#kinds.set(packet.kind, (this.#kinds.get(packet.kind) ?? 0) + 1);
    if (packet.kind === 'unexpected') this.#unexpected.add(`${from}: ${packet.cause}`);
    if (packet.kind === 'dhcp' && !wire.inside) this.#unexpected.add(`${from}: DHCP beyond the NAT box that answers it`);
    const trace = packet.addresses.find((address) => this.#traces.isLanAddress(address)) ?? this.#traces.find(frame);
    if (trace !== undefined) this.#leaks.add(`${from} shows ${trace}`);
    if (!wire.inside) this.#account(wire.sender, packet, lengthBytes);
  }

  #account(sender: string, packet: WanPacket, lengthBytes: number): void {
    const receiver = this.#owners.get(packet.destination);
    const { branches, controllers } = this.#roles;
    const sa = packet.spi === undefined ? undefined : `${packet.destination} ${packet.spi}`;
    if (controllers.includes(sender) || (receiver !== undefined && controllers.includes(receiver))) this.#controllerOctets += lengthBytes;
    if (controllers.includes(sender) && sa !== undefined) this.#controllerSas.add(sa);
    if (packet.kind !== 'overlay-esp' || !branches.includes(sender) || receiver === undefined || !branches.includes(receiver)) return;
    const way = `${sender} ${receiver}`;
    const flow = this.#direct.get(way) ?? { packets: 0, octets: 0 };
    flow.packets++;
    flow.octets += lengthBytes;
    this.#direct.set(way, flow);
    this.#directSas.add(sa!);
  }

  result(ends: readonly CaptureEnd[]): WanAudit {
    const direct = [...this.#direct].map(([way, flow]): DirectTraffic => {
      const [from, to] = way.split(' ');
      return { from: from!, to: to!, ...flow };
    });
    const lostByCapture = ends.reduce((sum, { lost }) => sum + lost, 0);
    return {
      packets: this.#packets,
      octets: this.#octets,
      kinds: Object.fromEntries(this.#kinds),
      leaks: { count: this.#leaks.count, first: this.#leaks.first },
      unexpected: { count: this.#unexpected.count, first: this.#unexpected.first },
      direct,
      controllerOctets: this.#controllerOctets,
      lostByCapture,
      cutFrames: this.#cutFrames,
      verdict: verdictOf([...this.#completeness(ends, lostByCapture), ...this.#content(), ...this.#paths(direct)]),
    };
  }

  #completeness(ends: readonly CaptureEnd[], lost: number): string[] {
    const causes: string[] = [];
    if (ends.some(({ endedEarly }) => endedEarly)) causes.push('a capture ended before the run did');
    if (lost > this.#packets * LOST_SHARE) causes.push(`the capture lost ${lost} packets beside ${this.#packets}`);
    return causes;
  }

  #content(): string[] {
    const causes: string[] = [];
    if (this.#leaks.count > 0) causes.push(`${this.#leaks.count} packets show a LAN in clear: ${this.#leaks.first[0]}`);
    if (this.#unexpected.count > 0) causes.push(`${this.#unexpected.count} packets are nothing that belongs on the WAN: ${this.#unexpected.first[0]}`);
    return causes;
  }

  #paths(direct: readonly DirectTraffic[]): string[] {
    const causes: string[] = [];
    for (const from of this.#roles.branches) {
      for (const to of this.#roles.branches) {
        const packets = direct.find((flow) => flow.from === from && flow.to === to)?.packets ?? 0;
        if (from !== to && packets < LEAST_DIRECT_PACKETS) causes.push(`only ${packets} packets went from ${from} straight to ${to}`);
      }
    }
    const relayed = [...this.#controllerSas].filter((sa) => this.#directSas.has(sa));
    if (relayed.length > 0) causes.push(`a Controller sent packets of SAs between branches: ${relayed.join(', ')}`);
    const octets = direct.reduce((sum, flow) => sum + flow.octets, 0);
    if (octets >= BULK_OCTETS && this.#controllerOctets > octets * CONTROLLER_SHARE) {
      causes.push(`${this.#controllerOctets} octets went through the Controller's wire beside ${octets} between branches`);
    }
    return causes;
  }
}

/** As wan-packet.ts writes addresses: IPv6 with all eight groups. */
export function fullAddress(address: IpAddress): string {
  if (!address.includes(':')) return address;
  const [head, tail] = address.split('::') as [string, string | undefined];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}

/** Reads every file of an ended capture. A file that cannot be read is a cause, not an exception. */
export function auditCapture(topology: LabTopology, wires: readonly CapturedWire[], ends: readonly CaptureEnd[], roles: WanRoles): WanAudit {
  const auditor = new WanAuditor(topology, wires, roles);
  const causes: string[] = [];
  for (const wire of wires) {
    try {
      for (const { bytes, originalLength } of pcapRecords(wire.file)) auditor.add(wire, bytes, originalLength);
    } catch (error) {
      if (!(error instanceof OperationalError) && (error as NodeJS.ErrnoException).code === undefined) throw error;
      causes.push((error as Error).message);
    }
  }
  const audit = auditor.result(ends);
  if (causes.length === 0) return audit;
  return { ...audit, verdict: verdictOf([...causes, ...(audit.verdict.held ? [] : [audit.verdict.cause])]) };
}
