// With the session keys that a branch exports on its operator's wish, tshark and the shipped dissector read the LAN
// host's own packet out of a capture of the WAN; without the keys they do not.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { IpAddress } from '../../firmware/model.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Clock } from '../../platform/time.ts';
import { HostProcess } from './host-process.ts';
import { HOST_PORT } from './network.ts';
import { familyOf } from './reachability.ts';
import type { Asker } from './reachability.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { waitFor } from './wait-for.ts';

const DISSECTOR = fileURLToPath(new URL('../../docs/wireshark/selvage.lua', import.meta.url));
const OVERLAY_FILTER = 'udp port 4790';
const PACKET_LIMIT = 20_000;
const START_TIMEOUT_MS = 20_000;
const ANSWER_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 20_000;
const PCAP_HEADER_BYTES = 24;
/** Packets of other tunnels may never pause; what is there then is enough. */
const SETTLE_TIMEOUT_MS = 3_000;
const SETTLE_POLL_MS = 200;
const TSHARK_TIMEOUT_MS = 60_000;
const FIELDS = ['frame.number', 'frame.protocols', 'vxlan.vni', 'esp.spi'] as const;
/** Around the LAN host's packet, in this order. VXLAN is told by its VNI, as `frame.protocols` of tshark leaves it out. */
const LAYERS = ['selvage_ext', 'esp', 'gre', 'mpls'] as const;

export interface DecryptionCheck {
  readonly clock: Clock;
  readonly asker: Asker;
  /** Where the WAN is captured. */
  readonly place: string;
  readonly device: string;
  /** In the format of Wireshark's esp_sa table. */
  readonly keyFile: string;
  readonly from: string;
  readonly source: IpAddress;
  readonly destination: IpAddress;
}

export interface DecryptedPacket {
  readonly frame: string;
  readonly protocols: readonly string[];
  readonly vni: string;
  readonly spi: string;
}

export interface DecryptionResult {
  readonly packets: readonly DecryptedPacket[];
  readonly withoutKeys: number;
  readonly verdict: Verdict;
}

/** Resolves when packets were written and no more come at the moment. */
async function settled(clock: Clock, file: string): Promise<void> {
  let last = PCAP_HEADER_BYTES;
  await waitFor({ clock, timeoutMs: SETTLE_TIMEOUT_MS, pauseMs: SETTLE_POLL_MS }, async () => {
    const { size } = statSync(file);
    const isSettled = size > PCAP_HEADER_BYTES && size === last;
    last = size;
    return isSettled ? { ok: true, value: undefined } : { ok: false, cause: 'packets still come' };
  });
}

/** Records the overlay on a wire while one host asks another over UDP. */
async function captureQuestion(check: DecryptionCheck, file: string): Promise<void> {
  const { clock, asker, place, device, from, destination } = check;
  const capture = new HostProcess(place, ['tcpdump', '-i', device, '-s', '0', '-c', String(PACKET_LIMIT), '-n', '-U', '--immediate-mode', '-Z', 'root', '-w', file, OVERLAY_FILTER]);
  try {
    const ready = await waitFor({ clock, timeoutMs: START_TIMEOUT_MS, pauseMs: 20 }, async () =>
      capture.stderr.includes('listening on') ? { ok: true, value: undefined } : { ok: false, cause: `tcpdump does not capture: ${capture.stderr.trim()}`, final: !capture.isRunning },
    );
    if (!ready.ok) throw new OperationalError('capture', ready.cause, 'Run "npm run setup" as root');
    await asker.ask(from, destination, 'udp', ANSWER_TIMEOUT_MS);
    await settled(clock, file);
  } finally {
    capture.signal('SIGTERM');
    await capture.ended(clock, END_TIMEOUT_MS);
  }
}

/**
 * The packets between two hosts that tshark finds inside ESP inside the overlay; what ICMP quotes is left out. `home` is
 * tshark's home directory: keys in it are used, and the operator's own settings are not.
 */
export function readInside(file: string, home: string, source: IpAddress, destination: IpAddress): DecryptedPacket[] {
  const ip = familyOf(source) === 'IPv6' ? 'ipv6' : 'ip';
  const filter = `vxlan && esp && !icmp && !icmpv6 && ${ip}.src == ${source} && ${ip}.dst == ${destination} && udp.dstport == ${HOST_PORT}`;
  const args = ['-r', file, '-n', '-X', `lua_script:${DISSECTOR}`, '-o', 'esp.enable_encryption_decode:TRUE', '-Y', filter, '-T', 'fields', ...FIELDS.flatMap((field) => ['-e', field])];
  const result = spawnSync('tshark', args, { encoding: 'utf8', env: { ...process.env, HOME: home, XDG_CONFIG_HOME: join(home, '.config') }, timeout: TSHARK_TIMEOUT_MS });
  if (result.error !== undefined || result.status !== 0) {
    throw new OperationalError('tshark', `tshark failed: ${result.error?.message ?? result.stderr.trim()}`, 'Install the Debian package tshark');
  }
  return result.stdout.split('\n').flatMap((line) => {
    const [frame, protocols, vni, spi] = line.split('\t');
    return frame === undefined || protocols === undefined ? [] : [{ frame, protocols: protocols.split(':'), vni: vni ?? '', spi: spi ?? '' }];
  });
}

export function judgeDecryption(packets: readonly DecryptedPacket[], withoutKeys: number): Verdict {
  const causes: string[] = [];
  const whole = packets.find(({ protocols, vni }) => vni !== '' && protocols.filter((name) => (LAYERS as readonly string[]).includes(name)).join() === LAYERS.join());
  if (packets.length === 0) causes.push("tshark finds no packet of the LAN host with the branch's exported keys");
  else if (whole === undefined) causes.push(`tshark finds ${packets[0]!.protocols.join(':')}, VNI ${packets[0]!.vni || 'none'}, and not VXLAN, ${LAYERS.join(', ')} in this order`);
  if (withoutKeys > 0) causes.push(`tshark reads ${withoutKeys} packets of the LAN host without any key`);
  return verdictOf(causes);
}

/** Leaves nothing behind: the copy of the keys ends with the check. */
export async function checkDecryption(check: DecryptionCheck): Promise<DecryptionResult> {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-decryption-'));
  try {
    const file = join(directory, 'wan.pcap');
    await captureQuestion(check, file);
    if (!existsSync(check.keyFile)) return { packets: [], withoutKeys: 0, verdict: verdictOf([`the branch has exported no keys to ${check.keyFile}`]) };
    const [keyed, bare] = ['keyed', 'bare'].map((name) => join(directory, name)) as [string, string];
    for (const home of [keyed, bare]) mkdirSync(join(home, '.config', 'wireshark'), { recursive: true });
    copyFileSync(check.keyFile, join(keyed, '.config', 'wireshark', 'esp_sa'));
    const packets = readInside(file, keyed, check.source, check.destination);
    const withoutKeys = readInside(file, bare, check.source, check.destination).length;
    return { packets, withoutKeys, verdict: judgeDecryption(packets, withoutKeys) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
