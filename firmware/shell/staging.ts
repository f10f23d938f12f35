// `request staging ...`: the prestaging record of a box, from a file or from flags as `staging.py` has them.
import { readFileSync } from 'node:fs';
import { OperationalError, UsageError } from '../../platform/errors.ts';

interface Flag {
  readonly names: readonly string[];
  /** '' for a flag that stands alone. */
  readonly value: string;
  readonly help: string;
}

const FLAGS = {
  link: { names: ['-u', '--url'], value: 'LINK', help: 'the activation link that Director gave; no other flag is needed then' },
  record: { names: ['-f', '--record'], value: 'FILE', help: 'the record as Director gives it; no other flag is needed then' },
  wan: { names: ['-w', '--wan-port'], value: 'NUMBER', help: 'WAN port: 0 is vni-0/0, which is taken without this flag' },
  serial: { names: ['-n', '--serial-number'], value: 'SERIAL', help: 'serial number of the order; without it that of the hardware' },
  controller: { names: ['-c', '--controller'], value: 'ADDRESS', help: "the Controller's address; may be given several times" },
  address: { names: ['-s', '--static'], value: 'ADDRESS/LENGTH', help: 'own address on the WAN port; once per family' },
  dhcp: { names: ['-d', '--dhcp'], value: '', help: 'IPv4 by DHCP instead of an address' },
  slaac: { names: ['-6', '--slaac'], value: '', help: 'IPv6 by router advertisements, or DHCPv6 where they say so' },
  gateway: { names: ['-g', '--gateway'], value: 'ADDRESS', help: 'next hop; once per family' },
  localId: { names: ['-l', '--local-id'], value: 'IDENTITY', help: 'own identity, SERIAL@staging.PROVIDER' },
  remoteId: { names: ['-r', '--remote-id'], value: 'IDENTITY', help: "the Controller's identity; without it controller@staging.PROVIDER" },
  key: { names: ['-lk', '--key'], value: 'BASE64', help: 'pre-shared key of this box alone' },
  anchor: { names: ['-a', '--anchor'], value: 'SHA256', help: "hexadecimal hash of the provider's trust anchor" },
  transport: { names: ['-x', '--transport'], value: 'NAME', help: 'transport domain; without it INTERNET' },
} satisfies Record<string, Flag>;

type FlagName = keyof typeof FLAGS;

/** One line per flag, for the help. */
export function stagingFlags(): string {
  return Object.values(FLAGS)
    .map(({ names, value, help }) => `    ${`${names.join(', ')} ${value}`.trimEnd().padEnd(34)}${help}`)
    .join('\n');
}

/** What the box is sent: the record as JSON text, or the activation link; the box checks it. Throws UsageError, and OperationalError for a file that cannot be read. */
export function stagingParameters(words: readonly string[]): Readonly<Record<string, string>> {
  const given = parseFlags(words);
  const link = given.get('link')?.[0];
  if (link !== undefined && given.size > 1) throw new UsageError('--url brings everything; leave the other flags out');
  return link === undefined ? { record: recordOf(given) } : { link };
}

function recordOf(given: ReadonlyMap<FlagName, readonly string[]>): string {
  const file = given.get('record')?.[0];
  if (file !== undefined) {
    if (given.size > 1) throw new UsageError('--record brings everything; leave the other flags out');
    return readRecord(file);
  }
  const one = (name: FlagName): string => {
    const [value] = given.get(name) ?? [];
    if (value === undefined) throw new UsageError(`${FLAGS[name].names.join(' or ')} ${FLAGS[name].value} is missing: ${FLAGS[name].help}`);
    return value;
  };
  const localIdentity = one('localId');
  const provider = /^[^@]+@staging\.(.+)$/.exec(localIdentity)?.[1];
  if (provider === undefined) throw new UsageError(`the local identity ${localIdentity} is not SERIAL@staging.PROVIDER`);
  const port = given.get('wan')?.[0] ?? '0';
  if (!/^\d{1,3}$/.test(port)) throw new UsageError(`-w ${port} is not the number of a port`);
  const transport = given.get('transport')?.[0] ?? 'INTERNET';
  one('controller');
  const automatic = (['dhcp', 'slaac'] as const).filter((method) => given.has(method));
  if (automatic.length === 0) one('address');
  return JSON.stringify({
    ...(given.has('serial') ? { serial: one('serial') } : {}),
    provider,
    circuits: [{ id: 1, name: `vni-0/${port}`, transport, addresses: given.get('address') ?? [], gateways: given.get('gateway') ?? [], ...(automatic.length > 0 && { automatic }) }],
    controllers: given.get('controller')!.map((address) => ({ transport, address })),
    trustAnchorSha256: one('anchor'),
    staging: { localIdentity, remoteIdentity: given.get('remoteId')?.[0] ?? `controller@staging.${provider}`, psk: one('key'), tenant: 1 },
  });
}

function parseFlags(words: readonly string[]): ReadonlyMap<FlagName, readonly string[]> {
  const given = new Map<FlagName, string[]>();
  for (let at = 0; at < words.length; at++) {
    const name = (Object.keys(FLAGS) as FlagName[]).find((each) => (FLAGS[each].names as readonly string[]).includes(words[at]!));
    if (name === undefined) throw new UsageError(`request staging knows no ${words[at]}; flags are\n${stagingFlags()}`);
    if (FLAGS[name].value === '') {
      given.set(name, []);
      continue;
    }
    const value = words[at + 1];
    if (value === undefined) throw new UsageError(`${words[at]} needs a value: ${FLAGS[name].help}`);
    at++;
    given.set(name, [...(given.get(name) ?? []), value]);
  }
  if (given.size === 0) throw new UsageError(`request staging needs flags\n${stagingFlags()}`);
  return given;
}

function readRecord(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new OperationalError('record-unreadable', `the prestaging record ${file} cannot be read: ${(error as Error).message}`, 'name the file that Director gave', error);
  }
}
