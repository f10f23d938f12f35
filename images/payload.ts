// What a box gets from us, as files below a root directory: the code with its Node, packages and addon in
// /usr/lib/selvage, the units and rules of systemd, the operator's command, and the licences. Disk images and Debian
// packages hold the same files; nothing in them depends on when, where or by whom they were laid out.
import { chmodSync, copyFileSync, cpSync, lstatSync, lutimesSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildAddon } from '../drivers/native/build.mjs';
import { PLATFORM_VERSION } from '../firmware/version.ts';
import type { Architecture } from './architecture.ts';
import { git, originOf, type Origin } from './origin.ts';
import { licenceNotices, nodePackage, productionPackages } from './packages.ts';

/** Where the code lies on a box. */
export const CODE = 'usr/lib/selvage';
/** What this installation is: product, version, commit, buildTime (Unix seconds) and architecture. */
export const IMAGE_FACTS = `${CODE}/image.json`;

const PARTS = ['firmware', 'drivers', 'platform', 'provisioning', 'systemd', 'docs', 'package.json', 'LICENSE'];
/** Needed for building and for the lab only. */
const LEFT_OUT = /^(?:drivers\/native\/(?:src\/|build\.mjs)|provisioning\/(?:lab|setup)\/)/;

const COMMAND = `#!/bin/sh
exec /usr/lib/selvage/bin/node --disable-warning=ExperimentalWarning /usr/lib/selvage/firmware/shell/main.ts "$@"
`;

export interface PayloadOptions {
  readonly checkout: string;
  /** Root directory of the box's files; may hold a whole system already. */
  readonly root: string;
  readonly architecture: Architecture;
}

/** Writes the files below `root` and returns what they were made of. Throws OperationalError, or Error from the compiler. */
export function layOutPayload({ checkout, root, architecture }: PayloadOptions): Origin {
  const origin = originOf(checkout, PLATFORM_VERSION);
  const code = join(root, CODE);
  rmSync(code, { recursive: true, force: true });
  layOutCode(checkout, code, architecture);
  const { version, commit, buildTime } = origin;
  const facts = { product: 'selvage', version, commit, buildTime, architecture: architecture.machine };
  writeFileSync(join(root, IMAGE_FACTS), `${JSON.stringify(facts, undefined, 2)}\n`);
  const rules = layOutRules(checkout, root);
  const notices = join(root, 'usr/share/doc/selvage/copyright');
  mkdirSync(dirname(notices), { recursive: true });
  writeFileSync(notices, `${readFileSync(join(checkout, 'LICENSE'), 'utf8')}\n${licenceNotices(productionPackages(checkout, architecture))}`);
  for (const path of [code, notices, ...rules]) settle(path, buildTime);
  return origin;
}

function layOutCode(checkout: string, code: string, architecture: Architecture): void {
  for (const path of git(checkout, 'ls-files', '-z', ...PARTS).split('\0')) {
    if (path === '' || LEFT_OUT.test(path)) continue;
    mkdirSync(dirname(join(code, path)), { recursive: true });
    copyFileSync(join(checkout, path), join(code, path));
  }
  const packages = productionPackages(checkout, architecture);
  const node = join('node_modules', nodePackage(architecture));
  mkdirSync(join(code, 'bin'), { recursive: true });
  copyFileSync(join(packages, node, 'bin/node'), join(code, 'bin/node'));
  cpSync(join(packages, 'node_modules'), join(code, 'node_modules'), { recursive: true, filter: (path) => !path.endsWith(`/${node}`) && !path.endsWith('/.bin') });
  const { file } = buildAddon(checkout, { arch: architecture.node, headers: join(packages, node, 'include/node') });
  mkdirSync(join(code, 'drivers/native/build'), { recursive: true });
  copyFileSync(file, join(code, 'drivers/native/build/selvage.node'));
}

/** Units, rules and the operator's command, where Debian's tools look for them; returns their paths. */
function layOutRules(checkout: string, root: string): readonly string[] {
  const units = readdirSync(join(checkout, 'systemd')).filter((name) => /\.(?:service|path|timer|target)$/.test(name));
  const places: readonly (readonly [from: string, to: string])[] = [
    ...units.map((name) => [name, `usr/lib/systemd/system/${name}`] as const),
    ['selvage.sysusers.conf', 'usr/lib/sysusers.d/selvage.conf'],
    ['selvage.tmpfiles.conf', 'usr/lib/tmpfiles.d/selvage.conf'],
    ['selvage.logrotate', 'etc/logrotate.d/selvage'],
  ];
  const command = join(root, 'usr/bin/selvage');
  mkdirSync(dirname(command), { recursive: true });
  writeFileSync(command, COMMAND);
  chmodSync(command, 0o755);
  const laid = places.map(([from, to]) => {
    const path = join(root, to);
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(join(checkout, 'systemd', from), path);
    return path;
  });
  return [command, ...laid];
}

/** Gives a tree the modes and times that are the same for every builder. */
function settle(path: string, buildTime: number): void {
  const facts = lstatSync(path);
  if (facts.isDirectory()) {
    for (const name of readdirSync(path)) settle(join(path, name), buildTime);
    chmodSync(path, 0o755);
  } else if (!facts.isSymbolicLink()) {
    chmodSync(path, (facts.mode & 0o111) === 0 ? 0o644 : 0o755);
  }
  lutimesSync(path, buildTime, buildTime);
}
