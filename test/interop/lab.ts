// One case of the matrix: our end and strongSwan's in namespaces of their own, what rows ask of such a pair, and both
// logs when something fails.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import type { PeerConfiguration, PeerCredential, PeerSettings } from '../system/ike-peer.ts';
import { IkePeer } from '../system/ike-peer-handle.ts';
import type { EventOf } from '../system/ike-peer-handle.ts';
import { Strongswan } from '../system/strongswan.ts';
import { daemonSettings, OUR_IDENTITY, RELEASE_FACTS, releaseRoot, swanctlConfiguration, THEIR_IDENTITY } from './counterpart.ts';
import type { StrongswanSide, SwanctlContext } from './counterpart.ts';
import { caseName } from './row.ts';
import type { Case, Release, Role } from './row.ts';
import { INSIDE, Topology } from './topology.ts';
import { Traffic } from './traffic.ts';
import type { PingStream } from './traffic.ts';
import { countWire } from './wire-count.ts';

/** IKE on port 4500 has four zero octets in front (RFC 3948 2.2). */
const ALL_IKE = 'udp dport 500 drop; udp dport 4500 @th,64,32 0 drop';
const STORY_LINES = 120;
/** strongSwan's own failures bring their whole log along. */
const CAUSE_LINES = 8;
const POLL_MS = 50;
/** Longer than our end waits for a peer to delete what it has replaced. */
const SETTLE_TIMEOUT_MS = 80_000;
/** Short waits, so that losses cost little time. */
const QUICK_RETRANSMISSION = { initialMs: 300, factor: 1.2, longestMs: 1_000, tries: 12, jitter: 0.1 };

/** What is not said is that of the case: its role, its pre-shared key. */
export interface OurSide {
  readonly credential?: PeerCredential;
  /** Default: mail addresses. */
  readonly identities?: Pick<PeerConfiguration, 'localIdentity' | 'remoteIdentity'>;
  readonly settings?: PeerSettings;
  readonly ppk?: PeerConfiguration['ppk'];
  /** Revocation lists that we know, base64. */
  readonly crls?: PeerConfiguration['crls'];
  readonly revocationPolicy?: PeerConfiguration['revocationPolicy'];
  /** Whether strongSwan gets its addresses in the tunnel from us. */
  readonly assigns?: boolean;
  readonly retransmission?: PeerConfiguration['retransmission'];
  readonly halfOpen?: PeerConfiguration['halfOpen'];
  readonly redirect?: PeerConfiguration['redirect'];
}

export class InteropLab {
  readonly role: Role;
  readonly release: Release;
  readonly lossy: boolean;
  /** Hexadecimal; of this case alone. */
  readonly psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  readonly topology: Topology;
  readonly #traffic: Traffic;
  #ours: IkePeer | undefined;
  #theirs: Strongswan | undefined;

  private constructor(which: Case, topology: Topology) {
    this.role = which.role;
    this.release = which.release;
    this.lossy = which.lossy;
    this.topology = topology;
    this.#traffic = new Traffic(topology, which.lossy, () => ({ ours: this.ours, theirs: this.theirs }));
    countWire(topology.network, topology.wan.theirs);
  }

  static async open(which: Case): Promise<InteropLab> {
    const { row, role, lossy } = which;
    return new InteropLab(which, await Topology.make({ path: row.path, role, lossySeed: lossy ? caseName(which) : undefined }));
  }

