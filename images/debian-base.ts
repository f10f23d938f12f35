// The Debian part of an image: packages of the release from the machine's own source, unpacked once per list of
// packages and kept in the machine's cache. Nothing of ours is in it.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../platform/time.ts';
import type { Architecture } from './architecture.ts';
import { beginBuilding, cachePath, endBuilding, isCached, keepBuilt } from './cache.ts';
import { runCommand } from './build.ts';
import type { Build } from './build.ts';
import { archiveUri } from './debian-archive.ts';
import { imagePlatform } from './image-platform.ts';
import { ensureForeignBinaries } from './foreign-binaries.ts';

const RELEASE = 'trixie';
/** When the release came out. The base does not depend on our commit, so its times do not either. */
const RELEASE_EPOCH = 1_754_697_600;

const PACKAGES = [
  // the system
  ...['systemd', 'systemd-sysv', 'udev', 'dbus', 'kmod', 'procps', 'login', 'logrotate', 'e2fsprogs', 'fdisk', 'busybox'],
  // the network; tcpdump is run by the shell and by Director
  ...['iproute2', 'nftables', 'iputils-ping', 'tcpdump', 'ethtool'],
  // addresses of WAN ports; the appliance runs it, and no service of its own does
  'dhcpcd-base',
  // firmware of network cards
  ...['firmware-realtek', 'firmware-bnx2', 'firmware-bnx2x', 'firmware-intel-misc'],
  // two slots, verified
  ...['rauc', 'rauc-service', 'grub-common', 'initramfs-tools', 'cryptsetup-bin'],
];

/** What no router needs: documents, sound, screens, radio. */
const LEFT_OUT = [
  ...['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/info/*', '/usr/share/locale/*', '/usr/share/bug/*', '/usr/share/lintian/*'],
  ...['sound', 'drivers/media', 'drivers/staging', 'drivers/infiniband', 'drivers/isdn', 'drivers/iio', 'drivers/bluetooth', 'drivers/net/wireless'].map(
    (part) => `/usr/lib/modules/*/kernel/${part}/*`,
  ),
  ...['amd', 'i915', 'xe', 'nouveau', 'radeon', 'gma500', 'msm'].map((driver) => `/usr/lib/modules/*/kernel/drivers/gpu/drm/${driver}/*`),
];
const KEPT = '/usr/share/doc/*/copyright';
/** Firmware of network cards by folder; the packages hold that of sound, radio and graphics too. */
const FIRMWARE = ['rtl_nic', 'bnx2', 'bnx2x', 'intel/ice'];

function settings(architecture: Architecture): string[] {
  const { kernelPackage, grubPackage } = imagePlatform(architecture);
  const paths = [...LEFT_OUT.map((path) => `path-exclude=${path}`), `path-include=${KEPT}`];
  return [
    '--mode=root',
    '--variant=minbase',
    // Firmware of network cards is not in main.
    '--components=main,non-free-firmware',
    `--architectures=${architecture.debian}`,
    '--aptopt=Acquire::Check-Valid-Until "false"',
    ...paths.map((path) => `--dpkgopt=${path}`),
    `--include=${[...PACKAGES, kernelPackage, grubPackage].join(',')}`,
  ];
}

/**
 * Directory of the unpacked release; to be read only. A cached one is used unless `fresh`, so a build that must have the
 * newest packages asks for it.
 */
export async function debianBase(build: Build, fresh: boolean): Promise<string> {
  const options = settings(build.architecture);
  const key = createHash('sha256').update(JSON.stringify([RELEASE, RELEASE_EPOCH, options])).digest('hex').slice(0, 12);
  const name = `image-${build.architecture.debian}-${key}`;
  if (isCached(name) && !fresh) {
    build.print(`Debian ${RELEASE} ${build.architecture.debian}: from the cache`);
    return cachePath(name);
  }
  build.print(`Debian ${RELEASE} ${build.architecture.debian}: unpacking packages (about a minute; five for another architecture)`);
  const building = beginBuilding(name, new SystemClock().unixMs());
  try {
    // INITRD: made when the root is complete, and once.
    const env = { SOURCE_DATE_EPOCH: String(RELEASE_EPOCH), INITRD: 'No' };
    ensureForeignBinaries(build.architecture);
    await runCommand(build, 'mmdebstrap', [...options, RELEASE, building, archiveUri()], { env });
    keepFirmware(building);
    keepBuilt(building, name, fresh);
  } finally {
    endBuilding(building);
  }
  return cachePath(name);
}

function keepFirmware(root: string): void {
  const firmware = join(root, 'usr/lib/firmware');
  const all = join(root, 'usr/lib/firmware-of-packages');
  renameSync(firmware, all);
  for (const folder of FIRMWARE) if (existsSync(join(all, folder))) cpSync(join(all, folder), join(firmware, folder), { recursive: true, verbatimSymlinks: true });
  rmSync(all, { recursive: true });
}

/** Name and version of every Debian package of a root, sorted. */
export function debianPackages(root: string): { readonly name: string; readonly version: string; readonly architecture: string; readonly source: string }[] {
  const format = '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n';
  const { stdout } = spawnSync('dpkg-query', ['--admindir', join(root, 'var/lib/dpkg'), '-W', '-f', format], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return stdout
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([status]) => status === 'installed')
    .map(([, name, version, architecture, source]) => ({ name: name!, version: version!, architecture: architecture!, source: source! }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
