// The script that looks for a prestaging record on a stick, or on the box's own boot partition, in a mount table of its own
// whose `mount` shows a folder as the partition.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SCRIPT = join(import.meta.dirname, '../../images/files/usr/lib/selvage/image/find-record');
const SERIAL = 'BOX-7';

const STUBS: Readonly<Record<string, string>> = {
  // mount -t vfat -o OPTIONS DEVICE WHERE
  mount: 'echo "mount $2 $4" >>"$SCRATCH/said"; exec /bin/mount --bind "$SCRATCH/partition" "$6"',
  findmnt: 'cat "$SCRATCH/mounted" 2>/dev/null; exit 0',
  // Refuses as often as the file says.
  selvage: 'left=$(cat "$SCRATCH/refusals" 2>/dev/null || echo 0); echo $((left - 1)) >"$SCRATCH/refusals"; [ "$left" -le 0 ] || exit 1; echo "$1 $2 $3 $(cat "$4")" >>"$SCRATCH/said"',
  sleep: 'echo "sleep $1" >>"$SCRATCH/said"',
};

const INSIDE = `
set -e
/bin/mount -t tmpfs tmpfs /run
mkdir /run/selvage
perl -e 'use IO::Socket::UNIX; IO::Socket::UNIX->new(Local => "/run/selvage/monitor.sock", Listen => 1) or die'
/bin/mount -t tmpfs tmpfs /sys/class
mkdir -p /sys/class/dmi/id
printf '%s\\n' ${SERIAL} >/sys/class/dmi/id/product_serial
PATH="$SCRATCH/bin:$PATH" "$1" /dev/test
ls /run
`;

describe('the search for a prestaging record', () => {
  let scratch = '';

  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'selvage-find-record-'));
    for (const folder of ['bin', 'partition/selvage']) mkdirSync(join(scratch, folder), { recursive: true });
    for (const [name, text] of Object.entries(STUBS)) writeFileSync(join(scratch, 'bin', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    writeFileSync(join(scratch, 'said'), '');
  });

  afterEach(() => rmSync(scratch, { recursive: true, force: true }));

  function search(records: Readonly<Record<string, string>>): string {
    for (const [name, text] of Object.entries(records)) writeFileSync(join(scratch, 'partition/selvage', name), text);
    const { status, stdout, stderr } = spawnSync('unshare', ['--mount', '--', 'sh', '-c', INSIDE, 'inside', SCRIPT], { encoding: 'utf8', env: { ...process.env, SCRATCH: scratch } });
    assert.equal(status, 0, stderr);
    assert.deepEqual(stdout.match(/^selvage-stick.*$/gm), ['selvage-stick.lock'], 'no mount is left');
    return readFileSync(join(scratch, 'said'), 'utf8');
  }

  it('takes the record of the serial number of the box before the one for any box, from a stick that is mounted read-only', () => {
    assert.equal(search({ [`${SERIAL}.json`]: 'mine', 'prestaging.json': 'any' }), 'mount vfat ro,nosuid,nodev,noexec\nrequest staging --record mine\n');
  });

  it('takes the one for any box where there is none of its own', () => {
    assert.equal(search({ 'BOX-8.json': 'other', 'prestaging.json': 'any' }), 'mount vfat ro,nosuid,nodev,noexec\nrequest staging --record any\n');
  });

  it('asks for nothing without a record', () => {
    assert.equal(search({ 'BOX-8.json': 'other' }), 'mount vfat ro,nosuid,nodev,noexec\n');
  });

  it('asks again when the appliance does not answer, because it is just being started anew', () => {
    writeFileSync(join(scratch, 'refusals'), '2');
    assert.equal(search({ 'prestaging.json': 'any' }), 'mount vfat ro,nosuid,nodev,noexec\nsleep 5\nsleep 5\nrequest staging --record any\n');
  });

  it('reads a record that is built in on the boot partition, where that is mounted', () => {
    writeFileSync(join(scratch, 'mounted'), `${join(scratch, 'partition')}\n`);
    assert.equal(search({ 'prestaging.json': 'built in' }), 'request staging --record built in\n');
  });
});
