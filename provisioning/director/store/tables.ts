// Director's tables as Kysely sees them. Columns that end in `_json` hold documents whose shape the API has checked.
import type { Generated, Kysely } from 'kysely';
import type { UpgradeState } from '../upgrade-waves.ts';

export interface OrganizationTable {
  tenant: number;
  name: string;
  vni: number;
  overlay_pool: string;
  keying_json: string;
  /** Last rekey epoch that was ordered for the tenant. */
  rekey_epoch: number;
}

export interface TransportTable {
  name: string;
}

export interface SiteTable {
  site_id: number;
  name: string;
  role: 'branch' | 'controller';
  serial: string;
  state: 'enabled' | 'revoked';
  /** 1 once the onboarding Task was completed. */
  onboarded: number;
  staging_identity: string;
  /** Base64; from the prestaging order until the site is onboarded. */
  staging_psk: string | null;
  /** Of an activation link; null = no end. */
  staging_expires_unix_ms: number | null;
  circuits_json: string;
  /** Wanted version; null = Director's default. */
  software_version: string | null;
  observed_endpoint: string | null;
  temporary_address: string | null;
  last_seen_unix_ms: number | null;
  /** Digest and number of the last configuration that was built; the number rises when the digest changes. */
  configuration_digest: string;
  configuration_generation: number;
  /** As the box last told; null = never. */
  running_version: string | null;
  /** Product and architecture of its bundles; null = it has no system slots, or never told. */
  compatible: string | null;
}

/** What only a Controller has; its other facts are a row of `sites`. */
export interface ControllerTable {
  site_id: number;
  staging_pool: string;
  southbound_json: string | null;
}

export interface SiteTenantTable {
  site_id: number;
  tenant: number;
  /** Position in the tenant's pool: two addresses per slot. */
  slot: number;
  encrypted_address: string;
  clear_address: string;
  lan_ports_json: string;
}

export interface TaskTable {
  id: Generated<number>;
  kind: Generated<'onboarding' | 'upgrade'>;
  /** Null when a box that nobody ordered knocked, and for upgrades. */
  site_id: number | null;
  /** Empty for upgrades. */
  serial: string;
  description: string;
  status: 'PENDING' | 'COMPLETED' | 'FAILED' | 'CANCELLED';
  steps_json: string;
  created_unix_ms: number;
  updated_unix_ms: number;
}

export interface TaskMessageTable {
  id: Generated<number>;
  task_id: number;
  kind: 'progress' | 'error';
  message: string;
  next_step: string;
  /** How often the same message came in a row. */
  count: number;
  unix_ms: number;
}

export interface CertificateTable {
  /** In the order of issue. */
  id: Generated<number>;
  /** Lower-case hex without leading zeros. */
  serial_number: string;
  site_id: number;
  certificate_der: Uint8Array;
  not_after_unix_ms: number;
  revoked_unix_ms: number | null;
  /** 1: it ended because a renewal with the same key took its place; the revocation list does not name it. */
  superseded: Generated<number>;
}

export interface TokenTable {
  /** Hex SHA-256 of the token; the token itself is never stored. */
  sha256: string;
  kind: 'operator' | 'enrolment';
  site_id: number | null;
  expires_unix_ms: number | null;
  used_unix_ms: number | null;
}

export interface DirectiveTable {
  id: Generated<number>;
  tenant: number;
  epoch: number;
  reason: number;
  not_before_unix_seconds: number;
  spread_seconds: number;
  deadline_seconds: number;
  /** Reason 4: whose trust ended. */
  revoked_site: number | null;
}

/** Report ids that were acted on, so that a Controller may repeat a report whose answer was lost. */
export interface ReportTable {
  id: string;
  task_id: number;
  unix_ms: number;
}

/** The authority's own keys: `root` and `bundle-signer`. */
export interface SigningKeyTable {
  name: 'root' | 'bundle-signer';
  certificate_der: Uint8Array;
  /** PKCS#8. */
  private_key_der: Uint8Array;
}

/** Generations of documents that belong to no site, such as the site directory. */
export interface DocumentTable {
  name: string;
  digest: string;
  generation: number;
}

export interface AuditTable {
  id: Generated<number>;
  unix_ms: number;
  actor: string;
  action: string;
  subject: string;
  detail: string;
}

/** What each box last told of its alarms. */
export interface SiteAlarmsTable {
  site_id: number;
  alarms_json: string;
  unix_ms: number;
}

export interface SoftwarePackageTable {
  sha256: string;
  compatible: string;
  version: string;
  bytes: number;
  created_unix_ms: number;
}

/** What an upgrade's Task has beyond other Tasks. */
export interface UpgradeTable {
  task_id: number;
  version: string;
  bytes_per_second: number;
  /** More failures stop the waves that have not begun. */
  failures_allowed: number;
  /** A box that tells nothing for so long, although nothing keeps it busy, has failed. */
  answer_seconds: number;
  /** 1: also on boxes that run this version. */
  reinstall: 0 | 1;
  cancelled: 0 | 1;
}

export interface UpgradeBoxTable {
  id: Generated<number>;
  task_id: number;
  /** Null when the site was deleted. */
  site_id: number | null;
  site: string;
  /** From 1. */
  wave: number;
  state: UpgradeState;
  /** Of the download. */
  percentage: number;
  cause: string;
  next_step: string;
  /** Null until its wave begins. */
  started_unix_ms: number | null;
  updated_unix_ms: number;
}

export interface DirectorTables {
  organizations: OrganizationTable;
  transports: TransportTable;
  sites: SiteTable;
  controllers: ControllerTable;
  site_tenants: SiteTenantTable;
  tasks: TaskTable;
  task_messages: TaskMessageTable;
  certificates: CertificateTable;
  tokens: TokenTable;
  directives: DirectiveTable;
  reports: ReportTable;
  signing_keys: SigningKeyTable;
  documents: DocumentTable;
  audit: AuditTable;
  site_alarms: SiteAlarmsTable;
  software_packages: SoftwarePackageTable;
  upgrades: UpgradeTable;
  upgrade_boxes: UpgradeBoxTable;
}

/** The database, or a transaction on it. */
export type Db = Kysely<DirectorTables>;
