// The lab of the rekeys bench, as first process of its enclosure: rekeys-lab.ts RESULT-FILE REKEYS.
import { writeFileSync } from 'node:fs';
import type { DhkeyView } from '../../firmware/views.ts';
import { OperationalError } from '../../platform/errors.ts';
import { SystemClock, after, type Instant } from '../../platform/time.ts';
import { askJson } from '../../platform/unix-socket.ts';
import type { SiteView } from '../../provisioning/director/sites.ts';
import { enclosedRunDirectory, settleInside } from '../../provisioning/lab/enclosure.ts';
import { LabNetwork } from '../../provisioning/lab/network.ts';
import { BRANCHES, Onboarding } from '../../provisioning/lab/onboarding.ts';
import { branchKeys, incompleteRekey, type BranchKeys } from '../../provisioning/lab/rekey-check.ts';
import { hostsOf, labTopology } from '../../provisioning/lab/topology.ts';
import { waitFor } from '../../provisioning/lab/wait-for.ts';
import { dropsOf, grownDrops } from './drops.ts';
import { nextLine, startLoad, udpLadder } from './tunnel-measures.ts';

const PACKET_BYTES = 1400;
const UDP_OVERHEAD_BYTES = 28;
const FIRST_PORT = 7100;
/** The load pauses after this time, so that both ends can be counted. */
const ROUND_SECONDS = 20;
/** No rekey is begun that close to the end of a round. */
const LAST_REKEY_MS = 5000;
const REKEY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
/** Operator; the least urgent reason that ignores the minimum time between rekeys. */
const REASON_OPERATOR = 5;

interface Pair {
  readonly tenant: number;
  readonly namespaces: readonly [string, string];
  readonly addresses: readonly [string, string];
}

interface Counts {
  readonly sent: number;
  readonly received: number;
}

class RekeysLab {
  readonly #network: LabNetwork;
  readonly #onboarding: Onboarding;
  readonly #clock = new SystemClock();
  #sites: readonly SiteView[] = [];

  constructor(network: LabNetwork, onboarding: Onboarding) {
    this.#network = network;
    this.#onboarding = onboarding;
  }

  /** One pair of hosts per tenant, one host at each branch. */
  get pairs(): Pair[] {
    const hosts = hostsOf(this.#network.topology);
    return [...new Set(hosts.map(({ tenant }) => tenant))].map((tenant) => {
      const [near, far] = hosts.filter((host) => host.tenant === tenant);
      return { tenant, namespaces: [near!.name, far!.name], addresses: [near!.addresses[0]!, far!.addresses[0]!] };
    });
  }

  async start(): Promise<void> {
    this.#network.startHosts();
    await this.#onboarding.run();
    this.#sites = (await this.#onboarding.director.call('GET', '/api/v1/sites')) as SiteView[];
  }

  async #keys(tenant: number): Promise<BranchKeys[]> {
    const all: BranchKeys[] = [];
    for (const { name, siteId } of this.#sites) {
      // The socket of the operator's shell, past the node's own view of the file system.
      const socket = `/proc/${this.#network.node(name).holderPid}/root/run/selvage/monitor.sock`;
      const keys = branchKeys(name, (await askJson(socket, { query: 'dhkey', parameters: { tenant: String(tenant), site: String(siteId) } })) as DhkeyView);
      if (keys === undefined) throw new OperationalError('bench', `${name} has no key in tenant ${tenant}`, 'Read its log');
      all.push(keys);
    }
    return all;
  }

