// One tenant of a branch: its BGP session to the Controllers, its IKE-less keys, and the tunnels to other branches that
// follow from both. Order matters: the forwarder receives on new SAs before a key route that makes peers use them leaves.
import type { Logger } from '../../platform/log.ts';
import { Writer, equalBytes, toHex } from '../../platform/bytes.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { OperationalError } from '../../platform/errors.ts';
import { BgpSpeaker, type BgpOutput } from '../bgp/speaker.ts';
import type { BgpRoute } from '../bgp/route.ts';
import type { CircuitConfiguration, DeviceConfiguration, TenantConfiguration } from '../configuration.ts';
import type { ForwarderEvent, IpAddress } from '../model.ts';
import { controlVrName, sameEndpoint } from '../model.ts';
import { buildCircuitRoute } from '../sdwan/circuit-route.ts';
import type { NodeIdentity } from '../sdwan/key-route.ts';
import type { KeyingInput, KeyingOutput, PeerAssociations, RouteInput } from '../sdwan/keying-messages.ts';
import { overlayForwarding } from '../sdwan/overlay.ts';
import { PeerCircuits } from '../sdwan/peer-circuits.ts';
import type { RouteBytes, RouteSigner, RouteTrust } from '../sdwan/signed-route.ts';
import { TenantKeying } from '../sdwan/tenant-keying.ts';
import { SDWAN4, SDWAN6, VPN4, VPN6, sameFamily, type Family } from '../wire/bgp/family.ts';
import { encodeNlri, type SdwanNlri, type VpnNlri } from '../wire/bgp/nlri.ts';
import { BgpService } from './bgp.ts';
import type { ForwardingService } from './forwarding.ts';
import { trustAnchors, type DeviceIdentity } from './ike-profiles.ts';
import { MachineRunner } from './machine-runner.ts';
import { lanRoutes, localCircuits, sdwanRoute, type ObservedCircuit } from './own-routes.ts';
import { nextTenantStart, saveTenantStart } from './rekey-state.ts';
import type { Service, ServiceStatus, Site } from './service.ts';
import { encryptedInsideId, isIpv6, lanInsideId, outsideId, withoutLength } from './vr-plan.ts';
import { WithheldRoutes } from './withheld-routes.ts';

export const BGP_HOLD_SECONDS = 90;
export const OVERLAY_FAMILIES: readonly Family[] = [VPN4, VPN6, SDWAN4, SDWAN6];
const ROUTE_TYPE_CIRCUIT = 1;
const ROUTE_TYPE_KEY = 0xff01;
const ROUTE_TYPE_DIRECTIVE = 0xff02;

export interface TenantOptions {
  readonly config: DeviceConfiguration;
  /** With the addresses that they have now. */
  readonly circuits: readonly CircuitConfiguration[];
  readonly tenant: TenantConfiguration;
  readonly identity: DeviceIdentity;
  /** Number of this boot, durable. */
  readonly bootCount: number;
  /** What is known of revoked certificates now; undefined: nothing. */
  revocation(): RevocationCheck | undefined;
  /** A Controller says that a site was revoked. */
  revocationOrdered(): void;
  changed(): void;
}

export class TenantService implements Service {
  readonly name: string;
  readonly bgp: BgpService;
  readonly #site: Site;
  readonly #forwarding: ForwardingService;
  readonly #options: TenantOptions;
  readonly #log: Logger;
  readonly #keying: MachineRunner<KeyingInput, KeyingOutput>;
  readonly #machine: TenantKeying;
  readonly #peerCircuits: PeerCircuits;
  #circuits: readonly CircuitConfiguration[];
  readonly #node: NodeIdentity;
  #signer: RouteSigner;
  readonly #vpnRoutes = new Map<string, BgpRoute>();
  /** What a peer announced under a key, so that its withdrawal can be told by content. */
  readonly #sdwanItems = new Map<string, SdwanNlri>();
  #associations: readonly PeerAssociations[] = [];
  #observed: readonly ObservedCircuit[] = [];
  /** Keying's version -> forwarder's version that contains it. */
  #awaited: { readonly keying: number; readonly forwarding: number }[] = [];
  readonly #withheld: WithheldRoutes;
  /** Keying's newest version that no version of the forwarding state contains yet. */
  #unflushed: number | undefined;
  readonly #subscriptions: readonly (() => void)[];
  #stopped = false;

