// A disk that refuses, comes back, or was never there.
import assert from 'node:assert/strict';
import { OperationalError } from '../../platform/errors.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ResilientStore } from '../../platform/store-resilient.ts';
import { ManualClock } from '../services/manual-clock.ts';

class Disk extends MemoryStore {
  broken = false;

  override write(name: string, bytes: Uint8Array): void {
    if (this.broken) throw new OperationalError('store-ENOSPC', 'no space', 'free space');
    super.write(name, bytes);
  }
}

function make(disk: Disk, opens = (): boolean => true) {
  const clock = new ManualClock();
  const events: string[] = [];
  const open = (): Disk => {
    if (!opens()) throw new OperationalError('store-EROFS', 'read-only', 'mount it');
    return disk;
  };
  const store = new ResilientStore({ open, clock, random: new SeededRandom(1), onLosing: (cause) => events.push(cause), onKept: () => events.push('kept') });
  return { clock, events, store };
}

const octets = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('a store on a disk that may fail', () => {
  it('reads and lists what the disk did not take, and writes it when the disk takes it again', () => {
    const disk = new Disk();
    const { clock, events, store } = make(disk);
    store.write('kept', octets(1));
    disk.broken = true;
    store.write('new', octets(2));
    store.write('kept', octets(3));
    assert.deepEqual([store.read('new'), store.read('kept'), disk.read('kept'), store.list()], [octets(2), octets(3), octets(1), ['kept', 'new']]);
    assert.ok(events.includes('no space') && !events.includes('kept'));
    disk.broken = false;
    clock.advance(80_000);
    assert.deepEqual([disk.read('new'), disk.read('kept'), events.at(-1), clock.waiting], [octets(2), octets(3), 'kept', 0]);
  });

  it('starts without a disk, and takes the one that appears', () => {
    const disk = new Disk();
    disk.write('old', octets(9));
    let there = false;
    const { clock, events, store } = make(disk, () => there);
    store.write('new', octets(1));
    assert.deepEqual([store.read('old'), store.list(), events[0]], [undefined, ['new'], 'read-only']);
    there = true;
    clock.advance(80_000);
    assert.deepEqual([store.read('old'), disk.read('new'), events.at(-1)], [octets(9), octets(1), 'kept']);
  });

  it('remembers what was removed while the disk refused', () => {
    const disk = new Disk();
    disk.write('a', octets(1));
    let there = false;
    const { clock, store } = make(disk, () => there);
    store.remove('a');
    assert.deepEqual([store.read('a'), store.list()], [undefined, []]);
    there = true;
    clock.advance(80_000);
    assert.deepEqual(disk.list(), []);
  });
});
