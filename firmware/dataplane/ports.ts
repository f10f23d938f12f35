// The ports that the forwarder holds, by slot: a packet's `next` is FIRST_PORT + slot. Slots are shared by links of the
// inside and datagram ports of the outside.
import { FIRST_PORT, type Burst } from '../../drivers/burst.ts';
import type { BurstPort, DatagramPort, Link } from '../../drivers/port.ts';

export interface OutsidePorts {
  /** UDP 4790, at most one per family. */
  readonly vxlan: readonly DatagramPort[];
  /** UDP 4500. */
  readonly natt: readonly DatagramPort[];
  /** Raw IP protocol 50. */
  readonly esp: readonly DatagramPort[];
}

/** `worker`: what goes to another worker of this forwarder, and comes from it. */
export type PortRole = 'link' | 'worker' | keyof OutsidePorts;

export interface Slot {
  readonly role: PortRole;
  /** Id of the inside or outside that it belongs to; the other worker's number. */
  readonly owner: number;
  readonly family: number;
  readonly port: BurstPort;
  /** Links that another worker reads are only written to. */
  readonly reads: boolean;
  /**
   * The port's own functions. Calls through them have no type to be compiled for, so code that was compiled with one
   * kind of port (rehearsal.ts) stays good for another.
   */
  readonly read: (burst: Burst) => number;
  readonly write: (burst: Burst, select: number) => number;
}

export class PortTable {
  readonly slots: (Slot | undefined)[] = [];
  /** By slot: row of the inside that a link belongs to, or -1. */
  rows = new Int32Array(0);
  /** 1 while the burst at hand holds packets for the slot. */
  used = new Uint8Array(16);

  attachLink(inside: number, link: Link, reads = true): void {
    this.detach('link', inside);
    this.#add('link', inside, 0, link, reads);
  }

  attachWorker(worker: number, port: BurstPort): void {
    this.detach('worker', worker);
    this.#add('worker', worker, 0, port);
  }

  attachOutside(outside: number, ports: OutsidePorts): void {
    this.detachOutside(outside);
    for (const role of ['vxlan', 'natt', 'esp'] as const) {
      for (const port of ports[role]) {
        this.#add(role, outside, familyOf(port.local.address), port);
      }
    }
  }

  detachOutside(outside: number): void {
    for (const role of ['vxlan', 'natt', 'esp'] as const) this.detach(role, outside);
  }

  detach(role: PortRole, owner: number): void {
    for (const [i, slot] of this.slots.entries()) {
      if (slot?.role === role && slot.owner === owner) this.slots[i] = undefined;
    }
  }

  #add(role: PortRole, owner: number, family: number, port: BurstPort, reads = true): void {
    const slot: Slot = { role, owner, family, port, reads, read: (burst) => port.read(burst), write: (burst, select) => port.write(burst, select) };
    const free = this.slots.indexOf(undefined);
    const index = free < 0 ? this.slots.length : free;
    this.slots[index] = slot;
    if (index >= this.used.length) this.used = new Uint8Array(this.used.length * 2);
  }

  /** Slot number, or -1. `family` is ignored for links. */
  find(role: PortRole, owner: number, family: number): number {
    return this.slots.findIndex((slot) => slot?.role === role && slot.owner === owner && (role === 'link' || slot.family === family));
  }

  /** The `next` value that sends through a slot; 0 stays "drop". */
  nextOf(slot: number): number {
    return slot < 0 ? 0 : FIRST_PORT + slot;
  }
}

export function familyOf(address: string): number {
  return address.includes(':') ? 6 : 4;
}
