// Our end and strongSwan's in namespaces of their own, on one wire or with a NAT between them, and what tests ask of
// such a pair: a tunnel that is up, traffic through it that both ends have counted, and both logs when something fails.
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { strict as assert } from 'node:assert';
import { sleep } from '../../platform/time.ts';
import type { PeerConfiguration, PeerCredential, PeerSettings } from './ike-peer.ts';
import { IkePeer } from './ike-peer-handle.ts';
import type { EventOf } from './ike-peer-handle.ts';
import { TestNetwork } from './namespaces.ts';
import { authSections } from './strongswan-interop-auth.ts';
import type { StrongswanCredential } from './strongswan-interop-auth.ts';
import { Strongswan } from './strongswan.ts';

export const OUR_IDENTITY = 'ours@peers.example';
export const THEIR_IDENTITY = 'theirs@peers.example';
const OUR_INSIDE = '10.101.0.1';
const THEIR_INSIDE = '10.102.0.1';
const OUR_INSIDE_IPV6 = 'fd00:101::1';
const THEIR_INSIDE_IPV6 = 'fd00:102::1';
const LEFT = '192.0.2.1';
const RIGHT = '192.0.2.2';
const LEFT_IPV6 = '2001:db8::1';
const RIGHT_IPV6 = '2001:db8::2';
const INSIDES = [
  [OUR_INSIDE, THEIR_INSIDE],
  [OUR_INSIDE_IPV6, THEIR_INSIDE_IPV6],
];
/** With a NAT: LEFT is behind it, PUBLIC is the other end, NAT_PUBLIC is what PUBLIC sees of LEFT. */
const NAT_INNER = '192.0.2.254';
const NAT_PUBLIC = '198.51.100.1';
const NAT_PUBLIC_LATER = '198.51.100.3';
const PUBLIC = '198.51.100.2';

const ECHO_SCRIPT = fileURLToPath(new URL('ike-peer-echo.ts', import.meta.url));
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];
const EVERY_THIRD = 'udp dport 500 numgen inc mod 3 == 0 drop';
/** Rules of nft at the end where IKE arrives. */
const LOSSES = {
  nothing: { ours: '', theirs: '' },
  'everything to strongSwan': { ours: '', theirs: 'udp dport 500 drop' },
  'every third message': { ours: EVERY_THIRD, theirs: EVERY_THIRD },
} as const;
const STORY_LINES = 40;
/** strongSwan's own failures bring their whole log along. */
const CAUSE_LINES = 8;
const POLL_MS = 20;
const TUNNEL_TIMEOUT_MS = 5_000;
const TRANSFER_OCTETS = 1_000_000;
const PING_COUNT = 3;
const LARGE_PING_OCTETS = 1300;
const PING_HEADER_OCTETS = 28;
/** Drops that never happen between two ends that understand each other. */
const SUSPICIOUS_DROPS = /^(?:malformed-|aead-failed|replay|unknown-|sa-|tunnel-|route-|wrong-|source-spoofed|no-sa|no-path)/;

export interface StrongswanSide {
  /** Root file system of another release; undefined = this machine's. */
  readonly root?: string;
  readonly credential: StrongswanCredential;
  readonly plugins?: readonly string[];
  /** Addresses in the tunnel are asked for, or handed out. */
  readonly addresses?: 'asked' | 'given';
  /** Lines of the connection, e.g. `encap = yes`. */
  readonly connection?: string;
  readonly ikeProposals?: string;
  readonly espProposals?: string;
  /** A post-quantum pre-shared key, hexadecimal. */
  readonly ppk?: { readonly id: string; readonly secret: string };
  /** Lines of the child. */
  readonly child?: string;
  /** Lines of the daemon's section of strongswan.conf. */
  readonly settings?: string;
}

export interface OurSide {
  readonly role: 'initiator' | 'responder';
  readonly credential: PeerCredential;
  readonly settings?: PeerSettings;
  readonly ppk?: PeerConfiguration['ppk'];
  /** Whether strongSwan gets its addresses in the tunnel from us. */
  readonly assigns?: boolean;
  readonly retransmission?: PeerConfiguration['retransmission'];
  readonly halfOpen?: PeerConfiguration['halfOpen'];
}

/** Who is behind a NAT; or a plain wire with this family. */
export type Path = 'ipv4' | 'ipv6' | 'our NAT' | 'their NAT';

