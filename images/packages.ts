// The npm packages of the product for one architecture, as package-lock.json pins them, and their licences.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { OperationalError } from '../platform/errors.ts';
import type { Architecture } from './architecture.ts';

const NPM_TIMEOUT_MS = 300_000;
const DESCRIPTIONS = ['package.json', 'package-lock.json'] as const;

/**
 * A folder with `node_modules` of the product and the pinned Node (`node-linux-<arch>`), without what only development
 * needs. Kept below `.selvage` of the checkout as long as package-lock.json stays as it is. Throws OperationalError.
 */
export function productionPackages(checkout: string, architecture: Architecture): string {
  const lock = createHash('sha256').update(readFileSync(join(checkout, 'package-lock.json'))).digest('hex').slice(0, 16);
  const folder = join(checkout, '.selvage', `packages-${architecture.node}-${lock}`);
  if (existsSync(folder)) return folder;
  mkdirSync(join(checkout, '.selvage'), { recursive: true });
  const building = mkdtempSync(`${folder}-`);
  try {
    for (const name of DESCRIPTIONS) cpSync(join(checkout, name), join(building, name));
    const args = ['ci', '--omit=dev', `--cpu=${architecture.node}`, '--os=linux', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
    const { status, stderr, error } = spawnSync('npm', args, { cwd: building, encoding: 'utf8', timeout: NPM_TIMEOUT_MS });
    if (status !== 0) throw new OperationalError('npm-ci', `npm ci for ${architecture.node}: ${error?.message ?? stderr.slice(-2000)}`, 'check that npm reaches its registry, then build again');
    // It names the registry of this machine.
    rmSync(join(building, 'node_modules/.package-lock.json'));
    // Two builders may race; the first one wins and the other's work is thrown away.
    if (!existsSync(folder)) renameSync(building, folder);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  return folder;
}

export function nodePackage(architecture: Architecture): string {
  return `node-linux-${architecture.node}`;
}

interface Description {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
}

/** Folders of all packages below a `node_modules`, sorted. */
function packageFolders(modules: string): readonly string[] {
  return readdirSync(modules, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .flatMap(({ name }) => {
      const folder = join(modules, name);
      if (name.startsWith('@')) return packageFolders(folder);
      const inner = join(folder, 'node_modules');
      return existsSync(inner) ? [folder, ...packageFolders(inner)] : [folder];
    })
    .sort();
}

/** One text with name, version, licence and licence text of every package in `folder` (see productionPackages). */
export function licenceNotices(folder: string): string {
  const parts = packageFolders(join(folder, 'node_modules')).map((path) => {
    const { name, version, license = 'see below' } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Description;
    const files = readdirSync(path).filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file)).sort();
    const texts = files.map((file) => readFileSync(join(path, file), 'utf8').trim());
    return [`${name} ${version}: ${license}`, ...texts].join('\n\n');
  });
  return parts.join(`\n\n${'-'.repeat(76)}\n\n`) + '\n';
}
