// Traffic through a tunnel between both ends, and the proof of three independent counters that it went through it: our
// forwarder's, strongSwan's, and the kernel's of what was on the wire.
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { strict as assert } from 'node:assert';
import { sleep } from '../../platform/time.ts';
import type { IkePeer } from '../system/ike-peer-handle.ts';
import type { Strongswan } from '../system/strongswan.ts';
import { INSIDE, NODE } from './topology.ts';
import type { Side, Topology } from './topology.ts';
import { wireCounts } from './wire-count.ts';
import type { WireCounts } from './wire-count.ts';

const ECHO_SCRIPT = fileURLToPath(new URL('../system/ike-peer-echo.ts', import.meta.url));
const FAMILIES = ['ipv4', 'ipv6'] as const;
const SIDES = ['ours', 'theirs'] as const;
const SMALL_PING_OCTETS = 64;
const LARGE_PING_OCTETS = 1300;
const PING_HEADER_OCTETS = 28;
/**
 * So many are sent and must be answered. ping does not wait for a last answer that is late, and a bad path loses two in
 * ten; on a busy machine it may be the ends that fall behind, so there it is asked again.
 */
const PINGS = { good: { sent: 3, answered: 1, attempts: 1 }, bad: { sent: 40, answered: 12, attempts: 3 } } as const;
const PING_TIMEOUT_MS = 60_000;
const TRANSFER_OCTETS = 1_000_000;
const TRANSFER_TIMEOUT_MS = 60_000;
const TUNNEL_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
/** Drops that never happen between two ends that understand each other, and those that a repeating path explains. */
const SUSPICIOUS_DROPS = /^(?:malformed-|aead-failed|replay|unknown-|sa-|tunnel-|route-|wrong-|source-spoofed|no-sa|no-path)/;
const REPLAY = /^replay/;

interface Counts {
  readonly txBytes: number;
  readonly rxBytes: number;
  /** The counters that follow are those of this child of strongSwan's. */
  readonly spi: string;
  readonly inOctets: number;
  readonly outOctets: number;
  readonly wire: WireCounts;
}

export interface PingStream {
  readonly answered: number;
  /** Not answered although a later one was. */
  readonly lost: number;
}

export class Traffic {
  readonly #topology: Topology;
  readonly #lossy: boolean;
  readonly #pings: (typeof PINGS)[keyof typeof PINGS];
  readonly #ends: () => { readonly ours: IkePeer; readonly theirs: Strongswan };
  #echo: Promise<void> | undefined;

  constructor(topology: Topology, lossy: boolean, ends: () => { readonly ours: IkePeer; readonly theirs: Strongswan }) {
    this.#topology = topology;
    this.#lossy = lossy;
    this.#pings = lossy ? PINGS.bad : PINGS.good;
    this.#ends = ends;
  }