export class InteropLab {
  readonly network = new TestNetwork();
  readonly #wan: { readonly ours: string; readonly theirs: string };
  readonly #vr: string;
  readonly #path: Path;
  #nat: string | undefined;
  #ours: IkePeer | undefined;
  #theirs: Strongswan | undefined;
  #echo: Promise<void> | undefined;

  constructor(path: Path = 'ipv4') {
    this.#path = path;
    this.#wan = { ours: this.network.addNamespace('ours'), theirs: this.network.addNamespace('theirs') };
    this.#vr = this.network.addNamespace('ours-vr');
    if (this.#behindNat === undefined) this.network.addVeth(this.#wanEnd('ours'), this.#wanEnd('theirs'));
    else this.#addNat(this.#behindNat, this.#behindNat === 'ours' ? 'theirs' : 'ours');
    for (const inside of [`${THEIR_INSIDE}/32`, `${THEIR_INSIDE_IPV6}/128`]) this.network.run(this.#wan.theirs, ['ip', 'address', 'add', inside, 'dev', 'lo']);
  }

  get #behindNat(): 'ours' | 'theirs' | undefined {
    return this.#path === 'our NAT' ? 'ours' : this.#path === 'their NAT' ? 'theirs' : undefined;
  }

  #wanEnd(side: 'ours' | 'theirs'): { namespace: string; device: string; addresses: string[] } {
    return { namespace: this.#wan[side], device: 'wan', addresses: [`${this.#address(side)}/${this.#path === 'ipv6' ? 64 : 24}`] };
  }

  #addNat(inner: 'ours' | 'theirs', outer: 'ours' | 'theirs'): void {
    const nat = this.network.addNamespace('nat');
    this.network.addVeth(this.#wanEnd(inner), { namespace: nat, device: 'inner', addresses: [`${NAT_INNER}/24`] });
    this.network.addVeth(this.#wanEnd(outer), { namespace: nat, device: 'outer', addresses: [`${NAT_PUBLIC}/24`] });
    this.network.run(this.#wan[inner], ['ip', 'route', 'add', 'default', 'via', NAT_INNER]);
    this.network.run(nat, ['nft', '-f', '-'], 'table ip nat { chain out { type nat hook postrouting priority 100; oifname "outer" masquerade; }; }\n');
    this.#nat = nat;
  }

  /** The NAT forgets its mappings and has another address from now on. */
  moveNat(): void {
    assert.ok(this.#nat, 'there is a NAT');
    // Masquerading drops what it knows when its address goes.
    this.network.run(this.#nat, ['ip', 'address', 'delete', `${NAT_PUBLIC}/24`, 'dev', 'outer']);
    this.network.run(this.#nat, ['ip', 'address', 'add', `${NAT_PUBLIC_LATER}/24`, 'dev', 'outer']);
  }

  /** What of IKE on port 500 is lost from now on. */
  loseIke(what: keyof typeof LOSSES): void {
    for (const side of ['ours', 'theirs'] as const) {
      const rule = LOSSES[what][side];
      const table = rule === '' ? '' : `table inet loss { chain in { type filter hook input priority 0; ${rule}; }; }\n`;
      this.network.run(this.#wan[side], ['nft', '-f', '-'], `table inet loss { }\ndelete table inet loss\n${table}`);
    }
  }

  #address(side: 'ours' | 'theirs'): string {
    if (this.#behindNat !== undefined) return side === this.#behindNat ? LEFT : PUBLIC;
    const addresses = this.#path === 'ipv6' ? { ours: LEFT_IPV6, theirs: RIGHT_IPV6 } : { ours: LEFT, theirs: RIGHT };
    return addresses[side];
  }

  /** How the other end sees this one. */
  #seen(side: 'ours' | 'theirs'): string {
    return side === this.#behindNat ? NAT_PUBLIC : this.#address(side);
  }

  get ours(): IkePeer {
    assert.ok(this.#ours, 'our end has been started');
    return this.#ours;
  }

  get theirs(): Strongswan {
    assert.ok(this.#theirs, 'strongSwan has been started');
    return this.#theirs;
  }

  /** Starts both ends at once; then the initiator initiates. */
  async start(ours: OurSide, theirs: StrongswanSide): Promise<void> {
    const starts = await Promise.allSettled([this.startOurs(ours), this.startTheirs(theirs)]);
    for (const start of starts) if (start.status === 'rejected') throw start.reason;
    if (ours.role === 'initiator') this.ours.command('connect');
    else this.theirs.initiate('net');
  }

  async startOurs(side: OurSide): Promise<IkePeer> {
    this.#ours = new IkePeer(this.network, {
      ...side,
      wanVr: this.#wan.ours,
      vr: this.#vr,
      local: this.#address('ours'),
      remote: this.#seen('theirs'),
      insides: [OUR_INSIDE, OUR_INSIDE_IPV6],
      remotePrefixes: [`${THEIR_INSIDE}/32`, `${THEIR_INSIDE_IPV6}/128`],
      localIdentity: OUR_IDENTITY,
      remoteIdentity: THEIR_IDENTITY,
      ...(side.assigns === true ? { assigned: [THEIR_INSIDE, THEIR_INSIDE_IPV6] } : {}),
    });
    await this.#ours.event('ready');
    return this.#ours;
  }

  async startTheirs(side: StrongswanSide): Promise<Strongswan> {
    this.#theirs = await Strongswan.start({
      network: this.network,
      namespace: this.#wan.theirs,
      swanctl: this.#swanctl(side),
      rawEsp: side.root !== undefined,
      ...('files' in side.credential ? { files: side.credential.files } : {}),
      ...(side.root === undefined ? {} : { root: side.root }),
      ...(side.settings === undefined ? {} : { settings: side.settings }),
      ...(side.plugins === undefined ? {} : { plugins: side.plugins }),
    });
    return this.#theirs;
  }

  #swanctl(side: StrongswanSide): string {
    const auth = authSections(side.credential, { ours: OUR_IDENTITY, theirs: THEIR_IDENTITY });
    const given = side.addresses === 'given' ? `pools { four { addrs = ${OUR_INSIDE}/32 } \n six { addrs = ${OUR_INSIDE_IPV6}/128 } }` : '';
    const pools = side.addresses === 'given' ? 'pools = four, six' : side.addresses === 'asked' ? 'vips = 0.0.0.0, ::' : '';
    return `
connections {
  peer {
    version = 2
    local_addrs = ${this.#address('theirs')}
    remote_addrs = ${this.#seen('ours')}
    proposals = ${side.ikeProposals ?? 'aes256gcm16-prfsha384-x25519'}
    ${side.connection ?? 'mobike = no'}
    ${pools}
    local { ${auth.local} }
    remote { ${auth.remote} }
    children {
      net {
        local_ts = ${side.addresses === 'asked' ? 'dynamic' : `${THEIR_INSIDE}/32, ${THEIR_INSIDE_IPV6}/128`}
        remote_ts = ${side.addresses === 'given' ? 'dynamic' : `${OUR_INSIDE}/32, ${OUR_INSIDE_IPV6}/128`}
        esp_proposals = ${side.espProposals ?? 'aes256gcm16'}
        ${side.child ?? ''}
      }
    }
  }
}
${given}
${auth.secrets}
${side.ppk === undefined ? '' : `secrets { ppk { id = "${side.ppk.id}" \n secret = 0x${side.ppk.secret} } }`}
`;
  }

  // ------------------------------------------------------------------------------------------------ traffic

  async awaitUp(): Promise<{ ike: EventOf<'ike-up'>; child: EventOf<'child-up'> }> {
    const ike = await this.ours.event('ike-up');
    return { ike, child: await this.ours.event('child-up') };
  }

  /** Small and large packets and a transfer, from our end and back, and both ends' counters of it. */
  async assertTraffic(): Promise<void> {
    this.#echo ??= this.#startEcho();
    const before = { ours: await this.#ourTunnel(), theirs: this.#theirChild() };
    this.assertPing('ours', 64);
    this.assertPing('ours', LARGE_PING_OCTETS);
    this.assertPing('theirs', LARGE_PING_OCTETS);
    await this.#transfer();
    const after = { ours: await this.#ourTunnel(), theirs: this.#theirChild() };
    const octets = TRANSFER_OCTETS + 2 * INSIDES.length * PING_COUNT * (LARGE_PING_OCTETS + PING_HEADER_OCTETS);
    const grown = {
      'our tx octets': after.ours.txBytes - before.ours.txBytes,
      'our rx octets': after.ours.rxBytes - before.ours.rxBytes,
      'their rx octets': after.theirs.inOctets - before.theirs.inOctets,
      'their tx octets': after.theirs.outOctets - before.theirs.outOctets,
    };
    for (const [what, count] of Object.entries(grown)) assert.ok(count >= octets, `${what} grew by ${count}, sent were at least ${octets}`);
    await this.assertNoSuspiciousDrops();
  }

  async assertNoSuspiciousDrops(): Promise<void> {
    const { drops } = await this.ours.counters();
    assert.deepEqual(drops.filter(({ reason }) => SUSPICIOUS_DROPS.test(reason)), []);
  }

  /** In both families. */
  assertPing(from: 'ours' | 'theirs', octets: number): void {
    const namespace = from === 'ours' ? this.#vr : this.#wan.theirs;
    for (const ends of INSIDES) {
      const [source, target] = from === 'ours' ? ends : ends.toReversed();
      const command = ['ping', '-c', String(PING_COUNT), '-i', '0.02', '-W', '5', '-s', String(octets), '-I', source!, target!];
      const ping = this.network.attempt(namespace, command, 20_000);
      assert.equal(ping.status, 0, `ping from ${from}: ${ping.stdout}${ping.stderr}`);
    }
  }

  /**
   * Pings 250 times a second from our end until `during` is done. Returns how many were answered, and how many of those
   * before the last answered one were not.
   */
  async pingDuring(during: () => Promise<void>): Promise<{ answered: number; lost: number }> {
    const command = ['ping', '-i', '0.004', '-W', '1', '-I', OUR_INSIDE, THEIR_INSIDE];
    const ping = this.network.spawn(this.#vr, command, { stdio: ['ignore', 'pipe', 'inherit'] });
    const answered = new Set<number>();
    createInterface(ping.stdout!).on('line', (line) => {
      const sequence = /icmp_seq=(\d+) ttl/.exec(line);
      if (sequence !== null) answered.add(Number(sequence[1]));
    });
    const ended = new Promise<void>((resolve) => ping.once('close', () => resolve()));
    try {
      await during();
    } finally {
      ping.kill('SIGINT');
      await ended;
    }
    return { answered: answered.size, lost: Math.max(0, ...answered) - answered.size };
  }

  /** Resolves when strongSwan's side returns what it gets over TCP. */
  #startEcho(): Promise<void> {
    const echo = this.network.spawn(this.#wan.theirs, [...NODE, ECHO_SCRIPT, 'listen', THEIR_INSIDE], { stdio: ['ignore', 'pipe', 'inherit'] });
    return new Promise((resolve) => createInterface(echo.stdout!).once('line', () => resolve()));
  }

  async #transfer(): Promise<void> {
    await this.#echo;
    const sent = this.network.attempt(this.#vr, [...NODE, ECHO_SCRIPT, 'send', THEIR_INSIDE, String(TRANSFER_OCTETS)], 30_000);
    assert.equal(sent.status, 0, `TCP through the tunnel: ${sent.stderr}`);
  }

  async #ourTunnel(): Promise<{ txBytes: number; rxBytes: number }> {
    // The forwarder takes over a new state on its own thread, a little after IKE has told about it.
    for (let waitedMs = 0; waitedMs < TUNNEL_TIMEOUT_MS; waitedMs += POLL_MS) {
      const { tunnels } = await this.ours.counters();
      if (tunnels.length === 1) return tunnels[0]!;
      await sleep(POLL_MS);
    }
    throw new Error('our forwarder has no tunnel, or several');
  }

  /** What strongSwan counted on its newest child. */
  #theirChild(): { inOctets: number; outOctets: number } {
    const sas = this.theirs.listSas();
    const counted = (direction: string): number => Number([...sas.matchAll(new RegExp(`^ +${direction} +[0-9a-f]{8}.*?, +(\\d+) bytes`, 'gm'))].at(-1)?.[1] ?? 'no');
    const counts = { inOctets: counted('in'), outOctets: counted('out') };
    assert.ok(counts.inOctets >= 0 && counts.outOctets >= 0, `strongSwan shows its counters: ${sas}`);
    return counts;
  }

  // ---------------------------------------------------------------------------------------------------- end

  /** Runs a scenario; its failure carries the last lines of both logs. Everything is gone afterwards. */
  async judge(scenario: (lab: InteropLab) => Promise<void>): Promise<void> {
    try {
      await scenario(this);
    } catch (error) {
      const ours = this.#ours?.story().slice(-STORY_LINES).join('\n') ?? 'not started';
      const theirs = this.#theirs?.log().trimEnd().split('\n').slice(-STORY_LINES).join('\n') ?? 'not started';
      const { message, stack = '' } = error as Error;
      const failure = new Error(`${message.split('\n').slice(0, CAUSE_LINES).join('\n')}\n--- our end\n${ours}\n--- strongSwan\n${theirs}`);
      failure.stack = `${failure.message}\n${stack.split('\n').filter((line) => /^ +at /.test(line)).join('\n')}`;
      throw failure;
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#ours?.stop(), this.#theirs?.stop()]);
    await this.network.close();
  }
}
