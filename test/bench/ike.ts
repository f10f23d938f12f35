// The IKE bench: how many handshakes a responder does per second of one core, ours and strongSwan's charon with the same
// suite and the same initiator, in turns; and the memory of an established IKE SA at many of them. A rate counts the
// responder's own processor time, so that neither the initiator nor anything else on the machine is in it.
import { spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { toHex } from '../../platform/bytes.ts';
import { OperationalError } from '../../platform/errors.ts';
import { encodePem } from '../../platform/pem.ts';
import type { PemLabel } from '../../platform/pem.ts';
import { SystemClock } from '../../platform/time.ts';
import type { Authority } from '../../platform/x509.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr } from '../../platform/x509.ts';
import { debianRoot } from '../system/debian-root.ts';
import { TestNetwork } from '../system/namespaces.ts';
import { Strongswan } from '../system/strongswan.ts';
import type { BenchCredential, BenchEnd } from './ike-setting.ts';
import { RESPONDER_IDENTITY } from './ike-setting.ts';
import { median } from './median.ts';

const END_SCRIPT = fileURLToPath(new URL('ike-end.ts', import.meta.url));
const MEMORY_SCRIPT = fileURLToPath(new URL('ike-memory.ts', import.meta.url));
const PSK = '00112233445566778899aabbccddeeff';
const WARM_HANDSHAKES = 300;
const CONCURRENCY = 8;
/** USER_HZ, which Linux fixes at 100 for user space on all our architectures. */
const TICKS_PER_SECOND = 100;
const WORD_OF_TICKS = 11;
const PLAIN_NODE = ['--disable-warning=ExperimentalWarning'];
/** The only release with ML-KEM; its other suites are measured with the same daemon. */
const CHARON_RELEASE = 'sid';
/** charon writes nothing, accepts any number of half-open SAs, has tables for many, and installs no policy: only IKE is measured. */
const CHARON_SETTINGS = `
  ikesa_table_size = 16384
  ikesa_table_segments = 16
  dos_protection = no
  init_limit_half_open = 0
  filelog { main { default = -1 \n ike = -1 \n enc = -1 \n flush_line = no } }
  journal { default = -1 }
`;

export interface IkeBenchOptions {
  readonly handshakes: number;
  readonly rounds: number;
  readonly sas: number;
}

interface Suite {
  readonly name: 'psk' | 'ecdsa' | 'psk-mlkem' | 'ecdsa-mlkem';
  readonly mlKem: boolean;
  readonly responder: BenchCredential;
  initiator(identity: string): Promise<BenchCredential>;
}

function pskSuite(mlKem: boolean): Suite {
  const credential: BenchCredential = { kind: 'psk', psk: PSK };
  return { name: mlKem ? 'psk-mlkem' : 'psk', mlKem, responder: credential, initiator: async () => credential };
}

async function ecdsaSuite(mlKem: boolean): Promise<Suite> {
  const unixMs = new SystemClock().unixMs();
  const authority: Authority = await createAuthority({ commonName: 'Bench CA', unixMs, days: 1 });
  let serial = 1;
  const issue = async (identity: string): Promise<BenchCredential> => {
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: identity });
    const serialNumber = (++serial).toString(16).padStart(2, '0');
    const request = { subject: identity, emails: [identity], uris: [], dnsNames: [], ipAddresses: [], days: 1, unixMs, serialNumber, client: false, server: false };
    const certificate = await issueFromCsr(authority, csr, request);
    return { kind: 'ecdsa', certificate: toHex(certificate), privateKey: toHex(privateKey), anchor: toHex(authority.certificate) };
  };
  return { name: mlKem ? 'ecdsa-mlkem' : 'ecdsa', mlKem, responder: await issue(RESPONDER_IDENTITY), initiator: issue };
}

function pem(label: PemLabel, hex: string): string {
  return encodePem(label, new Uint8Array(Buffer.from(hex, 'hex')));
}

