// A box with two system slots that a table plays, under a real agent and a real upgrade service: what RAUC would judge and
// write is decided here, what is downloaded comes from Director over real connections.
import { open, stat } from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import { UpgradeService, type SlotHost } from '../../firmware/services/upgrade.ts';
import type { BundleFacts } from '../../firmware/upgrade/bundle.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { LogRecord } from '../../platform/log.ts';
import { MemoryStore } from '../../platform/store.ts';
import { SlotStore, type SlotName } from '../../platform/store-slot.ts';
import { SystemClock, instant } from '../../platform/time.ts';
import type { CancelTimer, Instant } from '../../platform/time.ts';
import { readManifest } from '../../provisioning/director/package-manifest.ts';
import { createZtpAgent } from '../../provisioning/ztp/agent.ts';
import type { PostStagingStatus, ZtpAgent } from '../../provisioning/ztp/agent.ts';
import { host } from './agent-host.ts';

class HastyClock extends SystemClock {
  readonly #haste: number;

  constructor(haste: number) {
    super();
    this.#haste = haste;
  }

  override now(): Instant {
    return instant(super.now() * this.#haste);
  }

  override at(when: Instant, run: () => void): CancelTimer {
    return super.at(instant(when / this.#haste), run);
  }
}

export class SoftwareBox implements SlotHost {
  readonly systems: Record<SlotName, string> = { A: '0.1.0', B: 'none' };
  booted: SlotName = 'A';
  #order: SlotName[] = ['A', 'B'];
  #good: Record<SlotName, boolean> = { A: true, B: false };
  /** Slots that were written to, with what. */
  readonly written: string[] = [];
  readonly disk = new MemoryStore();
  readonly directory = mkdtempSync(join(tmpdir(), 'selvage-box-'));
  readonly stagings: PrestagingRecord[] = [];
  records: readonly LogRecord[] = [];
  agent!: ZtpAgent;
  upgrade!: UpgradeService;
  /** Versions whose control tunnels never come up. */
  broken: readonly string[] = [];
  /** The health check has not come to its end yet. */
  isTrialHeld = false;
  /** How many times faster trials pass. */
  haste = 40;
  /** What RAUC says of the signature; '' = good. */
  signature = '';
  installing: Promise<void> = Promise.resolve();
  cuts: (bytes: number) => boolean = () => false;
  boots = 0;
  #logs: (readonly LogRecord[])[] = [];
  readonly #serial: string;
  readonly #directorPort: number;
  readonly #hasSlots: boolean;

  constructor(serial: string, directorPort: number, hasSlots = true) {
    this.#serial = serial;
    this.#directorPort = directorPort;
    this.#hasSlots = hasSlots;
  }

  get running(): string {
    return this.systems[this.booted];
  }

  /** Lines of every life of the box. */
  get lines(): readonly LogRecord[] {
    return this.#logs.flat();
  }

  async boot(record?: PrestagingRecord): Promise<void> {
    this.booted = this.#order.find((slot) => this.#good[slot]) ?? 'A';
    this.boots++;
    const store = new SlotStore(this.disk, this.booted);
    const { site, log } = host(this.#serial, store, new SystemClock(), { address: `127.0.0.1${this.#serial.at(-1)}`, cuts: (bytes) => this.cuts(bytes) });
    this.#logs.push(log.records);
    const status = (): PostStagingStatus => (this.broken.includes(this.running) ? { controlTunnels: 'down', bgp: 'down', detail: 'IKE: no answer' } : { controlTunnels: 'up', bgp: 'up', detail: '' });
    this.upgrade = new UpgradeService({
      site: { ...site, clock: new HastyClock(this.haste) },
      host: this,
      slot: this.booted,
      upMs: 0,
      version: this.running,
      missing: () => (this.isTrialHeld ? 'the check is under way' : agent.missing),
      forgetOtherConfiguration: () => store.forgetOther(),
    });
    const agent = createZtpAgent({
      site,
      serial: this.#serial,
      record,
      softwareVersion: this.running,
      revocationPolicy: 'soft',
      directorPort: this.#directorPort,
      pollMs: 400,
      slots: this.#hasSlots
        ? { directory: join(this.directory, 'software'), compatible: () => this.upgrade.compatible(), install: (file, next) => this.upgrade.install(file, next), outcome: () => this.upgrade.outcome() }
        : undefined,
      hooks: {
        startStaging: (given) => {
          this.stagings.push(given);
          agent.stagingUp({ assignedAddress: '172.30.0.1', directorAddresses: ['127.0.0.1'] });
        },
        stopStaging() {},
        applyConfiguration: async () => {},
        status,
        revocations() {},
      },
    });
    this.agent = agent;
    await this.upgrade.start();
    await agent.start();
  }

  /** Ends the processes; the disk stays. */
  async halt(): Promise<void> {
    await this.agent.stop();
    await this.upgrade.stop();
  }

  async close(): Promise<void> {
    await this.halt();
    rmSync(this.directory, { recursive: true });
  }

  // ------------------------------------------------------------------------------------------ as RAUC

  get #other(): SlotName {
    return this.booted === 'A' ? 'B' : 'A';
  }

  async status() {
    return { compatible: 'selvage-x86_64', slots: (['A', 'B'] as const).map((name) => ({ name, booted: name === this.booted, good: this.#good[name] })) };
  }

  async info(bundle: string): Promise<BundleFacts> {
    if (this.signature !== '') throw new OperationalError('COMMAND_FAILED', `rauc info: ${this.signature}`, 'take a signed bundle');
    const file = await open(bundle);
    try {
      return await readManifest(file, (await stat(bundle)).size);
    } finally {
      await file.close();
    }
  }

  async install(bundle: string): Promise<void> {
    const { version } = await this.info(bundle);
    await this.installing;
    this.written.push(version);
    this.systems[this.#other] = version;
    await this.mark('active', 'other');
  }

  async mark(state: 'good' | 'bad' | 'active', slot: 'booted' | 'other'): Promise<void> {
    const name = slot === 'booted' ? this.booted : this.#other;
    this.#good[name] = state !== 'bad';
    if (state === 'active') this.#order = [name, name === 'A' ? 'B' : 'A'];
  }

  async reboot(): Promise<void> {
    await this.halt();
    // As a host does, the process ends before the next boot.
    void Promise.resolve().then(() => this.boot());
  }
}
