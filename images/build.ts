// One run of the image builder: what is built from, where it works, and how its commands are run and shown.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PLATFORM_VERSION } from '../firmware/version.ts';
import { OperationalError } from '../platform/errors.ts';
import type { Architecture } from './architecture.ts';
import { originOf, type Origin } from './origin.ts';

export const CHECKOUT = fileURLToPath(new URL('..', import.meta.url));
const SHOWN_OF_FAILURE_CHARACTERS = 4000;

export interface Build extends Origin {
  readonly architecture: Architecture;
  /** Scratch space; the caller removes it. */
  readonly work: string;
  /** Output of all commands. */
  readonly logFile: string;
  readonly print: (line: string) => void;
}

export function createBuild(options: Pick<Build, 'architecture' | 'work' | 'print'>): Build {
  mkdirSync(options.work, { recursive: true });
  return { ...options, ...originOf(CHECKOUT, PLATFORM_VERSION), logFile: join(options.work, 'build.log') };
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Runs a command with its output in the build's log; resolves with what it wrote to standard output. */
export async function runCommand(build: Build, command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  mkdirSync(dirname(build.logFile), { recursive: true });
  const log = openSync(build.logFile, 'a');
  try {
    const env = { ...process.env, SOURCE_DATE_EPOCH: String(build.buildTime), LC_ALL: 'C.UTF-8', TZ: 'UTC', ...options.env };
    const child = spawn(command, args, { ...(options.cwd === undefined ? {} : { cwd: options.cwd }), env, stdio: ['pipe', 'pipe', log] });
    const chunks: Buffer[] = [];
    child.stdout!.on('data', (bytes: Buffer) => chunks.push(bytes));
    // A command that does not read its input is none of our business.
    child.stdin!.on('error', () => {});
    child.stdin!.end(options.input ?? '');
    const status = await new Promise<number | string>((resolve, reject) => {
      child.once('error', (error) => reject(new OperationalError('command-missing', `${command} could not be run: ${error.message}`, 'Run "npm run setup" as root', error)));
      child.once('close', (code, signal) => resolve(code ?? signal ?? 1));
    });
    const said = Buffer.concat(chunks).toString('utf8');
    if (status !== 0) {
      const end = (said + readFileSync(build.logFile, 'utf8')).slice(-SHOWN_OF_FAILURE_CHARACTERS);
      throw new OperationalError('image-command', `${command} ended with ${status}:\n${end}`, 'Repair what it names, then build again');
    }
    return said;
  } finally {
    closeSync(log);
  }
}

/** A GUID that is the same in every build: version 8 (RFC 9562 5.8), from the hash of what it names. */
export function fixedUuid(name: string): string {
  const hash = createHash('sha256').update(`selvage image ${name}`).digest();
  hash[6] = (hash[6]! & 0x0f) | 0x80;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}
