// The shape of a DeviceConfiguration, checked before anything acts on it. A problem names key, value and what is allowed.
import { Type } from 'typebox';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Validator } from 'typebox/compile';
import type { CircuitConfiguration, DeviceConfiguration, PrestagingRecord, SiteDirectory } from '../../firmware/configuration.ts';
import { ConfigError } from '../../platform/errors.ts';
import { circuitProblem } from './circuit-check.ts';
import { NAME_PATTERN, SERIAL_PATTERN } from './names.ts';

const CLOSED = { additionalProperties: false } as const;
const MOST_CIRCUITS = 16;
const MOST_TENANTS = 1024;
const MOST_CONTROLLERS = 99;
const MOST_SITES = 16_384;

export const Name = Type.String({ pattern: NAME_PATTERN, description: '1 to 40 of A-Z a-z 0-9 . _ -' });
export const Serial = Type.String({ pattern: SERIAL_PATTERN, description: '1 to 64 of A-Z a-z 0-9 . _ -' });
export const Address = Type.String({ pattern: '^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39})$', description: 'an IPv4 or IPv6 address' });
export const AddressWithLength = Type.String({ pattern: '^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39})/[0-9]{1,3}$', description: 'address/length, such as 192.0.2.10/24' });
const PortName = Type.String({ pattern: '^[A-Za-z0-9._/-]{1,40}$', description: 'an interface name, such as vni-0/0' });
export const Identity = Type.String({ pattern: '^[!-~]{1,255}$', description: 'an identity of up to 255 visible characters' });
const Base64 = Type.String({ pattern: '^[A-Za-z0-9+/]+={0,2}$', maxLength: 65_536, description: 'base64' });
const Tenant = Type.Integer({ minimum: 1, maximum: 0xffff });
const Site = Type.Integer({ minimum: 1, maximum: 16_383 });
const Generation = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

export const Circuit = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: MOST_CIRCUITS }),
    name: PortName,
    transport: Name,
    addresses: Type.Array(AddressWithLength, { maxItems: 2 }),
    gateways: Type.Array(Address, { maxItems: 2 }),
    automatic: Type.Optional(Type.Array(Type.Union([Type.Literal('dhcp'), Type.Literal('slaac')]), { maxItems: 2, uniqueItems: true, description: 'dhcp, slaac or both, each once' })),
  },
  CLOSED,
);
export const Circuits = Type.Array(Circuit, { minItems: 1, maxItems: MOST_CIRCUITS });
export const LanPort = Type.Object({ name: PortName, addresses: Type.Array(AddressWithLength, { maxItems: 16 }) }, CLOSED);
export const Southbound = Type.Object({ name: PortName, addresses: Type.Array(AddressWithLength, { maxItems: 2 }), gateways: Type.Array(Address, { maxItems: 2 }) }, CLOSED);
const Endpoint = Type.Object({ transport: Name, address: Address }, CLOSED);

const KEYING_PROPERTIES = {
  lifetimeSeconds: Type.Integer({ minimum: 600, maximum: 604_800 }),
  rekeyPercent: Type.Integer({ minimum: 10, maximum: 95 }),
  groups: Type.Array(Type.Union([14, 19, 20, 21, 31].map((group) => Type.Literal(group))), { minItems: 1, maxItems: 5 }),
  suites: Type.Array(Type.Union([Type.Literal('aes-256-gcm-16'), Type.Literal('aes-128-gcm-16'), Type.Literal('chacha20-poly1305')]), { minItems: 1, maxItems: 3 }),
  replayWindowPackets: Type.Union([64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384].map((packets) => Type.Literal(packets))),
};
export const Keying = Type.Object(KEYING_PROPERTIES, CLOSED);
export const KeyingChange = Type.Partial(Keying);

const TenantController = Type.Object(
  { siteId: Type.Integer({ minimum: 1, maximum: MOST_CONTROLLERS }), name: Name, clearAddress: Address, encryptedAddress: Address, identity: Identity, endpoints: Type.Array(Endpoint, { minItems: 1, maxItems: 2 * MOST_CIRCUITS }) },
  CLOSED,
);

const TenantOfDevice = Type.Object(
  {
    tenant: Tenant,
    organization: Name,
    vni: Type.Integer({ minimum: 1, maximum: 0xff_ffff }),
    clearAddress: Address,
    encryptedAddress: Address,
    overlayPrefix: AddressWithLength,
    identity: Identity,
    asNumber: Type.Integer({ minimum: 1, maximum: 0xffff_ffff }),
    routeDistinguisher: Type.String({ pattern: '^[0-9]{1,10}:[0-9]{1,10}$', description: 'number:number' }),
    routeTarget: Type.String({ pattern: '^[0-9]{1,10}:[0-9]{1,10}$', description: 'number:number' }),
    keying: Keying,
    controllers: Type.Array(TenantController, { maxItems: MOST_CONTROLLERS }),
    lan: Type.Optional(Type.Object({ ports: Type.Array(LanPort, { maxItems: 64 }) }, CLOSED)),
  },
  CLOSED,
);

const Configuration = Type.Object(
  {
    schema: Type.Literal(1),
    generation: Generation,
    device: Type.Object({ name: Name, serial: Serial, siteId: Site, role: Type.Union([Type.Literal('branch'), Type.Literal('controller')]) }, CLOSED),
    provider: Name,
    softwareVersion: Type.String({ pattern: '^[A-Za-z0-9._+-]{1,40}$', description: 'a version' }),
    director: Type.Object({ addresses: Type.Array(Address, { minItems: 1, maxItems: 8 }), port: Type.Integer({ minimum: 1, maximum: 65_535 }) }, CLOSED),
    trustAnchors: Type.Array(Base64, { minItems: 1, maxItems: 8 }),
    circuits: Circuits,
    tenants: Type.Array(TenantOfDevice, { minItems: 1, maxItems: MOST_TENANTS }),
    staging: Type.Optional(Type.Object({ pool: AddressWithLength, identity: Identity }, CLOSED)),
    southbound: Type.Optional(Southbound),
  },
  CLOSED,
);

