// From configuration to VPN profiles. Names are unique in the box: `<organisation>/<profile>`.
import type { IkeProfile } from '../ike/profile.ts';
import type { DeviceConfiguration, PrestagingRecord, TenantConfiguration, TenantController } from '../configuration.ts';

export const STAGING_PROFILE = 'staging';
/** Dead peer detection: shorter than BGP's hold time, so that IKE notices first. */
const DPD_MS = 10_000;
const CHILD_LIFETIME_MS = 28_800_000;
const IKE_LIFETIME_MS = 86_400_000;

/** The credential that Director's authority issued for this box. */
export interface DeviceIdentity {
  /** DER, leaf first. */
  readonly certificateChain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
}

export function profileName(organization: string, profile: string): string {
  return `${organization}/${profile}`;
}

/** Without the organisation, as the operator's commands show it. */
export function shortProfileName(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}

export function organizationOf(name: string): string {
  return name.slice(0, name.indexOf('/'));
}

export function controllerProfileName(tenant: TenantConfiguration, controller: TenantController): string {
  return profileName(tenant.organization, `${controller.name}-Profile`);
}

/** The profile with which a Controller answers all branches of a tenant. */
export function branchesProfileName(tenant: TenantConfiguration): string {
  return profileName(tenant.organization, 'Branches-Profile');
}

const COMMON = {
  childLifetimeMs: CHILD_LIFETIME_MS,
  ikeLifetimeMs: IKE_LIFETIME_MS,
  dpdMs: DPD_MS,
  windowPackets: 4096,
  mobike: true,
} as const;

export function stagingProfile(record: PrestagingRecord): IkeProfile {
  const psk = new Uint8Array(Buffer.from(record.staging.psk, 'base64'));
  return {
    ...COMMON,
    name: profileName(record.provider, STAGING_PROFILE),
    tenant: record.staging.tenant,
    localIdentity: { kind: 'email', value: record.staging.localIdentity },
    remoteIdentity: { kind: 'email', value: record.staging.remoteIdentity },
    localAuth: { kind: 'psk', key: psk },
    remoteAuth: { kind: 'psk', key: psk },
    requestConfiguration: true,
    // A Controller may send its boxes to another one of the provider, which shows the same identity and the same key.
    followRedirects: true,
    deviceSerial: record.serial,
  };
}

export function controllerProfile(config: DeviceConfiguration, tenant: TenantConfiguration, controller: TenantController, identity: DeviceIdentity): IkeProfile {
  return {
    ...certificateProfile(config, tenant, identity),
    name: controllerProfileName(tenant, controller),
    remoteIdentity: { kind: 'email', value: controller.identity },
  };
}

/** A Controller's answer to its tenant's branches; which of them may come is decided by `authorize`. */
export function branchesProfile(config: DeviceConfiguration, tenant: TenantConfiguration, identity: DeviceIdentity): IkeProfile {
  return { ...certificateProfile(config, tenant, identity), name: branchesProfileName(tenant), remoteIdentity: undefined };
}

function certificateProfile(config: DeviceConfiguration, tenant: TenantConfiguration, identity: DeviceIdentity): Omit<IkeProfile, 'name' | 'remoteIdentity'> {
  return {
    ...COMMON,
    tenant: tenant.tenant,
    localIdentity: { kind: 'email', value: tenant.identity },
    localAuth: { kind: 'certificate', chain: [...identity.certificateChain], privateKey: identity.privateKey, algorithm: 'ecdsa-sha256' },
    remoteAuth: { kind: 'certificate', anchors: trustAnchors(config) },
    vxlan: { vni: tenant.vni },
    deviceSerial: config.device.serial,
  };
}

export function trustAnchors(config: DeviceConfiguration): Uint8Array[] {
  return config.trustAnchors.map((text) => new Uint8Array(Buffer.from(text, 'base64')));
}

/** A Controller's answer to factory-fresh branches: the credential is looked up by the identity that they present. */
export function stagingResponderProfile(config: DeviceConfiguration): IkeProfile {
  const provider = config.tenants.find((t) => t.organization === config.provider)!;
  return {
    ...COMMON,
    name: profileName(config.provider, STAGING_PROFILE),
    tenant: provider.tenant,
    localIdentity: { kind: 'email', value: config.staging!.identity },
    remoteIdentity: undefined,
    localAuth: { kind: 'lookup' },
    remoteAuth: { kind: 'lookup' },
  };
}
