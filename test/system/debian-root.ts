// The root file system of a newer Debian beside this machine's, for counterparts that this release has only in an
// older version.
import { keptRoot } from '../../images/debian-root.ts';

const STRONGSWAN = ['charon-systemd', 'strongswan-swanctl', 'libcharon-extra-plugins', 'libcharon-extauth-plugins', 'libstrongswan-extra-plugins'];
/** What an appliance needs around it, what gives it addresses, and what installs its upgrades. */
const APPLIANCE = ['systemd', 'systemd-sysv', 'dbus', 'rauc', 'rauc-service', 'squashfs-tools', 'openssl', 'grub-common', 'iproute2', 'procps', 'dhcpcd-base', 'dnsmasq-base', 'logrotate', 'passwd', 'libstdc++6'];
/** Parts of the caches' names: a change of a list makes a new root. */
const REVISION = 1;
const APPLIANCE_REVISION = 2;

/** Path of the root file system of this release (`trixie`, `sid`) in which strongSwan can be run. */
export function debianRoot(release: string): string {
  return keptRoot(`${release}-${process.arch}-${REVISION}`, release, ['--variant=apt', `--include=${STRONGSWAN.join(',')}`]);
}

/** Path of the root file system of this release on which the appliance can be installed, with RAUC. */
export function applianceRoot(release: string): string {
  return keptRoot(`${release}-${process.arch}-appliance-${APPLIANCE_REVISION}`, release, ['--variant=apt', `--include=${APPLIANCE.join(',')}`]);
}

/** Path of a folder with the unpacked files of a few packages of this release, for programs that need no libraries of it. */
export function debianFiles(release: string, packages: readonly string[]): string {
  return keptRoot(`${release}-${process.arch}-${packages.join('-')}-${REVISION}`, release, ['--variant=extract', `--include=${packages.join(',')}`]);
}
