// The Debian package of one architecture: the payload of a box, installed as a service on an ordinary Debian host.
// Two builds of one commit with the same compiler are the same octets.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '../../platform/errors.ts';
import type { Architecture } from '../architecture.ts';
import type { Origin } from '../origin.ts';
import { CODE, layOutPayload } from '../payload.ts';
import { newestGlibc } from './elf.ts';
import { MAINTAINER_SCRIPTS } from './scripts.ts';

/** Files that an operator may change and that an upgrade must not overwrite. */
const CONFIGURATION_FILES = ['/etc/logrotate.d/selvage'];
/** What the code runs: iproute2 and sysctl for virtual routers, dhcpcd for their addresses, systemd for everything around it. */
const DEPENDS = ['libstdc++6', 'libgcc-s1', 'iproute2', 'procps', 'dhcpcd-base', 'logrotate', 'systemd (>= 252)', 'passwd'];
const HIGHEST_LEVEL_IN_SECONDS = '9';

/** `0.1.0+20261124013000.ab7d867c8e2f`: later commits are newer for apt. */
export function packageVersion({ version, commit, buildTime }: Origin): string {
  const time = new Date(buildTime * 1000).toISOString().replaceAll(/\D/g, '').slice(0, 14);
  const [id = '', modified] = commit.split('-');
  return `${version}+${time}.${id.slice(0, 12)}${modified === undefined ? '' : '.modified'}`;
}

function control(architecture: Architecture, version: string, glibc: string, installedKiB: number): string {
  return [
    'Package: selvage',
    `Version: ${version}`,
    `Architecture: ${architecture.debian}`,
    'Maintainer: The Selvage project <selvage@localhost>',
    `Installed-Size: ${installedKiB}`,
    `Depends: ${[`libc6 (>= ${glibc})`, ...DEPENDS].join(', ')}`,
    // AES-GCM in half of the time on x86-64 with VAES; without it OpenSSL seals.
    'Recommends: libipsec-mb1 | libipsec-mb2',
    'Section: net',
    'Priority: optional',
    'Description: SD-WAN secure edge appliance',
    ' A branch, Controller or Director of an SD-WAN: zero-touch onboarding, IKEv2 to',
    ' the Controller, IPsec between branches without IKE, one virtual router per',
    ' tenant. Write /etc/selvage/selvage.json, then enable selvage.service or',
    ' selvage-director.service.',
    '',
  ].join('\n');
}

interface Laid {
  readonly sums: string;
  readonly kib: number;
}

/** Checksums of all files below `root`, as dpkg keeps them, and their size. */
function measure(root: string): Laid {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)).sort();
  let octets = 0;
  const lines = paths.map((path) => {
    const bytes = readFileSync(join(root, path));
    octets += bytes.length;
    return CONFIGURATION_FILES.includes(`/${path}`) ? '' : `${createHash('md5').update(bytes).digest('hex')}  ${path}\n`;
  });
  return { sums: lines.join(''), kib: Math.ceil(octets / 1024) };
}

function glibcOf(root: string): string {
  const files = ['bin/node', 'drivers/native/build/selvage.node'].map((name) => newestGlibc(readFileSync(join(root, CODE, name))));
  return files.sort((a, b) => Number(a.split('.')[1]) - Number(b.split('.')[1])).at(-1)!;
}

/** Builds the package into `directory` and returns its path. Throws OperationalError. */
export function buildDeb(checkout: string, architecture: Architecture, directory: string): string {
  const root = mkdtempSync(join(tmpdir(), 'selvage-deb-'));
  try {
    chmodSync(root, 0o755);
    const origin = layOutPayload({ checkout, root, architecture });
    const version = packageVersion(origin);
    const { sums, kib } = measure(root);
    mkdirSync(join(root, 'DEBIAN'));
    const files = { control: control(architecture, version, glibcOf(root), kib), conffiles: CONFIGURATION_FILES.map((path) => `${path}\n`).join(''), md5sums: sums };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, 'DEBIAN', name), text, { mode: 0o644 });
    for (const [name, text] of Object.entries(MAINTAINER_SCRIPTS)) writeFileSync(join(root, 'DEBIAN', name), text, { mode: 0o755 });
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o755);
    mkdirSync(directory, { recursive: true });
    const file = join(directory, `selvage_${version}_${architecture.debian}.deb`);
    // One thread, because the number of threads shows in the octets.
    const args = ['--root-owner-group', '-Zzstd', `-z${HIGHEST_LEVEL_IN_SECONDS}`, '--threads-max=1', '--build', root, file];
    const { status, stderr, error } = spawnSync('dpkg-deb', args, { encoding: 'utf8', env: { ...process.env, SOURCE_DATE_EPOCH: `${origin.buildTime}` } });
    if (status !== 0) throw new OperationalError('dpkg-deb', `dpkg-deb: ${error?.message ?? stderr.trim()}`, 'free space for temporary files, then build again');
    return file;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