function swanctl(address: string, { responder, mlKem }: Suite): { swanctl: string; files: Record<string, string> } {
  const auth = responder.kind === 'psk' ? 'psk' : 'pubkey';
  const text = `
connections {
  bench {
    version = 2
    local_addrs = ${address}
    proposals = aes256gcm16-prfsha256-x25519${mlKem ? '-ke1_mlkem768' : ''}
    encap = yes
    mobike = no
    unique = never
    send_certreq = no
    local { auth = ${auth} \n id = "${RESPONDER_IDENTITY}" ${auth === 'psk' ? '' : '\n certs = peer.pem'} }
    remote { auth = ${auth} }
    children { net { local_ts = 0.0.0.0/0 \n remote_ts = 0.0.0.0/0 \n esp_proposals = aes256gcm16 \n policies = no } }
  }
}
${auth === 'psk' ? `secrets { ike { secret = 0x${PSK} } }` : ''}
`;
  if (responder.kind === 'psk') return { swanctl: text, files: {} };
  const { certificate, privateKey, anchor } = responder;
  return { swanctl: text, files: { 'x509ca/ca.pem': pem('CERTIFICATE', anchor), 'x509/peer.pem': pem('CERTIFICATE', certificate), 'private/peer.pem': pem('PRIVATE KEY', privateKey) } };
}

/** Seconds of processor time that a process has used, all its threads together. */
function processorSeconds(pid: number): number {
  const words = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(words[WORD_OF_TICKS]) + Number(words[WORD_OF_TICKS + 1])) / TICKS_PER_SECOND;
}

