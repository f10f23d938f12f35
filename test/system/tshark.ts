// tshark as an independent judge of what is on the wire, with the product's own dissector loaded.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '../../platform/errors.ts';
import type { EspKey } from './packet-capture.ts';

const DISSECTOR = join(import.meta.dirname, '../../docs/wireshark/selvage.lua');
const AES_GCM_16 = 'AES-GCM with 16 octet ICV [RFC4106]';

/** Keys of one direction, as Wireshark's esp_sa table wants them. */
export interface WiresharkSa extends EspKey {
  readonly source: string;
  readonly destination: string;
}

/** One dissected packet: its protocols by their Wireshark names, and every value of a field by its Wireshark name. */
export interface DissectedPacket {
  readonly protocols: readonly string[];
  values(field: string): readonly string[];
}

function securityAssociation({ source, destination, spi, keyAndSalt }: WiresharkSa): string {
  const family = source.includes(':') ? 'IPv6' : 'IPv4';
  const hexSpi = `0x${spi.toString(16).padStart(8, '0')}`;
  const key = `0x${Buffer.from(keyAndSalt).toString('hex')}`;
  return ['uat:esp_sa:', [family, source, destination, hexSpi, AES_GCM_16, key, 'NULL', ''].map((value) => `"${value}"`).join(',')].join('');
}

/** Dissects a capture (pcap or pcapng octets) and decrypts ESP with the given SAs, IKE with lines of `ikev2_decryption_table`. */
export function dissect(capture: Uint8Array, sas: readonly WiresharkSa[], ikeLines: readonly string[] = []): DissectedPacket[] {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-tshark-'));
  try {
    const file = join(directory, 'capture.pcap');
    writeFileSync(file, capture);
    const preferences = ['esp.enable_encryption_decode:TRUE', ...sas.map(securityAssociation), ...ikeLines.map((line) => `uat:ikev2_decryption_table:${line}`)];
    const args = ['-r', file, '-n', '-X', `lua_script:${DISSECTOR}`, ...preferences.flatMap((value) => ['-o', value]), '-T', 'json', '--no-duplicate-keys'];
    // A home directory of its own keeps the settings and scripts of the operator out of the judgement.
    const env = { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory };
    const result = spawnSync('tshark', args, { encoding: 'utf8', env, timeout: 60_000, maxBuffer: 1 << 28 });
    if (result.error !== undefined || result.status !== 0 || /Lua: Error/.test(result.stderr)) {
      throw new OperationalError('tshark', `tshark failed: ${result.error?.message ?? result.stderr}`, 'Run "npm run setup" as root');
    }
    return (JSON.parse(result.stdout) as TsharkPacket[]).map(({ _source: { layers } }) => ({
      protocols: Object.keys(layers),
      values: (field) => valuesOf(layers, field),
    }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

type Layers = { readonly [name: string]: unknown };
interface TsharkPacket {
  readonly _source: { readonly layers: Layers };
}

function valuesOf(node: unknown, field: string): string[] {
  if (Array.isArray(node)) return node.flatMap((entry) => valuesOf(entry, field));
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([name, value]) => {
    if (name !== field) return valuesOf(value, field);
    return (Array.isArray(value) ? value : [value]).filter((entry) => typeof entry === 'string');
  });
}
