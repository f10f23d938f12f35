// Runs inside the lab's enclosure, on a network that routes as a perfect overlay would: every check is carried out once
// where it must hold and once where something is broken. Writes the verdicts to the file given as argument.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DhkeyView, IkeSaView } from '../../firmware/views.ts';
import { SystemClock, sleep } from '../../platform/time.ts';
import { enclosedRunDirectory, settleInside } from '../../provisioning/lab/enclosure.ts';
import { judgeIsolation, tryForbidden } from '../../provisioning/lab/isolation.ts';
import { Load, judgeLoad, lostPackets } from '../../provisioning/lab/load.ts';
import { HOST_PORT, LabNetwork } from '../../provisioning/lab/network.ts';
import type { OperatorShell } from '../../provisioning/lab/operator-shell.ts';
import { checkOutage } from '../../provisioning/lab/outage-check.ts';
import { allQuestions, askAll, judgeReachability } from '../../provisioning/lab/reachability.ts';
import { checkRekey } from '../../provisioning/lab/rekey-check.ts';
import { judgeThroughput, measureThroughput } from '../../provisioning/lab/throughput.ts';
import { hostsOf } from '../../provisioning/lab/topology.ts';
import type { Verdict } from '../../provisioning/lab/verdict.ts';
import { plainTopology } from './lab-plain-topology.ts';

const LAN_HOST = join(import.meta.dirname, '../../provisioning/lab/lan-host.ts');
const OUTSIDE = { owner: 'outside', address: '198.51.100.2' };
const NEAR = 'tenant2-branch1';
const FAR = 'tenant2-branch2';
const clock = new SystemClock();

export type ProbeVerdicts = Readonly<Record<string, Verdict>>;

async function reachability(network: LabNetwork, servers: ReturnType<LabNetwork['startHosts']>): Promise<ProbeVerdicts> {
  const hosts = hostsOf(network.topology);
  const judge = async (timeoutMs: number): Promise<Verdict> => judgeReachability(hosts, await askAll(network, allQuestions(hosts), timeoutMs));
  const whole = await judge(10_000);
  network.setWire('lan-3', 'branch-1', 'down');
  const cut = await judge(700);
  network.setWire('lan-3', 'branch-1', 'up');
  // The last host answers with the name of another tenant's host at the same address, as after a leak.
  servers[1]!.kill('SIGKILL');
  const impostor = spawn('ip', ['netns', 'exec', FAR, process.execPath, LAN_HOST, 'serve', 'tenant3-branch2', String(HOST_PORT)], { stdio: 'ignore' });
  while ((await network.ask(NEAR, '10.2.0.10', 'tcp', 500)) === undefined) await sleep(20);
  const leaking = await judge(10_000);
  impostor.kill('SIGKILL');
  return { 'reachability, whole': whole, 'reachability, one wire cut': cut, 'reachability, another tenant answers': leaking };
}

async function isolation(network: LabNetwork): Promise<ProbeVerdicts> {
  const host = hostsOf(network.topology).filter(({ name }) => name === NEAR);
  const judge = async (): Promise<Verdict> => judgeIsolation(await tryForbidden(clock, network.topology, host, [OUTSIDE]));
  const open = await judge();
  network.setWire('lan-2', 'outside', 'down');
  const closed = await judge();
  network.setWire('lan-2', 'branch-1', 'down');
  const blind = await judge();
  network.setWire('lan-2', 'branch-1', 'up');
  return { 'isolation, closed': closed, 'isolation, open': open, 'isolation, the gateway is away too': blind };
}

async function throughput(): Promise<ProbeVerdicts> {
  return {
    'throughput, whole': judgeThroughput([await measureThroughput(clock, NEAR, FAR, '10.2.0.10')]),
    'throughput, nobody has the address': judgeThroughput([await measureThroughput(clock, NEAR, FAR, '10.2.0.99')]),
  };
}

async function outages(network: LabNetwork): Promise<ProbeVerdicts> {
  const wire = (tenant: number, state: 'up' | 'down') => network.setWire(`lan-${tenant}`, 'branch-2', state);
  const check = (down: readonly number[], up: readonly number[]) =>
    checkOutage({
      clock,
      asker: network,
      affected: [{ from: 'tenant3-branch1', address: '10.2.0.10', transport: 'udp', expected: 'tenant3-branch2' }],
      unaffected: [{ name: 'tenant 2 goes on', holds: async () => (await network.ask(NEAR, '10.1.0.10', 'tcp', 5000)) === NEAR && network.attempt(NEAR, ['ping', '-c', '1', '-W', '1', '10.2.0.10'], 5000).status === 0 }],
      takeAway: async () => down.forEach((tenant) => wire(tenant, 'down')),
      giveBack: async () => up.forEach((tenant) => wire(tenant, 'up')),
      recoveryTimeoutMs: 3_000,
    }).then(({ verdict }) => verdict);
  const right = await check([3], [3]);
  const nothing = await check([], []);
  const tooMuch = await check([2, 3], [2, 3]);
  const forGood = await check([3], []);
  wire(3, 'up');
  return { 'outage, that and only that': right, 'outage, nothing stops': nothing, 'outage, others stop too': tooMuch, 'outage, nothing comes back': forGood };
}

