// One set-up at a time per checkout. The kernel's own file lock does the work, so a set-up that is killed leaves
// nothing locked; the file's content only names the owner for those who wait.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { say } from './failure.mjs';

/**
 * Holds the lock while `work` runs. Where flock(1) does not exist (no Linux), work runs without a lock.
 * @template T
 * @param {string} root
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(root, work) {
  const directory = join(root, '.selvage');
  // Who may not write the checkout cannot change it either.
  if (!isWritable(root)) return work();
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'setup.lock');
  if (spawnSync('flock', ['--version'], { stdio: 'ignore' }).error !== undefined) return work();
  const release = await acquire(file);
  try {
    writeFileSync(file, `${process.pid}\n`);
    return await work();
  } finally {
    release();
  }
}

function isWritable(path) {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The holder is a child that reads our pipe: it ends, and the lock with it, when we end in whatever way. */
function acquire(file) {
  return new Promise((resolve, reject) => {
    const holder = spawn('flock', [file, 'sh', '-c', 'echo held; cat >/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const notice = setTimeout(() => say(`waiting for another set-up (process ${ownerOf(file)}) to finish`), 500);
    holder.on('error', reject);
    holder.stdout.once('data', () => {
      clearTimeout(notice);
      resolve(() => holder.stdin.end());
    });
  });
}

function ownerOf(file) {
  try {
    return readFileSync(file, 'utf8').trim() || 'unknown';
  } catch {
    return 'unknown';
  }
}
