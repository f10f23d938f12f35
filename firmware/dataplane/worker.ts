// Entry of a forwarder's thread: the composition root of that thread, hence the imports of drivers. The loop never
// returns to Node's event loop; commands are taken from the mailbox after the wakeup.
import { isMainThread, parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { createBurst } from '../../drivers/burst.ts';
import { adoptPort, adoptWakeup, createWaiter, nativeAead } from '../../drivers/threads.ts';
import type { DatagramPort, Link, PortDescription } from '../../drivers/port.ts';
import { wipe } from '../../platform/bytes.ts';
import { after, SystemClock } from '../../platform/time.ts';
import type { ForwardingState } from '../model.ts';
import { BusyPoll } from './busy-poll.ts';
import type { CounterPage } from './counters.ts';
import { Forwarder } from './forwarder.ts';
import type { OtherWorker, WorkerCommand, WorkerReport, WorkerStart } from './mailbox.ts';
import { rehearse } from './rehearsal.ts';
import { WorkerPort, type Bell } from './ring.ts';

/** After so many rounds for nothing each further one is followed by a pause that only a command ends. */
const FRUITLESS_ROUNDS = 32;
const FRUITLESS_PAUSE_MS = 10;

class ForwarderWorker {
  readonly #mailbox: MessagePort;
  readonly #wakeup: ReturnType<typeof adoptWakeup>;
  readonly #forwarder: Forwarder;
  readonly #links = new Map<number, Link>();
  readonly #outsides = new Map<number, DatagramPort[]>();
  readonly #spin = new BusyPoll();
  /** Waits on the wakeup, then on the ports by slot. */
  readonly #waiter = createWaiter();
  /** The waiter's marks of the ports. */
  #ready = this.#waiter.ready;
  /** Rounds in a row in which what was ready had nothing to read. */
  #fruitless = 0;
  #closed = false;

  constructor(mailbox: MessagePort, start: WorkerStart) {
    this.#mailbox = mailbox;
    this.#wakeup = adoptWakeup(start.wakeupFd);
    const aead = nativeAead();
    const bursts = [createBurst(), createBurst()] as const;
    const clock = new SystemClock();
    const rehearsed = after(clock.now(), start.rehearsalMs);
    rehearse(aead, bursts, { isOver: () => clock.now() >= rehearsed });
    this.#forwarder = new Forwarder({
      aead,
      bursts,
      counters: start.counters,
      worker: start.worker,
      onEvent: (event) => this.#report({ kind: 'event', event }),
    });
    for (const other of start.others) this.#forwarder.attachWorker(other.worker, portTo(other, start.counters));
    this.#portsChanged();
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

  /** Only ports that have something are read: a look at an empty one costs as much as a packet. */
  #round(): void {
    const waiter = this.#waiter;
    const due = this.#forwarder.deadline();
    const longest = this.#spin.longestMs;
    const untilDue = due === undefined ? longest : Math.ceil(due - waiter.now);
    const found = waiter.wait(untilDue > longest ? longest : untilDue < 0 ? 0 : untilDue, this.#spin.budgetUs);
    this.#spin.waited(waiter.waitedUs, found > 0);
    const commanded = waiter.ready[0] === 1;
    if (commanded) this.#takeCommands();
    if (this.#closed) return;
    const moved = this.#forwarder.breathe(waiter.now, this.#ready);
    const fruitless = moved === 0 && found > 0 && !commanded;
    this.#fruitless = fruitless ? this.#fruitless + 1 : 0;
    // A device that was removed stays ready for ever and has nothing to read.
    if (this.#fruitless < FRUITLESS_ROUNDS) return;
    if (this.#fruitless % FRUITLESS_ROUNDS === 0) this.#report({ kind: 'fruitless' });
    waiter.wait(FRUITLESS_PAUSE_MS, 0, 1);
  }

  #takeCommands(): void {
    this.#wakeup.drain();
    for (;;) {
      const received = receiveMessageOnPort(this.#mailbox) as { message: WorkerCommand } | undefined;
      if (received === undefined) return;
      this.#command(received.message);
    }
  }

  #command(command: WorkerCommand): void {
    switch (command.kind) {
      case 'attach-inside':
        this.#attachInside(command.id, command.port, command.reads);
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
    this.#portsChanged();
  }

  #portsChanged(): void {
    this.#waiter.watch([this.#wakeup.fd, ...this.#forwarder.descriptors()]);
    this.#ready = this.#waiter.ready.subarray(1);
  }

  #attachInside(id: number, description: PortDescription, reads: boolean): void {
    for (const link of this.#adopt<Link>(description)) {
      this.#links.set(id, link);
      this.#forwarder.attachInside(id, link, reads);
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

function portTo({ worker, from, to, ownBellFd, otherBellFd }: OtherWorker, page: CounterPage): WorkerPort {
  return new WorkerPort({ name: `worker ${worker}`, from, to, ownBell: bellOf(ownBellFd), otherBell: bellOf(otherBellFd), page });
}

function bellOf(fd: number): Bell {
  const { wake, drain } = adoptWakeup(fd);
  return { fd, ring: wake, silence: drain };
}

/** The state was copied for this thread; the engine has its own copies of the keys. */
function wipeKeys(state: ForwardingState): void {
  for (const { tx, rx } of state.tunnels) for (const sa of tx === undefined ? rx : [tx, ...rx]) wipe(sa.key, sa.salt);
}

if (!isMainThread && parentPort !== null) new ForwarderWorker(parentPort, workerData as WorkerStart).run();
