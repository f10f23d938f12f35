// Sets this machine up if needed and runs one command: node main.mjs COMMAND [arguments]; the commands are in commands.mjs.
// Runs under any Node from 18 on and uses no package, because it is what installs them.
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ADDON_COMMANDS, COMMANDS, ROOT_COMMANDS } from './commands.mjs';
import { ensureDebianPackages } from './debian.mjs';
import { SetupFailure, say } from './failure.mjs';
import { withLock } from './lock.mjs';
import { ensureNpmPackages, pinnedNode } from './npm-packages.mjs';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

async function ensureAddon() {
  const script = join(ROOT, 'drivers/native/build.mjs');
  if (!existsSync(script)) return;
  const { buildAddon } = await import(pathToFileURL(script).href);
  let outcome;
  try {
    outcome = await buildAddon(ROOT);
  } catch (error) {
    throw new SetupFailure(error.message, 'Then run the command again');
  }
  if (outcome.built) say('compiled the native addon');
}

function requireHost(command) {
  if (!ROOT_COMMANDS.includes(command)) return;
  if (process.platform !== 'linux') throw new SetupFailure(`"${command}" needs Linux network namespaces`, 'Run it on Debian 12 or newer');
  if (process.getuid?.() !== 0) throw new SetupFailure(`"${command}" makes network namespaces, which only root may`, `Run it as root: sudo npm run ${command}`);
}

async function prepare(command) {
  await ensureDebianPackages(ROOT, command);
  await ensureNpmPackages(ROOT);
  const node = pinnedNode(ROOT);
  if (ADDON_COMMANDS.includes(command)) await ensureAddon();
  return node;
}

async function main([command, ...args]) {
  const run = Object.hasOwn(COMMANDS, command ?? '') ? COMMANDS[command] : undefined;
  if (run === undefined) {
    throw new SetupFailure(`"${command ?? ''}" is not a command`, `Use one of: ${Object.keys(COMMANDS).join(', ')}`);
  }
  requireHost(command);
  const node = await withLock(ROOT, () => prepare(command));
  if (command === 'setup') say('this machine has everything');
  return run({ root: ROOT, node, args });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof SetupFailure ? error.message : String(error?.stack ?? error));
  process.exitCode = 1;
}
