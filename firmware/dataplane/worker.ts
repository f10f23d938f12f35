// Entry of a forwarder's thread: the composition root of that thread, hence the imports of drivers. The loop never
// returns to Node's event loop; commands are taken from the mailbox after the wakeup.
import { isMainThread, parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { adoptPort, adoptWakeup, nativeAead, waitFds } from '../../drivers/open.ts';
import type { DatagramPort, Link, PortDescription } from '../../drivers/port.ts';
import { wipe } from '../../platform/bytes.ts';
import { SystemClock } from '../../platform/time.ts';
import type { ForwardingState } from '../model.ts';
import { Forwarder } from './forwarder.ts';
import type { WorkerCommand, WorkerReport, WorkerStart } from './mailbox.ts';

/** Longest sleep; the deadline and wakeups end it earlier. */
const LONGEST_WAIT_MS = 1000;
/** Breaths between looks into the mailbox while packets keep coming. */
const BREATHS_PER_ROUND = 16;
/** `waitFds` takes this many descriptors; with more ports the wait goes round in shares, this long each. */
const WAIT_DESCRIPTORS = 31;
const SHARED_WAIT_MS = 1;

class ForwarderWorker {
  readonly #mailbox: MessagePort;
  readonly #wakeup: ReturnType<typeof adoptWakeup>;
  readonly #clock = new SystemClock();
  readonly #forwarder: Forwarder;
  readonly #links = new Map<number, Link>();
  readonly #outsides = new Map<number, DatagramPort[]>();
  readonly #waiting = new Int32Array(WAIT_DESCRIPTORS);
  #descriptors: number[] = [];
  #share = 0;
  #closed = false;

  constructor(mailbox: MessagePort, start: WorkerStart) {
    this.#mailbox = mailbox;
    this.#wakeup = adoptWakeup(start.wakeupFd);
    this.#forwarder = new Forwarder({
      aead: nativeAead(),
      counters: start.counters,
      onEvent: (event) => this.#report({ kind: 'event', event }),
    });
  }

  /** Returns after the 'close' command. An error of ours ends the thread, but not before its descriptors are closed. */
  run(): void {
    try {
      while (!this.#closed) this.#round();
    } finally {
      this.#forwarder.close();
      for (const link of this.#links.values()) link.close();
      for (const ports of this.#outsides.values()) for (const port of ports) port.close();
    }
  }

  #round(): void {
    this.#takeCommands();
    let moved = 0;
    for (let breath = 0; breath < BREATHS_PER_ROUND; breath++) {
      moved = this.#forwarder.breathe(this.#clock.now());
      if (moved === 0) break;
    }
    if (moved === 0 && !this.#closed) this.#wait();
  }

  #takeCommands(): void {
    this.#wakeup.drain();
    for (;;) {
      const received = receiveMessageOnPort(this.#mailbox) as { message: WorkerCommand } | undefined;
      if (received === undefined) return;
      this.#command(received.message);
    }
  }

  #wait(): void {
    const due = this.#forwarder.deadline();
    const untilDue = due === undefined ? LONGEST_WAIT_MS : Math.ceil(due - this.#clock.now());
    const all = this.#descriptors.length;
    this.#waiting[0] = this.#wakeup.fd;
    const count = Math.min(all, WAIT_DESCRIPTORS - 1);
    for (let i = 0; i < count; i++) this.#waiting[i + 1] = this.#descriptors[(this.#share + i) % all]!;
    const shared = all > count;
    if (shared) this.#share = (this.#share + count) % all;
    const longest = shared ? SHARED_WAIT_MS : LONGEST_WAIT_MS;
    waitFds(this.#waiting, count + 1, Math.max(0, Math.min(longest, untilDue)));
  }

  #command(command: WorkerCommand): void {
    switch (command.kind) {
      case 'attach-inside':
        this.#attachInside(command.id, command.port);
        break;
      case 'detach-inside':
        this.#forwarder.detachInside(command.id);
        this.#links.get(command.id)?.close();
        this.#links.delete(command.id);
        this.#report({ kind: 'released', token: command.token });
        break;
      case 'attach-outside': {
        const adopt = (ports: readonly PortDescription[]): DatagramPort[] => ports.flatMap((port) => this.#adopt<DatagramPort>(port));
        const ports = { vxlan: adopt(command.ports.vxlan), natt: adopt(command.ports.natt), esp: adopt(command.ports.esp) };
        this.#outsides.set(command.id, [...ports.vxlan, ...ports.natt, ...ports.esp]);
        this.#forwarder.attachOutside(command.id, ports);
        break;
      }
      case 'detach-outside':
        this.#forwarder.detachOutside(command.id);
        for (const port of this.#outsides.get(command.id) ?? []) port.close();
        this.#outsides.delete(command.id);
        this.#report({ kind: 'released', token: command.token });
        break;
      case 'apply':
        this.#forwarder.apply(command.state);
        wipeKeys(command.state);
        break;
      case 'ike':
        this.#forwarder.sendIke(command.outside, command.remote, command.bytes);
        break;
      case 'keepalive':
        this.#forwarder.sendNatKeepalive(command.outside, command.remote);
        break;
      case 'probe':
        this.#report({ kind: 'alive' });
        break;
      case 'close':
        this.#closed = true;
        break;
    }
    this.#descriptors = [...this.#links.values(), ...[...this.#outsides.values()].flat()].map((port) => port.fd);
    this.#share = 0;
  }

  #attachInside(id: number, description: PortDescription): void {
    for (const link of this.#adopt<Link>(description)) {
      this.#links.set(id, link);
      this.#forwarder.attachInside(id, link);
    }
  }

  #adopt<P extends Link | DatagramPort>(description: PortDescription): P[] {
    try {
      return [adoptPort(description) as P];
    } catch (error) {
      this.#report({ kind: 'problem', message: (error as Error).message });
      return [];
    }
  }

  #report(report: WorkerReport): void {
    this.#mailbox.postMessage(report);
  }
}

/** The state was copied for this thread; the engine has its own copies of the keys. */
function wipeKeys(state: ForwardingState): void {
  for (const { tx, rx } of state.tunnels) for (const sa of tx === undefined ? rx : [tx, ...rx]) wipe(sa.key, sa.salt);
}

if (!isMainThread && parentPort !== null) new ForwarderWorker(parentPort, workerData as WorkerStart).run();