function startEnd(network: TestNetwork, namespace: string, end: BenchEnd): ChildProcess {
  const child = network.spawn(namespace, [process.execPath, ...PLAIN_NODE, END_SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin!.write(`${JSON.stringify(end)}\n`);
  return child;
}

async function lineOf(child: ChildProcess): Promise<string> {
  const line = await createInterface(child.stdout!)[Symbol.asyncIterator]().next();
  if (line.done === true) throw new OperationalError('bench', 'an end of the IKE bench stopped', 'Read its error above');
  return line.value as string;
}

interface Responder {
  readonly name: 'ours' | 'charon';
  readonly address: string;
  readonly pid: number;
  readonly millisecondsPerHandshake: number[];
  stop(): Promise<void>;
}

class IkeBench {
  readonly #network = new TestNetwork();
  readonly #initiators = this.#network.addNamespace('initiators');
  #pairs = 0;
  #identities = 0;
  charonVersion = '';

  /** A namespace of its own for each responder, with the initiators at the other end. */
  #namespace(): { namespace: string; address: string; initiator: string } {
    const net = ++this.#pairs;
    const namespace = this.#network.addNamespace(`responder${net}`);
    const [address, initiator] = [`10.77.${net}.1`, `10.77.${net}.2`];
    this.#network.addVeth({ namespace, device: 'wan', addresses: [`${address}/24`] }, { namespace: this.#initiators, device: `wan${net}`, addresses: [`${initiator}/24`] });
    return { namespace, address, initiator };
  }

  async #ours(suite: Suite): Promise<Responder> {
    const { namespace, address, initiator } = this.#namespace();
    const end: BenchEnd = { role: 'responder', local: address, remote: initiator, identity: RESPONDER_IDENTITY, credential: suite.responder, handshakes: 0, concurrency: 0, mlKem: suite.mlKem };
    const child = startEnd(this.#network, namespace, end);
    await lineOf(child);
    return { name: 'ours', address, pid: child.pid!, millisecondsPerHandshake: [], stop: async () => void child.kill() };
  }

  async #charon(suite: Suite): Promise<Responder> {
    const { namespace, address } = this.#namespace();
    const charon = await Strongswan.start({ network: this.#network, namespace, settings: CHARON_SETTINGS, root: debianRoot(CHARON_RELEASE), ...swanctl(address, suite) });
    this.charonVersion = await charon.version();
    return { name: 'charon', address, pid: charon.pid, millisecondsPerHandshake: [], stop: () => charon.stop() };
  }

  /** Processor milliseconds of the responder per handshake. */
  async #round(responder: Responder, suite: Suite, handshakes: number): Promise<number> {
    const identity = `b${++this.#identities}@bench.example`;
    const credential = await suite.initiator(identity);
    const local = responder.address.replace(/1$/, '2');
    const end: BenchEnd = { role: 'initiator', local, remote: responder.address, identity, credential, handshakes, concurrency: CONCURRENCY, mlKem: suite.mlKem };
    const before = processorSeconds(responder.pid);
    const result = JSON.parse(await lineOf(startEnd(this.#network, this.#initiators, end))) as { established: number; failures: string[] };
    if (result.established !== handshakes) throw new OperationalError('bench', `${result.established} of ${handshakes} handshakes with ${responder.name} succeeded: ${result.failures.join('; ')}`, 'Compare the settings of both ends');
    return ((processorSeconds(responder.pid) - before) * 1000) / handshakes;
  }

  /** Handshakes per second of one core, by responder. */
  async measure(suite: Suite, { handshakes, rounds }: IkeBenchOptions): Promise<Record<Responder['name'], number>> {
    const responders = [await this.#ours(suite), await this.#charon(suite)];
    for (const responder of responders) await this.#round(responder, suite, WARM_HANDSHAKES);
    for (let round = 0; round < rounds; round++) {
      for (const responder of responders) {
        const ms = await this.#round(responder, suite, handshakes);
        responder.millisecondsPerHandshake.push(ms);
        process.stdout.write(`${suite.name} round ${round + 1}: ${responder.name} ${ms.toFixed(3)} ms of processor time per handshake\n`);
      }
    }
    for (const responder of responders) await responder.stop();
    const rate = (name: Responder['name']): number => 1000 / median(responders.find((entry) => entry.name === name)!.millisecondsPerHandshake);
    return { ours: rate('ours'), charon: rate('charon') };
  }

  close(): Promise<void> {
    return this.#network.close();
  }
}

interface MemoryResult {
  readonly sas: number;
  readonly heapBytesPerSa: number;
  readonly residentBytesPerSa: number;
  readonly msPerHandshakeAtTheEnd: number;
}

function measureMemory(sas: number): MemoryResult {
  const run = spawnSync(process.execPath, [...PLAIN_NODE, '--expose-gc', MEMORY_SCRIPT, String(sas)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (run.status !== 0) throw new OperationalError('bench', 'the memory bench failed', 'Read its error above');
  return JSON.parse(run.stdout) as MemoryResult;
}

/** Prints its rounds; returns the summary. */
export async function benchIke(options: IkeBenchOptions): Promise<Record<string, unknown>> {
  const bench = new IkeBench();
  try {
    const rates: [Suite['name'], Record<Responder['name'], number>][] = [];
    for (const suite of [pskSuite(false), await ecdsaSuite(false), pskSuite(true), await ecdsaSuite(true)]) rates.push([suite.name, await bench.measure(suite, options)]);
    const memory = measureMemory(options.sas);
    process.stdout.write(`node ${process.versions.node}, openssl ${process.versions.openssl}, strongSwan ${bench.charonVersion}\n`);
    const bySuite = (value: (rate: Record<Responder['name'], number>) => number): Record<string, number> =>
      Object.fromEntries(rates.map(([name, rate]) => [name, Number(value(rate).toPrecision(3))]));
    return {
      handshakesPerSecond: bySuite(({ ours }) => ours),
      charonHandshakesPerSecond: bySuite(({ charon }) => charon),
      ratioToCharon: bySuite(({ ours, charon }) => ours / charon),
      bytesPerSa: memory.heapBytesPerSa,
      ...memory,
    };
  } finally {
    await bench.close();
  }
}
