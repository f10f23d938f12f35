// One box of the simulated world: what survives a reboot (store, cables, log), and what each boot makes anew.
import { Alarms } from '../../platform/alarms.ts';
import type { Suite } from '../../platform/crypto.ts';
import { FakeSuite } from '../../platform/crypto-fake.ts';
import { InternalError } from '../../platform/errors.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { MemoryStore } from '../../platform/store.ts';
import type { Site } from '../../firmware/services/service.ts';
import { NodeClock } from './clock.ts';
import { SimHost } from './host.ts';
import type { Attachment, LinkQuality, Wire, WireContext } from './netem.ts';

export interface NodeOptions {
  /** The fake suite unless a scenario is about real keys. */
  readonly suite?: Suite;
  /** By how much the wall clock is wrong. */
  readonly skewMs?: number;
}

interface Cable {
  readonly wire: Wire;
  quality: LinkQuality | undefined;
  attachment: Attachment;
}

interface Boot {
  readonly clock: NodeClock;
  readonly host: SimHost;
  readonly site: Site;
}

export class SimNode {
  readonly name: string;
  readonly store = new MemoryStore();
  /** Of all boots. */
  readonly log = new MemorySink();
  readonly #context: WireContext;
  readonly #options: NodeOptions;
  readonly #cables = new Map<string, Cable>();
  #boots = 0;
  #boot: Boot | undefined;

  constructor(name: string, context: WireContext, options: NodeOptions = {}) {
    this.name = name;
    this.#context = context;
    this.#options = options;
    this.powerOn();
  }

  /** What services get. A new one after each `powerOn`. */
  get site(): Site {
    return this.#running().site;
  }

  /** Network, kernel and devices of the present boot; `host.onReadable` is the forwarder's wake-up. */
  get host(): SimHost {
    return this.#running().host;
  }

  get isOn(): boolean {
    return this.#boot !== undefined;
  }

  /** Plugs a device (`eth0`) into a wire; it stays plugged over reboots. */
  plug(device: string, wire: Wire, quality?: LinkQuality): void {
    this.#cables.set(device, { wire, quality, attachment: this.host.plug(device, wire, quality) });
  }

  /** Changes a cable's quality now and for later boots. */
  setQuality(device: string, change: Partial<LinkQuality>): void {
    const cable = this.#cables.get(device);
    if (cable === undefined) throw new InternalError(`${this.name} has no device ${device}`);
    cable.quality = { ...cable.attachment.quality, ...change };
    cable.attachment.quality = cable.quality;
  }

  /** Timers, sockets and virtual routers end at once, and nobody is told. */
  powerOff(): void {
    const boot = this.#running();
    this.#boot = undefined;
    boot.clock.stop();
    boot.host.vanish();
    for (const cable of this.#cables.values()) cable.attachment.detach();
    this.#context.flow.note(this.#context.clock.now(), this.name, 'power off');
  }

  powerOn(): void {
    if (this.#boot !== undefined) throw new InternalError(`${this.name} is on already`);
    const { name } = this;
    const random = this.#context.random.fork(`node ${name} boot ${++this.#boots}`);
    const clock = new NodeClock(this.#context.clock, this.#options.skewMs);
    const host = new SimHost({ node: name, clock, random: random.fork('host'), flow: this.#context.flow });
    const log = new SinkLog([this.log], () => clock.unixMs());
    const suite = this.#options.suite ?? new FakeSuite();
    this.#boot = { clock, host, site: { name, clock, random, suite, log, alarms: new Alarms(log.channel('alarms'), () => clock.unixMs()), store: this.store, network: host, kernel: host } };
    for (const [device, cable] of this.#cables) cable.attachment = host.plug(device, cable.wire, cable.quality);
  }

  #running(): Boot {
    if (this.#boot === undefined) throw new InternalError(`${this.name} is switched off`);
    return this.#boot;
  }
}
