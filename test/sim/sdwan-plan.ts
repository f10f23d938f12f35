// The documents that Director would make for a whole SD-WAN: numbers, names, keys and configurations of Controllers and
// branches, with fake certificates.
import type { CircuitConfiguration, ControllerEndpoint, DeviceConfiguration, KeyingPolicy, PrestagingRecord, SiteDirectory, SiteRecord, TenantConfiguration } from '../../firmware/configuration.ts';
import type { DeviceIdentity } from '../../firmware/services/ike-profiles.ts';
import { toHex } from '../../platform/bytes.ts';
import { fakeAnchor, fakeCertificate, fakeKeyPair } from '../../platform/crypto-fake.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { deviceIdentity, PROVIDER_TENANT, siteTenantUri, stagingControllerIdentity, stagingIdentity } from '../../provisioning/ztp/names.ts';

export const PROVIDER = 'example';
export const INTERNET_TRANSPORT = 'INTERNET';
const AS_NUMBER = 65_000;
const DIRECTOR_ADDRESS = '10.255.255.1';
const STAGING_POOL = '10.250.0.0/16';
const FIRST_BRANCH_SITE = 100;
const PSK_BYTES = 32;

const KEYING: KeyingPolicy = { lifetimeSeconds: 28_800, rekeyPercent: 70, groups: [31, 19], suites: ['aes-256-gcm-16', 'chacha20-poly1305'], replayWindowPackets: 1024 };

