// The contestants of the tunnel bench: how each one is started, with its own usual settings and a strong cipher. All
// sit in two namespaces on a veth pair of their own.
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperationalError } from '../../platform/errors.ts';
import { hostCommand } from '../../provisioning/lab/host-command.ts';
import { debianFiles } from '../system/debian-root.ts';
import { Strongswan } from '../system/strongswan.ts';
import type { TunnelEnd } from './tunnel-end.ts';
import type { Contestant, TunnelLab, Underlay } from './tunnel-lab.ts';

const END_SCRIPT = fileURLToPath(new URL('tunnel-end.ts', import.meta.url));
/** Contestants that this machine's Debian has in an older version. */
const NEWER_RELEASE = 'trixie';
const ENDS = [0, 1] as const;
/** What fits every contestant on a path of 1500 octets. */
const TUNNEL_MTU = '1400';
const FIRST_DEVICE_NUMBER = 1000;

export const PEERS: Readonly<Record<string, (lab: TunnelLab) => Promise<Contestant>>> = {
  veth: startCable,
  ours: (lab) => startOurs(lab),
  'wireguard-go': startWireguard,
  libipsec: startLibipsec,
  openvpn: startOpenvpn,
  nebula: startNebula,
};

export type PeerName = keyof typeof PEERS;

async function startCable(lab: TunnelLab): Promise<Contestant> {
  const underlay = lab.addUnderlay();
  const version = hostCommand('uname', ['-r']).trim();
  return { name: 'veth', version, underlay, namespaces: underlay.namespaces, addresses: underlay.addresses, pids: undefined };
}

/** Our forwarder at both ends; with tunnels and routes to silent peers besides the one that is measured. */
export async function startOurs(lab: TunnelLab, { workers = 1, silentPeers = 0 } = {}): Promise<Contestant> {
  const underlay = lab.addUnderlay();
  const namespaces = ENDS.map((end) => lab.network.addNamespace(`vr-${underlay.insides[end]}`)) as [string, string];
  const ends = await Promise.all(ENDS.map((end) => startEnd(lab, {
    end: end + 1,
    wanVr: underlay.namespaces[end],
    vr: namespaces[end],
    local: underlay.addresses[end],
    remote: underlay.addresses[1 - end]!,
    inside: underlay.insides[end],
    otherInside: underlay.insides[1 - end]!,
    workers,
    silentPeers,
  })));
  const pids = pidsOf(ends.map(({ child }) => child));
  return { name: 'ours', version: `Node ${process.versions.node}`, underlay, namespaces, addresses: underlay.insides, pids, residentBefore: ends[0]!.residentBefore };
}