const Prestaging = Type.Object(
  {
    serial: Serial,
    provider: Name,
    circuits: Circuits,
    controllers: Type.Array(Endpoint, { minItems: 1, maxItems: MOST_CONTROLLERS * MOST_CIRCUITS }),
    trustAnchorSha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'lower-case hex of 32 octets' }),
    // 24 base64 characters are the shortest text of 16 octets.
    staging: Type.Object({ localIdentity: Identity, remoteIdentity: Identity, psk: Type.String({ pattern: '^[A-Za-z0-9+/]{22,}={0,2}$', maxLength: 344, description: 'base64 of 16 octets or more' }), tenant: Tenant }, CLOSED),
  },
  CLOSED,
);

const Directory = Type.Object(
  {
    generation: Generation,
    sites: Type.Array(
      Type.Object(
        {
          siteId: Site,
          device: Name,
          serial: Serial,
          state: Type.Union([Type.Literal('enabled'), Type.Literal('revoked')]),
          staging: Type.Optional(Type.Object({ identity: Identity, psk: Base64 }, CLOSED)),
          tenants: Type.Array(Type.Object({ tenant: Tenant, identity: Identity, clearAddress: Address, encryptedAddress: Address }, CLOSED), { maxItems: MOST_TENANTS }),
        },
        CLOSED,
      ),
      { maxItems: MOST_SITES },
    ),
  },
  CLOSED,
);

function describeAllowed(schema: TSchema): string {
  const { description, anyOf, minimum, maximum, type, const: constant, minItems, maxItems } = schema as Record<string, unknown>;
  if (typeof description === 'string') return description;
  if (Array.isArray(anyOf)) return anyOf.map((branch: TSchema) => describeAllowed(branch)).join(', ');
  if (constant !== undefined) return JSON.stringify(constant);
  if (minimum !== undefined) return `${String(minimum)} to ${String(maximum)}`;
  if (type === 'array') return `a list of ${String(minItems ?? 0)} to ${String(maxItems)}`;
  return String(type);
}

function schemaAt(root: TSchema, path: readonly string[]): TSchema {
  let at = root as unknown as { properties?: Record<string, TSchema>; items?: TSchema };
  for (const part of path) at = (at.properties?.[part] ?? at.items ?? at) as typeof at;
  return at as TSchema;
}

function valueAt(document: unknown, path: readonly string[]): unknown {
  return path.reduce((at: unknown, part) => (at as Record<string, unknown> | undefined)?.[part], document);
}

const LONGEST_SHOWN_VALUE = 60;

/** Checks one kind of document; compiles at first use. Throws ConfigError naming key, value and what is allowed. */
export function documentCheck<Document>(source: string, schema: TSchema): (document: unknown) => Document {
  let validator: Validator | undefined;
  return (document) => {
    validator ??= Compile(schema) as unknown as Validator;
    check(validator, schema, source, document);
    return document as Document;
  };
}

function check(validator: Validator, schema: TSchema, source: string, document: unknown): void {
  if (validator.Check(document)) return;
  // Unknown and missing keys first: they are the cause of what follows.
  const errors = [...validator.Errors(document)];
  const error = errors.find(({ keyword }) => keyword === 'required' || keyword === 'additionalProperties') ?? errors[0]!;
  const path = error.instancePath.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const key = path.join('.') || 'document';
  if (error.keyword === 'required') throw new ConfigError({ source, key: [...path, error.params.requiredProperties[0]].join('.'), value: 'missing', allowed: describeAllowed(schemaAt(schema, [...path, error.params.requiredProperties[0]!])) });
  if (error.keyword === 'additionalProperties') throw new ConfigError({ source, key: [...path, error.params.additionalProperties[0]].join('.'), value: 'present', allowed: 'keys of schema 1 only' });
  const value = (JSON.stringify(valueAt(document, path)) ?? 'undefined').slice(0, LONGEST_SHOWN_VALUE);
  throw new ConfigError({ source, key, value, allowed: describeAllowed(schemaAt(schema, path)) });
}

function withGoodCircuits<Document extends { readonly circuits: readonly CircuitConfiguration[] }>(source: string, document: Document): Document {
  for (const [at, circuit] of document.circuits.entries()) {
    const problem = circuitProblem(circuit);
    if (problem !== undefined) throw new ConfigError({ source, ...problem, key: `circuits.${at}.${problem.key}` });
  }
  return document;
}

/** Compiled once by whoever checks documents repeatedly. */
export interface DocumentChecks {
  /** @throws ConfigError naming key, value and what is allowed */
  configuration(document: unknown): DeviceConfiguration;
  prestaging(document: unknown): PrestagingRecord;
  directory(document: unknown): SiteDirectory;
}

export function documentChecks(): DocumentChecks {
  const isConfiguration = documentCheck<DeviceConfiguration>('configuration', Configuration);
  const isPrestaging = documentCheck<PrestagingRecord>('prestaging record', Prestaging);
  return {
    configuration: (document) => withGoodCircuits('configuration', isConfiguration(document)),
    prestaging: (document) => withGoodCircuits('prestaging record', isPrestaging(document)),
    directory: documentCheck<SiteDirectory>('site directory', Directory),
  };
}
