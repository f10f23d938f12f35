// Everything that a run of the lab verifies once its branches are onboarded, one check after the other. A check that
// cannot be carried out has failed; the others go on.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { BgpNeighborView, SystemView } from '../../firmware/views.ts';
import { OperationalError } from '../../platform/errors.ts';
import { SystemClock } from '../../platform/time.ts';
import type { Clock } from '../../platform/time.ts';
import type { SiteView } from '../director/sites.ts';
import type { TaskView } from '../director/tasks.ts';
import { checkDecryption } from './decryption-check.ts';
import type { DecryptionResult } from './decryption-check.ts';
import { runInPlace } from './host-process.ts';
import { addressesAroundLans, judgeIsolation, tryForbidden } from './isolation.ts';
import type { ForbiddenAddress } from './isolation.ts';
import { checkMtu } from './mtu-check.ts';
import { operatorShell } from './operator-shell.ts';
import type { OperatorShell } from './operator-shell.ts';
import { checkOutage } from './outage-check.ts';
import type { Invariant, OutageCheck, OutageResult } from './outage-check.ts';
import { allQuestions, askAll, familyOf, judgeReachability, reachabilityTable } from './reachability.ts';
import type { ReachabilityEntry } from './reachability.ts';
import { checkRekey } from './rekey-check.ts';
import type { RekeyResult } from './rekey-check.ts';
import type { CheckRecord, LabReport } from './report.ts';
import type { RunningLab } from './running-lab.ts';
import { judgeThroughput, measureThroughput } from './throughput.ts';
import type { Throughput } from './throughput.ts';
import { hostsOf } from './topology.ts';
import type { LabHost } from './topology.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { auditCapture } from './wan-audit.ts';
import type { WanAudit } from './wan-audit.ts';

type Print = (line: string) => void;

/** The tenant whose hosts carry the load. */
const LOADED_TENANT = 2;
const PAUSED = 'branch-2';
const KILLED = 'branch-1';
const PING_TIMEOUT_MS = 20_000;
/** What docs/WIRE.md promises a LAN by default. */
const LAN_CORE_MTU = 1400;
const KEY_FILE = 'lib/debug/esp_sa';

class Checks {
  readonly #lab: RunningLab;
  readonly #print: Print;
  readonly #clock: Clock = new SystemClock();
  readonly #shell: OperatorShell;
  readonly #hosts: readonly LabHost[];
  readonly #records: CheckRecord[] = [];
  readonly #recoverySeconds: Record<string, number> = {};

  constructor(lab: RunningLab, print: Print) {
    this.#lab = lab;
    this.#print = print;
    this.#shell = operatorShell(lab.network);
    this.#hosts = hostsOf(lab.network.topology);
  }

  async run(): Promise<LabReport> {
    const drivers: Record<string, string> = {};
    await this.#check('onboarding', async () => judgeTasks(this.#lab, this.#branches()));
    await this.#check('drivers', () => this.#drivers(drivers));
    const reachability = await this.#value('reachability', [], () => this.#reachability());
    await this.#check('isolation', () => this.#isolation());
    await this.#check('mtu', () => this.#mtu());
    const throughput = await this.#value('throughput', [], () => this.#throughput());
    const decryption = await this.#value<DecryptionResult | null>('decryption', null, () => this.#decryption());
    await this.#check('pause', () => this.#outage('pause', () => this.#pause()));
    const rekey = await this.#value<RekeyResult | null>('rekey', null, () => this.#rekey());
    await this.#check('restart', () => this.#outage('restart', () => this.#restart()));
    const wan = await this.#value<WanAudit | null>('wan', null, () => this.#wan());
    const { tasks, onboardingSeconds, nodes, natPolicy, startedAt } = this.#lab;
    const complete = throughput.length > 0 && throughput.every(({ cause }) => cause === '');
    return {
      tasks,
      reachability,
      throughputGbps: complete ? Math.min(...throughput.map(({ gbps }) => gbps)) : null,
      onboardingSeconds,
      rekeyLostPackets: rekey?.lostPackets ?? null,
      drivers,
      nodes,
      nat: natPolicy,
      startedAt,
      throughput,
      rekey,
      decryption,
      wan,
      recoverySeconds: this.#recoverySeconds,
      checks: this.#records,
      held: this.#records.every(({ held }) => held),
    };
  }

