// The appliance's configuration file (JSON): what Director cannot tell it, because it is needed before Director is
// reachable. Everything else comes in the signed bundle.
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import convict from 'convict';
import { ConfigError } from './errors.ts';
import { unixMsFromRfc3339 } from './time.ts';

export type Role = 'branch' | 'controller' | 'director';

export interface InterfaceConfig {
  /** `vni-0/0` */
  readonly name: string;
  /** The kernel's name, `eth0`. */
  readonly device: string;
}

export interface Config {
  readonly role: Role;
  /** Device name; '' = what Director assigns. */
  readonly name: string;
  /** '' = read from the hardware. */
  readonly serial: string;
  readonly dataDirectory: string;
  readonly logDirectory: string;
  /** Holds the Unix socket of the operator's commands. */
  readonly runDirectory: string;
  /** Branches: path of the prestaging record; '' = wait for a USB stick or an activation link. */
  readonly prestaging: string;
  /** The provider's organisation name; for Director and Controllers. Branches have it in their prestaging record. */
  readonly provider: string;
  /** Controllers: the port towards Director, needed before Director can be asked for anything. */
  readonly southbound: {
    /** Interface name out of `interfaces`. */
    readonly name: string;
    /** With prefix length, at most one per family. */
    readonly addresses: readonly string[];
    readonly gateways: readonly string[];
  };
  readonly director: {
    /** Where devices reach this Director through the provider's control VR. */
    readonly addresses: readonly string[];
    readonly listenAddress: string;
    readonly listenPort: number;
    /** `postgres://...`; '' = SQLite in the data directory. */
    readonly database: string;
  };
  /** Controllers: how to get the first certificate from Director. */
  readonly enrolment: {
    readonly url: string;
    /** Lower-case hex SHA-256 of Director's trust anchor (DER). */
    readonly anchorSha256: string;
    /** One-time; works until the first certificate is issued. */
    readonly token: string;
  };
  readonly interfaces: readonly InterfaceConfig[];
  /** Threads that forward packets; 0 = one for each processor, at most MOST_WORKERS. */
  readonly forwarder: { readonly workers: number };
  readonly certificates: {
    /** Without a current revocation list peers are let in (`soft`, with an alarm) or refused (`hard`). */
    readonly revocation: 'soft' | 'hard';
    /** When the image was built, RFC 3339 in UTC: it cannot be earlier, whatever the host's clock says. '' = the image's own (`/usr/lib/clock-epoch`). */
    readonly timeFloor: string;
    /** `http://192.0.2.1/`: the OCSP responder for all certificates of peers; '' = the one that a certificate names. */
    readonly ocspResponder: string;
  };
  /** Branches: how long the rescue process waits before it tries the main service again. */
  readonly rescue: { readonly firstRetrySeconds: number; readonly longestRetrySeconds: number };
  readonly debug: {
    /** Writes session keys to the data directory, for packet analysis in a lab. */
    readonly exportKeys: boolean;
  };
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const matches =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value);

/** A convict format whose failure says what is allowed. */
function allowed(description: string, check: Check): (value: unknown) => void {
  return (value) => {
    if (!check(value)) throw new Error(description);
  };
}

const INTERFACE = /^vni-\d{1,2}\/\d{1,3}$/;
const DEVICE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
const MOST_INTERFACES = 64;
/** Each hands packets to each other one, so more bring less and less. */
export const MOST_WORKERS = 8;

function isInterfaceList(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > MOST_INTERFACES) return false;
  const good = value.every((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return false;
    const { name, device, ...rest } = entry as Record<string, unknown>;
    return matches(INTERFACE)(name) && matches(DEVICE)(device) && Object.keys(rest).length === 0;
  });
  const unique = (key: 'name' | 'device'): boolean => new Set((value as InterfaceConfig[]).map((entry) => entry[key])).size === value.length;
  return good && unique('name') && unique('device');
}

const isAddressText: Check = (value) => typeof value === 'string' && isIP(value) !== 0;

function isAddressWithLength(value: unknown): boolean {
  const [address = '', length = '', ...rest] = String(value).split('/');
  const family = isIP(address);
  return typeof value === 'string' && rest.length === 0 && family !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}

function isListOf(most: number, check: Check): Check {
  return (value) => Array.isArray(value) && value.length <= most && value.every(check);
}

const path = allowed('an absolute path', matches(/^\/[^\0]*$/));
const optionalPath = allowed('an absolute path, or ""', matches(/^(?:\/[^\0]*)?$/));

