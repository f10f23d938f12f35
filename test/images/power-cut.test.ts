// Power cuts without a box: the log of a virtual disk as QEMU writes it, what a cut may lose of it, and disks that a cut
// might leave, good and bad ones. images/boot.test.ts has the real upgrade.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { architectureOf } from '../../images/architecture.ts';
import { createBuild } from '../../images/build.ts';
import { makeDiskImage } from '../../images/disk-image.ts';
import { PARTITIONS, placedPartitions } from '../../images/partitions.ts';
import { bootVariables, chosenSlot } from '../../images/power-cut/boot-choice.ts';
import { keepMarks, keepRecording, recordingIn, WRITES } from '../../images/power-cut/cuts.ts';
import { applyWrites, choosePowerCuts, describeCut } from '../../images/power-cut/medium.ts';
import { readStored, type Place } from '../../images/power-cut/stored.ts';
import { judgeDisk, readBootFiles, type Expected } from '../../images/power-cut/verdict.ts';
import { entryFrom, readWriteLog, SECTOR_BYTES, type LogEntry } from '../../images/power-cut/write-log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { hostCommand } from '../../provisioning/lab/host-command.ts';

const MIB = 1 << 20;
const SEEDS = 200;

describe('a log of writes', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-writes-'));
  const [disk, log] = [join(scratch, 'disk'), join(scratch, 'log')];

  before(() => {
    for (const file of [disk, log]) writeFileSync(file, '');
    truncateSync(disk, MIB);
    const options = `driver=blklogwrites,log-sector-size=512,file.driver=file,file.filename=${disk},log.driver=file,log.filename=${log}`;
    const commands = ['write -P 1 0 4k', 'flush', 'write -P 2 8k 1k', 'discard 512k 4k', 'write -P 3 0 512', 'write -P 4 64k 8k'];
    const { status, stdout } = spawnSync('qemu-io', ['--image-opts', options, ...commands.flatMap((command) => ['-c', command])], { encoding: 'utf8' });
    assert.equal(status, 0, stdout);
  });

  after(() => rmSync(scratch, { recursive: true, force: true }));

  function entriesOf(file: string): LogEntry[] {
    const fd = openSync(file, 'r');
    try {
      return readWriteLog(fd);
    } finally {
      closeSync(fd);
    }
  }

  it('is read as QEMU writes it, in its order', () => {
    // qemu-io flushes by itself at its end, too.
    const shown = entriesOf(log).map((entry) => (entry.kind === 'flush' ? 'flush' : `${entry.kind} ${entry.sector}+${entry.sectors}`));
    assert.deepEqual(shown.filter((entry, index) => index < 2 || entry !== 'flush'), ['write 0+8', 'flush', 'write 16+2', 'discard 1024+8', 'write 0+1', 'write 128+16']);
  });

  it('is read to the last whole entry when QEMU was killed, and refused when it is none', () => {
    const bytes = readFileSync(log);
    const last = entriesOf(log).findIndex((entry) => entry.kind === 'write' && entry.sector === 128);
    writeFileSync(join(scratch, 'cut'), bytes.subarray(0, entriesOf(log)[last]!.at + 3 * SECTOR_BYTES));
    assert.equal(entriesOf(join(scratch, 'cut')).length, last);
    writeFileSync(join(scratch, 'none'), bytes.subarray(SECTOR_BYTES));
    assert.throws(() => entriesOf(join(scratch, 'none')), /does not begin with the mark/);
  });

  it('is found from an octet on, also from its very end, where a box was switched off as soon as it was good', () => {
    const entries = entriesOf(log);
    assert.deepEqual([0, SECTOR_BYTES + 1, entries[3]!.at].map((bytes) => entryFrom(entries, bytes)), [0, 1, 3]);
    assert.equal(entryFrom(entries, readFileSync(log).length), entries.length);
  });

  it('leads to the same disk when nothing is lost, and without a lost sector to the one before it', () => {
    const entries = entriesOf(log);
    const rebuilt = join(scratch, 'rebuilt');
    const rebuild = (lost: Parameters<typeof applyWrites>[3]): Buffer => {
      writeFileSync(rebuilt, '');
      truncateSync(rebuilt, MIB);
      const fds = [openSync(log, 'r'), openSync(rebuilt, 'r+')] as const;
      applyWrites({ log: fds[0], entries, disk: fds[1] }, 0, entries.length, lost);
      fds.forEach((fd) => closeSync(fd));
      return readFileSync(rebuilt);
    };
    assert.ok(rebuild([]).equals(readFileSync(disk)));
    const at = (sector: number): number => entries.findLastIndex((entry) => entry.kind === 'write' && entry.sector === sector);
    const torn = rebuild([{ entry: at(0), sectors: [0], of: 1 }, { entry: at(128), sectors: [1, 15], of: 16 }]);
    assert.deepEqual([torn[0], torn[128 * 512], torn[129 * 512], torn[143 * 512 - 1], torn[143 * 512]], [1, 4, 0, 4, 0]);
  });
});