const STREAMS = [
  { from: NEAR, to: FAR, address: '10.2.0.10' },
  { from: FAR, to: NEAR, address: 'fd00:1::10' },
];

async function load(network: LabNetwork): Promise<{ verdicts: ProbeVerdicts; lost: number }> {
  const whole = await Load.start(clock, STREAMS);
  await sleep(1000);
  const wholeVerdict = judgeLoad(await whole.stop());
  const holed = await Load.start(clock, STREAMS);
  network.setWire('lan-2', 'branch-2', 'down');
  await sleep(300);
  network.setWire('lan-2', 'branch-2', 'up');
  await sleep(1000);
  const results = await holed.stop();
  return { verdicts: { 'load, whole': wholeVerdict, 'load, with a gap': judgeLoad(results) }, lost: lostPackets(results) };
}

/** Two branches whose keys and children change when they are told to, as far as the shell shows. */
class ScriptedBranches implements OperatorShell {
  #key = 1;
  #children = 1;
  readonly #onRekey: () => void;

  constructor(onRekey: () => void) {
    this.#onRekey = onRekey;
  }

  readonly director = {
    request: async (): Promise<unknown> => {
      this.#onRekey();
      return ++this.#key;
    },
  };

  async ask<T>(node: string, command: string): Promise<T> {
    if (command.startsWith('request')) this.#children++;
    return (command.startsWith('show dhkey') ? this.#dhkey(node === 'branch-1' ? [101, 102] : [102, 101]) : this.#childSas(node)) as T;
  }

  #dhkey([siteId, peer]: readonly [number, number] | readonly number[]): Pick<DhkeyView, 'siteId' | 'selfKeys' | 'associations'> {
    const key = this.#key;
    const common = { groups: [31], ageSeconds: 1, secondsLeft: 100 };
    return {
      siteId: siteId!,
      selfKeys: [{ ...common, id: key, rekeyCounter: `0x${key.toString(16).padStart(16, '0')}`, state: 'current' }],
      associations: [{ ...common, id: `00${peer}:0x0${key}:0x0${key}`, nodeId: '10.202.0.5', state: 'up', sends: true, spiIn: key * 1000 + siteId!, spiOut: key * 1000 + peer!, suite: 'aes-256-gcm-16', group: 31 }],
    };
  }

  #childSas(node: string): Pick<IkeSaView, 'peer' | 'state' | 'cause' | 'children'>[] {
    return [{ peer: 'peer', state: 'established', cause: '', children: [{ state: 'up', spis: `${node}/${this.#children}`, suite: '', encapsulation: '' }] }];
  }
}

async function rekeys(network: LabNetwork): Promise<ProbeVerdicts> {
  const run = async (onRekey: () => void): Promise<Verdict> => {
    const shell = new ScriptedBranches(onRekey);
    const branches = [{ name: 'branch-1', siteId: 101 }, { name: 'branch-2', siteId: 102 }];
    return (await checkRekey({ clock, shell, director: shell.director, tenant: 2, branches, controller: 'controller-1', streams: STREAMS, print: () => {} })).verdict;
  };
  const cut = (): void => {
    network.setWire('lan-2', 'branch-1', 'down');
    clock.at(clock.now(), () => network.setWire('lan-2', 'branch-1', 'up'));
  };
  const gap = (): void => {
    cut();
    network.attempt('lan-2', ['sleep', '0.3'], 5000);
  };
  return { 'rekey, without a loss': await run(() => {}), 'rekey, with a loss': await run(gap) };
}

export interface ProbeFindings {
  readonly verdicts: ProbeVerdicts;
  readonly lostInGap: number;
}

if (import.meta.main) {
  settleInside();
  const network = await LabNetwork.create(plainTopology(), { natPolicy: 'drop', runDirectory: enclosedRunDirectory()! });
  const servers = network.startHosts();
  const loaded = await load(network);
  const verdicts = { ...loaded.verdicts, ...(await rekeys(network)), ...(await throughput()), ...(await outages(network)), ...(await isolation(network)), ...(await reachability(network, servers)) };
  writeFileSync(process.argv[2]!, JSON.stringify({ verdicts, lostInGap: loaded.lost } satisfies ProbeFindings));
  process.exit(0);
}
