// One worker thread of a forwarder: its commands, its answers, and its next life when it dies. It goes on from the
// sequence numbers on its counter page, never below them.
import { Worker } from 'node:worker_threads';
import type { Logger } from '../../platform/log.ts';
import { after, sleep, type CancelTimer, type Clock, type Instant } from '../../platform/time.ts';
import type { CounterPage } from '../dataplane/counters.ts';
import type { OtherWorker, WorkerCommand, WorkerReport, WorkerStart } from '../dataplane/mailbox.ts';
import type { ForwarderEvent } from '../model.ts';

/** A thread that ends by itself is started again after these times; one that lived long begins with the first of them again. */
const RESTART_MS = [20, 200, 1000, 4000, 15_000];
const LONG_LIFE_MS = 60_000;
/** A thread compiles its code before it takes over its ports: longer at the start, when nobody waits yet. */
const REHEARSAL_MS = 1000;
const REHEARSAL_AGAIN_MS = 100;
const CLOSE_MS = 2000;
/** Forwarding makes nothing for the garbage collector; the usual size would be some 14 MB more for each thread. */
const YOUNG_GENERATION_MB = 2;
/** Far more than any state takes. The engine lets garbage of former states lie the longer, the higher its limit is. */
const OLD_GENERATION_MB = 1024;

/** What the thread is woken with; drivers/threads.ts makes one. */
export interface ThreadWakeup {
  readonly fd: number;
  wake(): void;
  close(): void;
}

export interface WorkerThreadOptions {
  readonly worker: number;
  readonly others: readonly OtherWorker[];
  readonly page: CounterPage;
  readonly wakeup: ThreadWakeup;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent: (event: ForwarderEvent) => void;
  /** A port of the thread is ready for ever and has nothing to read. */
  readonly onFruitless: () => void;
  /** A new thread has taken the place of one that died; it knows nothing yet. */
  readonly onRestarted: () => void;
}

export class WorkerThread {
  readonly #options: WorkerThreadOptions;
  /** What the thread was told to let go of, by token. */
  readonly #releases = new Map<number, () => void>();
  #probes: (() => void)[] = [];
  #thread: Worker | undefined;
  #startedAt: Instant;
  #timer: CancelTimer | undefined;
  #nextToken = 1;
  #restarts = 0;
  #closing = false;

  constructor(options: WorkerThreadOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#start(REHEARSAL_MS);
  }

  send(command: WorkerCommand): void {
    this.#thread?.postMessage(command);
    this.#options.wakeup.wake();
  }

  /** Calls `answered` when the thread's loop has taken the question; a thread that is started again answers too. */
  probe(answered: () => void): void {
    this.#probes.push(answered);
    this.send({ kind: 'probe' });
  }

  /** Sends a command that lets go of something; `released` is called when that is so, or when there is no thread. */
  release(command: (token: number) => WorkerCommand, released: () => void): void {
    if (this.#thread === undefined) {
      released();
      return;
    }
    const token = this.#nextToken++;
    this.#releases.set(token, released);
    this.send(command(token));
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#timer?.();
    const thread = this.#thread;
    if (thread !== undefined) {
      const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
      this.send({ kind: 'close' });
      await Promise.race([ended, sleep(CLOSE_MS)]);
      await thread.terminate();
    }
    this.#releaseAll();
    this.#options.wakeup.close();
  }

  #start(rehearsalMs: number): void {
    const { worker, others, page, wakeup, clock } = this.#options;
    const start: WorkerStart = { counters: page, wakeupFd: wakeup.fd, worker, others, rehearsalMs };
    const thread = new Worker(new URL('../dataplane/worker.ts', import.meta.url), { workerData: start, name: `forwarder ${worker}`, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB, maxOldGenerationSizeMb: OLD_GENERATION_MB } });
    let cause = 'it ended by itself';
    thread.on('message', (report: WorkerReport) => this.#report(report));
    thread.on('error', (error) => (cause = (error as Error).message));
    thread.on('exit', () => this.#ended(thread, cause));
    this.#thread = thread;
    this.#startedAt = clock.now();
  }

  #ended(thread: Worker, cause: string): void {
    if (thread !== this.#thread) return;
    this.#thread = undefined;
    this.#releaseAll();
    if (this.#closing) return;
    const { clock, log, worker } = this.#options;
    if (clock.now() - this.#startedAt >= LONG_LIFE_MS) this.#restarts = 0;
    const restartMs = RESTART_MS[this.#restarts];
    if (restartMs === undefined) {
      log.error('forwarder thread stays down', { worker, cause, restarts: this.#restarts, nextStep: 'restart the appliance and report this cause' });
      return;
    }
    this.#restarts++;
    log.error('forwarder thread ended', { worker, cause, restartMs });
    this.#timer = clock.at(after(clock.now(), restartMs), () => {
      this.#start(REHEARSAL_AGAIN_MS);
      this.#options.onRestarted();
      if (this.#probes.length > 0) this.send({ kind: 'probe' });
    });
  }

  #report(report: WorkerReport): void {
    switch (report.kind) {
      case 'event':
        this.#options.onEvent(report.event);
        break;
      case 'released':
        this.#releases.get(report.token)?.();
        this.#releases.delete(report.token);
        break;
      case 'fruitless':
        this.#options.onFruitless();
        break;
      case 'alive':
        for (const answered of this.#probes.splice(0)) answered();
        break;
      case 'problem':
        this.#options.log.error('forwarder thread cannot take over a port', { worker: this.#options.worker, cause: report.message });
        break;
    }
  }

  #releaseAll(): void {
    for (const released of this.#releases.values()) released();
    this.#releases.clear();
  }
}
