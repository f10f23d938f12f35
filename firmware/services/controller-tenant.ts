// One tenant of a Controller: reflects its routes between branches, holds every route to the identity of the session
// that brought it, and orders rekeys. It learns public values only, never a private value or a session key.
import type { Logger } from '../../platform/log.ts';
import { Writer } from '../../platform/bytes.ts';
import { BgpSpeaker, type BgpOutput, type BgpPeerConfig } from '../bgp/speaker.ts';
import { routeTargetsOf, type BgpRoute } from '../bgp/route.ts';
import type { DeviceConfiguration, SiteRecord, TenantConfiguration } from '../configuration.ts';
import { controlVrName } from '../model.ts';
import { RekeyController, type RekeyControllerInput, type RekeyControllerOutput, type RekeyControllerSnapshot, type RekeyOrder } from '../sdwan/rekey-controller.ts';
import { acceptSdwanRoute, acceptVpnRoute, type BranchFacts } from '../sdwan/route-policy.ts';
import { formatRouteTarget } from '../wire/bgp/community.ts';
import { encodeNlri } from '../wire/bgp/nlri.ts';
import { BgpService } from './bgp.ts';
import { MachineRunner } from './machine-runner.ts';
import type { Service, ServiceStatus, Site } from './service.ts';
import { sdwanRoute } from './own-routes.ts';
import { BGP_HOLD_SECONDS, OVERLAY_FAMILIES } from './tenant.ts';

export class ControllerTenant implements Service {
  readonly name: string;
  readonly bgp: BgpService;
  readonly #site: Site;
  readonly #config: DeviceConfiguration;
  readonly #tenant: TenantConfiguration;
  readonly #log: Logger;
  readonly #supervisor: RekeyController;
  readonly #rekey: MachineRunner<RekeyControllerInput, RekeyControllerOutput>;
  /** SAFI 74 items that peers announce, so that a withdrawal can be told by content. */
  readonly #items = new Map<string, Uint8Array>();
  /** BGP peer -> what its routes are held to. */
  #sites = new Map<string, BranchFacts>();

  constructor(site: Site, config: DeviceConfiguration, tenant: TenantConfiguration) {
    this.name = `tenant ${tenant.organization}`;
    this.#site = site;
    this.#config = config;
    this.#tenant = tenant;
    this.#log = site.log.channel('sdwan');
    const speaker = new BgpSpeaker({
      asNumber: tenant.asNumber,
      routerId: tenant.encryptedAddress,
      reflector: true,
      random: site.random,
      peers: [],
      acceptPolicy: (peer, route) => this.#accept(peer, route),
    });
    this.bgp = new BgpService(site, {
      organization: tenant.organization,
      vr: controlVrName(tenant.organization),
      localAddress: tenant.encryptedAddress,
      listen: true,
      speaker,
      onOutput: (output) => this.#bgpOutput(output),
    });
    this.#supervisor = new RekeyController({
      nodeId: tenant.clearAddress,
      routeDistinguisher: tenant.routeDistinguisher,
      unixMs: () => site.clock.unixMs(),
    });
    this.#rekey = new MachineRunner(this.#supervisor, site.clock, (output) => this.#rekeyOutput(output));
  }

  async start(): Promise<void> {
    await this.bgp.start();
  }

  async stop(): Promise<void> {
    this.#rekey.stop();
    await this.bgp.stop();
  }

  /** The tenant is no longer configured as it was: its sessions end for good. */
  async remove(): Promise<void> {
    this.#rekey.stop();
    await this.bgp.remove();
  }

  status(): ServiceStatus {
    return this.bgp.status();
  }

  /** Whether a newer configuration means the same for this tenant. */
  serves(config: DeviceConfiguration, tenant: TenantConfiguration): boolean {
    return JSON.stringify([config.device, tenant]) === JSON.stringify([this.#config.device, this.#tenant]);
  }

  setSites(sites: readonly SiteRecord[]): void {
    const { tenant, routeDistinguisher, routeTarget: target, asNumber, encryptedAddress } = this.#tenant;
    const peers: BgpPeerConfig[] = [];
    const facts = new Map<string, BranchFacts>();
    for (const site of sites) {
      const addresses = site.tenants.find((t) => t.tenant === tenant);
      if (addresses === undefined || site.state !== 'enabled') continue;
      facts.set(site.device, { siteId: site.siteId, nodeId: addresses.clearAddress, routeDistinguisher, routeTarget: target });
      peers.push({
        id: site.device,
        remote: addresses.encryptedAddress,
        local: encryptedAddress,
        remoteAs: asNumber,
        role: 'client',
        passive: true,
        families: OVERLAY_FAMILIES,
        holdSeconds: BGP_HOLD_SECONDS,
        routeTargets: [target],
      });
    }
    this.#sites = facts;
    this.bgp.setPeers(peers);
  }

  orderRekey(order: RekeyOrder): void {
    this.#rekey.push({ kind: 'order', ...order });
  }

  rekeySnapshot(): RekeyControllerSnapshot {
    return this.#supervisor.snapshot(this.#site.clock.now());
  }

  bgpSnapshot(): ReturnType<BgpSpeaker['snapshot']> {
    return this.bgp.options.speaker.snapshot(this.#site.clock.now());
  }

  #accept(peer: string, route: BgpRoute): string | undefined {
    const facts = this.#sites.get(peer);
    if (facts === undefined) return 'the session belongs to no enabled site';
    const targets = routeTargetsOf(route).map(formatRouteTarget);
    if (route.nlri.kind === 'sdwan') return acceptSdwanRoute(facts, { item: itemBytes(route.nlri), routeTargets: targets });
    if (route.nlri.kind === 'vpn') {
      return acceptVpnRoute(facts, { routeDistinguisher: route.nlri.rd, nextHop: route.nextHop, routeTargets: targets });
    }
    return undefined;
  }

  #bgpOutput(output: BgpOutput): void {
    if (output.kind !== 'route') return;
    const id = `${output.peer}|${output.key}`;
    const nlri = output.route?.nlri.kind === 'sdwan' ? itemBytes(output.route.nlri) : this.#items.get(id);
    if (nlri === undefined) return;
    if (output.route === undefined) this.#items.delete(id);
    else this.#items.set(id, nlri);
    this.#rekey.push({ kind: 'key-route', nlri, tunnelEncapsulation: output.route?.tunnelEncapsulation });
  }

  #rekeyOutput(output: RekeyControllerOutput): void {
    switch (output.kind) {
      case 'alarm':
        this.#log.error(`alarm ${output.alarm}`, { organization: this.#tenant.organization, ...output.fields });
        return;
      case 'publish':
        this.bgp.push({ kind: 'originate', route: sdwanRoute(this.#tenant, output) });
        return;
      case 'log':
        this.#log.event({ ...output.event, fields: { organization: this.#tenant.organization, device: this.#config.device.name, ...output.event.fields } });
        return;
    }
  }
}

function itemBytes(nlri: Extract<BgpRoute['nlri'], { kind: 'sdwan' }>): Uint8Array {
  const writer = new Writer();
  encodeNlri(writer, nlri, false);
  return writer.finish();
}
