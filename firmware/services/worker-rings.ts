// The memory and the wakeups between the workers of one forwarder, made before the first of them starts and kept over
// the death of any.
import type { OtherWorker } from '../dataplane/mailbox.ts';
import { createRing } from '../dataplane/ring.ts';
import type { ThreadWakeup } from './forwarder-worker.ts';

/**
 * The largest holds as much as the buffer of a port's socket, so that a worker which gets no processor for some tenths of a
 * second loses nothing; the smallest holds some super-packets. Memory that no queue has reached is not there (dataplane/ring.ts).
 */
const LARGEST_RING_BYTES = 16 << 20;
const SMALLEST_RING_BYTES = 1 << 20;
/** All rings together, where that leaves each the smallest size. */
const RINGS_BYTES = 64 << 20;

export interface WorkerRings {
  /** What each worker has to do with the others. */
  readonly othersOf: readonly (readonly OtherWorker[])[];
  close(): void;
}

export function connectWorkers(workers: number, createWakeup: () => ThreadWakeup): WorkerRings {
  const share = Math.floor(RINGS_BYTES / (workers * (workers - 1)));
  const bytes = Math.min(LARGEST_RING_BYTES, Math.max(SMALLEST_RING_BYTES, share));
  const all = Array.from({ length: workers }, (_, worker) => worker);
  const ways = all.flatMap((from) => all.filter((to) => to !== from).map((to) => ({ from, to, ring: createRing(bytes), bell: createWakeup() })));
  const way = (from: number, to: number): (typeof ways)[number] => ways.find((each) => each.from === from && each.to === to)!;
  const othersOf = all.map((own) => all.filter((worker) => worker !== own).map((worker): OtherWorker => {
    const [into, out] = [way(worker, own), way(own, worker)];
    return { worker, from: into.ring, to: out.ring, ownBellFd: into.bell.fd, otherBellFd: out.bell.fd };
  }));
  return { othersOf, close: () => ways.forEach(({ bell }) => bell.close()) };
}
