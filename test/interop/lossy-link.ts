// A wire between two namespaces as a process: a TUN device in each, and whatever enters one leaves the other as
// lossy-path.ts decides. Arguments: SEED NAMESPACE DEVICE NAMESPACE DEVICE. Says "ready" when both devices are up; they
// live as long as the process.
import { createBurst, appendPacket, Next } from '../../drivers/burst.ts';
import type { Burst } from '../../drivers/burst.ts';
import { openDrivers } from '../../drivers/open.ts';
import { createWaiter } from '../../drivers/threads.ts';
import type { Link } from '../../drivers/port.ts';
import { innerPacketsAt } from '../../drivers/super-packet.ts';
import { SeededRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import { LossyPath } from './lossy-path.ts';

const MTU = 1500;
/** Held packets are few; the path is asked at least this often. */
const LONGEST_WAIT_MS = 1_000;

interface Held {
  readonly dueMs: number;
  readonly to: Link;
  readonly packet: Uint8Array;
}

class LossyLink {
  readonly #clock = new SystemClock();
  readonly #directions: readonly { readonly from: Link; readonly to: Link; readonly path: LossyPath }[];
  readonly #incoming = createBurst();
  readonly #outgoing = createBurst();
  #held: Held[] = [];

  constructor(seed: string, one: Link, other: Link) {
    const random = new SeededRandom(seed);
    this.#directions = [
      { from: one, to: other, path: new LossyPath(random.fork('there')) },
      { from: other, to: one, path: new LossyPath(random.fork('back')) },
    ];
  }

  run(): never {
    const waiter = createWaiter(this.#directions.map(({ from }) => from.fd));
    for (;;) {
      waiter.wait(this.#waitMs());
      for (const direction of this.#directions) this.#take(direction);
      this.#deliver();
    }
  }

  #waitMs(): number {
    const now = this.#clock.now();
    return Math.max(0, Math.ceil(Math.min(LONGEST_WAIT_MS, ...this.#held.map(({ dueMs }) => dueMs - now))));
  }

  #take({ from, to, path }: { from: Link; to: Link; path: LossyPath }): void {
    const burst = emptied(this.#incoming);
    from.read(burst);
    const now = this.#clock.now();
    for (let i = 0; i < burst.count; i++) {
      for (const packet of innerPacketsAt(burst, i)) for (const delayMs of path.next()) this.#held.push({ dueMs: now + delayMs, to, packet });
    }
  }

  #deliver(): void {
    const now = this.#clock.now();
    const due = this.#held.filter(({ dueMs }) => dueMs <= now);
    this.#held = this.#held.filter(({ dueMs }) => dueMs > now);
    for (const { to, packet } of due) {
      const burst = emptied(this.#outgoing);
      const i = appendPacket(burst, packet);
      burst.next[i] = Next.send;
      // A device whose other side is gone refuses packets; they are lost, as on any wire.
      to.write(burst, Next.send);
    }
  }
}

function emptied(burst: Burst): Burst {
  burst.count = 0;
  return burst;
}

const [seed, ...ends] = process.argv.slice(2) as [string, string, string, string, string];
const { devices } = openDrivers();
const link = new LossyLink(seed, devices.openTun(ends[0], ends[1], MTU), devices.openTun(ends[2], ends[3], MTU));
process.stdout.write('ready\n');
link.run();
