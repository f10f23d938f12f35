import { deepStrictEqual, strictEqual, throws } from 'node:assert/strict';
import { Alarms } from '../../platform/alarms.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { InternalError, OperationalError } from '../../platform/errors.ts';
import { SinkLog } from '../../platform/log.ts';
import { PatientStore } from '../../platform/patient-store.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ManualClock } from '../services/manual-clock.ts';

class Disk extends MemoryStore {
  isFull = false;
  bug: Error | undefined;

  override write(name: string, bytes: Uint8Array): void {
    if (this.bug !== undefined) throw this.bug;
    if (this.isFull) throw new OperationalError('store-ENOSPC', 'no space is left', 'free space');
    super.write(name, bytes);
  }
}

function make(): { disk: Disk; clock: ManualClock; alarms: Alarms; store: PatientStore; text(name: string): string | undefined } {
  const disk = new Disk();
  const clock = new ManualClock();
  const alarms = new Alarms(new SinkLog([], () => 0).channel('alarms'), () => 0);
  const store = new PatientStore({ store: disk, clock, random: new SeededRandom(1), alarms });
  const text = (name: string): string | undefined => {
    const bytes = disk.read(name);
    return bytes && fromUtf8(bytes);
  };
  return { disk, clock, alarms, store, text };
}

describe('platform/patient-store', () => {
  it('writes through while the disk takes it', () => {
    const { store, text, alarms } = make();
    store.write('a', utf8('1'));
    deepStrictEqual([text('a'), store.list(), alarms.active()], ['1', ['a'], []]);
  });

  it('goes on from memory while the disk is full, with an alarm per document, and writes the newest when there is room', () => {
    const { disk, clock, alarms, store, text } = make();
    disk.write('b', utf8('old'));
    disk.isFull = true;
    store.write('a', utf8('1'));
    store.write('a', utf8('2'));
    store.remove('b');
    strictEqual(fromUtf8(store.read('a')!), '2');
    deepStrictEqual([text('a'), store.read('b'), store.list()], [undefined, undefined, ['a']]);
    deepStrictEqual(alarms.active().map(({ name, object, nextStep }) => [name, object, nextStep]), [['state-not-stored', 'a', 'free space']]);
    clock.advance(60_000);
    strictEqual(text('a'), undefined);
    disk.isFull = false;
    clock.advance(60_000);
    deepStrictEqual([text('a'), alarms.active(), clock.waiting], ['2', [], 0]);
  });

  it('tries once more when it stops, and then no more', () => {
    const { disk, clock, store, text } = make();
    disk.isFull = true;
    store.write('a', utf8('1'));
    disk.isFull = false;
    store.stop();
    deepStrictEqual([text('a'), clock.waiting], ['1', 0]);
  });

  it('hides no mistakes of ours', () => {
    const { disk, store } = make();
    disk.bug = new InternalError('a bug');
    throws(() => store.write('a', utf8('1')), InternalError);
  });
});
