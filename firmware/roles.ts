// What each role is made of: a list of services, started in order and stopped in reverse.
import { PLATFORM_VERSION } from './version.ts';
import { startUnit } from '../drivers/service-manager.ts';
import type { Config } from '../platform/config.ts';
import { OperationalError, UsageError } from '../platform/errors.ts';
import { after } from '../platform/time.ts';
import { writePrivateFile } from '../platform/private-file.ts';
import { readFileSync, rmSync } from 'node:fs';
import { createDirectorService } from '../provisioning/director/service.ts';
import { decodeActivationLink } from '../provisioning/ztp/activation-link.ts';
import { ZtpAgent } from '../provisioning/ztp/agent.ts';
import { ControllerAgent } from '../provisioning/ztp/controller-agent.ts';
import { askResponder } from '../provisioning/ztp/ocsp-transport.ts';
import { documentChecks } from '../provisioning/ztp/schema.ts';
import type { SystemSlots } from '../provisioning/ztp/software-slots.ts';
import type { PrestagingRecord } from './configuration.ts';
import { controlVrName, transportVrName } from './model.ts';
import { BranchControl } from './services/branch.ts';
import { ControllerControl } from './services/controller.ts';
import type { ForwarderHandle } from './services/forwarder-thread.ts';
import { ForwardingService } from './services/forwarding.ts';
import { KeyExport, LONGEST_MINUTES } from './services/key-export.ts';
import { Certificates, type CertificatesOptions } from './services/certificates.ts';
import { MonitorService, type Query } from './services/monitor.ts';
import { branchQueries, controllerQueries, systemQuery, type SystemFacts } from './services/queries.ts';
import { managementOnly, RescueEnd, RescueService } from './services/rescue.ts';
import type { Service, Site } from './services/service.ts';
import { UpgradeService, type UpgradeOptions } from './services/upgrade.ts';
import { VirtualRouters } from './services/virtual-routers.ts';
import { southboundPlan } from './services/vr-plan.ts';
import type { PackageView } from './views.ts';

export interface RoleContext {
  readonly config: Config;
  readonly site: Site;
  readonly serial: string;
  /** Branches: from a file, if the configuration names one. */
  readonly prestaging: PrestagingRecord | undefined;
  /** Branches: this is the rescue process, not the main service. */
  readonly rescue: boolean;
  /** Boxes with two system slots; undefined on other hosts. */
  readonly slots: Pick<UpgradeOptions, 'slot' | 'upMs' | 'host' | 'forgetOtherConfiguration' | 'isKept'> | undefined;
  /** Factory reset; ends the process. */
  readonly forgetEverything: () => void;
  /** Made only for roles that forward. */
  readonly forwarder: () => ForwarderHandle;
  readonly driversDescription: string;
}

export function createRole(context: RoleContext): readonly Service[] {
  switch (context.config.role) {
    case 'branch':
      return createBranch(context);
    case 'controller':
      return context.rescue ? [rescueService(context)] : createController(context);
    case 'director':
      return createDirector(context);
  }
}

function systemFacts({ site, config, serial, driversDescription }: RoleContext): SystemFacts {
  return { name: site.name, role: config.role, serial, drivers: driversDescription };
}

function monitorPath(config: Config): string {
  return `${config.runDirectory}/monitor.sock`;
}

function createBranch(context: RoleContext): readonly Service[] {
  const { config, site } = context;
  const forwarding = new ForwardingService(site, context.forwarder());
  const routers = new VirtualRouters(site, forwarding, new Map(config.interfaces.map((i) => [i.name, i.device])));
  const keyExport = createKeyExport(context, forwarding);
  const control = new BranchControl(site, forwarding, routers, {
    stagingUp: (facts) => agent.stagingUp(facts),
    stagingDown: (cause) => agent.stagingDown(cause),
    revocationOrdered: () => agent.revocationOrdered(),
    certificateSeen: (path) => certificates.seen(path),
    changed: () => agent.postStaging(control.controlStatus()),
    keyExport,
  });
  const certificates = new Certificates(site, certificatesOptions(context, control));
  // A box that was not onboarded before the change is so afterwards, or goes back.
  const system = systemPart(context, () => missingOf(context, forwarding, control) || agent.missing, () => agent.softwareActivity);
  const agent = new ZtpAgent({
    site,
    serial: context.serial,
    record: context.prestaging,
    softwareVersion: PLATFORM_VERSION,
    slots: system.slots,
    revocationPolicy: config.certificates.revocation,
    hooks: {
      startStaging: (record) => control.startStaging(record),
      stopStaging: (reason) => control.stopStaging(reason),
      applyConfiguration: (whole, identity) => {
        const configuration = context.rescue ? managementOnly(whole) : whole;
        certificates.use(configuration, identity);
        return control.applyConfiguration(configuration, identity);
      },
      status: () => control.controlStatus(),
      revocations: (check, more) => certificates.revocations(check, more),
    },
  });
  // The agent tells Director what became of a change of system, so that is decided first.
  const services: Service[] = [forwarding, keyExport, certificates, control, ...system.services, agent, context.rescue ? rescueService(context) : new RescueEnd(site)];
  const queries = new Map<string, Query>([['certificates', () => certificates.view()], ...branchQueries(control, forwarding, keyExport), ...systemQuery(systemFacts(context), services, site.alarms), ...stagingQuery(agent), ...system.queries]);
  services.push(new MonitorService(monitorPath(config), queries));
  return services;
}

