// Orders for the box's own system, with a table of slots instead of RAUC, and the configuration of each slot.
import assert from 'node:assert/strict';
import { UpgradeService, type SlotHost } from '../../firmware/services/upgrade.ts';
import type { Site } from '../../firmware/services/service.ts';
import type { BundleFacts } from '../../firmware/upgrade/bundle.ts';
import { OperationalError } from '../../platform/errors.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { SlotStore, slotOf, type SlotName } from '../../platform/store-slot.ts';
import { compareVersions } from '../../platform/version-order.ts';
import { ManualClock } from '../services/manual-clock.ts';

const GOOD: BundleFacts = { compatible: 'selvage-x86_64', version: '1.1.0' };

class PowerCut extends Error {}

/** Takes nothing any longer once the power is gone. */
class Disk extends MemoryStore {
  powered = true;

  override write(name: string, bytes: Uint8Array): void {
    if (this.powered) super.write(name, bytes);
  }

  override remove(name: string): void {
    if (this.powered) super.remove(name);
  }
}

/** Two slots with RAUC's variables; every call is an event, and the power may fail before any of them. */
class Box implements SlotHost {
  readonly disk = new Disk();
  readonly events: string[] = [];
  readonly systems: Record<SlotName, string> = { A: '1.0.0', B: '0.9.0' };
  readonly good: Record<SlotName, boolean> = { A: true, B: true };
  readonly tried: Record<SlotName, boolean> = { A: false, B: false };
  order: SlotName[] = ['A', 'B'];
  booted: SlotName = 'A';
  bundle: BundleFacts | OperationalError = GOOD;
  /** Events until the power fails. */
  left = Infinity;
  missing = '';
  kept = true;
  service!: UpgradeService;
  clock = new ManualClock();
  readonly sink = new MemorySink();

