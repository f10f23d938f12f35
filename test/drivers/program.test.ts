// Programs beside this process, as the appliance starts them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { run } from '../../drivers/iproute.ts';
import { Program } from '../../drivers/program.ts';

const LARGE = 300_000;

/** Faults of this thread on pages that it already had (proc_pid_stat(5), minflt). */
function pageFaults(): number {
  return Number(readFileSync('/proc/thread-self/stat', 'utf8').replace(/^.*\) /, '').split(' ')[7]);
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

describe('a program beside this process', () => {
  it('reads its input, and its output and its exit code come back', async () => {
    const text = 'x'.repeat(LARGE);
    assert.equal(await run('cat', [], text), text);
    await assert.rejects(run('sh', ['-c', 'cat >/dev/null; echo no good >&2; exit 7'], text), { code: 'COMMAND_FAILED', message: /ended with 7: no good$/ });
  });

  it('is no failure of ours when it ends before it has read its input', async () => {
    assert.equal(await run('true', [], 'x'.repeat(LARGE)), '');
  });

  it('tells the signal that ended it, and a signal to one that has ended does nothing', async () => {
    const program = new Program('sleep', ['60']);
    program.kill('SIGTERM');
    assert.deepEqual(await program.ended, { code: null, signal: 'SIGTERM' });
    program.kill('SIGKILL');
  });

  it('is ended when it takes too long', async () => {
    await assert.rejects(run('sleep', ['60'], '', 50), { message: /did not end in time/ });
  });

  it('that is not there is named, with what to install', async () => {
    await assert.rejects(run('sysctl-of-nowhere', []), { code: 'ENOENT', nextStep: 'run: apt-get install sysctl-of-nowhere' });
    await assert.rejects(run('/nowhere/at/all', []), { code: 'ENOENT' });
    await assert.rejects(run('/etc', []), { code: 'EACCES' });
  });

  it('has the signals of a program that a shell starts, and no descriptors of ours', async () => {
    const status = await run('cat', ['/proc/self/status']);
    assert.match(status, /^SigBlk:\t0+$/m);
    // The C library keeps two signals above 31 for itself.
    assert.equal(BigInt(`0x${/^SigIgn:\t(.*)$/m.exec(status)![1]}`) & 0x7fffffffn, 0n);
    // What this process was given itself goes on to a program in every way of starting one.
    assert.equal(await run('ls', ['/proc/self/fd']), execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' }));
  });

  it('leaves nothing of it in this process', async () => {
    await run('true', []);
    const before = descriptors();
    for (let i = 0; i < 20; i++) await run('true', []);
    const dead = new Program('true', []);
    await Promise.all([dead.ended, once(dead.stdout, 'close'), once(dead.stderr, 'close')]);
    dead.stdin.destroy();
    await new Promise(setImmediate);
    assert.equal(descriptors(), before);
    assert.doesNotMatch(await run('ps', ['-o', 'stat=', '--ppid', `${process.pid}`]), /Z/);
  });

  it('takes no page away from the threads of this process', async () => {
    const memory = new Uint8Array(64 << 20).fill(1);
    await run('true', []);
    const touch = (): number => {
      const before = pageFaults();
      for (let i = 0; i < memory.length; i += 4096) memory[i] = 2;
      return pageFaults() - before;
    };
    touch();
    const running = new Program('sleep', ['60']);
    const faults = touch();
    running.kill('SIGKILL');
    await running.ended;
    running.stdin.destroy();
    assert.ok(faults < 2000, `${faults} faults on ${memory.length / 4096} pages`);
  });
});
