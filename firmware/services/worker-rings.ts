// The memory and the wakeups between the workers of one forwarder, made before the first of them starts and kept over
// the death of any.
import type { OtherWorker } from '../dataplane/mailbox.ts';
import { createRing } from '../dataplane/ring.ts';
import type { ThreadWakeup } from './forwarder-worker.ts';

/** All rings together: with two workers each holds a whole burst. The smallest holds some super-packets. */
const RINGS_BYTES = 6 << 20;
const SMALLEST_RING_BYTES = 1 << 20;

export interface WorkerRings {
  /** What each worker has to do with the others. */
  readonly othersOf: readonly (readonly OtherWorker[])[];
  close(): void;
}

export function connectWorkers(workers: number, createWakeup: () => ThreadWakeup): WorkerRings {
  const bytes = Math.max(SMALLEST_RING_BYTES, Math.floor(RINGS_BYTES / (workers * (workers - 1))));
  const all = Array.from({ length: workers }, (_, worker) => worker);
  const ways = all.flatMap((from) => all.filter((to) => to !== from).map((to) => ({ from, to, ring: createRing(bytes), bell: createWakeup() })));
  const way = (from: number, to: number): (typeof ways)[number] => ways.find((each) => each.from === from && each.to === to)!;
  const othersOf = all.map((own) => all.filter((worker) => worker !== own).map((worker): OtherWorker => {
    const [into, out] = [way(worker, own), way(own, worker)];
    return { worker, from: into.ring, to: out.ring, ownBellFd: into.bell.fd, otherBellFd: out.bell.fd };
  }));
  return { othersOf, close: () => ways.forEach(({ bell }) => bell.close()) };
}
