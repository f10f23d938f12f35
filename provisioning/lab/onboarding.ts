// Brings the lab's SD-WAN up the way an operator does: Director first, its inventory through its API, the Controller's
// enrolment, then factory-fresh branches that know nothing but their prestaging records.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TenantId } from '../../firmware/model.ts';
import type { SystemView } from '../../firmware/views.ts';
import { OperationalError } from '../../platform/errors.ts';
import { SystemClock, sleep } from '../../platform/time.ts';
import { DirectorClient } from '../director/client.ts';
import { ANCHOR_FILE, OPERATOR_TOKEN_FILE } from '../director/service.ts';
import type { TaskView } from '../director/tasks.ts';
import type { LabNetwork } from './network.ts';
import type { LabNode } from './lab-node.ts';
import { relayFromMachine } from './relay.ts';
import type { LabTopology } from './topology.ts';
import { circuitsOf, lanPortsOf, southboundOf } from './topology.ts';

export const PROVIDER = 'Provider';
export const TENANTS: readonly { readonly tenant: TenantId; readonly organization: string }[] = [
  { tenant: 2, organization: 'Acme' },
  { tenant: 3, organization: 'Globex' },
];
export const BRANCHES = ['branch-1', 'branch-2'] as const;
const CONTROLLER = 'controller-1';
const DIRECTOR = 'director';
const DIRECTOR_PORT = 443;
const TRANSPORT = 'INTERNET';
const RELAY = fileURLToPath(new URL('relay.ts', import.meta.url));
const SHELL = fileURLToPath(new URL('../../firmware/shell/main.ts', import.meta.url));
const SHELL_MS = 5_000;
const STATE = '/var/lib/selvage';
const CONFIG = `${STATE}/selvage.json`;
const POLL_MS = 100;
const DIRECTOR_START_MS = 30_000;
const CONTROLLER_START_MS = 60_000;
const ONBOARDING_MS = 120_000;

export type Print = (line: string) => void;

export interface OnboardingOptions {
  readonly network: LabNetwork;
  readonly runDirectory: string;
  /** Branches that write their session keys for packet analysis. */
  readonly exportKeys: boolean;
  readonly print: Print;
}

export class Onboarding {
  readonly #options: OnboardingOptions;
  readonly #clock = new SystemClock();
  readonly #relays: Server[] = [];
  #client: DirectorClient | undefined;
  readonly onboardingSeconds: Record<string, number> = {};

  constructor(options: OnboardingOptions) {
    this.#options = options;
  }

  get director(): DirectorClient {
    if (this.#client === undefined) throw new OperationalError('lab-director', 'Director is not up yet', 'call startDirector first');
    return this.#client;
  }

  async run(): Promise<void> {
    await this.startDirector();
    await this.createInventory();
    await this.startController();
    await Promise.all(
      BRANCHES.map(async (name) => {
        await this.prestage(name);
        this.startNode(name);
      }),
    );
    await Promise.all(BRANCHES.map((name) => this.awaitOnboarded(name)));
  }

  async tasks(): Promise<readonly TaskView[]> {
    return this.director.tasks();
  }

  close(): void {
    for (const relay of this.#relays) relay.close();
  }

  get #topology(): LabTopology {
    return this.#options.network.topology;
  }

  #node(name: string): LabNode {
    return this.#options.network.node(name);
  }

