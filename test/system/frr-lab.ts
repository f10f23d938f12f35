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
import type { BgpInput, BgpOutput, BgpPeerConfig } from '../../firmware/bgp/speaker.ts';
import { makeRoute } from '../../firmware/bgp/route.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import { fromHex } from '../../platform/bytes.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import type { LabRequest, LabRoute } from './frr.ts';
import { BGPD, FRR_ADDRESS, OUR_ADDRESS } from './frr.ts';

const run = promisify(execFile);
const DIRECTORY = '/run/frr-lab';
const NAMESPACE = 'frr';
const BGP_PORT = 179;

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value))}\n`);
}

async function prepareNetwork(): Promise<void> {
  for (const directory of ['/run', '/var/tmp']) await run('mount', ['-t', 'tmpfs', 'tmpfs', directory]);
  mkdirSync('/run/netns');
  mkdirSync(DIRECTORY);
  chmodSync(DIRECTORY, 0o777);
  const ip = (text: string): Promise<unknown> => run('ip', text.split(' '));
  await ip(`netns add ${NAMESPACE}`);
  await ip(`link add ours type veth peer name theirs netns ${NAMESPACE}`);
  await ip('link set lo up');
  await ip(`addr add ${OUR_ADDRESS}/24 dev ours`);
  await ip('link set ours up');
  await ip(`-n ${NAMESPACE} link set lo up`);
  await ip(`-n ${NAMESPACE} addr add ${FRR_ADDRESS}/24 dev theirs`);
  await ip(`-n ${NAMESPACE} link set theirs up`);
}

/** FRR's daemon in its namespace, without zebra and without a kernel to program. */
class Bgpd {
  readonly #process: ReturnType<typeof spawn>;

  constructor(configuration: string) {
    writeFileSync(`${DIRECTORY}/bgpd.conf`, configuration, { mode: 0o644 });
    const files = ['-i', `${DIRECTORY}/bgpd.pid`, '-z', `${DIRECTORY}/zserv`, '--vty_socket', DIRECTORY, '-f', `${DIRECTORY}/bgpd.conf`];
    const args = ['netns', 'exec', NAMESPACE, BGPD, '--no_kernel', ...files, '-A', '127.0.0.1', '-P', '0', '--log', 'stdout', '--log-level', 'debugging'];
    this.#process = spawn('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) createInterface(stream).on('line', (line) => say({ frr: line }));
    this.#process.on('exit', (code) => say({ frr: `bgpd ended with ${code}` }));
  }

  kill(): Promise<unknown> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    return ended;
  }

  async vtysh(commands: readonly string[]): Promise<string> {
    const args = ['--vty_socket', DIRECTORY, '-d', 'bgpd', ...commands.flatMap((command) => ['-c', command])];
    const { stdout } = await run('vtysh', args, { maxBuffer: 1 << 24 });
    return stdout;
  }
}

/** Our speaker over real TCP. */
class TcpSpeaker {
  readonly clock = new SystemClock();
  readonly speaker: BgpSpeaker;
  readonly #peer: BgpPeerConfig;
  readonly #sockets = new Map<number, Socket>();
  #nextIncoming = -1;
  #disarm = (): void => {};

  constructor(asNumber: number, peer: BgpPeerConfig) {
    this.#peer = peer;
    this.speaker = new BgpSpeaker({ asNumber, routerId: OUR_ADDRESS, reflector: false, random: new SystemRandom(), peers: [peer] });
  }

  async start(): Promise<void> {
    const server = createServer((socket) => {
      const stream = this.#nextIncoming--;
      this.#adopt(stream, socket);
      this.push({ kind: 'stream-connected', peer: this.#peer.id, stream, incoming: true });
    });
    await new Promise<void>((resolve) => server.listen(BGP_PORT, OUR_ADDRESS, resolve));
    this.push({ kind: 'timeout' });
  }

  push(input: BgpInput | { kind: 'timeout' }): void {
    this.speaker.handle(input, this.clock.now());
    for (let output = this.speaker.poll(); output !== undefined; output = this.speaker.poll()) this.#perform(output);
    this.#disarm();
    const deadline = this.speaker.deadline();
    if (deadline !== undefined) this.#disarm = this.clock.at(deadline, () => this.push({ kind: 'timeout' }));
  }

  /** Octets past the speaker, for what a correct one never sends. */
  writeRaw(bytes: Uint8Array): void {
    for (const socket of this.#sockets.values()) socket.write(bytes);
  }

  #adopt(stream: number, socket: Socket): void {
    this.#sockets.set(stream, socket);
    socket.on('data', (bytes) => this.push({ kind: 'stream-data', stream, bytes }));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      if (this.#sockets.delete(stream)) this.push({ kind: 'stream-closed', stream });
    });
  }

  #perform(output: BgpOutput): void {
    if (output.kind === 'connect') {
      const { peer, stream } = output;
      const socket = connect({ host: output.remote, port: BGP_PORT, localAddress: output.local });
      this.#adopt(stream, socket);
      socket.on('connect', () => this.push({ kind: 'stream-connected', peer, stream, incoming: false }));
    } else if (output.kind === 'write') {
      this.#sockets.get(output.stream)?.write(output.bytes);
    } else if (output.kind === 'close') {
      const socket = this.#sockets.get(output.stream);
      this.#sockets.delete(output.stream);
      socket?.end();
    } else {
      say({ output });
    }
  }
}

function routeOf({ family, nlri, nextHop, attributes }: LabRoute): BgpRoute {
  const { extendedCommunities = [], tunnelEncapsulation, originatorId, clusterList = [] } = attributes;
  return makeRoute(family, nlri.kind === 'sdwan' ? { ...nlri, value: fromHex(nlri.value) } : nlri, nextHop, {
    extendedCommunities: extendedCommunities.map(fromHex),
    tunnelEncapsulation: tunnelEncapsulation === undefined ? undefined : fromHex(tunnelEncapsulation),
    originatorId,
    clusterList,
  });
}

/** Both ends; made by the first request. */
class Lab {
  #bgpd: Bgpd | undefined;
  #ours: TcpSpeaker | undefined;

  async answer(request: LabRequest): Promise<unknown> {
    if (request.kind === 'start') {
      await prepareNetwork();
      this.#bgpd = new Bgpd(request.options.frr);
      this.#ours = new TcpSpeaker(request.options.asNumber, request.options.peer);
      return this.#ours.start();
    }
    const [bgpd, ours] = [this.#bgpd!, this.#ours!];
    switch (request.kind) {
      case 'input':
        return ours.push(request.input);
      case 'originate':
        return ours.push({ kind: 'originate', route: routeOf(request.route) });
      case 'raw':
        return ours.writeRaw(fromHex(request.hex));
      case 'snapshot':
        return ours.speaker.snapshot(ours.clock.now());
      case 'show':
        return bgpd.vtysh([request.command]);
      case 'configure':
        return bgpd.vtysh(['configure terminal', ...request.lines]);
      case 'kill-frr':
        return bgpd.kill();
      case 'start-frr':
        this.#bgpd = new Bgpd(request.configuration);
    }
  }
}

function serve(lab: Lab): void {
  createInterface(process.stdin)
    .on('line', (line) => {
      const { id, request } = JSON.parse(line) as { id: number; request: LabRequest };
      lab.answer(request).then(
        (result) => say({ id, result }),
        (error: unknown) => say({ id, error: String(error) }),
      );
    })
    .on('close', () => process.exit(0));
}

serve(new Lab());
