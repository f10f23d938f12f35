// Who may import whom, and why not. A row names a layer and everything it may import; what a row does not list is
// forbidden to it. The first row that fits a file applies.
import { strict as assert } from 'node:assert';
import { posix } from 'node:path';
import { listFiles, readText } from './source-files.ts';

interface Import {
  /** Path in the checkout, `node:x`, or a package's name. */
  readonly target: string;
  /** Erased before the program runs. */
  readonly typeOnly: boolean;
  readonly names: readonly string[];
}

interface Layer {
  readonly name: string;
  readonly files: RegExp;
  /** Imports allowed for values and types alike. */
  readonly may: readonly RegExp[];
  /** Imports allowed for types only. */
  readonly mayType?: readonly RegExp[];
  readonly because: string;
}

const NODE = /^node:/;
const PACKAGE = /^(?!node:)(?![a-z0-9./-]+\.(?:ts|mjs|js)$)[@a-z]/;
const PLATFORM = /^platform\//;
/** The parts of platform that compute and do nothing else. */
const PURE_PLATFORM = /^platform\/(?:version-order|bytes|deadlines|errors|crypto|der|distinguished-name|time|random)\.ts$/;
const NOUNS = /^firmware\/(?:model|machine|configuration|views)\.ts$/;
const WIRE = /^firmware\/wire\//;
const DRIVER_INTERFACES = /^drivers\/(?:burst|port|aead|esp-suite|address|super-packet|vr-name)\.ts$/;
const COMPOSITION = /^firmware\/(?:main|roles)\.ts$/;

const FORWARDER_THREAD = /^firmware\/dataplane\/worker\.ts$/;

