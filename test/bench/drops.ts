// Where packets of the lab were dropped: by the devices and UDP sockets of every network namespace, and by the forwarders.
import type { DropView } from '../../firmware/views.ts';
import { askJson } from '../../platform/unix-socket.ts';
import { hostsOf } from '../../provisioning/lab/topology.ts';
import type { LabNetwork } from '../../provisioning/lab/network.ts';

const COMMAND_TIMEOUT_MS = 10_000;
/** What is sent to be dropped. */
const MEANT = 'dummy';

/** Packets dropped so far by place and cause, e.g. `branch-1 eth0 tx`. */
export type Drops = ReadonlyMap<string, number>;

interface LinkStatistics {
  readonly ifname: string;
  readonly stats64: { readonly rx: { readonly dropped: number; readonly over_errors: number }; readonly tx: { readonly dropped: number } };
}

type Run = (command: readonly string[]) => string;

function ofDevices(place: string, run: Run): [string, number][] {
  const links = JSON.parse(run(['ip', '-s', '-j', 'link', 'show'])) as LinkStatistics[];
  return links.flatMap(({ ifname, stats64: { rx, tx } }): [string, number][] => [
    [`${place} ${ifname} rx`, rx.dropped + rx.over_errors],
    [`${place} ${ifname} tx`, tx.dropped],
  ]);
}

/** Datagrams for which a socket had no room; a whole super-packet counts as one. */
function ofSockets(place: string, run: Run): [string, number][] {
  const [names = [], values = []] = run(['cat', '/proc/net/snmp']).split('\n').filter((line) => line.startsWith('Udp: ')).map((line) => line.split(' '));
  return ['RcvbufErrors', 'SndbufErrors'].map((name) => [`${place} UDP ${name}`, Number(values[names.indexOf(name)])]);
}

/** Reads all counters of the lab's branches and hosts. */
export async function dropsOf(network: LabNetwork, branches: readonly string[]): Promise<Drops> {
  const drops: [string, number][] = [];
  const read = (place: string, run: Run): void => void drops.push(...ofDevices(place, run), ...ofSockets(place, run));
  for (const { name } of hostsOf(network.topology)) read(name, (command) => network.attempt(name, command, COMMAND_TIMEOUT_MS).stdout);
  for (const name of branches) {
    const node = network.node(name);
    const routers = node.run(['ip', 'netns', 'list']).split('\n').filter((line) => line !== '').map((line) => line.split(' ')[0]!);
    for (const vr of routers) read(`${name} ${vr}`, (command) => node.run(['ip', 'netns', 'exec', vr, ...command]));
    const views = (await askJson(`/proc/${node.holderPid}/root/run/selvage/monitor.sock`, { query: 'drops', parameters: {} })) as DropView[];
    for (const { reason, packets } of views) if (reason !== MEANT) drops.push([`${name} forwarder ${reason}`, packets]);
  }
  return new Map(drops);
}

/** What grew, as words; empty when nothing did. */
export function grownDrops(before: Drops, now: Drops): string {
  const grown = [...now].map(([where, count]) => [where, count - (before.get(where) ?? 0)] as const).filter(([, more]) => more > 0);
  return grown.map(([where, more]) => `${where} ${more}`).join(', ');
}