  async rekey(tenant: number): Promise<void> {
    const before = await this.#keys(tenant);
    await this.#onboarding.director.call('POST', `/api/v1/tenants/${tenant}/rekey`, { reason: REASON_OPERATOR });
    const done = await waitFor({ clock: this.#clock, timeoutMs: REKEY_TIMEOUT_MS, pauseMs: POLL_MS }, async () => {
      const cause = incompleteRekey(before, await this.#keys(tenant));
      return cause === undefined ? { ok: true, value: undefined } : { ok: false, cause };
    });
    if (!done.ok) throw new OperationalError('bench', `a rekey of tenant ${tenant} was not completed: ${done.cause}`, 'Read the logs of the branches');
  }

  /** Rekeys the tenants side by side until the time or `most` is reached; returns how many were completed. */
  async rekeyUntil(end: Instant, most: number): Promise<number> {
    let begun = 0;
    const one = async ({ tenant }: Pair): Promise<number> => {
      let done = 0;
      for (; this.#clock.now() < end && begun < most; done++) {
        begun++;
        await this.rekey(tenant);
      }
      return done;
    };
    const counts = await Promise.all(this.pairs.map(one));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Every tenant sends for a round, one after the other in each direction by turns. */
  async round(packetsPerSecond: number, work: (end: Instant) => Promise<number>): Promise<Counts & { readonly rekeys: number }> {
    const streams = this.pairs.map(({ namespaces, addresses }, index) => ({ port: FIRST_PORT + index, near: index % 2, namespaces, addresses }));
    const receivers = streams.map(({ port, near, namespaces, addresses }) => startLoad({ role: 'receive', vr: namespaces[1 - near]!, local: addresses[1 - near]!, port, seconds: ROUND_SECONDS, sendSeconds: ROUND_SECONDS }));
    for (const receiver of receivers) await nextLine(receiver);
    const senders = streams.map(({ port, near, namespaces, addresses }) =>
      startLoad({ role: 'send', vr: namespaces[near]!, local: addresses[near]!, remote: addresses[1 - near]!, port, payloadBytes: PACKET_BYTES - UDP_OVERHEAD_BYTES, packetsPerSecond, seconds: ROUND_SECONDS }));
    const rekeys = await work(after(this.#clock.now(), ROUND_SECONDS * 1000 - LAST_REKEY_MS));
    const total = { sent: 0, received: 0, rekeys };
    for (const sender of senders) total.sent += (JSON.parse(await nextLine(sender)) as { sent: number }).sent;
    for (const receiver of receivers) total.received += (JSON.parse(await nextLine(receiver)) as { packets: number }).packets;
    return total;
  }
}

async function main([file, wanted]: readonly string[]): Promise<void> {
  const runDirectory = enclosedRunDirectory()!;
  settleInside();
  const network = await LabNetwork.create(labTopology(), { natPolicy: 'drop', runDirectory });
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const onboarding = new Onboarding({ network, runDirectory, exportKeys: false, print });
  const lab = new RekeysLab(network, onboarding);
  await lab.start();
  const capacityKpps = await udpLadder(lab.pairs[0]!, PACKET_BYTES);
  const eachPerSecond = (capacityKpps * 1000) / 2 / lab.pairs.length;
  print(`the overlay carries ${capacityKpps} kpps of ${PACKET_BYTES} octets; each of ${lab.pairs.length} tenants sends ${eachPerSecond} packets per second`);
  const result = { capacityKpps, rekeys: 0, sent: 0, lost: 0, rounds: 0 };
  while (result.rekeys < Number(wanted)) {
    const before = await dropsOf(network, BRANCHES);
    const { sent, received, rekeys } = await lab.round(eachPerSecond, (end) => lab.rekeyUntil(end, Number(wanted) - result.rekeys));
    if (rekeys === 0) throw new OperationalError('bench', 'no rekey was completed in a whole round', 'Read the logs of the branches');
    Object.assign(result, { rekeys: result.rekeys + rekeys, sent: result.sent + sent, lost: result.lost + sent - received, rounds: result.rounds + 1 });
    const kpps = Math.round(sent / ROUND_SECONDS / 1000);
    print(`round ${result.rounds}: ${rekeys} rekeys, ${sent} packets sent (${kpps} kpps), ${sent - received} lost`);
    if (sent !== received) print(`  dropped: ${grownDrops(before, await dropsOf(network, BRANCHES)) || 'nowhere that is counted'}`);
  }
  onboarding.close();
  writeFileSync(file!, JSON.stringify(result));
}

try {
  await main(process.argv.slice(2));
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
