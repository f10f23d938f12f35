// Debian packages: which ones a command needs and why, and how they are installed without starting any service.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupFailure, say } from './failure.mjs';
import { runLogged } from './run.mjs';

/** @typedef {'setup' | 'lab' | 'test' | 'check' | 'sim' | 'fuzz' | 'bench' | 'deb' | 'bundle' | 'interop' | 'sanitize' | 'image' | 'image:boot'} Command */

const BUILD = ['test', 'deb', 'image'];
const IMAGE_COMMANDS = ['image', 'image:boot'];
const LAB = ['setup', 'lab', 'test', 'sanitize', 'bench', 'interop', ...IMAGE_COMMANDS];
const TEST = ['setup', 'test', 'bench', 'interop'];
/** Tests build an image for x86_64 and boot it. */
const IMAGE = ['setup', 'test', ...IMAGE_COMMANDS];

/**
 * `service`: what the package would start at the next boot although only tests use it. `optional`: left
 * out where this release or architecture has no such package.
 * @type {readonly { name: string, for: readonly string[], reason: string, service?: string, optional?: boolean }[]}
 */
export const DEBIAN_PACKAGES = [
  { name: 'gcc', for: [...LAB, 'deb'], reason: 'compiles the native addon' },
  { name: 'libc6-dev', for: [...LAB, 'deb'], reason: 'C library headers for the native addon' },
  { name: 'util-linux', for: LAB, reason: 'unshare, nsenter, setpriv and flock around the lab and its nodes' },
  { name: 'iproute2', for: LAB, reason: 'namespaces, devices and routes' },
  { name: 'dhcpcd-base', for: LAB, reason: 'addresses of WAN ports by DHCP and router advertisements' },
  { name: 'dnsmasq-base', for: LAB, reason: 'the DHCP server and router advertisements that they get them from' },
  { name: 'procps', for: LAB, reason: 'sysctl for forwarding in namespaces' },
  { name: 'iputils-ping', for: LAB, reason: 'reachability checks' },
  { name: 'nftables', for: LAB, reason: 'the NAT box of the lab' },
  { name: 'tcpdump', for: LAB, reason: 'captures on request of Director and the shell' },
  { name: 'ethtool', for: LAB, reason: 'offload settings of test devices' },
  { name: 'iperf3', for: LAB, reason: 'throughput through the overlay' },
  { name: 'tshark', for: LAB, reason: 'an independent dissector judges what we send' },
  { name: 'strongswan-swanctl', for: TEST, reason: 'configures the IKE counterpart' },
  { name: 'charon-systemd', for: TEST, reason: 'the IKE counterpart', service: 'strongswan' },
  { name: 'libcharon-extra-plugins', for: TEST, reason: 'kernel-libipsec: ESP of the counterpart without kernel state' },
  { name: 'libcharon-extauth-plugins', for: TEST, reason: 'EAP-MSCHAPv2 of the counterpart' },
  { name: 'libstrongswan-standard-plugins', for: TEST, reason: 'the OpenSSL plugin of the counterpart' },
  { name: 'libstrongswan-extra-plugins', for: TEST, reason: 'algorithms of the counterpart' },
  { name: 'frr', for: TEST, reason: 'the BGP counterpart', service: 'frr' },
  { name: 'logrotate', for: TEST, reason: 'rotates the logs of a process that keeps writing', service: 'logrotate.timer' },
  { name: 'systemd', for: TEST, reason: 'judges our units and rules, and runs the services in namespaces' },
  { name: 'openssl', for: [...TEST, 'image', 'bundle'], reason: 'certificates that we did not make, for tests and counterparts' },
  { name: 'wireguard-tools', for: ['bench'], reason: 'configures wireguard-go for the tunnel bench' },
  { name: 'openvpn', for: ['bench'], reason: 'a counterpart of the tunnel bench', service: 'openvpn' },
  { name: 'git', for: BUILD, reason: 'says of which commit a build is' },
  { name: 'dpkg', for: BUILD, reason: 'packs the Debian package' },
  { name: 'gcc-aarch64-linux-gnu', for: BUILD, reason: 'compiles the addon for arm64' },
  { name: 'libc6-dev-arm64-cross', for: BUILD, reason: 'C library headers for the addon on arm64' },
  { name: 'libipsec-mb1', for: LAB, reason: 'the faster AES-GCM of the data plane, where the processor has VAES', optional: true },
  { name: 'mmdebstrap', for: [...TEST, ...IMAGE_COMMANDS], reason: 'a newer release beside this one, for images, QEMU and newer counterparts' },
  { name: 'rauc', for: ['test', 'bundle'], reason: 'packs and signs update bundles' },
  { name: 'squashfs-tools', for: [...IMAGE, 'bundle'], reason: 'packs the root of an image' },
  { name: 'cryptsetup-bin', for: IMAGE, reason: 'the hash tree of an image' },
  { name: 'mtools', for: IMAGE, reason: 'the boot partition of an image, and sticks for its tests' },
  { name: 'fdisk', for: IMAGE, reason: 'the partition table of an image' },
  { name: 'e2fsprogs', for: IMAGE, reason: 'the data partition of an image' },
  { name: 'qemu-utils', for: IMAGE, reason: 'images for virtual machines' },
  { name: 'ovmf', for: IMAGE, reason: 'UEFI of the virtual machine' },
  { name: 'qemu-user-static', for: IMAGE_COMMANDS, reason: 'runs the tools of an image of another architecture' },
  { name: 'arch-test', for: IMAGE_COMMANDS, reason: 'tells mmdebstrap that they run' },
  { name: 'qemu-efi-aarch64', for: IMAGE_COMMANDS, reason: 'UEFI of the virtual machine for aarch64' },
];

