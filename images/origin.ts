// Where what we build comes from: the commit and its time, which are all that a build may know of the moment it runs in.
import { spawnSync } from 'node:child_process';
import { OperationalError } from '../platform/errors.ts';

export interface Origin {
  readonly version: string;
  /** Full name of the commit; with `-modified` when the checkout differs from it. */
  readonly commit: string;
  /** Unix seconds: SOURCE_DATE_EPOCH of everything that is built. */
  readonly buildTime: number;
}

/** Runs git in the checkout and returns what it says. Throws OperationalError. */
export function git(checkout: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync('git', ['-c', 'safe.directory=*', ...args], { cwd: checkout, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (status !== 0) throw new OperationalError('git', `git ${args[0]}: ${error?.message ?? stderr.trim()}`, 'build from a git checkout of the whole repository');
  return stdout;
}

/** Throws OperationalError where there is no commit. */
export function originOf(checkout: string, version: string): Origin {
  const [commit = '', time = ''] = git(checkout, 'log', '-1', '--format=%H %ct').trim().split(' ');
  const modified = git(checkout, 'status', '--porcelain').trim() !== '';
  return { version, commit: modified ? `${commit}-modified` : commit, buildTime: Number(time) };
}