describe('the recording of an upgrade', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-recording-'));
  const [run, kept] = [join(scratch, 'run'), join(scratch, 'kept')];

  after(() => rmSync(scratch, { recursive: true, force: true }));

  it('outlives its run, in place of the one before, and is only kept when it came to its end', () => {
    mkdirSync(run);
    writeFileSync(join(run, WRITES), 'without an end');
    assert.equal(keepRecording(run, kept), false);
    for (const toBytes of [2, 3]) {
      writeFileSync(join(run, WRITES), `to ${toBytes}`);
      keepMarks(run, { fromBytes: 1, toBytes });
      assert.equal(keepRecording(run, kept), true);
      assert.deepEqual(recordingIn(kept), { writes: join(kept, WRITES), fromBytes: 1, toBytes });
      assert.equal(readFileSync(join(kept, WRITES), 'utf8'), `to ${toBytes}`);
    }
    assert.throws(() => recordingIn(run), /holds no recorded upgrade/);
  });
});

describe('the choice of power cuts', () => {
  const write = (sector: number, durable = false): LogEntry => ({ kind: 'write', at: 0, sector, sectors: 4, durable, dataAt: 0 });
  const flush: LogEntry = { kind: 'flush', at: 0 };
  const entries = [write(0), write(100), flush, write(0), write(104), write(108, true), write(200), flush, write(4), write(204)];
  const regions = [{ name: 'a', firstSector: 0, sectors: 100 }, { name: 'b', firstSector: 100, sectors: 100 }, { name: 'c', firstSector: 200, sectors: 100 }];
  const cuts = Array.from({ length: SEEDS }, (_, seed) => choosePowerCuts(entries, 3, 10, regions, 3, new SeededRandom(seed)));

  it('is the same for the same seed, and goes around the parts of the disk', () => {
    assert.deepEqual(choosePowerCuts(entries, 3, 10, regions, 3, new SeededRandom(7)), cuts[7]);
    for (const chosen of cuts) assert.deepEqual(chosen.map(({ number, region }) => `${number}${region}`), ['1a', '2b', '3c']);
  });

  it('never loses what a flush or the write itself has brought to the medium', () => {
    for (const { volatileFrom, entries: end, lost } of cuts.flat()) {
      assert.ok(volatileFrom === 3 || volatileFrom === 8);
      for (const { entry } of lost) assert.ok(entry >= volatileFrom && entry < end && entry !== 5);
    }
  });

  it('loses of the rest now all, now some, now parts of a write', () => {
    const lost = cuts.flat().flatMap((cut) => cut.lost);
    assert.ok(lost.some(({ sectors }) => sectors.length === 4) && lost.some(({ sectors }) => sectors.length < 4));
    assert.ok(cuts.flat().some((cut) => cut.lost.length === 0) && cuts.flat().some((cut) => cut.lost.length > 1));
    assert.equal(
      describeCut({ number: 2, entries: 7, volatileFrom: 3, region: 'slot B', lost: [{ entry: 3, sectors: [0, 1, 2, 3], of: 4 }, { entry: 6, sectors: [1], of: 4 }] }),
      'cut 2: after entry 6, a write to slot B; of 4 since the last flush 1 lost (3), 1 torn (6)',
    );
  });
});