/** What a system on trial must show: services, Controllers by IKE and BGP, and a tunnel that carried something. */
function missingOf({ config, rescue }: RoleContext, forwarding: ForwardingService, control: BranchControl | ControllerControl): string {
  if (rescue) return 'rescue runs instead of the main service';
  for (const service of [forwarding, control]) {
    const { state, detail } = service.status();
    if (state !== 'up') return `${service.name}: ${detail}`;
  }
  // A Controller may have no branch yet.
  return config.role === 'controller' || forwarding.counters().tunnels.some((tunnel) => tunnel.rxPackets > 0) ? '' : 'no tunnel has carried a packet yet';
}

interface SystemPart {
  /** Undefined on a host without slots. */
  readonly slots: SystemSlots | undefined;
  readonly services: readonly Service[];
  readonly queries: readonly (readonly [string, Query])[];
}

/** The box as a system: its slots, and its way back to the factory. `activity`: what Director's order is about. */
function systemPart(context: RoleContext, missing: () => string, activity: () => string): SystemPart {
  const { site, serial, slots, config } = context;
  const reset: readonly [string, Query] = [
    'request-factory-reset',
    ({ serial: confirmed }) => {
      if (confirmed !== serial) throw new UsageError(`this box has serial ${serial}; name it to confirm`);
      site.log.channel('service').warning('factory reset ordered', { serial });
      // The answer goes out first.
      site.clock.at(after(site.clock.now(), 200), context.forgetEverything);
      return {};
    },
  ];
  if (slots === undefined) return { slots: undefined, services: [], queries: [reset] };
  const upgrade = new UpgradeService({ site, ...slots, version: PLATFORM_VERSION, missing });
  const view = async (): Promise<PackageView> => {
    const shown = await upgrade.view();
    return shown.activity === '' ? { ...shown, activity: activity() } : shown;
  };
  return {
    slots: {
      directory: `${config.dataDirectory}/software`,
      compatible: () => upgrade.compatible(),
      install: (file, next) => upgrade.install(file, next),
      outcome: () => upgrade.outcome(),
    },
    services: [upgrade],
    queries: [reset, ['package', view], ['request-upgrade', ({ bundle = '' }) => upgrade.upgrade(bundle)], ['request-rollback', () => upgrade.rollback().then(() => ({}))]],
  };
}

/** Entrances of the prestaging record beside a file named in the configuration: the shell and, through it, a stick. */
function stagingQuery(agent: ZtpAgent): readonly (readonly [string, Query])[] {
  return [
    [
      'request-staging',
      ({ record = '', link }) => {
        const { document, expiresUnixMs } = link === undefined ? { document: parseRecord(record), expiresUnixMs: undefined } : decodeActivationLink(link);
        const { serial, provider } = agent.requestStaging(document, expiresUnixMs);
        return { serial, provider };
      },
    ],
  ];
}

function parseRecord(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`the prestaging record is not JSON (${(error as Error).message})`);
  }
}

