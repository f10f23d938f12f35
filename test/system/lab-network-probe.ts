// Runs inside the lab's enclosure: stands in for the appliances' firmware, tries what reaches what, and writes the
// findings to the file given as second argument.
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settleInside, enclosedRunDirectory } from '../../provisioning/lab/enclosure.ts';
import { HOST_PORT, LabNetwork } from '../../provisioning/lab/network.ts';
import { labTopology, lanPortsOf, withoutPrefix } from '../../provisioning/lab/topology.ts';
import type { NatPolicy } from '../../provisioning/lab/topology.ts';
import { sleep } from '../../platform/time.ts';
import { deviceName } from '../../firmware/model.ts';

export interface LabFindings {
  readonly pings: Readonly<Record<string, boolean>>;
  readonly answers: Readonly<Record<string, string | undefined>>;
  readonly virtualRouters: Readonly<Record<string, string>>;
  /** branch-1 to the Controller while its wire is down, and over both families after it. */
  readonly outage: readonly boolean[];
  /** Source ports that outsiders see of branch-2: the Controller, then branch-1 after it has sent to the NAT box first. */
  readonly natPorts: { readonly quiet: string; readonly afterStranger: string };
  readonly afterKill: { readonly running: boolean; readonly restarted: boolean };
  readonly fileSeenOutside: string;
}

const WAN_VR = 'INTERNET-Transport-VR';
const OVERLAY_PORT = 4790;
const LAN_HOST = join(import.meta.dirname, '../../provisioning/lab/lan-host.ts');

/** Adopts a device into a virtual router of a node as the firmware does. */
function adopt(network: LabNetwork, node: string, vr: string, device: string, addresses: readonly string[], gateways: readonly string[]): void {
  const inside = network.node(node);
  if (!inside.run(['ip', 'netns']).includes(vr)) inside.run(['ip', 'netns', 'add', vr]);
  inside.run(['ip', 'link', 'set', device, 'netns', vr]);
  const batch = ['link set lo up', `link set ${device} up`];
  for (const address of addresses) batch.push(`address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`);
  for (const gateway of gateways) batch.push(`route add default via ${gateway}`);
  inside.run(['ip', '-n', vr, '-batch', '-'], `${batch.join('\n')}\n`);
}

function adoptAll(network: LabNetwork): void {
  for (const node of ['controller-1', 'branch-1', 'branch-2']) {
    for (const { use, ends: [near, far] } of network.topology.wires) {
      if (use.kind === 'wan' && near.place === node) adopt(network, node, `${use.transport}-Transport-VR`, near.device, near.addresses, far.addresses.map(withoutPrefix));
    }
    for (const tenant of [2, 3]) {
      for (const port of lanPortsOf(network.topology, node, tenant)) adopt(network, node, `T${tenant}-LAN-VR`, deviceName(port.name), port.addresses, []);
    }
  }
}

function inVr(network: LabNetwork, node: string, vr: string, command: readonly string[]): { ok: boolean; said: string } {
  const result = network.attempt(node, ['ip', 'netns', 'exec', vr, ...command], 10_000);
  return { ok: result.status === 0, said: result.stdout.trim() };
}

/** Succeeds when one of several comes back: a link that has just come up, or a busy machine, may lose the first. */
function ping(address: string): string[] {
  return ['ping', '-c', '5', '-i', '0.3', '-W', '1', address];
}

function pings(network: LabNetwork): Record<string, boolean> {
  return {
    'branch-1 to controller-1': inVr(network, 'branch-1', WAN_VR, ping('198.51.100.2')).ok,
    'branch-1 to controller-1, IPv6': inVr(network, 'branch-1', WAN_VR, ping('2001:db8:0:1::2')).ok,
    'branch-2 to controller-1': inVr(network, 'branch-2', WAN_VR, ping('198.51.100.2')).ok,
    'controller-1 to branch-2 behind the NAT box': inVr(network, 'controller-1', WAN_VR, ping('192.168.2.2')).ok,
    'branch-1 to a LAN of branch-2': inVr(network, 'branch-1', WAN_VR, ping('10.2.0.10')).ok,
    'tenant 2 to its gateway': network.attempt('tenant2-branch1', ping('10.1.0.1'), 10_000).status === 0,
    'tenant 3 to its gateway, IPv6': network.attempt('tenant3-branch2', ping('fd00:2::1'), 10_000).status === 0,
  };
}

function outage(network: LabNetwork): boolean[] {
  const reaches = (address: string): boolean => inVr(network, 'branch-1', WAN_VR, ping(address)).ok;
  network.setWire('internet', 'branch-1', 'down');
  const during = reaches('198.51.100.2');
  network.setWire('internet', 'branch-1', 'up');
  return [during, reaches('198.51.100.2'), reaches('2001:db8:0:1::2')];
}