/** A circuit as a plan wants it; the device is `eth<id - 1>`. */
export interface PlannedCircuit {
  readonly transport: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

export interface PlannedSite {
  readonly name: string;
  readonly role: 'branch' | 'controller';
  readonly circuits: readonly PlannedCircuit[];
  /** Of branches: organisations with a LAN there. Controllers carry every one. */
  readonly organizations: readonly string[];
}

export interface SitePlan {
  readonly name: string;
  readonly siteId: number;
  readonly role: 'branch' | 'controller';
  readonly configuration: DeviceConfiguration;
  readonly identity: DeviceIdentity;
  /** Branches only. */
  readonly prestaging: PrestagingRecord | undefined;
  /** Interface name -> device. */
  readonly interfaces: ReadonlyMap<string, string>;
  /** Per organisation with a LAN: its port and its subnet's first three octets. */
  readonly lans: readonly { readonly organization: string; readonly device: string; readonly network: string }[];
}

export interface SdwanPlan {
  readonly sites: readonly SitePlan[];
  readonly directory: SiteDirectory;
}

interface Numbered extends PlannedSite {
  readonly siteId: number;
  /** Over Controllers and branches alike; overlay addresses and LAN prefixes follow from it. */
  readonly index: number;
  readonly psk: Uint8Array;
}

export interface PlanRequest {
  /** Tenant 2 and up, in this order; the provider is tenant 1. */
  readonly organizations: readonly string[];
  readonly sites: readonly PlannedSite[];
  readonly keying?: Partial<KeyingPolicy>;
}

export function planSdwan(request: PlanRequest, random: SeededRandom): SdwanPlan {
  const sites = numbered(request, random);
  return {
    sites: sites.map((site) => planSite(request, sites, site, random)),
    directory: { generation: 1, sites: sites.map((site) => recordOf(request, site)) },
  };
}

function numbered({ sites }: PlanRequest, random: SeededRandom): readonly Numbered[] {
  let [controller, branch] = [1, FIRST_BRANCH_SITE];
  return sites.map((site, i) => ({ ...site, siteId: site.role === 'controller' ? controller++ : branch++, index: i + 1, psk: random.fork(`psk ${site.name}`).bytes(PSK_BYTES) }));
}

function tenantOf(request: PlanRequest, organization: string): number {
  return organization === PROVIDER ? PROVIDER_TENANT : request.organizations.indexOf(organization) + PROVIDER_TENANT + 1;
}

function organizationsOf(request: PlanRequest, site: PlannedSite): readonly string[] {
  return [PROVIDER, ...(site.role === 'controller' ? request.organizations : site.organizations)];
}

function overlayAddress(tenant: number, index: number, kind: 'clear' | 'encrypted'): string {
  const host = 2 * index + (kind === 'clear' ? 0 : 1);
  return `10.${tenant}.${host >>> 8}.${host & 0xff}`;
}

/** `10.104.7` for site 7 of tenant 2. */
function lanNetwork(tenant: number, index: number): string {
  return `10.${100 + 2 * tenant + (index >>> 8)}.${index & 0xff}`;
}

function recordOf(request: PlanRequest, site: Numbered): SiteRecord {
  const { siteId, name, role, psk } = site;
  return {
    siteId,
    device: name,
    serial: `S-${name}`,
    state: 'enabled',
    staging: role === 'controller' ? undefined : { identity: stagingIdentity(`S-${name}`, PROVIDER), psk: base64(psk) },
    tenants: organizationsOf(request, site).map((organization) => {
      const tenant = tenantOf(request, organization);
      return { tenant, identity: deviceIdentity(name, organization, PROVIDER), clearAddress: overlayAddress(tenant, site.index, 'clear'), encryptedAddress: overlayAddress(tenant, site.index, 'encrypted') };
    }),
  };
}

function circuitsOf(site: PlannedSite): readonly CircuitConfiguration[] {
  return site.circuits.map(({ transport, addresses }, i) => ({
    id: i + 1,
    name: `vni-0/${i}`,
    transport,
    addresses,
    // The simulated internet routes by destination; any address of the right family will do as next hop.
    gateways: addresses.map((address) => (address.includes(':') ? 'fe80::1' : '169.254.0.1')),
  }));
}

function endpointsOf(site: PlannedSite, transports: ReadonlySet<string>): readonly ControllerEndpoint[] {
  return site.circuits.filter(({ transport }) => transports.has(transport)).flatMap(({ transport, addresses }) => addresses.map((address) => ({ transport, address: address.split('/')[0]! })));
}

function tenantConfiguration(request: PlanRequest, sites: readonly Numbered[], site: Numbered, organization: string): TenantConfiguration {
  const tenant = tenantOf(request, organization);
  const transports = new Set(site.circuits.map(({ transport }) => transport));
  const controllers = sites.filter((each) => each.role === 'controller' && each !== site);
  const hasLan = site.role === 'branch' && organization !== PROVIDER;
  return {
    tenant,
    organization,
    vni: 0x110 + tenant,
    clearAddress: overlayAddress(tenant, site.index, 'clear'),
    encryptedAddress: overlayAddress(tenant, site.index, 'encrypted'),
    overlayPrefix: `10.${tenant}.0.0/16`,
    identity: deviceIdentity(site.name, organization, PROVIDER),
    asNumber: AS_NUMBER,
    routeDistinguisher: `${AS_NUMBER}:${tenant}`,
    routeTarget: `${AS_NUMBER}:${tenant}`,
    keying: { ...KEYING, ...request.keying },
    controllers: controllers.map((controller) => ({
      siteId: controller.siteId,
      name: controller.name,
      clearAddress: overlayAddress(tenant, controller.index, 'clear'),
      encryptedAddress: overlayAddress(tenant, controller.index, 'encrypted'),
      identity: deviceIdentity(controller.name, organization, PROVIDER),
      endpoints: endpointsOf(controller, transports),
    })),
    lan: hasLan ? { ports: [{ name: lanPort(site, organization), addresses: [`${lanNetwork(tenant, site.index)}.1/24`] }] } : undefined,
  };
}

function lanPort(site: PlannedSite, organization: string): string {
  return `vni-0/${site.circuits.length + site.organizations.indexOf(organization)}`;
}

function planSite(request: PlanRequest, sites: readonly Numbered[], site: Numbered, random: SeededRandom): SitePlan {
  const { name, siteId, role } = site;
  const tenants = organizationsOf(request, site).map((organization) => tenantConfiguration(request, sites, site, organization));
  const keys = fakeKeyPair(random.fork(`key ${name}`));
  const certificate = fakeCertificate({ emails: tenants.map(({ identity }) => identity), uris: tenants.map(({ tenant }) => siteTenantUri(PROVIDER, siteId, tenant)), publicKey: keys.publicKey });
  const configuration: DeviceConfiguration = {
    schema: 1,
    generation: 1,
    device: { name, serial: `S-${name}`, siteId, role },
    provider: PROVIDER,
    softwareVersion: '0.1.0',
    director: { addresses: [DIRECTOR_ADDRESS], port: 443 },
    trustAnchors: [base64(fakeAnchor())],
    circuits: circuitsOf(site),
    tenants,
    staging: role === 'controller' ? { pool: STAGING_POOL, identity: stagingControllerIdentity(PROVIDER) } : undefined,
    southbound: undefined,
  };
  const lans = role === 'controller' ? [] : site.organizations.map((organization) => ({ organization, device: deviceOf(lanPort(site, organization)), network: lanNetwork(tenantOf(request, organization), site.index) }));
  const ports = [...configuration.circuits.map((circuit) => circuit.name), ...(role === 'controller' ? [] : site.organizations.map((organization) => lanPort(site, organization)))];
  return {
    name,
    siteId,
    role,
    configuration,
    identity: { certificateChain: [certificate], privateKey: keys.privateKey },
    prestaging: role === 'branch' ? prestagingOf(sites, site) : undefined,
    interfaces: new Map(ports.map((port) => [port, deviceOf(port)])),
    lans,
  };
}

function prestagingOf(sites: readonly Numbered[], site: Numbered): PrestagingRecord {
  const transports = new Set(site.circuits.map(({ transport }) => transport));
  const serial = `S-${site.name}`;
  return {
    serial,
    provider: PROVIDER,
    circuits: circuitsOf(site),
    controllers: sites.filter(({ role }) => role === 'controller').flatMap((controller) => endpointsOf(controller, transports)),
    trustAnchorSha256: toHex(new Uint8Array(32)),
    staging: { localIdentity: stagingIdentity(serial, PROVIDER), remoteIdentity: stagingControllerIdentity(PROVIDER), psk: base64(site.psk), tenant: PROVIDER_TENANT },
  };
}

/** `vni-0/2` is plugged into `eth2`. */
function deviceOf(port: string): string {
  return `eth${port.slice('vni-0/'.length)}`;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
