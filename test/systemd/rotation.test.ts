// A real logrotate with the rules of systemd/selvage.logrotate, on the files of a process that keeps writing.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { sleep } from '../../platform/time.ts';

const RULES = fileURLToPath(new URL('../../systemd/selvage.logrotate', import.meta.url));
const WRITER = fileURLToPath(new URL('line-writer.ts', import.meta.url));
const CHANNELS = ['service', 'ipsec'] as const;
const ROTATIONS = 4;

/** logrotate sees the directory as /var/log/versa, in a mount table of its own. */
const ROTATE = `
set -e
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /var/log/versa
mount --bind "$1/log" /var/log/versa
exec logrotate --force --state "$1/state" "$1/rules"
`;

/** In place of systemd's: accepts exactly what the rules are documented to ask for. */
const SYSTEMCTL = `#!/bin/sh
[ "$*" = "kill --kill-whom=main --signal=HUP selvage.service selvage-director.service" ] || { echo "$*" >>"$SCRATCH/unexpected"; exit 1; }
kill -HUP "$WRITER"
`;

function lineNumbers(directory: string, channel: string): number[] {
  const name = new RegExp(`^versa-${channel}\\.log(?:\\.(\\d+)(?:\\.gz)?)?$`);
  const files = readdirSync(directory).flatMap((file) => {
    const age = name.exec(file);
    return age === null ? [] : [{ file, age: Number(age[1] ?? 0) }];
  });
  assert.equal(files.length, ROTATIONS + 1);
  return files
    .sort((a, b) => b.age - a.age)
    .map(({ file }) => readFileSync(join(directory, file)))
    .map((bytes) => (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString())
    .flatMap((text) => text.trimEnd().split('\n').map((line) => Number(/line written line=(\d+)$/.exec(line)![1])));
}

describe('log rotation', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-rotation-'));
  const log = join(scratch, 'log');

  after(() => rmSync(scratch, { recursive: true, force: true }));

  it('loses no line of a process that keeps writing, and repeats none', async () => {
    mkdirSync(join(scratch, 'bin'));
    mkdirSync(log);
    writeFileSync(join(scratch, 'bin/systemctl'), SYSTEMCTL, { mode: 0o755 });
    copyFileSync(RULES, join(scratch, 'rules'));
    chmodSync(join(scratch, 'rules'), 0o644);
    const writer = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', WRITER, log], { stdio: ['ignore', 'pipe', 'inherit'] });
    let written = '';
    writer.stdout.on('data', (bytes: Buffer) => (written += bytes.toString()));
    const grown = (channel: string): boolean => existsSync(join(log, `versa-${channel}.log`)) && statSync(join(log, `versa-${channel}.log`)).size > 10_000;
    try {
      const env = { ...process.env, PATH: `${join(scratch, 'bin')}:${process.env['PATH']}:/usr/sbin`, SCRATCH: scratch, WRITER: `${writer.pid}` };
      for (let rotation = 0; rotation < ROTATIONS; rotation++) {
        for (let waits = 0; !CHANNELS.every(grown); waits++) {
          assert.ok(waits < 1500, 'the files are opened again and grow');
          await sleep(10);
        }
        const said = execFileSync('unshare', ['--mount', '--', 'sh', '-c', ROTATE, 'rotate', scratch], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
        assert.equal(said, '');
      }
      for (let waits = 0; !CHANNELS.every(grown) && waits < 1500; waits++) await sleep(10);
      const ended = once(writer, 'close');
      writer.kill('SIGTERM');
      await ended;
    } finally {
      writer.kill('SIGKILL');
    }
    const [last, lost] = written.trim().split(' ').map(Number) as [number, number];
    assert.equal(lost, 0);
    assert.ok(!existsSync(join(scratch, 'unexpected')), 'systemctl was called otherwise');
    const all = Array.from({ length: last }, (_, i) => i + 1);
    for (const channel of CHANNELS) assert.deepEqual(lineNumbers(log, channel), all);
    assert.ok(existsSync(join(log, `versa-ipsec.log.${ROTATIONS}.gz`)), 'older files are compressed');
    assert.ok(existsSync(join(log, 'versa-ipsec.log.1')), 'the newest is not, for it may still be written to');
  });
});
