// The root file system of a newer Debian beside this machine's, for counterparts that this release has only in an
// older version. Built once from the machine's own package source and kept in the machine's cache.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { archiveUri } from '../../images/debian-archive.ts';
import { OperationalError } from '../../platform/errors.ts';

const CACHE = '/var/cache/selvage';
const BUILD_TIMEOUT_MS = 600_000;
const STRONGSWAN = ['charon-systemd', 'strongswan-swanctl', 'libcharon-extra-plugins', 'libcharon-extauth-plugins', 'libstrongswan-extra-plugins'];
/** What an appliance needs around it, what gives it addresses, and what installs its upgrades. */
const APPLIANCE = ['systemd', 'systemd-sysv', 'dbus', 'rauc', 'rauc-service', 'squashfs-tools', 'openssl', 'grub-common', 'iproute2', 'procps', 'dhcpcd-base', 'dnsmasq-base', 'logrotate', 'passwd', 'libstdc++6'];
/** Parts of the caches' names: a change of a list makes a new root. */
const REVISION = 1;
const APPLIANCE_REVISION = 2;

/** Path of the root file system of this release (`trixie`, `sid`) in which strongSwan can be run. */
export function debianRoot(release: string): string {
  return builtRoot(`${release}-${process.arch}-${REVISION}`, release, ['--variant=apt', `--include=${STRONGSWAN.join(',')}`]);
}

/** Path of the root file system of this release on which the appliance can be installed, with RAUC. */
export function applianceRoot(release: string): string {
  return builtRoot(`${release}-${process.arch}-appliance-${APPLIANCE_REVISION}`, release, ['--variant=apt', `--include=${APPLIANCE.join(',')}`]);
}

/** Path of a folder with the unpacked files of a few packages of this release, for programs that need no libraries of it. */
export function debianFiles(release: string, packages: readonly string[]): string {
  return builtRoot(`${release}-${process.arch}-${packages.join('-')}-${REVISION}`, release, ['--variant=extract', `--include=${packages.join(',')}`]);
}

function builtRoot(name: string, release: string, choice: readonly string[]): string {
  const root = join(CACHE, name);
  if (existsSync(root)) return root;
  mkdirSync(CACHE, { recursive: true });
  const building = mkdtempSync(`${root}-building-`);
  try {
    const args = ['--mode=root', '--quiet', ...choice, '--aptopt=Acquire::Check-Valid-Until "false"'];
    const result = spawnSync('mmdebstrap', [...args, release, building, archiveUri()], { encoding: 'utf8', timeout: BUILD_TIMEOUT_MS });
    if (result.status !== 0) {
      throw new OperationalError('mmdebstrap', `mmdebstrap ${release}: ${result.error?.message ?? result.stderr.slice(-2000)}`, 'Check that the package source of this machine carries this release');
    }
    // Two builders may race; the first one wins and the other's work is thrown away.
    if (!existsSync(root)) renameSync(building, root);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  return root;
}