  #event(name: string): void {
    if (this.left-- <= 0) {
      this.disk.powered = false;
      throw new PowerCut(name);
    }
    this.events.push(name);
  }

  get other(): SlotName {
    return this.booted === 'A' ? 'B' : 'A';
  }

  /** As images/grub/select-slot.cfg does. */
  async boot(): Promise<void> {
    const next = this.order.find((slot) => this.good[slot] && !this.tried[slot]) ?? 'A';
    assert.notEqual(this.systems[next], 'torn', 'a slot that is not whole was booted');
    this.booted = next;
    this.tried[next] = true;
    this.left = Infinity;
    this.disk.powered = true;
    this.clock = new ManualClock();
    const store = new SlotStore(this.disk, next);
    const log = new SinkLog([this.sink], () => this.clock.unixMs());
    const site = { clock: this.clock, log, store, random: new SeededRandom(1) } as unknown as Site;
    const options = { slot: next, upMs: 0, version: this.systems[next], missing: () => this.missing, forgetOtherConfiguration: () => store.forgetOther(), isKept: () => this.kept };
    this.service = new UpgradeService({ site, host: this, ...options });
    await this.service.start();
    await settled();
  }

  configuration(): string {
    return new TextDecoder().decode(new SlotStore(this.disk, this.booted).read('ztp-bundle'));
  }

  async status() {
    return { compatible: 'selvage-x86_64', slots: (['A', 'B'] as const).map((name) => ({ name, booted: name === this.booted, good: this.good[name] })) };
  }

  async info(): Promise<BundleFacts> {
    if (this.bundle instanceof OperationalError) throw this.bundle;
    return this.bundle;
  }

  /** RAUC: the slot is bad while it is written, then good and first. */
  async install(): Promise<void> {
    this.#event('mark-other-bad');
    this.good[this.other] = false;
    this.#event('write');
    this.systems[this.other] = 'torn';
    this.#event('written');
    this.systems[this.other] = (this.bundle as BundleFacts).version;
    this.#event('activate');
    this.#activate();
  }

  #activate(): void {
    this.order = [this.other, this.booted];
    this.good[this.other] = true;
    this.tried[this.other] = false;
  }

  async mark(state: 'good' | 'bad' | 'active', slot: 'booted' | 'other'): Promise<void> {
    this.#event(`mark-${slot}-${state}`);
    if (state === 'active') {
      if (slot === 'other') this.#activate();
      else this.order = [this.booted, this.other];
      return;
    }
    const name = slot === 'booted' ? this.booted : this.other;
    this.good[name] = state === 'good';
    this.tried[name] = false;
  }

  async reboot(): Promise<void> {
    this.#event('reboot');
    await this.service.stop();
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

async function box(): Promise<Box> {
  const made = new Box();
  new SlotStore(made.disk, 'A').write('ztp-bundle', new TextEncoder().encode('schema 1'));
  await made.boot();
  made.events.length = 0;
  return made;
}

describe('upgrade: orders', () => {
  it('installs in the other slot, reboots, and is good after the check', async () => {
    const one = await box();
    assert.deepEqual(await one.service.upgrade('/var/x.raucb'), { version: '1.1.0' });
    await settled();
    assert.equal(one.events.at(-1), 'reboot');
    one.missing = 'Controllers are away';
    await one.boot();
    assert.deepEqual([one.booted, one.service.status().state], ['B', 'starting']);
    one.missing = '';
    one.clock.advance(10_000);
    await settled();
    assert.deepEqual([one.good.B, one.tried.B, one.service.status().state, (await one.service.view()).floor], [true, false, 'up', '1.1.0']);
  });

  it('returns to the old slot with the old configuration when the check fails for 10 minutes', async () => {
    const one = await box();
    await one.service.upgrade('/var/x.raucb');
    await settled();
    one.missing = 'BGP of Acme is down';
    await one.boot();
    // The new software writes its own schema.
    new SlotStore(one.disk, 'B').write('ztp-bundle', new TextEncoder().encode('schema 2'));
    assert.equal(one.configuration(), 'schema 2');
    one.clock.advance(601_000);
    await settled();
    assert.equal(one.events.at(-1), 'reboot');
    await one.boot();
    assert.deepEqual([one.booted, one.configuration(), (await one.service.view()).lastFailure], ['A', 'schema 1', 'within 10 minutes: BGP of Acme is down']);
    assert.ok(one.sink.records.some((line) => line.sentence === 'system returned to its former slot'));
  });

  it('goes back to the other slot by order, and finds the configuration of that slot', async () => {
    const one = await box();
    await one.service.upgrade('/var/x.raucb');
    await settled();
    await one.boot();
    one.clock.advance(10_000);
    await settled();
    new SlotStore(one.disk, 'B').write('ztp-bundle', new TextEncoder().encode('schema 2'));
    await one.service.rollback();
    await one.boot();
    assert.deepEqual([one.booted, one.configuration()], ['A', 'schema 1']);
  });

  for (const [what, bundle, cause] of [
    ['unsigned', new OperationalError('COMMAND_FAILED', 'rauc info: signature verification failed', ''), /signature verification failed/],
    ['for another architecture', { compatible: 'selvage-aarch64', version: '1.1.0' }, /is for selvage-aarch64, this box is selvage-x86_64/],
    ['truncated', new OperationalError('COMMAND_FAILED', 'rauc info: Signature size exceeds bundle size', ''), /exceeds bundle size/],
    ['older than the floor', { compatible: 'selvage-x86_64', version: '0.9.9' }, /nothing older than 1\.0\.0/],
  ] as const) {
    it(`refuses a bundle that is ${what} before a byte is written, with the cause in the log`, async () => {
      const one = await box();
      one.disk.write('upgrade-floor', new TextEncoder().encode('1.0.0'));
      one.bundle = bundle;
      await assert.rejects(one.service.upgrade('/var/x.raucb'), cause);
      assert.deepEqual(one.events, []);
      assert.ok(one.sink.records.some((line) => line.sentence === 'bundle refused' && cause.test(String(line.fields['cause']))));
      assert.match((await one.service.view()).lastFailure, cause);
      // The next order is heard.
      one.bundle = GOOD;
      await one.service.upgrade('/var/x.raucb');
    });
  }

  it('boots a whole slot with its configuration after a power cut before any step of an upgrade', async () => {
    for (let cut = 0; cut <= 6; cut++) {
      const one = await box();
      one.left = cut;
      await one.service.upgrade('/var/x.raucb');
      await settled();
      one.events.length = 0;
      one.missing = 'Controllers are away';
      await one.boot();
      assert.equal(one.configuration(), 'schema 1', `cut before step ${cut}`);
      // A new system is never taken for good untried.
      assert.equal(one.service.status().state, one.booted === 'B' ? 'starting' : 'up', `cut before step ${cut}`);
      one.missing = '';
      one.clock.advance(10_000);
      await settled();
      // Decided: a second boot changes nothing.
      const { booted } = one;
      await one.service.stop();
      await one.boot();
      assert.deepEqual([one.booted, one.good[booted], one.disk.read('upgrade-pending')], [booted, true, undefined], `cut before step ${cut}`);
    }
  });

  it('comes back to the former system, which says so, when the power fails before the boot loader knows that the new one is good', async () => {
    const one = await box();
    await one.service.upgrade('/var/x.raucb');
    await settled();
    const mark = one.mark.bind(one);
    one.mark = () => new Promise(() => undefined);
    await one.boot();
    one.clock.advance(10_000);
    await settled();
    assert.notEqual(one.disk.read('upgrade-pending'), undefined);
    assert.equal((await one.service.view()).floor, '');
    one.mark = mark;
    await one.service.stop();
    await one.boot();
    assert.deepEqual([one.booted, (await one.service.view()).lastFailure], ['A', 'it did not come up']);
  });

  it('boots no other system when the disk does not take the note about its trial', async () => {
    const one = await box();
    one.kept = false;
    await assert.rejects(one.service.rollback(), /does not take the note/);
    await one.service.upgrade('/var/x.raucb');
    await settled();
    assert.deepEqual([one.events, one.order, one.systems], [['mark-booted-active', 'mark-booted-active'], ['A', 'B'], { A: '1.0.0', B: '0.9.0' }]);
    assert.match((await one.service.view()).lastFailure, /does not take the note/);
  });

  it('keeps the running system first when a rollback fails, so that nothing boots untried', async () => {
    const one = await box();
    one.reboot = () => Promise.reject(new OperationalError('COMMAND_FAILED', 'systemctl reboot: refused', 'reboot it'));
    await assert.rejects(one.service.rollback(), /refused/);
    assert.deepEqual([one.order, one.disk.read('upgrade-pending')], [['A', 'B'], undefined]);
  });

  it('keeps the running system first when installing fails, and says why', async () => {
    const one = await box();
    one.install = () => Promise.reject(new OperationalError('COMMAND_FAILED', 'rauc install: no space left on device', 'free space'));
    await one.service.upgrade('/var/x.raucb');
    await settled();
    assert.deepEqual([one.events, one.order, (await one.service.view()).lastFailure], [['mark-booted-active'], ['A', 'B'], 'rauc install: no space left on device']);
    assert.equal(one.disk.read('upgrade-pending'), undefined);
  });

  it('tells whoever ordered from elsewhere when it begins to write and to reboot, and what came of it, also after the restart', async () => {
    const one = await box();
    const phases: string[] = [];
    await one.service.install('/var/x.raucb', async (phase) => void phases.push(`${phase} after ${one.events.at(-1) ?? 'nothing'}`));
    assert.deepEqual(phases, ['installing after nothing', 'rebooting after mark-other-active']);
    one.missing = 'Controllers are away';
    await one.boot();
    assert.deepEqual(one.service.outcome(), { kind: 'on-trial' });
    one.clock.advance(601_000);
    await settled();
    await one.boot();
    assert.deepEqual(one.service.outcome(), { kind: 'returned', version: '1.1.0', cause: 'within 10 minutes: Controllers are away' });
    // The next change is decided for itself.
    one.missing = '';
    await one.service.install('/var/x.raucb', async () => {});
    await one.boot();
    one.clock.advance(10_000);
    await settled();
    assert.deepEqual(one.service.outcome(), { kind: 'good', version: '1.1.0', cause: '' });
  });

  it('writes nothing when whoever ordered it says no in the last moment, and says what could not be installed', async () => {
    const one = await box();
    await assert.rejects(one.service.install('/var/x.raucb', () => Promise.reject(new Error('it was called back'))), /called back/);
    assert.deepEqual([one.events, one.service.outcome()], [[], { kind: 'none' }]);
    one.install = () => Promise.reject(new OperationalError('COMMAND_FAILED', 'rauc install: no space left on device', 'free space'));
    await assert.rejects(one.service.install('/var/x.raucb', async () => {}), /no space left on device/);
  });

  it('takes one order at a time, and none while the system is on trial', async () => {
    const one = await box();
    one.install = () => new Promise(() => undefined);
    await one.service.upgrade('/var/x.raucb');
    await assert.rejects(one.service.rollback(), /another order is under way/);
  });
});

describe('upgrade: versions and slots', () => {
  it('order versions by number, and what is not finished before what is', () => {
    for (const [older, newer] of [['1.9.0', '1.10.0'], ['1.0', '1.0.1'], ['0.9.9', '1.0'], ['1.0rc1', '1.0'], ['1.0rc1', '1.0rc2']] as const) {
      assert.ok(compareVersions(older, newer) < 0, `${older} < ${newer}`);
      assert.ok(compareVersions(newer, older) > 0, `${newer} > ${older}`);
    }
    assert.equal(compareVersions('1.0', '1.0.0'), 0);
  });

  it('forget a document in both slots, so that it does not come back with the other one', () => {
    const disk = new MemoryStore();
    for (const slot of ['A', 'B'] as const) new SlotStore(disk, slot).write('ztp-bundle', Uint8Array.of(1));
    new SlotStore(disk, 'A').remove('ztp-bundle');
    assert.deepEqual(disk.list(), []);
  });

  it('are read from the command line of the kernel', () => {
    assert.deepEqual(['quiet rauc.slot=B selvage.root=x', 'rauc.slot=A', 'rauc.slot=C', ''].map(slotOf), ['B', 'A', undefined, undefined]);
  });
});