  get ours(): IkePeer {
    assert.ok(this.#ours, 'our end has been started');
    return this.#ours;
  }

  get theirs(): Strongswan {
    assert.ok(this.#theirs, 'strongSwan has been started');
    return this.#theirs;
  }

  // -------------------------------------------------------------------------------------------------- start

  /** Starts both ends at once; then the initiator initiates. */
  async start(ours: OurSide = {}, theirs: StrongswanSide = {}): Promise<void> {
    await this.startBoth(ours, theirs);
    if (this.role === 'initiator') this.ours.command('connect');
    else await this.theirs.initiate('net');
  }

  /** The same, and nobody initiates. */
  async startBoth(ours: OurSide = {}, theirs: StrongswanSide = {}): Promise<void> {
    const starts = await Promise.allSettled([this.startOurs(ours), this.startTheirs(theirs)]);
    for (const start of starts) if (start.status === 'rejected') throw start.reason;
  }

  async startOurs(side: OurSide = {}): Promise<IkePeer> {
    this.#ours = new IkePeer(this.topology.network, {
      credential: { kind: 'psk', psk: this.psk },
      ...(this.lossy ? { retransmission: QUICK_RETRANSMISSION } : {}),
      ...side,
      role: this.role,
      wanVr: this.topology.wan.ours,
      vr: this.topology.vr,
      local: this.topology.address('ours'),
      remote: this.topology.seen('theirs'),
      insides: Object.values(INSIDE.ours),
      remotePrefixes: [`${INSIDE.theirs.ipv4}/32`, `${INSIDE.theirs.ipv6}/128`],
      localIdentity: { kind: 'email', value: OUR_IDENTITY },
      remoteIdentity: { kind: 'email', value: THEIR_IDENTITY },
      ...side.identities,
      ...(side.assigns === true ? { assigned: [INSIDE.theirs.ipv4, INSIDE.theirs.ipv6] } : {}),
    });
    await this.#ours.event('ready');
    return this.#ours;
  }

