// Packing of a slot and of a disk: the same octets from the same files, and a hash tree that fits.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { architectureOf } from '../../images/architecture.ts';
import { createBuild } from '../../images/build.ts';
import type { Build } from '../../images/build.ts';
import { makeDiskImage } from '../../images/disk-image.ts';
import { PARTITIONS } from '../../images/partitions.ts';
import { sha256Of, signSums } from '../../images/signature.ts';
import { BLOCK_BYTES, makeSlotImage } from '../../images/slot-image.ts';
import { updateAuthority } from '../../images/update-authority.ts';

const MIB = 1 << 20;

describe('the image of a slot', function () {
  this.timeout(60_000);
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-slot-'));
  const build: Build = createBuild({ architecture: architectureOf('x86_64'), work: join(scratch, 'work'), print: () => {} });
  const [first, second] = [join(scratch, 'first.slot'), join(scratch, 'second.slot')];
  let dataBytes = 0;

  before(async () => {
    const tree = join(scratch, 'tree');
    mkdirSync(join(tree, 'boot'), { recursive: true });
    mkdirSync(join(tree, 'usr/lib'), { recursive: true });
    for (const [index, name] of ['boot/vmlinuz', 'boot/initrd.img', 'usr/lib/z', 'usr/lib/a', 'usr/lib/b'].entries()) {
      writeFileSync(join(tree, name), `${name} `.repeat(1000 * (index + 1)));
      chmodSync(join(tree, name), 0o640);
    }
    await makeSlotImage(build, tree, first);
    const copy = join(scratch, 'copy');
    cpSync(tree, copy, { recursive: true });
    utimesSync(join(copy, 'usr/lib/a'), 1, 1);
    await makeSlotImage(build, copy, second);
    // bytes_used of the squashfs superblock
    dataBytes = Math.ceil(Number(readFileSync(first).readBigUInt64LE(40)) / BLOCK_BYTES) * BLOCK_BYTES;
  });

  after(() => rmSync(scratch, { recursive: true, force: true }));

  const rootHash = (): string => /^selvage slot 1\nroot-hash=([0-9a-f]{64})\n\0/.exec(readFileSync(first).toString('latin1', dataBytes, dataBytes + BLOCK_BYTES))![1]!;
  const verify = (file: string): number | null => spawnSync('veritysetup', ['verify', `--hash-offset=${dataBytes + BLOCK_BYTES}`, file, file, rootHash()]).status;

  it('is the same for the same files, whenever they were written', () => {
    assert.equal(sha256Of(first), sha256Of(second));
  });

  it('carries the root hash behind the file system, and a tree that it verifies', () => {
    assert.equal(verify(first), 0);
  });

  it('does not verify when one bit of the file system is other', () => {
    const fd = openSync(second, 'r+');
    const octet = Buffer.alloc(1);
    readSync(fd, octet, 0, 1, BLOCK_BYTES / 2);
    octet[0]! ^= 1;
    writeSync(fd, octet, 0, 1, BLOCK_BYTES / 2);
    closeSync(fd);
    assert.notEqual(verify(second), 0);
  });

  it('stores kernel and initial file system unpacked, for GRUB', () => {
    assert.ok(readFileSync(first).includes('boot/vmlinuz boot/vmlinuz boot/vmlinuz'));
    assert.ok(!readFileSync(first).includes('usr/lib/a usr/lib/a usr/lib/a'));
  });

  it('lies in slot A of a disk that is the same in every build', async () => {
    const esp = join(scratch, 'esp.img');
    writeFileSync(esp, 'boot partition');
    truncateSync(esp, PARTITIONS.esp.sizeMiB * MIB);
    const disks = [join(scratch, 'disk-1.img'), join(scratch, 'disk-2.img')] as const;
    for (const disk of disks) await makeDiskImage(build, { esp, slot: first }, disk);
    assert.equal(sha256Of(disks[0]), sha256Of(disks[1]));
    const slot = readFileSync(first);
    const fd = openSync(disks[0], 'r');
    const found = Buffer.alloc(slot.length);
    readSync(fd, found, 0, slot.length, (1 + PARTITIONS.esp.sizeMiB) * MIB);
    closeSync(fd);
    assert.ok(found.equals(slot));
    const { stdout } = spawnSync('sfdisk', ['--json', disks[0]], { encoding: 'utf8' });
    const { partitiontable } = JSON.parse(stdout) as { partitiontable: { partitions: { name: string; uuid: string }[] } };
    assert.deepEqual(partitiontable.partitions.map(({ name, uuid }) => [name, uuid.toLowerCase()]), Object.values(PARTITIONS).map(({ name, uuid }) => [name, uuid]));
    assert.ok(statSync(disks[0]).blocks * 512 < 64 * MIB, 'holes stay holes');
  });

  it('has sums whose signature the authority vouches for, for code only', async () => {
    const authority = updateAuthority(join(scratch, 'authority'));
    const sums = join(scratch, 'sums');
    await signSums(build, [first], sums, authority);
    const check = (...more: string[]): string => spawnSync('openssl', ['cms', '-verify', '-binary', '-inform', 'PEM', '-in', `${sums}.p7s`, '-content', sums, '-CAfile', authority.ca, ...more], { encoding: 'utf8' }).stderr;
    assert.match(check('-purpose', 'any'), /successful/);
    assert.doesNotMatch(check('-purpose', 'smimesign'), /successful/);
    assert.equal(spawnSync('sha256sum', ['--check', 'sums'], { cwd: scratch }).status, 0);
    writeFileSync(sums, readFileSync(sums, 'utf8').replace(/^./, (digit) => (digit === '0' ? '1' : '0')));
    assert.doesNotMatch(check('-purpose', 'any'), /successful/);
  });
});