async function startEnd(lab: TunnelLab, end: TunnelEnd): Promise<{ child: ChildProcess; residentBefore: number }> {
  const child = lab.network.spawn(end.wanVr, [process.execPath, '--disable-warning=ExperimentalWarning', END_SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin!.write(`${JSON.stringify(end)}\n`);
  const line = await createInterface(child.stdout!)[Symbol.asyncIterator]().next();
  if (line.done === true) throw new OperationalError('bench', 'an end of the tunnel bench stopped', 'Read its error above');
  return { child, residentBefore: Number((line.value as string).split(' ')[1]) };
}

function pidsOf(children: readonly ChildProcess[]): [number, number] {
  return [children[0]!.pid!, children[1]!.pid!];
}

/** The version of a Debian package by the first line of its changelog: `name (version) ...`. */
function packageVersion(root: string, name: string): string {
  const changelog = gunzipSync(readFileSync(join(root, 'usr/share/doc', name, 'changelog.Debian.gz'))).toString();
  return /\(([^)]*)\)/.exec(changelog)?.[1] ?? 'unknown';
}

function assign(underlay: Underlay, end: 0 | 1, device: string, mtu: string): void {
  const { namespaces, insides } = underlay;
  const batch = `address add ${insides[end]}/24 dev ${device}\nlink set ${device} mtu ${mtu} up\n`;
  hostCommand('ip', ['-n', namespaces[end], '-batch', '-'], batch);
}

async function awaitDevice(lab: TunnelLab, namespace: string, device: string): Promise<void> {
  await lab.until(`${device} does not appear`, () => lab.network.attempt(namespace, ['ip', 'link', 'show', device], 3000).status === 0);
}

/** ChaCha20-Poly1305, which is all that it has. Device names are unique on the machine: its control sockets are. */
async function startWireguard(lab: TunnelLab): Promise<Contestant> {
  const root = debianFiles(NEWER_RELEASE, ['wireguard-go', 'nebula']);
  const underlay = lab.addUnderlay();
  const keys = ENDS.map(() => hostCommand('wg', ['genkey']));
  const devices = ENDS.map((end) => `swg${process.pid % 100_000}${'ab'[end]}`);
  const children: ChildProcess[] = [];
  for (const end of ENDS) {
    const namespace = underlay.namespaces[end];
    children.push(lab.network.spawn(namespace, ['env', 'LOG_LEVEL=error', join(root, 'usr/bin/wireguard-go'), '-f', devices[end]!], { stdio: 'ignore' }));
    await awaitDevice(lab, namespace, devices[end]!);
    const key = lab.write(`wireguard-${end}.key`, keys[end]!);
    const other = hostCommand('wg', ['pubkey'], keys[1 - end]).trim();
    const endpoint = `${underlay.addresses[1 - end]}:51820`;
    const set = ['wg', 'set', devices[end]!, 'listen-port', '51820', 'private-key', key, 'peer', other, 'endpoint', endpoint, 'allowed-ips', '0.0.0.0/0'];
    await lab.until(`${devices[end]} takes no settings`, () => lab.network.attempt(namespace, set, 3000).status === 0);
    assign(underlay, end, devices[end]!, '1420');
  }
  return { name: 'wireguard-go', version: packageVersion(root, 'wireguard-go'), underlay, namespaces: underlay.namespaces, addresses: underlay.insides, pids: pidsOf(children) };
}

function charonConnection(underlay: Underlay, end: 0 | 1): string {
  const { addresses, insides } = underlay;
  const other = (1 - end) as 0 | 1;
  return `
connections {
  bench {
    version = 2
    local_addrs = ${addresses[end]}
    remote_addrs = ${addresses[other]}
    proposals = aes256gcm16-prfsha256-x25519
    encap = yes
    mobike = no
    local { auth = psk
      id = end${end} }
    remote { auth = psk
      id = end${other} }
    children { bench {
      local_ts = ${insides[end]}/32
      remote_ts = ${insides[other]}/32
      esp_proposals = aes256gcm16
      updown = /bin/true
    } }
  }
}
secrets { ike-bench { secret = "a secret of the bench that both ends know" } }
`;
}

/** AES-256-GCM in user space, UDP encapsulation. */
async function startLibipsec(lab: TunnelLab): Promise<Contestant> {
  const underlay = lab.addUnderlay();
  const daemons: Strongswan[] = [];
  for (const end of ENDS) {
    const namespace = underlay.namespaces[end];
    // Route installation needs an address inside the local selector.
    hostCommand('ip', ['-n', namespace, 'address', 'add', `${underlay.insides[end]}/32`, 'dev', 'lo']);
    daemons.push(await Strongswan.start({ network: lab.network, namespace, swanctl: charonConnection(underlay, end) }));
  }
  daemons[0]!.initiate('bench');
  const version = hostCommand('dpkg-query', ['-W', '-f', '${Version}', 'charon-systemd']);
  return { name: 'libipsec', version, underlay, namespaces: underlay.namespaces, addresses: underlay.insides, pids: [daemons[0]!.pid, daemons[1]!.pid] };
}

/** TLS and AES-256-GCM in user space (no kernel module). */
async function startOpenvpn(lab: TunnelLab): Promise<Contestant> {
  const underlay = lab.addUnderlay();
  const fingerprints = ENDS.map((end) => {
    const [key, certificate] = [join(lab.directory, `openvpn-${end}.key`), join(lab.directory, `openvpn-${end}.pem`)];
    hostCommand('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=end${end}`, '-days', '30', '-keyout', key, '-out', certificate]);
    return hostCommand('openssl', ['x509', '-in', certificate, '-noout', '-fingerprint', '-sha256']).trim().replace(/^.*=/, '');
  });
  const children = ENDS.map((end) => {
    const role = end === 0 ? ['--tls-client', '--connect-retry', '1'] : ['--tls-server', '--dh', 'none'];
    const device = `tun${FIRST_DEVICE_NUMBER + end}`;
    const args = [
      'openvpn', '--dev', device, '--dev-type', 'tun', '--disable-dco', '--proto', 'udp4', '--local', underlay.addresses[end], '--remote', underlay.addresses[1 - end]!, '--port', '1194',
      '--ifconfig', underlay.insides[end], underlay.insides[1 - end]!, '--tun-mtu', TUNNEL_MTU, '--cipher', 'AES-256-GCM', '--data-ciphers', 'AES-256-GCM', ...role,
      '--cert', join(lab.directory, `openvpn-${end}.pem`), '--key', join(lab.directory, `openvpn-${end}.key`), '--peer-fingerprint', fingerprints[1 - end]!, '--verb', '0',
    ];
    return lab.network.spawn(underlay.namespaces[end], args, { stdio: ['ignore', 'inherit', 'inherit'] });
  });
  const version = hostCommand('dpkg-query', ['-W', '-f', '${Version}', 'openvpn']);
  return { name: 'openvpn', version, underlay, namespaces: underlay.namespaces, addresses: underlay.insides, pids: pidsOf(children) };
}

function nebulaSettings(lab: TunnelLab, underlay: Underlay, end: 0 | 1): string {
  return JSON.stringify({
    pki: { ca: join(lab.directory, 'nebula-ca.crt'), cert: join(lab.directory, `nebula-${end}.crt`), key: join(lab.directory, `nebula-${end}.key`) },
    static_host_map: { [underlay.insides[1 - end]!]: [`${underlay.addresses[1 - end]}:4242`] },
    lighthouse: { am_lighthouse: false, hosts: [] },
    listen: { host: underlay.addresses[end], port: 4242 },
    cipher: 'aes',
    tun: { dev: `nebula${end}`, mtu: Number(TUNNEL_MTU) },
    logging: { level: 'error' },
    firewall: { outbound: [{ port: 'any', proto: 'any', host: 'any' }], inbound: [{ port: 'any', proto: 'any', host: 'any' }] },
  });
}

async function startNebula(lab: TunnelLab): Promise<Contestant> {
  const root = debianFiles(NEWER_RELEASE, ['wireguard-go', 'nebula']);
  const underlay = lab.addUnderlay();
  const program = (name: string): string => join(root, 'usr/bin', name);
  const file = (name: string): string => join(lab.directory, name);
  hostCommand(program('nebula-cert'), ['ca', '-name', 'bench', '-out-crt', file('nebula-ca.crt'), '-out-key', file('nebula-ca.key')]);
  const children = ENDS.map((end) => {
    const sign = ['sign', '-ca-crt', file('nebula-ca.crt'), '-ca-key', file('nebula-ca.key'), '-name', `end${end}`, '-ip', `${underlay.insides[end]}/24`];
    hostCommand(program('nebula-cert'), [...sign, '-out-crt', file(`nebula-${end}.crt`), '-out-key', file(`nebula-${end}.key`)]);
    const settings = lab.write(`nebula-${end}.yml`, nebulaSettings(lab, underlay, end));
    return lab.network.spawn(underlay.namespaces[end], [program('nebula'), '-config', settings], { stdio: ['ignore', 'inherit', 'inherit'] });
  });
  return { name: 'nebula', version: packageVersion(root, 'nebula'), underlay, namespaces: underlay.namespaces, addresses: underlay.insides, pids: pidsOf(children) };
}