  async startTheirs(side: StrongswanSide = {}): Promise<Strongswan> {
    const credential = side.credential ?? { psk: this.psk };
    const context: SwanctlContext = { release: this.release, lossy: this.lossy, local: this.topology.address('theirs'), remote: this.topology.seen('ours') };
    const root = releaseRoot(this.release);
    this.#theirs = await Strongswan.start({
      network: this.topology.network,
      namespace: this.topology.wan.theirs,
      swanctl: swanctlConfiguration({ ...side, credential }, context),
      rawEsp: RELEASE_FACTS[this.release].bareEsp,
      settings: daemonSettings(side, context),
      ...('files' in credential ? { files: credential.files } : {}),
      ...(side.plugins === undefined ? {} : { plugins: side.plugins }),
      ...(root === undefined ? {} : { root }),
    });
    return this.#theirs;
  }

  // ----------------------------------------------------------------------------------------------- the path

  /** Whether messages of IKE to strongSwan are lost from now on. */
  loseIkeToTheirs(lose: boolean): void {
    const table = lose ? `table inet loss { chain in { type filter hook input priority 0; ${ALL_IKE}; }; }\n` : '';
    this.topology.network.run(this.topology.wan.theirs, ['nft', '-f', '-'], `table inet loss { }\ndelete table inet loss\n${table}`);
  }

  // ------------------------------------------------------------------------------------------------ traffic

  async awaitUp(): Promise<{ ike: EventOf<'ike-up'>; child: EventOf<'child-up'> }> {
    const ike = await this.ours.event('ike-up');
    return { ike, child: await this.ours.event('child-up') };
  }

  /** Our attempt fails for this cause, and we do not try again. */
  async awaitConnectFailed(cause: string): Promise<void> {
    // A message that says why may be lost for good with its sender; then there is another attempt.
    const failed = await this.ours.event('connect-failed', undefined, (event) => !this.lossy || event.cause === cause);
    assert.equal(failed.cause, cause);
    assert.notEqual(failed.nextStep, '');
    this.ours.command('terminate');
  }

  /** The next child that replaces another one. */
  awaitChildRekeyed(): Promise<EventOf<'child-up'>> {
    return this.ours.event('child-up', undefined, (event) => event.replaces !== undefined);
  }

  /** Small and large packets and a transfer, both ways, seen by both ends' counters and on the wire. */
  assertTraffic(): Promise<void> {
    return this.#traffic.assertAll();
  }

  assertNoSuspiciousDrops(): Promise<void> {
    return this.#traffic.assertNoSuspiciousDrops();
  }

  /** In both families. */
  ping(from: 'ours' | 'theirs', octets?: number): Promise<void> {
    return this.#traffic.ping(from, octets);
  }

  /** Pings 250 times a second from our end until `during` is done. */
  pingDuring(during: () => Promise<void>): Promise<PingStream> {
    return this.#traffic.pingDuring(during);
  }

  /** A stream over a good path lost nothing; over a bad one it went on. */
  assertNothingLost({ answered, lost }: PingStream, what: string): void {
    assert.ok(answered > 0, `${what}: no ping was answered`);
    if (!this.lossy) assert.equal(lost, 0, `${what}: ${lost} of ${answered + lost} pings were lost`);
  }

  // ---------------------------------------------------------------------------------------------- the state

  /** Waits until both ends have one IKE SA and one child, and nothing else. */
  async assertOneConnection(): Promise<void> {
    await this.#settle('one IKE SA and one child at both ends', async () => {
      const { connections, children } = await this.ours.security();
      const listed = await this.theirs.listSas();
      // A child that was rekeyed still receives for some seconds there.
      const theirs = [/^\S+: #\d+, /gm, /, ESTABLISHED, /g, /, reqid \d+, (?!DELETED)/g, /, INSTALLED, /g].map((pattern) => [...listed.matchAll(pattern)].length);
      return connections === 1 && children === 1 && theirs.every((count) => count === 1) ? undefined : `ours: ${connections} connections, ${children} children; strongSwan:\n${listed}`;
    });
  }

  /** Waits until neither end has anything that is established; no child has come up that the row did not wait for. */
  async assertDown(): Promise<void> {
    await this.#settle('nothing at either end', async () => {
      const { connections, children } = await this.ours.security();
      const { tunnels } = await this.ours.counters();
      const theirs = await this.theirs.listSas();
      const nothing = connections + children + tunnels.length === 0 && !/ESTABLISHED|INSTALLED/.test(theirs);
      return nothing ? undefined : `ours: ${connections} connections, ${children} children, ${tunnels.length} tunnels; strongSwan:\n${theirs}`;
    });
    assert.deepEqual(this.ours.unseen('child-up'), []);
  }

  async #settle(what: string, complaint: () => Promise<string | undefined>): Promise<void> {
    let last: string | undefined;
    for (let waitedMs = 0; waitedMs < SETTLE_TIMEOUT_MS; waitedMs += POLL_MS) {
      last = await complaint();
      if (last === undefined) return;
      await sleep(POLL_MS);
    }
    throw new Error(`there is not ${what}: ${last}`);
  }

  // ---------------------------------------------------------------------------------------------------- end

  /** What our forwarder has counted, and the last lines of both logs. */
  async #story(): Promise<string> {
    const counters = this.#ours?.isRunning() === true ? JSON.stringify(await this.#ours.counters().catch(String)) : '';
    const ours = this.#ours?.story().slice(-STORY_LINES).join('\n') ?? 'not started';
    const theirs = this.#theirs?.log().trimEnd().split('\n').slice(-STORY_LINES).join('\n') ?? 'not started';
    return `--- our counters\n${counters}\n--- our end\n${ours}\n--- strongSwan\n${theirs}`;
  }

  /** The failure with its cause first and both logs behind. */
  async failure(error: unknown): Promise<Error> {
    const { message, stack = '' } = error as Error;
    const failure = new Error(`${message.split('\n').slice(0, CAUSE_LINES).join('\n')}\n${await this.#story()}`);
    failure.stack = `${failure.message}\n${stack.split('\n').filter((line) => /^ +at /.test(line)).join('\n')}`;
    return failure;
  }

  async close(): Promise<void> {
    await Promise.all([this.#ours?.stop(), this.#theirs?.stop()]);
    await this.topology.network.close();
  }
}