const LAYERS: readonly Layer[] = [
  {
    name: 'an independent peer',
    files: /^test\/oracle\//,
    may: [/^test\//, PLATFORM, NODE, PACKAGE],
    because: 'an oracle that shares code with its subject confirms its mistakes',
  },
  { name: 'tests and images', files: /^(?:test|images)\//, may: [/./], because: '' },
  {
    name: 'platform',
    files: PLATFORM,
    may: [PLATFORM, NODE, PACKAGE],
    because: 'the host knows nothing of the product',
  },
  {
    name: 'the interfaces of the drivers',
    files: DRIVER_INTERFACES,
    may: [DRIVER_INTERFACES, PLATFORM],
    because: 'the forwarder is tested without a device, so its interfaces load none',
  },
  {
    name: 'the native drivers',
    files: /^drivers\/native\//,
    may: [DRIVER_INTERFACES, /^drivers\/native\//, PLATFORM, NODE, PACKAGE],
    because: 'native and portable are twins that know nothing of each other; drivers/open.ts chooses',
  },
  {
    name: 'the portable drivers',
    files: /^drivers\/portable\//,
    may: [DRIVER_INTERFACES, /^drivers\/portable\//, PLATFORM, NODE, PACKAGE],
    because: 'native and portable are twins that know nothing of each other; drivers/open.ts chooses',
  },
  {
    name: 'drivers',
    files: /^drivers\//,
    may: [/^drivers\//, PLATFORM, NODE, PACKAGE],
    because: 'a port carries octets and knows no protocol',
  },
  {
    name: 'wire',
    files: WIRE,
    may: [WIRE, /^platform\/(?:bytes|errors)\.ts$/],
    because: 'a codec turns octets into values and back, without host, keys or state',
  },
  {
    name: 'the nouns of the product',
    files: NOUNS,
    may: [NOUNS],
    mayType: [PLATFORM, DRIVER_INTERFACES],
    because: 'every layer imports the nouns, so they import nothing that runs',
  },
  {
    name: 'the version',
    files: /^firmware\/version\.ts$/,
    may: [/^package\.json$/],
    because: 'the version is a fact of the package and of nothing else',
  },
  ...['ike', 'bgp', 'sdwan', 'sase', 'upgrade'].map(
    (protocol): Layer => ({
      name: `the ${protocol} machines`,
      files: new RegExp(`^firmware/${protocol}/`),
      may: [new RegExp(`^firmware/${protocol}/`), WIRE, NOUNS, PURE_PLATFORM],
      mayType: [PLATFORM],
      because: 'a protocol machine has no input but handle(): it runs in the simulator without host, and services join machines',
    }),
  ),
  {
    name: "the forwarder's thread",
    files: FORWARDER_THREAD,
    may: [/^firmware\/dataplane\//, /^drivers\/threads\.ts$/, DRIVER_INTERFACES, NOUNS, PLATFORM, /^node:worker_threads$/],
    because: 'the thread joins the data plane to its devices and clock, and knows no protocol',
  },
  {
    name: 'the data plane',
    files: /^firmware\/dataplane\//,
    may: [/^firmware\/dataplane\//, DRIVER_INTERFACES, WIRE, NOUNS, PURE_PLATFORM],
    mayType: [PLATFORM],
    because: 'the forwarder knows the desired state, not the protocols that made it',
  },
  {
    name: 'services',
    files: /^firmware\/services\//,
    may: [/^firmware\/(?!shell\/)/, DRIVER_INTERFACES, PLATFORM, NODE, PACKAGE],
    because: 'a service takes its ports from the site, so that the simulator can give it others',
  },
  {
    name: 'the shell',
    files: /^firmware\/shell\//,
    may: [/^firmware\/shell\//, NOUNS, /^firmware\/services\/monitor/, PLATFORM, NODE, PACKAGE],
    because: 'the shell shows what the monitor says and reaches into nothing else',
  },
  { name: 'the composition root', files: COMPOSITION, may: [/./], because: '' },
  {
    name: 'the stages of zero-touch provisioning',
    files: /^provisioning\/ztp\/stages/,
    may: [/^provisioning\/ztp\/(?:stages|names)/, NOUNS, PURE_PLATFORM],
    mayType: [PLATFORM, /^provisioning\/ztp\//],
    because: 'the stages are a machine that the simulator runs',
  },
  {
    name: 'the set-up',
    files: /^provisioning\/setup\//,
    may: [/^provisioning\/setup\//, NODE, /^mocha$/],
    because: 'the set-up installs the packages, so it uses none; only its reporter runs inside mocha',
  },
  {
    name: 'the lab',
    files: /^provisioning\/lab\//,
    may: [/^provisioning\//, NOUNS, WIRE, /^firmware\/services\/service\.ts$/, /^drivers\/kernel\.ts$/, PLATFORM, NODE, PACKAGE],
    because: 'the lab drives appliances from outside, as an operator would',
  },
  {
    name: 'provisioning',
    files: /^provisioning\//,
    may: [/^provisioning\/(?!lab\/|setup\/)/, NOUNS, WIRE, /^firmware\/services\/service\.ts$/, PLATFORM, NODE, PACKAGE],
    because: 'Director knows appliances by their configuration and their wire, not by their insides',
  },
];

interface Ban {
  readonly from: RegExp;
  readonly to: RegExp;
  readonly names?: RegExp;
  readonly because: string;
}

/** What is forbidden whatever a layer may import. */
const BANS: readonly Ban[] = [
  { from: /^/, to: /^firmware\/main\.ts$/, because: 'the composition root is started, not imported' },
  { from: /^(?!firmware\/main\.ts$|test\/)/, to: /^firmware\/roles\.ts$/, because: 'only the composition root and the simulator choose a role' },
  { from: /^(?!test\/)/, to: FORWARDER_THREAD, because: 'the thread is started, not imported' },
  { from: /^(?!test\/|images\/)/, to: /^test\//, because: 'the product does not depend on its tests' },
  {
    from: /^(?:platform|drivers|firmware)\//,
    to: /^typebox$|^fastify$|^kysely$|^typescript$|^mocha$/,
    because: "Director's server and the build tools stay out of the appliance",
  },
  {
    from: /^(?:firmware\/(?:ike|bgp|sdwan|sase|dataplane)\/(?!worker\.ts$)|provisioning\/ztp\/stages)/,
    to: /^platform\/(?:time|random)\.ts$/,
    names: /^(?:SystemClock|SystemRandom|sleep)$/,
    because: 'time and chance come in from outside, or no run can be repeated',
  },
];

const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?((?:\*\s+as\s+\w+|\*|[\w$]+\s*,\s*\{[^}]*\}|[\w$]+|\{[^}]*\})\s*from\s*)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;

function importsOf(path: string, text: string): Import[] {
  const imports: Import[] = [];
  for (const match of text.matchAll(IMPORT)) {
    const specifier = match[3] ?? match[4]!;
    const clause = match[2] ?? '';
    const names = (/\{([^}]*)\}/.exec(clause)?.[1] ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '');
    const typeOnly = match[1] !== undefined || (names.length > 0 && names.every((name) => name.startsWith('type ')));
    const target = specifier.startsWith('.') ? posix.normalize(posix.join(posix.dirname(path), specifier)) : specifier;
    imports.push({ target, typeOnly, names: names.map((name) => name.split(/\s+as\s+/)[0]!) });
  }
  return imports;
}

function judge(path: string, found: Import): string[] {
  const reasons: string[] = [];
  const layer = LAYERS.find((row) => row.files.test(path));
  const fits = (patterns: readonly RegExp[]): boolean => patterns.some((pattern) => pattern.test(found.target));
  if (layer === undefined) reasons.push('this file belongs to no layer of the table');
  else if (!fits(layer.may) && !(found.typeOnly && fits(layer.mayType ?? []))) reasons.push(layer.because);
  for (const ban of BANS) {
    if (!ban.from.test(path) || !ban.to.test(found.target) || path === found.target) continue;
    if (ban.names === undefined || found.names.some((name) => ban.names!.test(name))) reasons.push(ban.because);
  }
  return reasons.map((reason) => `${path} -> ${found.target}: ${reason}`);
}

describe('layers', () => {
  const sources = listFiles().filter((path) => /^(?:platform|drivers|firmware|provisioning|images|test)\/.*\.(?:ts|mjs)$/.test(path));

  it('import only what lies below them', () => {
    const found = sources.flatMap((path) => importsOf(path, readText(path) ?? '').flatMap((one) => judge(path, one)));
    assert.equal(found.length, 0, `\n${found.join('\n')}`);
  });

  it('are told apart by the table', () => {
    const cases: readonly [string, string, boolean][] = [
      ['firmware/ike/ike-sa.ts', "import { a } from '../bgp/session.ts';", false],
      ['firmware/ike/ike-sa.ts', "import { createHash } from 'node:crypto';", false],
      ['firmware/ike/ike-sa.ts', "import type { Log } from '../../platform/log.ts';", true],
      ['firmware/ike/ike-sa.ts', "import { SinkLog } from '../../platform/log.ts';", false],
      ['firmware/ike/ike-sa.ts', "import {\n  TimerTable,\n  SystemClock,\n} from '../../platform/time.ts';", false],
      ['firmware/wire/esp.ts', "import { Reader } from '../../platform/bytes.ts';", true],
      ['firmware/wire/esp.ts', "import { x25519 } from '@noble/curves/ed25519.js';", false],
      ['firmware/wire/esp.ts', "export { a } from '../model.ts';", false],
      ['firmware/services/ike.ts', "import { open } from '../../drivers/open.ts';", false],
      ['drivers/portable/aead.ts', "import { load } from '../native/addon.ts';", false],
      ['test/oracle/peer.ts', "import { x } from '../../firmware/wire/ike/message.ts';", false],
      ['test/sim/world.ts', "import { start } from '../../firmware/main.ts';", false],
      ['test/sim/world.ts', "import { branch } from '../../firmware/roles.ts';", true],
      ['platform/host.ts', "import { cpus } from 'node:os';", true],
      ['platform/host.ts', "const x = await import('../drivers/open.ts');", false],
    ];
    for (const [path, text, allowed] of cases) {
      const reasons = importsOf(path, text).flatMap((one) => judge(path, one));
      assert.equal(reasons.length === 0, allowed, `${path}: ${text}`);
    }
  });
});
