// What the main thread and a forwarder's thread say to each other. Counters need no message: they are on a shared page.
import type { PortDescription } from '../../drivers/port.ts';
import type { Endpoint, ForwarderEvent, ForwardingState } from '../model.ts';
import type { CounterPage } from './counters.ts';
import type { Ring } from './ring.ts';

export interface OutsideDescriptions {
  readonly vxlan: readonly PortDescription[];
  readonly natt: readonly PortDescription[];
  readonly esp: readonly PortDescription[];
}

export type WorkerCommand =
  | { readonly kind: 'attach-inside'; readonly id: number; readonly port: PortDescription; readonly reads: boolean }
  | { readonly kind: 'detach-inside'; readonly id: number; readonly token: number }
  | { readonly kind: 'attach-outside'; readonly id: number; readonly ports: OutsideDescriptions }
  | { readonly kind: 'detach-outside'; readonly id: number; readonly token: number }
  | { readonly kind: 'apply'; readonly state: ForwardingState }
  | { readonly kind: 'ike'; readonly outside: number; readonly remote: Endpoint; readonly bytes: Uint8Array }
  | { readonly kind: 'keepalive'; readonly outside: number; readonly remote: Endpoint }
  /** Answered with 'alive' as soon as the loop comes to it. */
  | { readonly kind: 'probe' }
  | { readonly kind: 'close' };

export type WorkerReport =
  | { readonly kind: 'event'; readonly event: ForwarderEvent }
  /** The thread has let go of the ports that the detach command with this token named. */
  | { readonly kind: 'released'; readonly token: number }
  | { readonly kind: 'alive' }
  /** A port is always ready and has nothing to read. */
  | { readonly kind: 'fruitless' }
  | { readonly kind: 'problem'; readonly message: string };

/** Another worker, with the memory and the wakeups between the two. */
export interface OtherWorker {
  readonly worker: number;
  readonly from: Ring;
  readonly to: Ring;
  readonly ownBellFd: number;
  readonly otherBellFd: number;
}

export interface WorkerStart {
  readonly counters: CounterPage;
  /** Descriptor of the wakeup that follows every command. */
  readonly wakeupFd: number;
  /** Its own number among the workers of the box. */
  readonly worker: number;
  readonly others: readonly OtherWorker[];
  /** How long it may take to compile its code beforehand. */
  readonly rehearsalMs: number;
}