  constructor(site: Site, forwarding: ForwardingService, options: TenantOptions) {
    const { config, tenant } = options;
    this.name = `tenant ${tenant.organization}`;
    this.#site = site;
    this.#forwarding = forwarding;
    this.#options = options;
    this.#circuits = options.circuits;
    this.#log = site.log.channel('sdwan');
    this.#node = {
      tenant: tenant.tenant,
      siteId: config.device.siteId,
      nodeId: tenant.clearAddress,
      routeDistinguisher: tenant.routeDistinguisher,
      name: config.device.name,
      model: 'selvage',
      version: config.softwareVersion,
    };
    this.#signer = routeSigner(site, options.identity);
    const trust: RouteTrust = { suite: site.suite, anchors: trustAnchors(config), provider: config.provider, revocation: () => options.revocation() };
    this.#peerCircuits = new PeerCircuits({ trust, tenant: tenant.tenant, unixMs: () => site.clock.unixMs() });
    const start = nextTenantStart(site.store, tenant.tenant, options.bootCount);
    this.#machine = new TenantKeying({
      node: this.#node,
      policy: tenant.keying,
      suite: site.suite,
      random: site.random,
      trust,
      signer: this.#signer,
      routeTarget: tenant.routeTarget,
      bootCount: options.bootCount,
      lastCounter: start.counter,
      epochs: start.epochs,
      saId: forwarding.nextSaId,
      unixMs: () => site.clock.unixMs(),
      acknowledged: true,
    });
    this.#keying = new MachineRunner(this.#machine, site.clock, (output) => this.#keyingOutput(output));
    this.bgp = new BgpService(site, {
      organization: tenant.organization,
      vr: controlVrName(tenant.organization),
      localAddress: tenant.encryptedAddress,
      listen: false,
      speaker: new BgpSpeaker({
        asNumber: tenant.asNumber,
        routerId: tenant.encryptedAddress,
        reflector: false,
        random: site.random,
        peers: [],
      }),
      onOutput: (output) => this.#bgpOutput(output),
    });
    this.#withheld = new WithheldRoutes(site.clock, () => this.bgp.peers.some((peer) => this.bgp.isEstablished(peer.id)));
    this.#subscriptions = [forwarding.onEvent((event) => this.#forwarderEvent(event)), forwarding.onState((state) => this.#stateFlushed(state.version))];
  }

  async start(): Promise<void> {
    const { tenant } = this.#options;
    await this.bgp.start();
    this.bgp.setPeers(
      tenant.controllers.map((controller) => ({
        id: controller.name,
        remote: controller.encryptedAddress,
        local: tenant.encryptedAddress,
        remoteAs: tenant.asNumber,
        role: 'non-client',
        passive: false,
        families: OVERLAY_FAMILIES,
        holdSeconds: BGP_HOLD_SECONDS,
      })),
    );
    for (const route of lanRoutes(this.#options.config, tenant)) this.bgp.push({ kind: 'originate', route });
    this.#originateCircuits();
    this.#keying.push({ kind: 'start' });
  }

  /** The box stops or starts again: peers keep keys and routes meanwhile. */
  async stop(): Promise<void> {
    this.#end();
    await this.bgp.stop();
  }

  #end(): void {
    this.#stopped = true;
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#withheld.stop();
    this.#keying.stop();
  }

  /** The tenant is no longer configured as it was: key and routes are withdrawn, secrets wiped, tunnels taken down. */
  async remove(): Promise<void> {
    this.#keying.push({ kind: 'stop' });
    this.#end();
    await this.bgp.remove();
    this.#forwarding.removePart(this.#owner);
  }

  status(): ServiceStatus {
    return this.bgp.status();
  }

  /** Whether a newer configuration means the same for this tenant. */
  serves(config: DeviceConfiguration, tenant: TenantConfiguration): boolean {
    return relevantPart(config, tenant) === relevantPart(this.#options.config, this.#options.tenant);
  }

  /** A renewed device certificate: it signs from now on, and goes out with the next key. */
  renew(identity: DeviceIdentity): void {
    const signer = routeSigner(this.#site, identity);
    if (equalBytes(signer.certificate, this.#signer.certificate)) return;
    this.#signer = signer;
    this.#keying.push({ kind: 'signer', signer });
    this.#originateCircuits();
  }

  /** How a Controller sees one of this box's circuits; published so that peers know where to send. */
  observed(seen: ObservedCircuit): void {
    if (this.#observed.some((each) => each.circuit === seen.circuit && sameEndpoint(each.endpoint, seen.endpoint))) return;
    const isReplaced = (each: ObservedCircuit): boolean => each.circuit === seen.circuit && isIpv6(each.endpoint.address) === isIpv6(seen.endpoint.address);
    this.#observed = [...this.#observed.filter((each) => !isReplaced(each)), seen];
    this.#originateCircuits();
  }

  /** Other circuits or addresses: sessions, keys and tunnels go on, peers learn where to send from now on. */
  changeCircuits(circuits: readonly CircuitConfiguration[]): void {
    const unchanged = new Set(circuits.map((circuit) => JSON.stringify(circuit)));
    const former = this.#circuits;
    if (former.length === circuits.length && former.every((circuit) => unchanged.has(JSON.stringify(circuit)))) return;
    const before = this.#circuitRoutes();
    this.#circuits = circuits;
    const kept = new Set(former.filter((circuit) => unchanged.has(JSON.stringify(circuit))).map((circuit) => circuit.name));
    this.#observed = this.#observed.filter((seen) => kept.has(seen.circuit));
    const now = new Set(this.#circuitRoutes().map((route) => toHex(route.nlri)));
    for (const { nlri } of before) if (!now.has(toHex(nlri))) this.#withdraw(nlri);
    this.#originateCircuits();
    this.#publishOverlay();
  }

  /** More certificates are revoked: whoever signed with one of them loses SAs and circuits. */
  revocations(): void {
    this.#peerCircuits.dropRevoked();
    this.#keying.push({ kind: 'revocations' });
    this.#publishOverlay();
  }

  orderRekey(): void {
    this.#keying.push({ kind: 'rekey', reason: 5 });
  }

  keyingSnapshot(): ReturnType<TenantKeying['snapshot']> {
    return this.#machine.snapshot(this.#site.clock.now());
  }

  bgpSnapshot(): ReturnType<BgpSpeaker['snapshot']> {
    return this.bgp.options.speaker.snapshot(this.#site.clock.now());
  }

  get associations(): readonly PeerAssociations[] {
    return this.#associations;
  }

  get #owner(): string {
    return `overlay:${this.#options.tenant.tenant}`;
  }

  // ------------------------------------------------------------------------------------------------ own routes

  #originateCircuits(): void {
    for (const route of this.#circuitRoutes()) this.#originate(route);
  }

  #circuitRoutes(): RouteBytes[] {
    return localCircuits(this.#circuits, this.#observed).map((circuit) => buildCircuitRoute(this.#site.suite, this.#signer, this.#node, circuit));
  }

  #originate(route: RouteBytes): void {
    this.bgp.push({ kind: 'originate', route: sdwanRoute(this.#options.tenant, route) });
  }

  // ------------------------------------------------------------------------------------------ events of others

  #bgpOutput(output: BgpOutput): void {
    switch (output.kind) {
      case 'route':
        if (output.family.safi === SDWAN4.safi) this.#sdwanRoute(output);
        return;
      case 'best':
        if (sameFamily(output.family, VPN4) || sameFamily(output.family, VPN6)) this.#vpnRoute(output);
        return;
      case 'peer-up':
        this.#withheld.controllerIsBack();
        this.#options.changed();
        return;
      case 'peer-down':
        this.#options.changed();
        return;
    }
  }

  /** Every Controller's copy counts: keys are chosen by their rekey counter, not by best path. */
  #sdwanRoute({ peer, route, key }: Extract<BgpOutput, { kind: 'route' }>): void {
    const nlri = (route?.nlri ?? this.#sdwanItems.get(`${peer}|${key}`)) as SdwanNlri | undefined;
    if (nlri === undefined) return;
    if (route === undefined) this.#sdwanItems.delete(`${peer}|${key}`);
    else this.#sdwanItems.set(`${peer}|${key}`, nlri);
    const writer = new Writer();
    encodeNlri(writer, nlri, false);
    const input = { from: peer, nlri: writer.finish(), tunnelEncapsulation: route?.tunnelEncapsulation };
    switch (nlri.routeType) {
      case ROUTE_TYPE_KEY:
        this.#keying.push({ kind: 'key-route', ...input });
        return;
      case ROUTE_TYPE_DIRECTIVE:
        this.#keying.push({ kind: 'directive', ...input });
        return;
      case ROUTE_TYPE_CIRCUIT:
        this.#circuitRoute(input);
        return;
    }
  }

  #circuitRoute(input: RouteInput): void {
    if (this.#withheld.withholds(`circuit|${input.from}|${toHex(input.nlri)}`, input.tunnelEncapsulation === undefined, () => this.#circuitRoute(input))) return;
    const cause = this.#peerCircuits.update(input);
    if (cause !== undefined) this.#log.warning('circuit route refused', { organization: this.#options.tenant.organization, from: input.from, cause });
    this.#publishOverlay();
  }

  #vpnRoute({ key, route, peer, family }: Extract<BgpOutput, { kind: 'best' }>): void {
    const id = `${family.afi}|${key}`;
    const withdrawn = { kind: 'best', family, key, route: undefined, peer: '' } as const;
    if (this.#withheld.withholds(`vpn|${id}`, route === undefined, () => this.#vpnRoute(withdrawn))) return;
    if (route === undefined || peer === '') this.#vpnRoutes.delete(id);
    else this.#vpnRoutes.set(id, route);
    this.#publishOverlay();
  }

  #keyingOutput(output: KeyingOutput): void {
    const { tenant } = this.#options;
    switch (output.kind) {
      case 'persist':
        saveTenantStart(this.#site.store, tenant.tenant, { bootCount: output.bootCount, counter: output.counter, epochs: output.epochs });
        return;
      case 'associations':
        // Handed over with whatever else changes in this moment; keying publishes when it was acknowledged.
        this.#associations = output.peers;
        this.#unflushed = output.version;
        this.#publishOverlay();
        return;
      case 'publish':
        this.#forwarding.flush();
        this.#originate(output);
        return;
      case 'withdraw':
        this.#withdraw(output.nlri);
        return;
      case 'revocation-ordered':
        this.#options.revocationOrdered();
        return;
      case 'alarm':
        this.#log.error(`alarm ${output.alarm}`, { organization: tenant.organization, ...output.fields });
        return;
      case 'log':
        this.#site.log.channel('ipsec').event({ ...output.event, fields: { organization: tenant.organization, ...output.event.fields } });
        return;
    }
  }

  #withdraw(nlri: Uint8Array): void {
    const { family, key } = sdwanRoute(this.#options.tenant, { nlri, tunnelEncapsulation: new Uint8Array(0) });
    this.bgp.push({ kind: 'withdraw', family, key });
  }

  #forwarderEvent(event: ForwarderEvent): void {
    if (this.#stopped) return;
    switch (event.kind) {
      case 'applied':
        this.#acknowledge(event.version);
        return;
      case 'first-packet':
        if (this.#ownsTunnel(event.tunnel)) this.#keying.push({ kind: 'first-packet', spi: event.spi, nodeId: this.#nodeOf(event.tunnel) });
        return;
      case 'sa-limit':
        if (this.#ownsTunnel(event.tunnel)) this.#keying.push({ kind: 'sa-limit', spi: event.spi });
        return;
    }
  }

  #stateFlushed(forwarding: number): void {
    if (this.#unflushed === undefined) return;
    this.#awaited.push({ keying: this.#unflushed, forwarding });
    this.#unflushed = undefined;
  }

  #acknowledge(version: number): void {
    const done = this.#awaited.filter((a) => a.forwarding <= version).at(-1);
    this.#awaited = this.#awaited.filter((a) => a.forwarding > version);
    if (done !== undefined) this.#keying.push({ kind: 'applied', version: done.keying });
  }

  // ---------------------------------------------------------------------------------------------------- overlay

  #tunnelId(nodeId: IpAddress): number {
    return this.#forwarding.idFor(`${this.#owner}:${nodeId}`);
  }

  #ownsTunnel(tunnel: number): boolean {
    return this.#nodeOf(tunnel) !== undefined;
  }

  #nodeOf(tunnel: number): IpAddress | undefined {
    return this.#associations.find((a) => this.#tunnelId(a.nodeId) === tunnel)?.nodeId;
  }

  #publishOverlay(): void {
    if (this.#stopped) return;
    const { tenant } = this.#options;
    const idFor = (key: string): number => this.#forwarding.idFor(key);
    this.#forwarding.setPart(
      this.#owner,
      overlayForwarding({
        tenant: tenant.tenant,
        encryptedInside: encryptedInsideId(idFor, tenant.tenant),
        lanInside: tenant.lan === undefined ? undefined : lanInsideId(idFor, tenant.tenant),
        circuits: this.#circuits.map((c) => ({ outside: outsideId(idFor, c.name), transport: c.transport, addresses: c.addresses.map(withoutLength) })),
        associations: this.#associations,
        peerCircuits: this.#peerCircuits.all(),
        vpnRoutes: [...this.#vpnRoutes.values()].map(({ nlri, nextHop }) => ({ prefix: (nlri as VpnNlri).prefix, label: (nlri as VpnNlri).label, nextHop })),
        tunnelId: (nodeId) => this.#tunnelId(nodeId),
      }),
    );
  }
}

/** What a tenant's sessions and keys depend on; everything else may change around them. */
function relevantPart(config: DeviceConfiguration, tenant: TenantConfiguration): string {
  const { device, provider, trustAnchors } = config;
  return JSON.stringify({ device, provider, trustAnchors, tenant });
}

/** The device's credential as a signer of routes. A clock that is wrong does not keep it from signing: receivers judge by theirs. */
function routeSigner(site: Site, identity: DeviceIdentity): RouteSigner {
  const certificate = identity.certificateChain[0];
  const publicKey = certificate === undefined ? undefined : site.suite.certificatePublicKey(certificate);
  if (certificate === undefined || publicKey === undefined) {
    throw new OperationalError('device-certificate', 'the device certificate cannot be read', 'remove it from the state directory; the box then asks Director for a new one');
  }
  return { algorithm: 2, privateKey: identity.privateKey, publicKey, certificate };
}