  /** One check whose only result is its verdict. */
  async #check(name: string, run: () => Promise<Verdict>): Promise<void> {
    this.#print(`checking ${name}`);
    const start = this.#clock.now();
    const verdict = await run().catch((error: unknown) => verdictOf([causeOf(error)]));
    const record = { name, ...verdict, seconds: (this.#clock.now() - start) / 1000 };
    this.#records.push(record);
    this.#print(record.held ? `${name} held` : `${name} FAILED: ${record.cause}`);
  }

  /** One check with data of its own; `otherwise` when it could not be carried out. */
  async #value<Value>(name: string, otherwise: Value, run: () => Promise<{ value: Value; verdict: Verdict }>): Promise<Value> {
    let value = otherwise;
    await this.#check(name, async () => {
      const found = await run();
      value = found.value;
      return found.verdict;
    });
    return value;
  }

  #branches(): string[] {
    return [...new Set(this.#hosts.map(({ branch }) => branch))];
  }

  #appliances(): string[] {
    return this.#lab.nodes.filter(({ role }) => role !== 'director').map(({ name }) => name);
  }

  #controller(): string {
    const node = this.#lab.nodes.find(({ role }) => role === 'controller');
    if (node === undefined) throw new OperationalError('lab', 'The lab has no Controller', 'Give its nodes their roles');
    return node.name;
  }

  async #sites(): Promise<SiteView[]> {
    const { director } = this.#lab;
    return [...((await director.request('GET', '/api/v1/sites')) as SiteView[]), ...((await director.request('GET', '/api/v1/controllers')) as SiteView[])];
  }

  async #drivers(drivers: Record<string, string>): Promise<Verdict> {
    const causes: string[] = [];
    for (const name of this.#appliances()) {
      const system = await this.#shell.ask<SystemView>(name, 'show system status');
      drivers[name] = system.drivers;
      this.#print(`  ${name}: process ${system.processId}, drivers ${system.drivers}`);
      if (!system.drivers.startsWith('native')) causes.push(`${name} runs with drivers "${system.drivers}", native ones are required`);
    }
    return verdictOf(causes);
  }

  async #reachability(): Promise<{ value: ReachabilityEntry[]; verdict: Verdict }> {
    const answers = await askAll(this.#lab.network, allQuestions(this.#hosts));
    return { value: reachabilityTable(this.#hosts, answers), verdict: judgeReachability(this.#hosts, answers) };
  }

  async #isolation(): Promise<Verdict> {
    const overlay = (await this.#sites()).flatMap(({ name, tenants }) =>
      tenants.flatMap(({ organization, clearAddress, encryptedAddress }) => [clearAddress, encryptedAddress].map((address): ForbiddenAddress => ({ owner: `${name} in ${organization}`, address }))),
    );
    const { topology } = this.#lab.network;
    return judgeIsolation(await tryForbidden(this.#clock, topology, this.#hosts, [...addressesAroundLans(topology), ...overlay]));
  }

  /** The hosts that carry the load, one per branch. */
  #loadedHosts(): [LabHost, LabHost] {
    const [near, far] = this.#hosts.filter(({ tenant }) => tenant === LOADED_TENANT);
    return [near!, far!];
  }

  #mtu(): Promise<Verdict> {
    const [near, far] = this.#loadedHosts();
    const { network } = this.#lab;
    return checkMtu({
      clock: this.#clock,
      from: near.name,
      to: far.name,
      addresses: far.addresses.map((address) => ({ family: familyOf(address), address })),
      mtu: LAN_CORE_MTU,
      connect: (address) => network.ask(near.name, address, 'tcp', PING_TIMEOUT_MS),
    });
  }

  async #throughput(): Promise<{ value: Throughput[]; verdict: Verdict }> {
    const [near, far] = this.#loadedHosts();
    const measured: Throughput[] = [];
    for (const [from, to] of [[near, far], [far, near]] as const) {
      const result = await measureThroughput(this.#clock, from.name, to.name, addressOf(to, 'IPv4'));
      this.#print(`  ${from.name} to ${to.name}: ${result.cause || `${result.gbps.toFixed(3)} Gbit/s`}`);
      measured.push(result);
    }
    return { value: measured, verdict: judgeThroughput(measured) };
  }

  /** Keys are exported only on the operator's wish; without them there is nothing to check. */
  async #decryption(): Promise<{ value: DecryptionResult | null; verdict: Verdict }> {
    const { network, capture } = this.#lab;
    const [near, far] = this.#loadedHosts();
    const keyFile = join(network.node(near.branch).directory, KEY_FILE);
    if (!existsSync(keyFile)) {
      this.#print(`  ${near.branch} exports no keys (debug.exportKeys is off)`);
      return { value: null, verdict: verdictOf([]) };
    }
    const wire = capture.wires.find(({ sender, inside }) => sender === near.branch && !inside)!;
    const addresses = { source: addressOf(near, 'IPv4'), destination: addressOf(far, 'IPv4') };
    const result = await checkDecryption({ clock: this.#clock, asker: network, place: wire.place, device: wire.device, keyFile, from: near.name, ...addresses });
    for (const { frame, protocols, vni, spi } of result.packets) this.#print(`  frame ${frame}, VNI ${vni}, SPI ${spi}: ${protocols.join(':')}`);
    return { value: result, verdict: result.verdict };
  }

  async #rekey(): Promise<{ value: RekeyResult; verdict: Verdict }> {
    const [near, far] = this.#loadedHosts();
    const sites = await this.#sites();
    const branches = [near.branch, far.branch].map((name) => ({ name, siteId: sites.find((site) => site.name === name)!.siteId }));
    const result = await checkRekey({
      clock: this.#clock,
      shell: this.#shell,
      director: this.#lab.director,
      tenant: LOADED_TENANT,
      branches,
      controller: this.#controller(),
      streams: [
        { from: near.name, to: far.name, address: addressOf(far, 'IPv4') },
        { from: far.name, to: near.name, address: addressOf(near, 'IPv6') },
      ],
      print: this.#print,
    });
    return { value: result, verdict: result.verdict };
  }

  /** Between hosts of one tenant at different branches, one transport per family. */
  #crossing(): OutageCheck['affected'] {
    return this.#hosts.flatMap((from) =>
      this.#hosts
        .filter((to) => to.tenant === from.tenant && to.branch !== from.branch)
        .flatMap((to) => to.addresses.map((address) => ({ from: from.name, address, transport: familyOf(address) === 'IPv4' ? 'udp' : 'tcp', expected: to.name }) as const)),
    );
  }

  #reachesGateway({ name }: LabHost): Invariant {
    const gateway = this.#lab.network.topology.places.find((place) => place.name === name)!.gateways[0]!;
    const holds = async (): Promise<boolean> => (await runInPlace(this.#clock, name, ['ping', '-c', '3', '-i', '0.2', '-W', '1', gateway], PING_TIMEOUT_MS)).code === 0;
    return { name: `${name} reaches its gateway ${gateway}`, holds };
  }

  #hasSessions(node: string): Invariant {
    const holds = async (): Promise<boolean> => {
      const neighbors = await this.#shell.ask<BgpNeighborView[]>(node, 'show bgp neighbor');
      return neighbors.length > 0 && neighbors.every(({ state }) => state === 'Established');
    };
    return { name: `all BGP sessions of ${node} are Established`, holds };
  }

  /** An outage costs no branch its onboarding. */
  async #outage(name: string, run: () => Promise<OutageResult>): Promise<Verdict> {
    const tasks = async (): Promise<string> => JSON.stringify(((await this.#lab.director.request('GET', '/api/v1/tasks')) as TaskView[]).map(({ id, status }) => [id, status]));
    const before = await tasks();
    const { verdict, recoverySeconds } = await run();
    this.#recoverySeconds[name] = recoverySeconds;
    const after = await tasks();
    const causes = verdict.held ? [] : [verdict.cause];
    if (before !== after) causes.push(`Director's Tasks were ${before} and are ${after}: a branch was onboarded again`);
    return verdictOf(causes);
  }

  #pause(): Promise<OutageResult> {
    const node = this.#lab.network.node(PAUSED);
    const running = this.#branches().filter((branch) => branch !== PAUSED);
    return checkOutage({
      clock: this.#clock,
      asker: this.#lab.network,
      affected: this.#crossing(),
      unaffected: [...this.#hosts.map((host) => this.#reachesGateway(host)), ...running.map((branch) => this.#hasSessions(branch))],
      takeAway: async () => node.pause(),
      giveBack: async () => node.resume(),
    });
  }

  /** Director stands still until the traffic is back: the branch comes up from what it keeps. */
  async #restart(): Promise<OutageResult> {
    const { network } = this.#lab;
    const running = this.#branches().filter((branch) => branch !== KILLED);
    try {
      return await checkOutage({
        clock: this.#clock,
        asker: network,
        affected: this.#crossing(),
        unaffected: [...this.#hosts.filter(({ branch }) => branch !== KILLED).map((host) => this.#reachesGateway(host)), ...running.map((branch) => this.#hasSessions(branch))],
        takeAway: async () => {
          network.node('director').pause();
          await network.node(KILLED).kill();
        },
        giveBack: () => this.#lab.restart(KILLED),
      });
    } finally {
      network.node('director').resume();
    }
  }

  async #wan(): Promise<{ value: WanAudit; verdict: Verdict }> {
    const { capture, network } = this.#lab;
    const ends = await capture.stop();
    const audit = auditCapture(network.topology, capture.wires, ends, { branches: this.#branches(), controllers: [this.#controller()] });
    return { value: audit, verdict: audit.verdict };
  }
}

function addressOf(host: LabHost, family: 'IPv4' | 'IPv6'): string {
  return host.addresses.find((address) => familyOf(address) === family)!;
}

function causeOf(error: unknown): string {
  if (error instanceof OperationalError) return `${error.message}; next: ${error.nextStep}`;
  return error instanceof Error ? error.message : String(error);
}

/** Every branch has been onboarded by exactly one Task, which is COMPLETED. */
export function judgeTasks({ tasks, onboardingSeconds }: Pick<RunningLab, 'tasks' | 'onboardingSeconds'>, branches: readonly string[]): Verdict {
  const causes: string[] = [];
  const views = tasks as readonly TaskView[];
  if (views.length !== branches.length) causes.push(`there are ${views.length} onboarding Tasks for ${branches.length} branches`);
  for (const { serial, status, percentage } of views) if (status !== 'COMPLETED' || percentage !== 100) causes.push(`the Task of ${serial} is ${status} at ${percentage} %`);
  for (const branch of branches) if (onboardingSeconds[branch] === undefined) causes.push(`${branch} was not onboarded`);
  return verdictOf(causes);
}

/** Carries out all checks; never rejects. Prints progress, not the report. */
export function runChecks(lab: RunningLab, print: Print): Promise<LabReport> {
  return new Checks(lab, print).run();
}
