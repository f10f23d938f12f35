// Rare events on their way to the control plane. They wait until a breath ends, because what they cause may change the
// tables that the stages work on.
import type { ForwarderEvent } from '../model.ts';
import { REPORTED_BYTES, REPORTED_FAILURES, REPORTED_PACKETS, type SaTable } from './sa-table.ts';
import type { TunnelTable } from './tunnel.ts';

/** Events that wait at most; one breath makes far fewer, except under a flood of IKE, which may be dropped. */
const MAX_EVENTS = 4096;

/** Integrity limit of AES-GCM for 1500-octet packets: this many bad tags call for a new key. */
const FAILED_TAGS_LIMIT = 2 ** 36;

export class EventQueue {
  #events: ForwarderEvent[] = [];

  push(event: ForwarderEvent): void {
    if (this.#events.length < MAX_EVENTS) this.#events.push(event);
  }

  get waiting(): boolean {
    return this.#events.length > 0;
  }

  /** What waits, oldest first; the queue is empty afterwards. */
  drain(): readonly ForwarderEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}

/** Reports a soft limit of an SA that was just passed, once. */
export function reportLimits(sas: SaTable, tunnels: TunnelTable, events: EventQueue, row: number): void {
  const tunnel = tunnels.id[sas.tunnel[row]!]!;
  const spi = sas.spi[row]! >>> 0;
  const reported = sas.reported[row]!;
  if (sas.packets[row]! >= sas.softPackets[row]! && (reported & REPORTED_PACKETS) === 0) {
    sas.reported[row]! |= REPORTED_PACKETS;
    events.push({ kind: 'sa-limit', tunnel, spi, limit: 'packets' });
  }
  if (sas.octets[row]! >= sas.softBytes[row]! && (reported & REPORTED_BYTES) === 0) {
    sas.reported[row]! |= REPORTED_BYTES;
    events.push({ kind: 'sa-limit', tunnel, spi, limit: 'bytes' });
  }
  if (sas.failures[row]! >= FAILED_TAGS_LIMIT && (reported & REPORTED_FAILURES) === 0) {
    sas.reported[row]! |= REPORTED_FAILURES;
    events.push({ kind: 'sa-limit', tunnel, spi, limit: 'failures' });
  }
}
