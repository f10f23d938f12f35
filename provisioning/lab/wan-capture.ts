// Records what every box puts onto the WAN, from before the first appliance starts: one tcpdump per wire, in the
// direction towards the router or NAT box, so that each packet is there once and its sender is known.
import { join } from 'node:path';
import type { IpAddress } from '../../firmware/model.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Clock } from '../../platform/time.ts';
import { HostProcess } from './host-process.ts';
import type { LabTopology, WireEnd } from './topology.ts';
import { withoutPrefix } from './topology.ts';
import { waitFor } from './wait-for.ts';

/**
 * A whole packet on a path of 1500 octets. Of packets that the kernel carries as one larger frame (UDP GSO) the first is
 * recorded and not the last; the audit counts the frames that were cut.
 */
export const SNAPLEN_BYTES = 2048;
/** Bounds a file to 2 GB; a wire with more has an incomplete capture, which its judge refuses. */
const PACKET_LIMIT = 1_000_000;
const KERNEL_BUFFER_KIB = 65_536;
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 20_000;

/** Where a box's packets are seen. */
export interface CapturePoint {
  /** The box whose packets they are; behind a NAT box it is named on both sides of it. */
  readonly sender: string;
  readonly place: string;
  readonly device: string;
  /** The sender's addresses on this wire. */
  readonly addresses: readonly IpAddress[];
  /** Between a box and its NAT box. */
  readonly inside: boolean;
}

export interface CapturedWire extends CapturePoint {
  /** Classic pcap, Ethernet, each frame cut after SNAPLEN_BYTES. */
  readonly file: string;
}

export interface CaptureEnd {
  /** Packets that the kernel could not hand over in time. */
  readonly lost: number;
  /** Ended before it was stopped: the limit was reached, or tcpdump failed. */
  readonly endedEarly: boolean;
}

/** Every wire end at a router or NAT box that a box behind it sends to. */
export function capturePoints(topology: LabTopology): CapturePoint[] {
  const kindOf = (name: string) => topology.places.find((place) => place.name === name)!.kind;
  const point = (near: WireEnd, far: WireEnd, inside: boolean, sender = far.place): CapturePoint => ({
    sender,
    place: near.place,
    device: near.device,
    addresses: far.addresses.map(withoutPrefix),
    inside,
  });
  const ends = topology.wires.filter(({ use }) => use.kind !== 'lan').flatMap(({ ends: [a, b] }) => [[a, b] as const, [b, a] as const]);
  const behind = (nat: string): string | undefined => ends.find(([near, far]) => near.place === nat && kindOf(far.place) === 'appliance')?.[1].place;
  return ends.flatMap(([near, far]) => {
    if (kindOf(near.place) === 'nat' && kindOf(far.place) === 'appliance') return [point(near, far, true)];
    if (kindOf(near.place) !== 'router') return [];
    return [point(near, far, false, kindOf(far.place) === 'nat' ? behind(far.place) : far.place)];
  });
}

export class WanCapture {
  readonly wires: readonly CapturedWire[];
  readonly #clock: Clock;
  readonly #processes: readonly HostProcess[];
  #ends: Promise<CaptureEnd[]> | undefined;

  private constructor(clock: Clock, wires: readonly CapturedWire[], processes: readonly HostProcess[]) {
    this.#clock = clock;
    this.wires = wires;
    this.#processes = processes;
  }

  /** Resolves when every wire is being recorded. `directory` must exist. Throws OperationalError when tcpdump cannot. */
  static async start(topology: LabTopology, directory: string, clock: Clock): Promise<WanCapture> {
    const wires = capturePoints(topology).map((point): CapturedWire => ({ ...point, file: join(directory, `wan-${point.place}-${point.device}.pcap`) }));
    const processes = wires.map(
      ({ place, device, file }) =>
        new HostProcess(place, ['tcpdump', '-i', device, '-Q', 'in', '-s', String(SNAPLEN_BYTES), '-B', String(KERNEL_BUFFER_KIB), '-c', String(PACKET_LIMIT), '-n', '--immediate-mode', '-Z', 'root', '-w', file]),
    );
    const capture = new WanCapture(clock, wires, processes);
    const ready = await waitFor({ clock, timeoutMs: START_TIMEOUT_MS, pauseMs: 20 }, async () => {
      const late = processes.find(({ stderr }) => !stderr.includes('listening on'));
      return late === undefined ? { ok: true, value: undefined } : { ok: false, cause: `${late.command} does not capture: ${late.stderr.trim()}`, final: !late.isRunning };
    });
    if (!ready.ok) {
      await capture.stop();
      throw new OperationalError('capture', ready.cause, 'Run "npm run setup" as root');
    }
    return capture;
  }

  /** Ends the recording and leaves whole files; the same answer when called again. One entry per wire. */
  stop(): Promise<CaptureEnd[]> {
    this.#ends ??= Promise.all(
      this.#processes.map(async (process): Promise<CaptureEnd> => {
        const endedEarly = !process.isRunning;
        process.signal('SIGTERM');
        const { stderr } = await process.ended(this.#clock, STOP_TIMEOUT_MS);
        return { lost: Number(/(\d+) packets? dropped by kernel/.exec(stderr)?.[1] ?? 0), endedEarly };
      }),
    );
    return this.#ends;
  }
}