async function answers(network: LabNetwork): Promise<Record<string, string | undefined>> {
  const ask = (node: string, tenant: number, address: string, transport: string): string | undefined => {
    const question = [process.execPath, LAN_HOST, 'ask', address, String(HOST_PORT), transport, '5000'];
    const answer = inVr(network, node, `T${tenant}-LAN-VR`, question);
    return answer.ok ? answer.said : undefined;
  };
  return {
    'tenant 2 at branch-1, TCP': ask('branch-1', 2, '10.1.0.10', 'tcp'),
    'tenant 3 at branch-1, TCP': ask('branch-1', 3, '10.1.0.10', 'tcp'),
    'tenant 2 at branch-2, UDP': ask('branch-2', 2, '10.2.0.10', 'udp'),
    'tenant 3 at branch-2, UDP over IPv6': ask('branch-2', 3, 'fd00:2::10', 'udp'),
    'tenant 2 at branch-1 asked by itself': await network.ask('tenant2-branch1', '10.1.0.10', 'tcp', 5000),
    'the other branch without an overlay': await network.ask('tenant2-branch1', '10.2.0.10', 'tcp', 700),
  };
}

/** Listens on the overlay's port; prints the source port of every datagram. */
async function listen(): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (_bytes, remote) => process.stdout.write(`${remote.port}\n`));
  socket.bind(OVERLAY_PORT, () => process.stdout.write('ready\n'));
  await sleep(60_000);
}

/** Sends one datagram from the overlay's port, however often the port is still taken. */
async function send(address: string): Promise<void> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(OVERLAY_PORT, resolve);
  });
  await new Promise((resolve) => socket.send('probe', OVERLAY_PORT, address, resolve));
  socket.close();
}

async function linesOf(file: string, count: number): Promise<string[]> {
  for (let tries = 0; tries < 500; tries++) {
    const lines = readFileSync(file, 'utf8').split('\n').filter((line) => line !== '');
    if (lines.length >= count) return lines;
    await sleep(20);
  }
  return readFileSync(file, 'utf8').split('\n');
}

async function natPorts(network: LabNetwork): Promise<LabFindings['natPorts']> {
  const self = [process.execPath, '--disable-warning=ExperimentalWarning', import.meta.filename];
  const receiver = (node: string): ChildProcess => network.node(node).spawn(['ip', 'netns', 'exec', WAN_VR, ...self, 'listen'], 'ports');
  // Quiet: nobody outside has sent to the box. The Controller is the receiver, so that branch-1 stays unknown to it.
  receiver('controller-1');
  await linesOf(join(network.node('controller-1').directory, 'ports'), 1);
  inVr(network, 'branch-2', WAN_VR, [...self, 'send', '198.51.100.2']);
  const quiet = await linesOf(join(network.node('controller-1').directory, 'ports'), 2);
  inVr(network, 'branch-1', WAN_VR, [...self, 'send', '198.51.100.34']);
  receiver('branch-1');
  await linesOf(join(network.node('branch-1').directory, 'ports'), 1);
  inVr(network, 'branch-2', WAN_VR, [...self, 'send', '198.51.100.18']);
  const later = await linesOf(join(network.node('branch-1').directory, 'ports'), 2);
  return { quiet: quiet[1] ?? '', afterStranger: later[1] ?? '' };
}

async function firmwareLife(network: LabNetwork): Promise<LabFindings['afterKill']> {
  // The firmware without configuration stays or ends by itself; what counts is that a paused one dies on kill.
  const node = network.node('branch-1');
  node.start(['--config', '/var/lib/selvage/none.json']);
  node.pause();
  await node.kill();
  const running = node.isRunning();
  node.start(['--config', '/var/lib/selvage/none.json']);
  const restarted = node.firmware?.pid !== undefined;
  await node.stop(1000);
  return { running, restarted };
}

async function probe(natPolicy: NatPolicy, resultFile: string): Promise<void> {
  settleInside();
  const runDirectory = enclosedRunDirectory()!;
  const network = await LabNetwork.create(labTopology(), { natPolicy, runDirectory });
  network.startHosts();
  adoptAll(network);
  network.node('branch-1').run(['sh', '-c', 'echo written inside >/var/log/versa/versa-ipsec.log']);
  const findings: LabFindings = {
    pings: pings(network),
    answers: await answers(network),
    virtualRouters: Object.fromEntries(network.nodes().map((node) => [node.name, node.run(['ls', '/run/netns'])])),
    outage: outage(network),
    natPorts: await natPorts(network),
    afterKill: await firmwareLife(network),
    fileSeenOutside: readFileSync(join(network.node('branch-1').directory, 'log/versa-ipsec.log'), 'utf8'),
  };
  writeFileSync(resultFile, JSON.stringify(findings));
}

if (import.meta.main) {
  const [verb, argument, file] = process.argv.slice(2);
  if (verb === 'listen') await listen();
  else if (verb === 'send') await send(argument!);
  else await probe(argument as NatPolicy, file!);
  process.exit(0);
}