function createController(context: RoleContext): readonly Service[] {
  const { config, site } = context;
  const forwarding = new ForwardingService(site, context.forwarder());
  const routers = new VirtualRouters(site, forwarding, new Map(config.interfaces.map((i) => [i.name, i.device])));
  const keyExport = createKeyExport(context, forwarding);
  const control = new ControllerControl(site, forwarding, routers, {
    branchConnect: (facts) => agent.branchConnect(facts),
    branchFailed: (facts) => agent.branchFailed(facts),
    certificateSeen: (path) => certificates.seen(path),
    keyExport,
  });
  const certificates = new Certificates(site, certificatesOptions(context, control));
  const system = systemPart(context, () => missingOf(context, forwarding, control), () => agent.softwareActivity);
  const agent = new ControllerAgent({
    site,
    slots: system.slots,
    softwareVersion: PLATFORM_VERSION,
    serial: context.serial,
    enrolment: config.enrolment.url === '' ? undefined : config.enrolment,
    enrolmentVr: controlVrName(config.provider),
    revocationPolicy: config.certificates.revocation,
    hooks: {
      applyConfiguration: (configuration, identity) => {
        certificates.use(configuration, identity);
        return control.applyConfiguration(configuration, identity);
      },
      applyDirectory: (directory) => control.applyDirectory(directory),
      orderRekey: (directive) => {
        const { reason, spreadSeconds, deadlineSeconds, notBeforeUnixSeconds, revokedSite } = directive;
        control.orderRekey(directive.tenant, { reason: reason as 5, spreadSeconds, deadlineSeconds, notBeforeUnixSeconds, revokedSite });
      },
      revocations: (check, more) => certificates.revocations(check, more),
    },
  });
  const services: Service[] = [forwarding, keyExport, southboundService(context, routers), certificates, control, ...system.services, agent];
  const queries = new Map<string, Query>([['certificates', () => certificates.view()], ...controllerQueries(control, forwarding, keyExport), ...systemQuery(systemFacts(context), services, site.alarms), ...system.queries]);
  services.push(new MonitorService(monitorPath(config), queries));
  return services;
}

/** Responders are asked over the first WAN: a control VR leads to Director alone. */
function certificatesOptions({ config, site }: RoleContext, control: BranchControl | ControllerControl): CertificatesOptions {
  return {
    responder: config.certificates.ocspResponder,
    ask(url, request) {
      const [circuit] = control.configuration?.circuits ?? [];
      return askResponder(site, circuit && transportVrName(circuit.transport), url, request);
    },
    revocations: (check, more) => control.revocations(check, more),
  };
}

function rescueService({ config, site }: RoleContext): RescueService {
  return new RescueService({ site, ...config.rescue, startMain: () => startUnit('selvage.service') });
}

/** What the configuration file orders ends like any other order; a restart begins it anew. */
function createKeyExport({ config, site }: RoleContext, forwarding: ForwardingService): KeyExport {
  const first = config.debug.exportKeys ? { tenant: undefined, peer: undefined, minutes: LONGEST_MINUTES } : undefined;
  const files = { write: writePrivateFile, remove: (file: string) => rmSync(file, { force: true }) };
  return new KeyExport(site, forwarding, `${config.dataDirectory}/debug`, files, first);
}

/** Before Director can be asked for anything, the port towards it must be up. */
function southboundService(context: RoleContext, routers: VirtualRouters): Service {
  const { provider, southbound } = context.config;
  return {
    name: 'southbound',
    start: () => (southbound.name === '' ? Promise.resolve() : routers.apply('southbound', southboundPlan(provider, southbound))),
    stop: () => Promise.resolve(),
    status: () => ({ state: 'up', detail: southbound.name === '' ? 'not configured' : southbound.name }),
  };
}

function createDirector(context: RoleContext): readonly Service[] {
  const { config, site } = context;
  const { listenAddress, listenPort, addresses } = config.director;
  return [
    createDirectorService({
      directory: `${config.dataDirectory}/director`,
      provider: config.provider,
      listen: { host: listenAddress, port: listenPort },
      addresses,
      softwareVersion: PLATFORM_VERSION,
      clock: site.clock,
      random: site.random,
      suite: site.suite,
      log: site.log,
    }),
  ];
}

/** The prestaging record, from a file. Throws ConfigError or OperationalError with what is wrong. */
export function readPrestaging(path: string): PrestagingRecord {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new OperationalError('prestaging-unreadable', `the prestaging record ${path} cannot be read: ${(error as Error).message}`, 'order a record for the site in Director and put it there', error);
  }
  try {
    return documentChecks().prestaging(JSON.parse(text));
  } catch (error) {
    throw new OperationalError('prestaging-invalid', `the prestaging record ${path} is not usable: ${(error as Error).message}`, 'order a new record for the site in Director', error);
  }
}