const seconds = allowed('an integer from 1 to 86400', (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 86_400);

const ROLES = 'branch, controller or director';

/** Role has no default: a file that does not say what it is for is refused. */
const SCHEMA = {
  role: { format: allowed(ROLES, matches(/^(?:branch|controller|director)$/)), default: null as unknown as Role },
  name: { format: allowed('1 to 40 of A-Z a-z 0-9 . _ -, or ""', matches(/^[A-Za-z0-9._-]{0,40}$/)), default: '' },
  serial: { format: allowed('1 to 64 of A-Z a-z 0-9 . _ -, or ""', matches(/^[A-Za-z0-9._-]{0,64}$/)), default: '' },
  dataDirectory: { format: path, default: '/var/lib/selvage' },
  logDirectory: { format: path, default: '/var/log/versa' },
  runDirectory: { format: path, default: '/run/selvage' },
  prestaging: { format: optionalPath, default: '' },
  provider: { format: allowed('1 to 40 of A-Z a-z 0-9 . _ -, or ""', matches(/^[A-Za-z0-9._-]{0,40}$/)), default: '' },
  southbound: {
    name: { format: allowed('an interface name such as vni-0/1, or ""', (value) => value === '' || matches(INTERFACE)(value)), default: '' },
    addresses: { format: allowed('a list of at most 2 addresses with prefix length', isListOf(2, isAddressWithLength)), default: [] as readonly string[] },
    gateways: { format: allowed('a list of at most 2 addresses', isListOf(2, isAddressText)), default: [] as readonly string[] },
  },
  director: {
    addresses: { format: allowed('a list of at most 8 addresses', isListOf(8, isAddressText)), default: [] as readonly string[] },
    listenAddress: { format: allowed('an IPv4 or IPv6 address', (value) => typeof value === 'string' && isIP(value) !== 0), default: '::' },
    listenPort: { format: allowed('an integer from 1 to 65535', (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65535), default: 443 },
    database: { format: allowed('a postgres:// URL, or ""', matches(/^(?:postgres(?:ql)?:\/\/\S+)?$/)), default: '', sensitive: true },
  },
  enrolment: {
    url: { format: allowed('an https:// URL, or ""', matches(/^(?:https:\/\/\S+)?$/)), default: '' },
    anchorSha256: { format: allowed('64 lower-case hexadecimal digits, or ""', matches(/^(?:[0-9a-f]{64})?$/)), default: '' },
    token: { format: allowed('a text', isText), default: '', sensitive: true },
  },
  interfaces: {
    format: allowed(`a list of at most ${MOST_INTERFACES} {"name": "vni-0/0", "device": "eth0"}, each name and device once`, isInterfaceList),
    default: [] as readonly InterfaceConfig[],
  },
  forwarder: { workers: { format: allowed(`an integer from 0 to ${MOST_WORKERS}`, (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST_WORKERS), default: 0 } },
  certificates: {
    revocation: { format: allowed('soft or hard', matches(/^(?:soft|hard)$/)), default: 'soft' as 'soft' | 'hard' },
    timeFloor: { format: allowed('a time such as 2026-01-02T03:04:05Z, or ""', (value) => value === '' || (typeof value === 'string' && unixMsFromRfc3339(value) !== undefined)), default: '' },
    ocspResponder: { format: allowed('an http:// URL, or ""', matches(/^(?:http:\/\/\S+)?$/)), default: '' },
  },
  rescue: { firstRetrySeconds: { format: seconds, default: 120 }, longestRetrySeconds: { format: seconds, default: 3600 } },
  debug: { exportKeys: { format: allowed('true or false', (value) => typeof value === 'boolean'), default: false } },
};

/** Reads and checks the file; throws ConfigError with source, key, value and what is allowed. */
export function loadConfig(file: string): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError({ source: file, key: 'the file', value: `not readable (${(error as NodeJS.ErrnoException).code})`, allowed: 'a JSON file that this service may read' });
  }
  return parseConfig(text, file);
}

/** `source` names the text in errors. */
export function parseConfig(text: string, source: string): Config {
  const given = parseObject(text, source);
  // convict turns "yes" into a boolean before it checks; here a value must be what the file says.
  checkGiven(given, SCHEMA, '', source);
  const config = convict(SCHEMA);
  config.load(given);
  if (config.get('role') === null) throw new ConfigError({ source, key: 'role', value: 'missing', allowed: ROLES });
  config.validate({ allowed: 'strict' });
  return deepFreeze(config.getProperties()) as Config;
}

function parseObject(text: string, source: string): object {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new ConfigError({ source, key: 'the file', value: `not JSON (${(error as Error).message.split('\n')[0]})`, allowed: 'one JSON object' });
  }
  if (!isObject(given)) throw new ConfigError({ source, key: 'the file', value: shown(given), allowed: 'one JSON object' });
  return given;
}

interface Leaf {
  readonly format: (value: unknown) => void;
  readonly sensitive?: boolean;
}

interface Section {
  readonly [key: string]: Leaf | Section;
}

function isLeaf(part: Leaf | Section): part is Leaf {
  return typeof part.format === 'function';
}

function checkGiven(given: object, section: Section, prefix: string, source: string): void {
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    const key = prefix + name;
    const part = Object.hasOwn(section, name) ? section[name]! : undefined;
    if (part === undefined) throw new ConfigError({ source, key, value: shown(value), allowed: `no such key; known are ${Object.keys(section).join(', ')}` });
    if (isLeaf(part)) {
      checkValue(part, value, key, source);
    } else {
      if (!isObject(value)) throw new ConfigError({ source, key, value: shown(value), allowed: `an object with ${Object.keys(part).join(', ')}` });
      checkGiven(value, part, `${key}.`, source);
    }
  }
}

function checkValue(leaf: Leaf, value: unknown, key: string, source: string): void {
  try {
    leaf.format(value);
  } catch (error) {
    throw new ConfigError({ source, key, value: leaf.sensitive === true ? 'withheld' : shown(value), allowed: (error as Error).message });
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const LONGEST_SHOWN = 80;

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}...` : text;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) deepFreeze(part);
    Object.freeze(value);
  }
  return value;
}
