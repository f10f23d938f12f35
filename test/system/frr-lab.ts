// First process of a private PID, mount and network namespace: FRR's bgpd in one network namespace, our speaker over
// real TCP in another, a veth pair between them. Speaks JSON lines with test/system/frr.ts. When its standard input
// ends, for whatever reason, it ends, and with it every process, mount and namespace that it made.
import { execFile, spawn } from 'node:child_process';
import { createServer, connect } from 'node:net';
import type { Socket } from 'node:net';
import { mkdirSync, writeFileSync, chmodSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { BgpSpeaker } from '../../firmware/bgp/speaker.ts';
import type { BgpInput, BgpOutput } from '../../firmware/bgp/speaker.ts';
import { makeRoute } from '../../firmware/bgp/route.ts';
import { fromHex } from '../../platform/bytes.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock, instant } from '../../platform/time.ts';
import type { LabOptions, LabRequest, LabRoute } from './frr.ts';
import { FRR_ADDRESS, OUR_ADDRESS } from './frr.ts';

const run = promisify(execFile);
const DIRECTORY = '/run/frr-lab';
const NAMESPACE = 'frr';
const BGP_PORT = 179;

const clock = new SystemClock();
const sockets = new Map<number, Socket>();
let speaker: BgpSpeaker;
let nextIncoming = -1;
let disarm = (): void => {};

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value))}\n`);
}

async function prepareNetwork(): Promise<void> {
  for (const directory of ['/run', '/var/tmp']) await run('mount', ['-t', 'tmpfs', 'tmpfs', directory]);
  mkdirSync('/run/netns');
  mkdirSync(DIRECTORY);
  chmodSync(DIRECTORY, 0o777);
  await run('ip', ['netns', 'add', NAMESPACE]);
  const ip = (text: string): Promise<unknown> => run('ip', text.split(' '));
  await ip(`link add ours type veth peer name theirs netns ${NAMESPACE}`);
  await ip('link set lo up');
  await ip(`addr add ${OUR_ADDRESS}/24 dev ours`);
  await ip('link set ours up');
  await ip(`-n ${NAMESPACE} link set lo up`);
  await ip(`-n ${NAMESPACE} addr add ${FRR_ADDRESS}/24 dev theirs`);
  await ip(`-n ${NAMESPACE} link set theirs up`);
}

let bgpd: ReturnType<typeof spawn> | undefined;

function startFrr(configuration: string): void {
  writeFileSync(`${DIRECTORY}/bgpd.conf`, configuration, { mode: 0o644 });
  const args = [
    'netns', 'exec', NAMESPACE, '/usr/lib/frr/bgpd', '--no_kernel', '-i', `${DIRECTORY}/bgpd.pid`, '-z', `${DIRECTORY}/zserv`, '--vty_socket', DIRECTORY,
    '-A', '127.0.0.1', '-P', '0', '-f', `${DIRECTORY}/bgpd.conf`, '--log', 'stdout', '--log-level', 'debugging',
  ];
  bgpd = spawn('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [bgpd.stdout!, bgpd.stderr!]) createInterface(stream).on('line', (line) => say({ frr: line }));
  bgpd.on('exit', (code) => say({ frr: `bgpd ended with ${code}` }));
}

async function vtysh(commands: readonly string[]): Promise<string> {
  const args = ['--vty_socket', DIRECTORY, '-d', 'bgpd', ...commands.flatMap((command) => ['-c', command])];
  const { stdout } = await run('vtysh', args, { maxBuffer: 1 << 24 });
  return stdout;
}

function push(input: BgpInput | { kind: 'timeout' }): void {
  speaker.handle(input, clock.now());
  for (let output = speaker.poll(); output !== undefined; output = speaker.poll()) perform(output);
  disarm();
  const deadline = speaker.deadline();
  if (deadline !== undefined) disarm = clock.at(instant(deadline), () => push({ kind: 'timeout' }));
}

function adopt(stream: number, socket: Socket): void {
  sockets.set(stream, socket);
  socket.on('data', (bytes) => push({ kind: 'stream-data', stream, bytes }));
  socket.on('error', () => {});
  socket.on('close', () => {
    if (sockets.delete(stream)) push({ kind: 'stream-closed', stream });
  });
}

function perform(output: BgpOutput): void {
  if (output.kind === 'connect') {
    const socket = connect({ host: output.remote, port: BGP_PORT, localAddress: output.local });
    adopt(output.stream, socket);
    socket.on('connect', () => push({ kind: 'stream-connected', peer: output.peer, stream: output.stream, incoming: false }));
  } else if (output.kind === 'write') {
    sockets.get(output.stream)?.write(output.bytes);
  } else if (output.kind === 'close') {
    const socket = sockets.get(output.stream);
    sockets.delete(output.stream);
    socket?.end();
  } else {
    say({ output });
  }
}

function routeOf({ family, nlri, nextHop, attributes }: LabRoute): ReturnType<typeof makeRoute> {
  const { extendedCommunities = [], tunnelEncapsulation } = attributes;
  return makeRoute(family, nlri.kind === 'sdwan' ? { ...nlri, value: fromHex(nlri.value) } : nlri, nextHop, {
    extendedCommunities: extendedCommunities.map(fromHex),
    tunnelEncapsulation: tunnelEncapsulation === undefined ? undefined : fromHex(tunnelEncapsulation),
  });
}

async function answer(request: LabRequest): Promise<unknown> {
  switch (request.kind) {
    case 'start': {
      const { asNumber, peer, frr } = request.options satisfies LabOptions;
      await prepareNetwork();
      startFrr(frr);
      speaker = new BgpSpeaker({ asNumber, routerId: OUR_ADDRESS, reflector: false, random: new SystemRandom(), peers: [peer] });
      const server = createServer((socket) => {
        const stream = nextIncoming--;
        adopt(stream, socket);
        push({ kind: 'stream-connected', peer: peer.id, stream, incoming: true });
      });
      await new Promise<void>((resolve) => server.listen(BGP_PORT, OUR_ADDRESS, resolve));
      push({ kind: 'timeout' });
      return true;
    }
    case 'input':
      push(request.input);
      return true;
    case 'originate':
      push({ kind: 'originate', route: routeOf(request.route) });
      return true;
    case 'raw':
      // Past the speaker, for what a correct speaker never sends.
      for (const socket of sockets.values()) socket.write(fromHex(request.hex));
      return true;
    case 'show':
      return vtysh([request.command]);
    case 'configure':
      return vtysh(['configure terminal', ...request.lines]);
    case 'snapshot':
      return speaker.snapshot(clock.now());
    case 'kill-frr': {
      const ended = new Promise((resolve) => bgpd!.once('exit', resolve));
      bgpd!.kill('SIGKILL');
      return ended;
    }
    case 'start-frr':
      startFrr(request.configuration);
      return true;
  }
}

createInterface(process.stdin)
  .on('line', (line) => {
    const { id, request } = JSON.parse(line) as { id: number; request: LabRequest };
    answer(request).then(
      (result) => say({ id, result }),
      (error: unknown) => say({ id, error: String(error) }),
    );
  })
  .on('close', () => process.exit(0));
