// The watchdog's rhythm, on a clock that the test moves.
import assert from 'node:assert/strict';
import { Watchdog, statusLine, watchdogMsOf, type HealthPart } from '../../platform/health.ts';
import { after as later, type CancelTimer, type Instant } from '../../platform/time.ts';
import { ManualClock } from '../services/manual-clock.ts';

class Part implements HealthPart {
  readonly name: string;
  answers = true;
  readonly #waiting: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  ask(answered: () => void): void {
    if (this.answers) answered();
    else this.#waiting.push(answered);
  }

  recover(): void {
    this.answers = true;
    for (const answered of this.#waiting.splice(0)) answered();
  }

  get asked(): number {
    return this.#waiting.length;
  }
}

/** Every timer is late by the same time. */
class LateClock extends ManualClock {
  override at(when: Instant, run: () => void): CancelTimer {
    return super.at(later(when, 700), run);
  }
}

interface Circumstances {
  readonly status?: () => string;
  readonly failing?: () => boolean;
  readonly clock?: ManualClock;
}

function watch(parts: readonly HealthPart[], options: Circumstances = {}) {
  const clock = options.clock ?? new ManualClock();
  const sent: string[] = [];
  const events: string[] = [];
  const watchdog = new Watchdog({
    clock,
    watchdogMs: 30_000,
    parts,
    status: options.status ?? (() => 'fine'),
    notify: (state) => {
      if (options.failing?.() === true) throw new Error('nobody listens');
      sent.push(`${clock.now()} ${state}`);
    },
    onSilent: (part) => events.push(`silent ${part}`),
    onAnswersAgain: (part) => events.push(`again ${part}`),
    onNotifyFailed: (error) => events.push(error.message),
  });
  return { clock, sent, events, watchdog };
}

describe('watchdog', () => {
  it('notifies at every half period, without drift when the timer is late', () => {
    const { clock, sent, watchdog } = watch([new Part('a')], { clock: new LateClock() });
    watchdog.start();
    clock.advance(60_000);
    assert.deepEqual(sent.filter((line) => line.endsWith('WATCHDOG=1')).map(Number.parseFloat), [0, 15_700, 30_700, 45_700]);
    watchdog.stop();
    clock.advance(60_000);
    assert.equal(sent.length, 5);
  });

  it('stays silent as long as one of its parts does, and asks a silent part once', () => {
    const [a, b] = [new Part('a'), new Part('b')];
    const { clock, sent, events, watchdog } = watch([a, b]);
    watchdog.start();
    b.answers = false;
    for (let beat = 0; beat < 4; beat++) clock.advance(15_000);
    assert.equal(sent.filter((line) => line.endsWith('WATCHDOG=1')).length, 1);
    assert.ok(sent.at(-1)!.endsWith('STATUS=b does not answer; fine'));
    assert.equal(b.asked, 1);
    b.recover();
    assert.deepEqual(sent.slice(-2).map((line) => line.split(' ').slice(1).join(' ')), ['STATUS=fine', 'WATCHDOG=1']);
    assert.deepEqual(events, ['silent b', 'again b']);
  });

  it('keeps a status to one line and sends it only when it changed', () => {
    let status = 'peer said\nWATCHDOG=1\u2028x';
    const { clock, sent, watchdog } = watch([], { status: () => status });
    watchdog.start();
    clock.advance(15_000);
    status = 'y'.repeat(1000);
    clock.advance(15_000);
    const shown = sent.filter((line) => line.includes('STATUS=')).map((line) => line.slice(line.indexOf('STATUS=') + 7));
    assert.deepEqual(shown, ['peer said WATCHDOG=1 x', `${'y'.repeat(237)}...`]);
  });

  it('goes on when nobody listens, and says so once', () => {
    let failing = true;
    const { clock, sent, events, watchdog } = watch([], { failing: () => failing });
    watchdog.start();
    clock.advance(15_000);
    assert.deepEqual(events, ['nobody listens']);
    failing = false;
    clock.advance(15_000);
    assert.ok(sent.at(-1)!.endsWith('WATCHDOG=1'));
  });

  it('takes its period from the environment, if it is meant for this process', () => {
    assert.equal(watchdogMsOf({ WATCHDOG_USEC: '30000000' }, 7), 30_000);
    assert.equal(watchdogMsOf({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }, 7), 30_000);
    for (const environment of [{}, { WATCHDOG_USEC: '0' }, { WATCHDOG_USEC: '1e6' }, { WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' }]) {
      assert.equal(watchdogMsOf(environment, 7), undefined);
    }
  });

  it('shows what is not up, with its cause', () => {
    const forwarding = { name: 'forwarding', state: 'up', detail: '' };
    assert.equal(statusLine('branch b1', [forwarding]), 'branch b1: up');
    assert.equal(statusLine('branch b1', [forwarding, { name: 'ztp', state: 'starting', detail: 'no record' }]), 'branch b1: ztp starting (no record)');
  });
});
