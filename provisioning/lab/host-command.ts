// Commands of the host (ip, nft, mount) run to their end; a failure names the command and what it said.
import { spawnSync } from 'node:child_process';
import { OperationalError } from '../../platform/errors.ts';

/** Generous, because a machine under test load is slow; a command that hangs still ends. */
const COMMAND_TIMEOUT_MS = 60_000;

/** Returns what the command wrote; throws OperationalError when it fails. */
export function hostCommand(command: string, args: readonly string[], input = ''): string {
  const result = spawnSync(command, args, { input, encoding: 'utf8', timeout: COMMAND_TIMEOUT_MS });
  if (result.error !== undefined) {
    throw new OperationalError('command-missing', `${command} could not be run: ${result.error.message}`, 'Run "npm run setup" as root');
  }
  if (result.status !== 0) {
    const said = result.stderr.trim() || result.stdout.trim() || `signal ${result.signal}`;
    throw new OperationalError('command-failed', `${command} ${args.join(' ')}: ${said}`, 'Repair what the message names, then start again');
  }
  return result.stdout;
}