  #configure(name: string, config: object): void {
    writeFileSync(join(this.#node(name).directory, 'lib', 'selvage.json'), JSON.stringify({ name, dataDirectory: STATE, ...config }, undefined, 2), { mode: 0o600 });
  }

  /** Starts the firmware of a node with the configuration file that it has; `nodeOptions` go to Node itself. */
  startNode(name: string, nodeOptions: readonly string[] = []): void {
    const process = this.#node(name).start(['--config', CONFIG], nodeOptions);
    this.#options.print(`${name}: process ${process.pid} started`);
  }

  async startDirector(): Promise<void> {
    const addresses = southboundOf(this.#topology, CONTROLLER)!.director.filter((address) => !address.includes(':'));
    this.#configure(DIRECTOR, { role: 'director', provider: PROVIDER, serial: 'LAB-DIRECTOR', director: { addresses, listenAddress: '0.0.0.0', listenPort: DIRECTOR_PORT } });
    this.startNode(DIRECTOR);
    const directory = join(this.#node(DIRECTOR).directory, 'lib', 'director');
    const token = join(directory, OPERATOR_TOKEN_FILE);
    const anchor = join(directory, ANCHOR_FILE);
    await this.#until(DIRECTOR, DIRECTOR_START_MS, 'its operator token', () => existsSync(token) && existsSync(anchor));
    const socketPath = join(this.#options.runDirectory, 'director.sock');
    this.#node(DIRECTOR).spawn([process.execPath, '--disable-warning=ExperimentalWarning', RELAY, socketPath, addresses[0]!, String(DIRECTOR_PORT)]);
    await this.#until(DIRECTOR, DIRECTOR_START_MS, 'the relay to its API', () => existsSync(socketPath));
    const relay = await relayFromMachine(0, socketPath);
    this.#relays.push(relay);
    this.#client = new DirectorClient({
      host: '127.0.0.1',
      port: (relay.address() as AddressInfo).port,
      provider: PROVIDER,
      anchor: new Uint8Array(readFileSync(anchor)),
      token: readFileSync(token, 'utf8').trim(),
    });
    await this.#untilAsync(DIRECTOR, DIRECTOR_START_MS, 'an answer of its API', async () => (await this.director.tasks()).length >= 0);
  }

  /** What the operator tells Director: customers, transports, the Controller and the sites. */
  async createInventory(): Promise<void> {
    const { director } = this;
    for (const { tenant, organization } of TENANTS) await director.createOrganization({ name: organization, tenant, overlayPool: `10.${200 + tenant}.0.0/16` });
    await director.createTransport(TRANSPORT);
    const southbound = southboundOf(this.#topology, CONTROLLER)!;
    await director.createController({
      name: CONTROLLER,
      serial: serialOf(CONTROLLER),
      circuits: circuitsOf(this.#topology, CONTROLLER),
      southbound: { name: southbound.name, addresses: [...southbound.addresses], gateways: [] },
    });
    for (const name of BRANCHES) {
      await director.createSite({
        name,
        serial: serialOf(name),
        circuits: circuitsOf(this.#topology, name),
        tenants: TENANTS.map(({ tenant, organization }) => ({ organization, lanPorts: lanPortsOf(this.#topology, name, tenant) })),
      });
    }
    this.#options.print(`${DIRECTOR}: ${TENANTS.length} customer tenants, ${CONTROLLER}, ${BRANCHES.join(', ')} created`);
  }

  /** Enrols and starts the Controller; resolves when it knows its sites. */
  async startController(nodeOptions: readonly string[] = []): Promise<void> {
    const { url, anchorSha256, token } = await this.director.orderEnrolment(CONTROLLER);
    const { name, addresses } = southboundOf(this.#topology, CONTROLLER)!;
    this.#configure(CONTROLLER, {
      role: 'controller',
      provider: PROVIDER,
      serial: serialOf(CONTROLLER),
      enrolment: { url, anchorSha256, token },
      southbound: { name, addresses, gateways: [] },
      interfaces: interfacesOf(this.#topology, CONTROLLER),
    });
    this.startNode(CONTROLLER, nodeOptions);
    // A branch that comes before the Controller knows it would only be refused and try again.
    await this.#until(CONTROLLER, CONTROLLER_START_MS, 'its site directory', () => this.#ztpIsUp(CONTROLLER));
  }

  #ztpIsUp(name: string): boolean {
    const answer = this.#node(name).attempt([process.execPath, '--disable-warning=ExperimentalWarning', SHELL, '--json', 'show', 'system', 'status'], SHELL_MS);
    if (answer.status !== 0) return false;
    const { services } = JSON.parse(answer.stdout) as SystemView;
    return services.some((service) => service.service === 'ztp' && service.state === 'up');
  }

  /** Leaves a factory-fresh branch with its prestaging record and nothing else. */
  /** `more`: further keys of the branch's configuration file. */
  async prestage(name: string, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const record = await this.director.orderPrestaging(name);
    const directory = join(this.#node(name).directory, 'lib');
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'prestaging.json'), JSON.stringify(record), { mode: 0o600 });
    this.#configure(name, {
      role: 'branch',
      serial: serialOf(name),
      prestaging: `${STATE}/prestaging.json`,
      interfaces: interfacesOf(this.#topology, name),
      debug: { exportKeys: this.#options.exportKeys },
      ...more,
    });
  }

  /** Resolves when the branch's Task is COMPLETED. */
  async awaitOnboarded(name: string): Promise<void> {
    const started = this.#clock.now();
    let shown = '';
    await this.#untilAsync(name, ONBOARDING_MS, 'its onboarding', async () => {
      const task = (await this.director.tasks()).find((t) => t.serial === serialOf(name));
      const line = task === undefined ? 'no task yet' : describeTask(task);
      if (line !== shown) this.#options.print(`${name}: ${line}`);
      shown = line;
      return task?.status === 'COMPLETED';
    });
    this.onboardingSeconds[name] = Math.round((this.#clock.now() - started) / 100) / 10;
  }

  #until(name: string, limitMs: number, what: string, holds: () => boolean): Promise<void> {
    return this.#untilAsync(name, limitMs, what, () => Promise.resolve(holds()));
  }

  async #untilAsync(name: string, limitMs: number, what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = this.#clock.now() + limitMs;
    let cause = '';
    for (;;) {
      try {
        if (await holds()) return;
        cause = '';
      } catch (error) {
        cause = `: ${(error as Error).message}`;
      }
      const node = this.#node(name);
      const nextStep = `read ${node.directory}/console.log`;
      if (!node.isRunning()) throw new OperationalError('lab-node-ended', `the process of ${name} ended while waiting for ${what}`, nextStep);
      if (this.#clock.now() >= end) throw new OperationalError('lab-timeout', `${name}: ${what} did not come within ${limitMs / 1000} s${cause}`, nextStep);
      await sleep(POLL_MS);
    }
  }
}

function describeTask(task: TaskView): string {
  const steps = task.steps.map((step) => `${step.name} ${step.state}`).join(', ');
  const error = task.errorMessages.at(-1);
  return `task ${task.id} ${task.status} ${task.percentage} %: ${steps}${error === undefined ? '' : `; ${error.message}; next: ${error.nextStep}`}`;
}

export function serialOf(name: string): string {
  return `LAB-${name.toUpperCase()}`;
}

/** The lab's devices already have their interfaces' names, with an underscore for the slash. */
function interfacesOf(topology: LabTopology, place: string): { name: string; device: string }[] {
  return topology.wires
    .flatMap((wire) => wire.ends)
    .filter((end) => end.place === place)
    .map((end) => ({ name: end.device.replace('_', '/'), device: end.device }));
}