describe('the verdict on a disk', function () {
  this.timeout(60_000);
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-verdict-'));
  const [good, disk, slotFile] = [join(scratch, 'good.img'), join(scratch, 'disk.img'), join(scratch, 'slot')];
  const [, a, b, data] = placedPartitions().map(({ partition, startMiB }): Place => ({ startBytes: startMiB * MIB, bytes: partition.sizeMiB * MIB }));
  const documents = ['ztp-device-key', 'ztp-device-certificate', 'ztp-trust-anchor', 'ztp-bundle.A', 'ztp-onboarded'];
  let expected: Expected;

  const environment = (lines: string): string => `# GRUB Environment Block\n${lines}`.padEnd(1024, '#');
  const stored = (image: string, commands: readonly string[]): void => {
    const partition = join(scratch, 'partition');
    hostCommand('dd', [`if=${image}`, `of=${partition}`, 'bs=1M', `skip=${data!.startBytes}`, 'iflag=skip_bytes', 'count=256', 'conv=sparse', 'status=none']);
    hostCommand('debugfs', ['-w', '-f', '-', partition], `${commands.join('\n')}\n`);
    hostCommand('dd', [`if=${partition}`, `of=${image}`, 'bs=1M', `seek=${data!.startBytes}`, 'oflag=seek_bytes', 'conv=notrunc,sparse', 'status=none']);
  };
  const variables = (image: string, text: string): void => {
    writeFileSync(join(scratch, 'grubenv'), text);
    hostCommand('mcopy', ['-o', '-i', `${image}@@1M`, join(scratch, 'grubenv'), '::/EFI/BOOT/grubenv']);
  };
  const put = (image: string, at: number, octets: Uint8Array): void => {
    const fd = openSync(image, 'r+');
    writeSync(fd, octets, 0, octets.length, at);
    closeSync(fd);
  };
  const file = (name: string, text: string): string => {
    writeFileSync(join(scratch, name), text);
    return `write ${join(scratch, name)} ${name}`;
  };

  before(async () => {
    writeFileSync(slotFile, Buffer.alloc(3 * MIB, 'a whole slot '));
    const esp = join(scratch, 'esp.img');
    hostCommand('mformat', ['-C', '-i', esp, '-F', '-c', '1', '-T', String(PARTITIONS.esp.sizeMiB * 2048), '-h', '16', '-s', '63', '::']);
    for (const folder of ['EFI', 'EFI/BOOT']) hostCommand('mmd', ['-i', esp, `::${folder}`]);
    for (const name of ['grub.cfg', 'arguments.cfg', 'grubenv']) {
      writeFileSync(join(scratch, name), name === 'grubenv' ? environment('ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n') : name);
      hostCommand('mcopy', ['-i', esp, join(scratch, name), `::EFI/BOOT/${name}`]);
    }
    const build = createBuild({ architecture: architectureOf('x86_64'), work: join(scratch, 'work'), print: () => {} });
    await makeDiskImage(build, { esp, slot: slotFile }, good);
    const folders = ['overlay', 'overlay/etc', 'overlay/etc/selvage', 'overlay/var', 'overlay/var/lib', 'overlay/var/lib/selvage', 'overlay/var/lib/selvage/state'];
    stored(good, [...folders.map((folder) => `mkdir /${folder}`), 'cd /overlay/etc/selvage', file('selvage.json', '{"role":"branch"}'), 'cd /overlay/var/lib/selvage/state', ...documents.map((name) => file(name, `this is ${name}`))]);
    const before = readStored(good, data!, join(scratch, 'stored'));
    assert.equal(before.documents.size, documents.length);
    expected = { slotFiles: { A: slotFile, B: slotFile }, slotPlaces: { A: a!, B: b! }, dataPlace: data!, bootFiles: readBootFiles(good), before, after: before };
  });

  beforeEach(() => hostCommand('cp', ['--sparse=always', good, disk]));
  after(() => rmSync(scratch, { recursive: true, force: true }));

  const judged = (progress = { otherTouched: false, otherTried: false }): string => {
    const { slot, faults } = judgeDisk(disk, expected, progress, join(scratch, 'stored'));
    return [slot, ...faults].join('; ');
  };
  const onTrial = (): void => variables(disk, environment('ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n'));
  const STATE = 'cd /overlay/var/lib/selvage/state';

  it('finds nothing wrong with a disk as it was, nor with one whose new system is complete and on trial', () => {
    assert.equal(judged(), 'A');
    onTrial();
    put(disk, b!.startBytes, readFileSync(slotFile));
    stored(disk, [STATE, file('upgrade-pending', '{"from":"A","to":"B"}')]);
    assert.equal(judged({ otherTouched: true, otherTried: false }), 'B');
  });

  it('sees a slot that GRUB would start and that is not whole', () => {
    onTrial();
    stored(disk, [STATE, file('upgrade-pending', '{"from":"A","to":"B"}')]);
    put(disk, b!.startBytes, readFileSync(slotFile).subarray(0, 2 * MIB));
    assert.equal(judged({ otherTouched: true, otherTried: false }), 'B; GRUB starts slot B, which is not whole');
  });

  it('sees variables that are torn', () => {
    variables(disk, ''.padEnd(1024, '\0'));
    assert.match(judged(), /^A; the variables of GRUB are torn/);
  });

  it('sees a system that does not know of its trial, and one that does not know that it is back', () => {
    onTrial();
    put(disk, b!.startBytes, readFileSync(slotFile));
    assert.equal(judged({ otherTouched: true, otherTried: false }), 'B; the new system would not know that it is on trial');
    variables(disk, environment('ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=1\n'));
    assert.equal(judged({ otherTouched: true, otherTried: true }), 'A; the former system would not know that it is back');
    stored(disk, [STATE, file('upgrade-pending', '{"from":"A","to"')]);
    assert.equal(judged({ otherTouched: true, otherTried: true }), 'A; the pending trial is torn');
  });

  it('sees documents that are missing or half written, a configuration file that is gone, and a file system that is damaged', () => {
    stored(disk, [STATE, 'rm ztp-device-key', 'rm ztp-bundle.A', file('ztp-bundle.A', 'this is ztp-b'), 'rm /overlay/etc/selvage/selvage.json']);
    assert.equal(judged(), "A; document ztp-device-key is missing; document ztp-bundle is neither the old nor the new one; the box's own configuration file is another than before");
    put(disk, data!.startBytes + 1024, Buffer.alloc(1024));
    put(disk, data!.startBytes + 128 * MIB, Buffer.alloc(1024));
    assert.match(judged(), /the data partition needs help/);
  });

  it('chooses as images/grub/select-slot.cfg does', () => {
    const choice = (order: string, ...flags: string[]): string => chosenSlot({ ORDER: order, ...Object.fromEntries(flags.map((flag) => flag.split('='))) } as Record<string, string>);
    assert.equal(choice('B A', 'A_OK=1', 'A_TRY=0', 'B_OK=1', 'B_TRY=0'), 'B');
    assert.equal(choice('B A', 'A_OK=1', 'A_TRY=0', 'B_OK=1', 'B_TRY=1'), 'A');
    assert.equal(choice('B A', 'A_OK=1', 'A_TRY=1', 'B_OK=0', 'B_TRY=0'), 'A');
    assert.equal(choice('A B', 'A_OK=0', 'B_OK=1', 'B_TRY=1'), 'B');
    assert.equal(chosenSlot({}), 'A');
    assert.deepEqual(bootVariables(good), { ORDER: 'A B', A_OK: '1', A_TRY: '0', B_OK: '0', B_TRY: '0' });
  });
});
