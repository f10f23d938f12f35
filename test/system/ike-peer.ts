// One end of an IPsec connection as a process of its own, made of the product's parts: native drivers, the forwarder on
// its thread, the IKE service and its endpoint. Speaks JSON lines with ike-peer-handle.ts: the first line of standard
// input is the configuration, the following ones are commands; events go to standard output, log lines to standard
// error. The process ends with its standard input.
import { createInterface } from 'node:readline';
import { openDrivers } from '../../drivers/open.ts';
import { createWakeup } from '../../drivers/threads.ts';
import { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import type { EapCredentials, EapMethodName } from '../../firmware/ike/eap/method.ts';
import type { HalfOpenLimits } from '../../firmware/ike/half-open.ts';
import type { ChildUp, IkeOutput, IkeSnapshot, IkeUp } from '../../firmware/ike/input-output.ts';
import type { IkeIdentity, IkeProfile, LocalAuth, RemoteAuth, SigningCredential } from '../../firmware/ike/profile.ts';
import type { Retransmission } from '../../firmware/ike/window.ts';
import { deviceName, encryptedTviName } from '../../firmware/model.ts';
import type { ForwarderCounters, IpAddress } from '../../firmware/model.ts';
import { Connector } from '../../firmware/services/connector.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import { ThreadForwarder } from '../../firmware/services/forwarder-thread.ts';
import { IKE_NATT_PORT, IKE_PORT, IkeService, nattSocket, wanSocket } from '../../firmware/services/ike.ts';
import type { TunnelContext } from '../../firmware/services/ike-tunnels.ts';
import type { Service, ServiceStatus, Site } from '../../firmware/services/service.ts';
import { VirtualRouters } from '../../firmware/services/virtual-routers.ts';
import { hostPrefix, isIpv6 } from '../../firmware/services/vr-plan.ts';
import { Alarms } from '../../platform/alarms.ts';
import { fromHex } from '../../platform/bytes.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { SignatureAlgorithm } from '../../platform/crypto.ts';
import { formatEvent } from '../../platform/log-line.ts';
import { SinkLog } from '../../platform/log.ts';
import { SystemRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { SystemClock } from '../../platform/time.ts';

const PROFILE = 'test/peer';
const TENANT = 1;
const TUNNEL_MTU = 1400;

/** Octets are base64, the pre-shared key is hexadecimal. */
export interface CertificateCredential {
  readonly kind: 'certificate';
  readonly chain: readonly string[];
  readonly privateKey: string;
  readonly anchors: readonly string[];
  /** Default: ecdsa-sha256. */
  readonly algorithm?: SignatureAlgorithm;
  /** Credentials after this one, in order of preference. */
  readonly alternatives?: readonly CertificateCredential[];
}

export type PeerCredential =
  | { readonly kind: 'psk'; readonly psk: string }
  | CertificateCredential
  | { readonly kind: 'eap-user'; readonly identity: string; readonly password: string; readonly anchors: readonly string[] }
  | { readonly kind: 'eap-tls-user'; readonly identity: string; readonly certificate: CertificateCredential; readonly eapOnly?: boolean }
  /** `passwords` by user. */
  | {
      readonly kind: 'eap-server';
      readonly methods: readonly EapMethodName[];
      readonly certificate: CertificateCredential;
      readonly eapOnly?: boolean;
      readonly passwords?: Readonly<Record<string, string>>;
    };

/** What of a profile a test may choose besides credentials and identities. */
export type PeerSettings = Pick<
  IkeProfile,
  'proposals' | 'childProposals' | 'trafficSelectors' | 'forceUdpEncapsulation' | 'fragmentBytes' | 'dpdMs' | 'childLifetimeMs' | 'ikeLifetimeMs' | 'childless' | 'legacy' | 'requestConfiguration' | 'mobike' | 'followRedirects'
>;

export interface PeerConfiguration {
  readonly role: 'initiator' | 'responder';
  /** Namespaces of the WAN port, which has its address already, and of the TUN device. */
  readonly wanVr: string;
  readonly vr: string;
  readonly local: IpAddress;
  readonly remote: IpAddress;
  /** Our addresses in the tunnel, and the prefixes behind the peer; one of each per family. */
  readonly insides: readonly IpAddress[];
  readonly remotePrefixes: readonly string[];
  readonly localIdentity: IkeIdentity;
  readonly remoteIdentity: IkeIdentity;
  readonly credential: PeerCredential;
  readonly settings?: PeerSettings;
  /** Addresses in the tunnel that we assign to a peer that asks, IPv4 first. */
  readonly assigned?: readonly [IpAddress, IpAddress];
  /** Revocation lists that we know. */
  readonly crls?: readonly string[];
  /** Default: soft. */
  readonly revocationPolicy?: 'soft' | 'hard';
  /** The secret is hexadecimal. */
  readonly ppk?: { readonly id: string; readonly secret: string; readonly required: boolean };
  readonly retransmission?: Retransmission;
  readonly halfOpen?: HalfOpenLimits;
  /** Responder: peers are sent on to this address, also ours. */
  readonly redirect?: { readonly at: 'init' | 'auth'; readonly to: IpAddress };
}

/** `move ADDRESS`: our WAN port has this address now. */
export type PeerCommand = 'connect' | 'rekey-child' | 'rekey-ike' | 'terminate' | 'counters' | 'snapshot' | `move ${string}`;

export type PeerEvent =
  | { readonly kind: 'ready' }
  | { readonly kind: 'counters'; readonly counters: ForwarderCounters }
  | { readonly kind: 'snapshot'; readonly ikeSas: IkeSnapshot['ikeSas'] }
  | Exclude<IkeOutput, { readonly kind: 'send' | 'keepalive' | 'log' }>;

/** Keys stay in the process that owns them. */
function withoutKeys(name: string, value: unknown): unknown {
  if (name === 'key' || name === 'salt') return undefined;
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

function say(event: PeerEvent): void {
  process.stdout.write(`${JSON.stringify(event, withoutKeys)}\n`);
}

function octets(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

function signing({ chain, privateKey, algorithm = 'ecdsa-sha256' }: CertificateCredential): SigningCredential {
  return { chain: chain.map(octets), privateKey: octets(privateKey), algorithm };
}

function certificateAuth(credential: CertificateCredential): LocalAuth {
  return { kind: 'certificate', ...signing(credential), alternatives: (credential.alternatives ?? []).map(signing) };
}

function authentication(credential: PeerCredential): { localAuth: LocalAuth; remoteAuth: RemoteAuth } {
  switch (credential.kind) {
    case 'psk': {
      const psk = { kind: 'psk', key: fromHex(credential.psk) } as const;
      return { localAuth: psk, remoteAuth: psk };
    }
    case 'certificate':
      return { localAuth: certificateAuth(credential), remoteAuth: { kind: 'certificate', anchors: credential.anchors.map(octets) } };
    case 'eap-user': {
      const { identity, password, anchors } = credential;
      return { localAuth: { kind: 'eap', identity, password }, remoteAuth: { kind: 'certificate', anchors: anchors.map(octets) } };
    }
    case 'eap-tls-user': {
      const { identity, certificate, eapOnly = false } = credential;
      const own = { chain: certificate.chain.map(octets), privateKey: octets(certificate.privateKey) };
      return { localAuth: { kind: 'eap', identity, certificate: own, eapOnly }, remoteAuth: { kind: 'certificate', anchors: certificate.anchors.map(octets) } };
    }
    case 'eap-server': {
      const { certificate, methods, eapOnly = false } = credential;
      return { localAuth: certificateAuth(certificate), remoteAuth: { kind: 'eap', methods, eapOnly, anchors: certificate.anchors.map(octets) } };
    }
  }
}

function passwordOf({ credential }: PeerConfiguration, identity: string): EapCredentials | undefined {
  const password = credential.kind === 'eap-server' ? credential.passwords?.[identity] : undefined;
  return password === undefined ? undefined : { password };
}

function profileOf(config: PeerConfiguration): IkeProfile {
  return {
    name: PROFILE,
    tenant: TENANT,
    localIdentity: config.localIdentity,
    remoteIdentity: config.remoteIdentity,
    ...authentication(config.credential),
    ...config.settings,
    ...(config.ppk === undefined ? {} : { ppk: { ...config.ppk, secret: fromHex(config.ppk.secret) } }),
  };
}

function openSite(): { site: Site; forwarding: ForwardingService } {
  const clock = new SystemClock();
  const sink = { write: (record: Parameters<typeof formatEvent>[0]) => void process.stderr.write(`${formatEvent(record)}\n`), reopen: () => undefined, close: () => undefined };
  const log = new SinkLog([sink], () => clock.unixMs());
  const drivers = openDrivers();
  const site: Site = {
    name: 'peer',
    clock,
    random: new SystemRandom(),
    suite: new RealSuite(),
    log,
    alarms: new Alarms(log.channel('alarms'), () => clock.unixMs()),
    store: new MemoryStore(),
    network: drivers.network,
    kernel: drivers.kernel,
  };
  const handle = new ThreadForwarder({ devices: drivers.devices, clock, log: log.channel('forwarder'), createWakeup });
  return { site, forwarding: new ForwardingService(site, handle) };
}

class Peer implements Service {
  readonly name = 'peer';
  readonly #forwarding: ForwardingService;
  readonly #config: PeerConfiguration;
  readonly #profile: IkeProfile;
  readonly #ike: IkeService;
  readonly #connector: Connector;
  readonly #outside: number;
  /** Where redirected peers come to. */
  readonly #second: number;
  readonly #inside: number;
  readonly #routers: VirtualRouters;
  #local: IpAddress;

  constructor(config: PeerConfiguration) {
    const { site, forwarding } = openSite();
    this.#forwarding = forwarding;
    this.#config = config;
    this.#profile = profileOf(config);
    this.#local = config.local;
    this.#routers = new VirtualRouters(site, forwarding, new Map());
    this.#outside = forwarding.idFor('outside');
    this.#second = forwarding.idFor('second outside');
    this.#inside = forwarding.idFor('inside');
    const endpoint = new IkeEndpoint({
      suite: site.suite,
      random: site.random,
      unixMs: () => site.clock.unixMs(),
      nextSaId: forwarding.nextSaId,
      profiles: [this.#profile],
      responderProfile: ({ local }) => (config.role === 'responder' ? this.#responderProfile(local.address) : undefined),
      lookupEap: (_profile, identity) => passwordOf(config, identity),
      authorize: () => ({ ok: true, assignedAddress: config.assigned?.[0], alsoAssigned: config.assigned?.[1] }),
      revocation: () => (config.crls === undefined ? undefined : { crls: config.crls.map(octets), policy: config.revocationPolicy ?? 'soft' }),
      ...(config.retransmission === undefined ? {} : { retransmission: config.retransmission }),
      ...(config.halfOpen === undefined ? {} : { halfOpen: config.halfOpen }),
    });
    this.#ike = new IkeService(site, forwarding, endpoint, {
      tunnelContext: (child, up) => this.#tunnelContext(child, up),
      onOutput: (output) => this.#onOutput(output),
    });
    this.#connector = new Connector(site, (input) => this.#ike.push(input));
  }

  async start(): Promise<void> {
    await this.#open();
    say({ kind: 'ready' });
  }

  /** Brings the host to where we are now, and listens there. */
  async #open(): Promise<void> {
    const { insides, wanVr, vr, remotePrefixes, redirect } = this.#config;
    const name = encryptedTviName(TENANT);
    const device = deviceName(name);
    const routes = remotePrefixes.map((prefix) => ({ prefix, device, source: insides.find((inside) => isIpv6(inside) === isIpv6(prefix))! }));
    const ports = [{ id: this.#outside, address: this.#local }, ...(redirect === undefined ? [] : [{ id: this.#second, address: redirect.to }])];
    await this.#routers.apply('peer', {
      vrs: [{ vr, devices: [{ device, addresses: insides.map(hostPrefix), mtu: TUNNEL_MTU }], routes, forwarding: false }],
      adoptions: [],
      part: {
        insides: [{ id: this.#inside, tenant: TENANT, kind: 'encrypted-tvi', vr, name, mtu: TUNNEL_MTU, addresses: insides }],
        outsides: ports.map(({ id, address }) => ({ id, name: `wan${id}`, vr: wanVr, addresses: [address] })),
      },
    });
    for (const { id, address } of ports) this.#ike.openSocket(wanSocket(id, address), wanVr, address);
  }

  #responderProfile(local: IpAddress): IkeProfile {
    const { redirect } = this.#config;
    if (redirect === undefined || local === redirect.to) return this.#profile;
    return { ...this.#profile, redirect: { at: redirect.at, gateway: { kind: isIpv6(redirect.to) ? 'ipv6' : 'ipv4', value: redirect.to } } };
  }

  async #move(address: IpAddress): Promise<void> {
    this.#local = address;
    await this.#open();
    const place = { socket: wanSocket(this.#outside, address), nattSocket: nattSocket(this.#outside), local: { address, port: IKE_PORT } };
    for (const { ikeSa } of this.#ike.liveIkeSas()) this.#ike.push({ kind: 'move', ikeSa, ...place });
  }

  #connect(): void {
    const local = this.#local;
    const { remote } = this.#config;
    const candidate = {
      kind: 'initiate',
      profile: PROFILE,
      socket: wanSocket(this.#outside, local),
      nattSocket: nattSocket(this.#outside),
      local: { address: local, port: IKE_PORT },
      remote: { address: remote, port: IKE_PORT },
      nattLocal: { address: local, port: IKE_NATT_PORT },
    } as const;
    this.#connector.want({ profile: PROFILE, candidates: [candidate] });
  }

  async stop(): Promise<void> {
    this.#connector.stop();
    await this.#ike.stop();
    await this.#forwarding.stop();
  }

  status(): ServiceStatus {
    return this.#ike.status();
  }

  async command(command: PeerCommand): Promise<void> {
    if (command.startsWith('move ')) return this.#move(command.slice('move '.length));
    const sas = this.#ike.endpoint.snapshot().ikeSas.filter((sa) => sa.state === 'established');
    switch (command) {
      case 'connect':
        this.#connect();
        return;
      case 'rekey-ike':
        for (const { ikeSa } of sas) this.#ike.push({ kind: 'rekey-ike', ikeSa });
        return;
      case 'rekey-child':
        for (const { child } of sas.flatMap((sa) => sa.children)) this.#ike.push({ kind: 'rekey-child', child });
        return;
      case 'terminate':
        this.#connector.forget(PROFILE, 'the test asked for it');
        for (const { ikeSa } of sas) this.#ike.push({ kind: 'terminate', ikeSa, reason: 'the test asked for it' });
        return;
      case 'counters':
        say({ kind: 'counters', counters: this.#forwarding.counters() });
        return;
      case 'snapshot':
        say({ kind: 'snapshot', ikeSas: this.#ike.endpoint.snapshot().ikeSas });
        return;
    }
  }

  #tunnelContext(child: ChildUp, up: IkeUp): TunnelContext {
    return {
      peer: up.remoteIdentity.value,
      tenant: child.tenant,
      kind: child.natt ? 'esp-udp' : 'esp',
      inside: this.#inside,
      paths: [{ outside: child.local.address === this.#config.redirect?.to ? this.#second : this.#outside, remote: child.remote }],
      mtu: TUNNEL_MTU,
      idleDummyMs: 0,
      routes: this.#config.remotePrefixes.map((prefix) => ({ prefix, label: 0 })),
    };
  }

  #onOutput(output: IkeOutput): void {
    this.#connector.onOutput(output);
    if (output.kind !== 'send' && output.kind !== 'keepalive' && output.kind !== 'log') say(output);
  }
}

const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
const first = await lines.next();
const peer = new Peer(JSON.parse(first.value as string) as PeerConfiguration);
await peer.start();
for (let line = await lines.next(); line.done !== true; line = await lines.next()) await peer.command(line.value as PeerCommand);
await peer.stop();
process.exit(0);
