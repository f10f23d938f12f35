// Child processes of the set-up: one place decides how output, signals and exit codes travel.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';

const FORWARDED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs a command on our own terminal and resolves with its exit code; a death by signal counts as 128 + number.
 * Signals that reach us go on to the command, so that it can end in order.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>}
 */
export function runAttached(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', ...options });
    const forward = FORWARDED_SIGNALS.map((signal) => {
      const listener = () => child.kill(signal);
      process.on(signal, listener);
      return () => process.off(signal, listener);
    });
    const end = () => forward.forEach((off) => off());
    child.on('error', (error) => {
      end();
      reject(error);
    });
    child.on('exit', (code, signal) => {
      end();
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/**
 * Runs a command with its output appended to a file.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {string} log
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} [options]
 * @returns {Promise<number>}
 */
export async function runLogged(command, args, log, options = {}) {
  const fd = openSync(log, 'a');
  try {
    return await runAttached(command, args, { ...options, stdio: ['ignore', fd, fd] });
  } finally {
    closeSync(fd);
  }
}