  /** Small and large packets of both families from both ends, and a transfer; every counter must have seen them. */
  async assertAll(): Promise<void> {
    const before = await this.#counts();
    await this.ping('ours', SMALL_PING_OCTETS);
    await this.ping('ours', LARGE_PING_OCTETS);
    await this.ping('theirs', LARGE_PING_OCTETS);
    if (!this.#lossy) await this.#transfer();
    const after = await this.#counts();
    const pings = 2 * FAMILIES.length * this.#pings.answered;
    const octets = pings * (LARGE_PING_OCTETS + PING_HEADER_OCTETS) + (this.#lossy ? 0 : TRANSFER_OCTETS);
    const grown = {
      'our tx octets': [after.txBytes - before.txBytes, octets],
      'our rx octets': [after.rxBytes - before.rxBytes, octets],
      ...(after.spi === before.spi ? { 'their rx octets': [after.inOctets - before.inOctets, octets], 'their tx octets': [after.outOctets - before.outOctets, octets] } : {}),
      'ESP packets to strongSwan': [after.wire.in - before.wire.in, pings],
      'ESP packets from strongSwan': [after.wire.out - before.wire.out, pings],
    } as const satisfies Readonly<Record<string, readonly [number, number]>>;
    for (const [what, [count, atLeast]] of Object.entries<readonly [number, number]>(grown)) assert.ok(count >= atLeast, `${what} grew by ${count}, sent were at least ${atLeast}`);
    assert.equal(after.wire.clear, 0, 'packets of the inside went over the wire in the clear');
    await this.assertNoSuspiciousDrops();
  }

  async assertNoSuspiciousDrops(): Promise<void> {
    const { drops } = await this.#ends().ours.counters();
    assert.deepEqual(drops.filter(({ reason }) => SUSPICIOUS_DROPS.test(reason) && !(this.#lossy && REPLAY.test(reason))), []);
  }

  /** In both families. */
  async ping(from: Side, octets = SMALL_PING_OCTETS): Promise<void> {
    for (const family of FAMILIES) {
      let complaint: string | undefined = '';
      for (let attempt = 0; complaint !== undefined && attempt < this.#pings.attempts; attempt++) complaint = await this.#ping(from, family, octets);
      assert.equal(complaint, undefined, complaint);
    }
  }

  /** Returns what is wrong, if anything. */
  async #ping(from: Side, family: (typeof FAMILIES)[number], octets: number): Promise<string | undefined> {
    const namespace = from === 'ours' ? this.#topology.vr : this.#topology.wan.theirs;
    const to = SIDES.find((side) => side !== from)!;
    const command = ['ping', '-c', String(this.#pings.sent), '-i', '0.02', '-W', '5', '-s', String(octets), '-I', INSIDE[from][family], INSIDE[to][family]];
    const ping = await this.#topology.network.outcome(namespace, command, PING_TIMEOUT_MS);
    const answered = Number(/(\d+) received/.exec(ping.stdout)?.[1] ?? 0);
    if (answered >= this.#pings.answered) return undefined;
    return `ping from ${from} to ${INSIDE[to][family]}, ${octets} octets, ended with ${ping.status}: ${ping.stdout.split('\n').slice(-5).join(' ')}${ping.stderr}`;
  }

  /** Pings 250 times a second from our end, from the first answer until `during` is done. */
  async pingDuring(during: () => Promise<void>): Promise<PingStream> {
    const command = ['ping', '-i', '0.004', '-W', '1', '-I', INSIDE.ours.ipv4, INSIDE.theirs.ipv4];
    const ping = this.#topology.network.spawn(this.#topology.vr, command, { stdio: ['ignore', 'pipe', 'inherit'] });
    const answered = new Set<number>();
    createInterface(ping.stdout!).on('line', (line) => {
      const sequence = /icmp_seq=(\d+) ttl/.exec(line);
      if (sequence !== null) answered.add(Number(sequence[1]));
    });
    const ended = new Promise<void>((resolve) => ping.once('close', () => resolve()));
    try {
      for (let waitedMs = 0; answered.size === 0 && waitedMs < TUNNEL_TIMEOUT_MS; waitedMs += POLL_MS) await sleep(POLL_MS);
      await during();
    } finally {
      ping.kill('SIGINT');
      await ended;
    }
    return { answered: answered.size, lost: Math.max(0, ...answered) - answered.size };
  }

  /** strongSwan's side returns over TCP what it gets. */
  async #transfer(): Promise<void> {
    const { network, wan, vr } = this.#topology;
    this.#echo ??= new Promise((resolve, reject) => {
      const echo = network.spawn(wan.theirs, [...NODE, ECHO_SCRIPT, 'listen', INSIDE.theirs.ipv4], { stdio: ['ignore', 'pipe', 'inherit'] });
      createInterface(echo.stdout!).once('line', () => resolve());
      echo.once('exit', () => reject(new Error('the echo process ended')));
    });
    await this.#echo;
    const sent = await network.outcome(vr, [...NODE, ECHO_SCRIPT, 'send', INSIDE.theirs.ipv4, String(TRANSFER_OCTETS)], TRANSFER_TIMEOUT_MS);
    assert.equal(sent.status, 0, `TCP through the tunnel: ${sent.stderr}`);
  }

  async #counts(): Promise<Counts> {
    const { network, wan } = this.#topology;
    return { ...(await this.#ourTunnel()), ...(await this.#theirChild()), wire: wireCounts(network, wan.theirs) };
  }

  async #ourTunnel(): Promise<{ txBytes: number; rxBytes: number }> {
    // The forwarder takes over a new state on its own thread, a little after IKE has told about it.
    let seen = 0;
    for (let waitedMs = 0; waitedMs < TUNNEL_TIMEOUT_MS; waitedMs += POLL_MS) {
      const { tunnels } = await this.#ends().ours.counters();
      if (tunnels.length === 1) return tunnels[0]!;
      seen = tunnels.length;
      await sleep(POLL_MS);
    }
    throw new Error(`our forwarder has ${seen} tunnels`);
  }

  /** What strongSwan counted on its newest child. */
  async #theirChild(): Promise<{ spi: string; inOctets: number; outOctets: number }> {
    const sas = await this.#ends().theirs.listSas();
    const counted = (direction: string): RegExpMatchArray | undefined => [...sas.matchAll(new RegExp(`^ +${direction} +([0-9a-f]{8}).*?, +(\\d+) bytes`, 'gm'))].at(-1);
    const [arriving, leaving] = [counted('in'), counted('out')];
    assert.ok(arriving !== undefined && leaving !== undefined, `strongSwan shows its counters: ${sas}`);
    return { spi: arriving[1]!, inOctets: Number(arriving[2]), outOctets: Number(leaving[2]) };
  }
}