const POLICY_FILE = '/usr/sbin/policy-rc.d';
const POLICY_MARK = '# written by the set-up of Selvage; safe to delete';

/**
 * Installs what the command needs and is not there.
 * @param {string} root
 * @param {string} command
 */
export async function ensureDebianPackages(root, command) {
  const needed = DEBIAN_PACKAGES.filter((row) => row.for.includes(command));
  if (needed.length === 0) return;
  const optional = needed.filter((row) => row.optional === true).map((row) => row.name);
  const missing = missingPackages(needed.map((row) => row.name)).filter((name) => !optional.includes(name) || isOffered(name));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) {
    throw new SetupFailure(
      `Debian packages are missing (${missing.join(' ')}) and only root can install them`,
      `Run once as root: apt-get install --no-install-recommends ${missing.join(' ')}`,
    );
  }
  for (const row of needed) if (missing.includes(row.name)) say(`needs ${row.name}: ${row.reason}`);
  const log = join(root, '.selvage', 'apt.log');
  await install(missing, log);
  const services = needed.filter((row) => row.service !== undefined && missing.includes(row.name)).map((row) => row.service);
  if (services.length > 0) await runLogged('systemctl', ['--quiet', 'disable', ...services], log).catch(() => say('this machine has no systemctl, so no service was enabled'));
}

/** Whether apt can install it. */
function isOffered(name) {
  const { stdout } = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8' });
  return /^\s*Candidate: (?!\(none\))/m.test(stdout ?? '');
}

function missingPackages(names) {
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\\n', ...names], { encoding: 'utf8' });
  if (query.error !== undefined) {
    throw new SetupFailure('This machine has no dpkg-query, so it is not Debian', 'Use Debian 12 or newer, or a container or virtual machine of it');
  }
  const installed = new Set();
  for (const line of query.stdout.split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name);
  }
  return names.filter((name) => !installed.has(name));
}

async function install(names, log) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = ['-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', '-o', 'Dpkg::Use-Pty=0', '-o', 'Dpkg::Options::=--force-confold'];
  const removeGuard = guardServices();
  try {
    say('apt-get update');
    // A source that fails is no reason to stop: the packages may come from the others.
    await runLogged('apt-get', [...options, 'update'], log, { env });
    say(`apt-get install ${names.join(' ')}`);
    const code = await runLogged('apt-get', [...options, 'install', '-y', '--no-install-recommends', ...names], log, { env });
    if (code !== 0) {
      throw new SetupFailure(`apt-get install ended with code ${code}`, `Read ${log}, repair the package source and run the command again`);
    }
  } finally {
    removeGuard();
  }
}

/**
 * Debian starts a service when its package arrives. A policy file forbids it while we install; a machine that has
 * a policy of its own keeps it.
 * @returns {() => void} takes the guard away
 */
function guardServices() {
  if (existsSync(POLICY_FILE) && !readFileSync(POLICY_FILE, 'utf8').includes(POLICY_MARK)) return () => {};
  writeFileSync(POLICY_FILE, `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`, { mode: 0o755 });
  return () => rmSync(POLICY_FILE, { force: true });
}
