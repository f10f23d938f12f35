// One BGP session: the finite state machine of RFC 4271 8 over streams that somebody else opens.
// Supported: connection collision (6.8), hold, keepalive and connect-retry timers with jitter (10), FSM error subcodes
// (RFC 6608), graceful restart as helper with NOTIFICATION support (RFC 4724, 8538), shutdown text (RFC 9003).
// Deviations: a failure leads to Active with a growing delay instead of Idle, so that a peer that restarts is never refused;
// 4-octet AS numbers are required; a peer that returns while the old session still looks alive takes it over
// (RFC 4724 4.2) once that session is old enough not to be the other half of a collision.
// Errors: whatever a peer sends ends in a NOTIFICATION, a closed stream and `down`; nothing is thrown for it.
import { compareBytes } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';
import type { LogLevel } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { TimerTable, after } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';
import { addressBytes } from '../wire/address.ts';
import {
  CEASE, CEASE_ADMINISTRATIVE_SHUTDOWN, CEASE_COLLISION, CEASE_HARD_RESET, FSM_ERROR, HOLD_TIMER_EXPIRED,
} from '../wire/bgp/notification.ts';
import type { Open, RawMessage, RouteRefresh } from '../wire/bgp/message.ts';
import {
  KEEPALIVE, MESSAGE_TYPES, NOTIFICATION, decodeNotification, decodeOpen, decodeRouteRefresh, describeNotification, encodeMessage, encodeNotification,
  encodeOpen, shutdownText,
} from '../wire/bgp/message.ts';
import type { Update } from '../wire/bgp/update.ts';
import { decodeUpdate } from '../wire/bgp/update.ts';
import type { Connection, ConnectionState } from './connection.ts';
import { CONNECTION_STATES, FSM_SUBCODES, STEPS, newConnection } from './connection.ts';
import type { Negotiated, SessionPeer } from './negotiation.ts';
import { checkOpen, negotiate, openFor } from './negotiation.ts';
import { OutputQueue } from './output-queue.ts';

/** A TCP connection that is neither up nor refused after this long is given up. */
const CONNECT_TIMEOUT_MS = 30_000;
/** How long the peer's OPEN may take; RFC 4271 8.2.2 suggests "large". */
const OPEN_WAIT_MS = 60_000;
const RETRY_LEAST_MS = 1_000;
const RETRY_MOST_MS = 60_000;
/** A session that lived this long resets the retry delay. */
const STABLE_MS = 30_000;
/** A younger session is the other half of a collision, not a relic of the peer's last life. */
const TAKEOVER_AGE_MS = 5_000;

interface Failure {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
  readonly cause: string;
  /** Graceful restart must not hide it. */
  readonly hard?: boolean;
}

/** Not an error: two connections became one. */
const COLLISION: Failure = { code: CEASE, subcode: CEASE_COLLISION, data: new Uint8Array(0), cause: 'connection collision' };

export type SessionState = 'Idle' | 'Active' | ConnectionState;

export type SessionInput =
  | { readonly kind: 'start' }
  | { readonly kind: 'stop'; readonly reason: string; readonly subcode?: number }
  | { readonly kind: 'connected'; readonly stream: number; readonly incoming: boolean }
  | { readonly kind: 'data'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly kind: 'closed'; readonly stream: number; readonly cause?: string | undefined };

export type SessionOutput =
  | { readonly kind: 'connect'; readonly stream: number }
  | { readonly kind: 'write'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly kind: 'close'; readonly stream: number }
  | { readonly kind: 'up'; readonly stream: number; readonly negotiated: Negotiated }
  /** `keepRoutes`: graceful restart applies to this loss. */
  | { readonly kind: 'down'; readonly cause: string; readonly keepRoutes: boolean }
  | { readonly kind: 'update'; readonly update: Update }
  | { readonly kind: 'refresh'; readonly refresh: RouteRefresh }
  | { readonly kind: 'log'; readonly level: LogLevel; readonly sentence: string; readonly fields: Record<string, string | number> };

export interface SessionCounters {
  messagesIn: number;
  messagesOut: number;
  updatesIn: number;
  notificationsIn: number;
  notificationsOut: number;
  established: number;
  lost: number;
}

/** Hands out positive stream numbers; streams that peers open are numbered by the caller, below zero. */
export interface StreamNumbers {
  next: number;
}

export class BgpSession implements Machine<SessionInput, SessionOutput> {
  readonly #peer: SessionPeer;
  readonly #random: Random;
  readonly #numbers: StreamNumbers;
  readonly #timers = new TimerTable<string>();
  readonly #outputs = new OutputQueue<SessionOutput>();
  /** At most one of each direction until Established, then one. */
  readonly #connections = new Map<number, Connection>();
  readonly counters: SessionCounters = { messagesIn: 0, messagesOut: 0, updatesIn: 0, notificationsIn: 0, notificationsOut: 0, established: 0, lost: 0 };
  #running = false;
  #failures = 0;
  lastError = '';

  constructor(peer: SessionPeer, random: Random, numbers: StreamNumbers) {
    this.#peer = peer;
    this.#random = random;
    this.#numbers = numbers;
  }

  get state(): SessionState {
    if (!this.#running) return 'Idle';
    let best: ConnectionState | undefined;
    for (const { state } of this.#connections.values()) {
      if (best === undefined || CONNECTION_STATES.indexOf(state) > CONNECTION_STATES.indexOf(best)) best = state;
    }
    return best ?? 'Active';
  }

  get establishedAt(): Instant | undefined {
    return this.#established()?.establishedAt;
  }

  owns(stream: number): boolean {
    return this.#connections.has(stream);
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  poll(): SessionOutput | undefined {
    return this.#outputs.shift();
  }

  /** Writes whole messages to the established connection; without one they are dropped. */
  send(messages: Uint8Array, count: number): void {
    const connection = this.#established();
    if (!connection) return;
    this.counters.messagesOut += count;
    this.#outputs.push({ kind: 'write', stream: connection.stream, bytes: messages });
  }

  /** Ends the established session with a NOTIFICATION that graceful restart does not survive. */
  reset(subcode: number, cause: string, now: Instant): void {
    const connection = this.#established();
    if (connection) this.#fail(connection, { code: CEASE, subcode, data: new Uint8Array(0), cause, hard: true }, now);
  }

  handle(input: SessionInput | Timeout, now: Instant): void {
    switch (input.kind) {
      case 'start':
        if (this.#running) return;
        this.#running = true;
        this.#failures = 0;
        if (!this.#peer.passive) this.#connect(now);
        return;
      case 'stop':
        return this.#stop(input.reason, input.subcode ?? CEASE_ADMINISTRATIVE_SHUTDOWN, now);
      case 'connected':
        return this.#connected(input.stream, input.incoming, now);
      case 'data':
        return this.#data(input.stream, input.bytes, now);
      case 'closed':
        return this.#closed(input.stream, input.cause ?? 'the peer closed the connection', now);
      case 'timeout':
        for (let due = this.#timers.takeDue(now); due !== undefined; due = this.#timers.takeDue(now)) this.#timer(due, now);
    }
  }

  // ------------------------------------------------------------------------------------------------ connections

  #connect(now: Instant): void {
    const stream = this.#numbers.next++;
    this.#add(stream, false, 'Connect');
    this.#timers.set(`connect/${stream}`, after(now, CONNECT_TIMEOUT_MS));
    this.#outputs.push({ kind: 'connect', stream });
  }

  #add(stream: number, incoming: boolean, state: ConnectionState): Connection {
    const connection = newConnection(stream, incoming, state);
    this.#connections.set(stream, connection);
    return connection;
  }

  #connected(stream: number, incoming: boolean, now: Instant): void {
    if (!this.#running) {
      this.#outputs.push({ kind: 'close', stream });
      return;
    }
    let connection = this.#connections.get(stream);
    if (incoming) {
      // The peer dialled again, so its earlier attempt is dead: one half-open incoming connection is enough.
      for (const other of [...this.#connections.values()]) if (other.incoming && other.state !== 'Established') this.#remove(other);
      connection = this.#add(stream, true, 'OpenSent');
    }
    if (!connection) return;
    this.#timers.clear(`connect/${stream}`);
    this.#timers.clear('retry');
    connection.state = 'OpenSent';
    this.#timers.set(`hold/${stream}`, after(now, OPEN_WAIT_MS));
    this.#write(connection, encodeOpen(openFor(this.#peer)));
  }

  #closed(stream: number, cause: string, now: Instant): void {
    const connection = this.#connections.get(stream);
    if (connection) this.#lose(connection, cause, true, now);
  }

  #established(): Connection | undefined {
    for (const connection of this.#connections.values()) if (connection.state === 'Established') return connection;
    return undefined;
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection.stream);
    for (const name of ['connect', 'hold', 'keepalive']) this.#timers.clear(`${name}/${connection.stream}`);
  }

  #remove(connection: Connection): void {
    this.#forget(connection);
    this.#outputs.push({ kind: 'close', stream: connection.stream });
  }

  #write(connection: Connection, bytes: Uint8Array): void {
    this.counters.messagesOut++;
    this.#outputs.push({ kind: 'write', stream: connection.stream, bytes });
  }

  /** After a connection is gone: reports a lost session, and tries again after a growing delay. */
  #lose(connection: Connection, cause: string, keepRoutes: boolean, now: Instant): void {
    this.#forget(connection);
    if (cause !== COLLISION.cause) this.lastError = cause;
    const { establishedAt } = connection;
    if (establishedAt !== undefined) {
      this.counters.lost++;
      if (now - establishedAt >= STABLE_MS) this.#failures = 0;
      this.#outputs.push({ kind: 'down', cause, keepRoutes: keepRoutes && connection.negotiated?.gracefulRestart !== undefined });
    } else {
      this.#log('debug', 'BGP connection attempt failed', { state: connection.state, cause });
    }
    if (this.#running && this.#connections.size === 0) this.#retryLater(now);
  }

  #retryLater(now: Instant): void {
    if (this.#peer.passive) return;
    const delay = Math.min(RETRY_MOST_MS, RETRY_LEAST_MS * 2 ** Math.min(this.#failures++, 10));
    this.#timers.set('retry', after(now, this.#jitter(delay)));
  }

  /** RFC 4271 10: 0.75 to 1.0 of the configured value. */
  #jitter(ms: number): number {
    return ms * (0.75 + 0.25 * (this.#random.uint32() / 0x1_0000_0000));
  }

  // ------------------------------------------------------------------------------------------------- messages

  #data(stream: number, bytes: Uint8Array, now: Instant): void {
    const connection = this.#connections.get(stream);
    if (!connection) return;
    try {
      for (let at = 0; at < bytes.length && this.#connections.get(stream) === connection; ) {
        const { next, message } = connection.cutter.take(bytes, at);
        at = next;
        if (message) this.#message(connection, message, now);
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const answer = error.answer ?? FSM_ERROR << 8;
      this.#fail(connection, { code: answer >>> 8, subcode: answer & 0xff, data: error.data ?? new Uint8Array(0), cause: error.message }, now);
    }
  }

  #message(connection: Connection, message: RawMessage, now: Instant): void {
    this.counters.messagesIn++;
    if (message.type === NOTIFICATION) return this.#notified(connection, message.body, now);
    const step = STEPS.find((row) => row.state === connection.state && row.type === message.type);
    if (!step) {
      const cause = `${MESSAGE_TYPES.get(message.type)!.name} in state ${connection.state}`;
      throw new WireError(cause, (FSM_ERROR << 8) | FSM_SUBCODES[connection.state], Uint8Array.of(message.type));
    }
    switch (step.take) {
      case 'open':
        return this.#opened(connection, decodeOpen(message.body), now);
      case 'established':
        return this.#establish(connection, now);
      case 'keepalive':
        return this.#heard(connection, now);
      case 'update':
        this.#heard(connection, now);
        this.counters.updatesIn++;
        this.#outputs.push({ kind: 'update', update: decodeUpdate(message.body, this.#peer.external) });
        return;
      case 'refresh':
        this.#heard(connection, now);
        this.#outputs.push({ kind: 'refresh', refresh: decodeRouteRefresh(message.body) });
    }
  }

  #opened(connection: Connection, open: Open, now: Instant): void {
    checkOpen(open, this.#peer);
    for (const other of [...this.#connections.values()]) {
      if (other === connection) continue;
      if (!this.#resolveCollision(connection, open, other, now)) return;
    }
    connection.negotiated = negotiate(open, this.#peer);
    connection.state = 'OpenConfirm';
    this.#write(connection, encodeMessage(KEEPALIVE));
    this.#heard(connection, now);
    this.#armKeepalive(connection, now);
  }

  /** RFC 4271 6.8. Whether `connection` goes on. */
  #resolveCollision(connection: Connection, open: Open, other: Connection, now: Instant): boolean {
    if (other.state === 'Connect' || other.state === 'OpenSent') return true; // decided when its OPEN comes, or at Established
    if (other.state === 'Established') {
      const old = now - other.establishedAt! >= TAKEOVER_AGE_MS;
      if (old && other.negotiated!.gracefulRestart !== undefined) {
        this.#outputs.push({ kind: 'close', stream: other.stream });
        this.#lose(other, 'the peer opened a new session', true, now);
        return true;
      }
      this.#fail(connection, COLLISION, now);
      return false;
    }
    const keepOutgoing = this.#weAreHigher(open);
    const loser = connection.incoming === keepOutgoing ? connection : other;
    this.#fail(loser, COLLISION, now);
    return loser !== connection;
  }

  /** The higher identifier's connection stays; equal ones are told apart by AS number (RFC 6286 2.3). */
  #weAreHigher(open: Open): boolean {
    const order = compareBytes(addressBytes(this.#peer.routerId), addressBytes(open.routerId));
    return order !== 0 ? order > 0 : this.#peer.asNumber > open.asNumber;
  }

  #establish(connection: Connection, now: Instant): void {
    connection.state = 'Established';
    connection.establishedAt = now;
    for (const other of [...this.#connections.values()]) {
      if (other === connection) continue;
      if (other.state === 'Connect') this.#remove(other);
      else this.#fail(other, COLLISION, now);
    }
    this.#timers.clear('retry');
    this.#heard(connection, now);
    this.counters.established++;
    this.#outputs.push({ kind: 'up', stream: connection.stream, negotiated: connection.negotiated! });
  }

  #notified(connection: Connection, body: Uint8Array, now: Instant): void {
    const notification = decodeNotification(body);
    this.counters.notificationsIn++;
    const words = describeNotification(notification);
    this.#log('warning', 'BGP NOTIFICATION received', { reason: words, state: connection.state });
    this.#outputs.push({ kind: 'close', stream: connection.stream });
    const hard = notification.code === CEASE && notification.subcode === CEASE_HARD_RESET;
    this.#lose(connection, `peer: ${words}`, !hard && connection.negotiated?.gracefulRestart?.notification === true, now);
  }

  /** Sends a NOTIFICATION, closes the stream and reports the loss. */
  #fail(connection: Connection, why: Failure, now: Instant): void {
    const survives = connection.negotiated?.gracefulRestart?.notification === true;
    const plain = { code: why.code, subcode: why.subcode, data: why.data };
    // RFC 8538 3: without the wrapping, the peer would keep our routes.
    const wrapped = { code: CEASE, subcode: CEASE_HARD_RESET, data: Uint8Array.of(why.code, why.subcode, ...why.data) };
    if (connection.state !== 'Connect') {
      this.#write(connection, encodeNotification(why.hard && survives ? wrapped : plain));
      this.counters.notificationsOut++;
      if (why !== COLLISION) {
        this.#log('warning', 'BGP NOTIFICATION sent', { reason: describeNotification(plain), cause: why.cause, state: connection.state });
      }
    }
    this.#outputs.push({ kind: 'close', stream: connection.stream });
    this.#lose(connection, why.cause, !why.hard && survives, now);
  }

  #stop(reason: string, subcode: number, now: Instant): void {
    this.#running = false;
    this.#timers.clear('retry');
    const data = subcode === CEASE_ADMINISTRATIVE_SHUTDOWN ? shutdownText(reason) : new Uint8Array(0);
    for (const connection of [...this.#connections.values()]) {
      this.#fail(connection, { code: CEASE, subcode, data, cause: reason, hard: true }, now);
    }
  }

  // --------------------------------------------------------------------------------------------------- timers

  #heard(connection: Connection, now: Instant): void {
    const holdMs = connection.negotiated!.holdMs;
    if (holdMs > 0) this.#timers.set(`hold/${connection.stream}`, after(now, holdMs));
    else this.#timers.clear(`hold/${connection.stream}`);
  }

  #armKeepalive(connection: Connection, now: Instant): void {
    const holdMs = connection.negotiated!.holdMs;
    if (holdMs > 0) this.#timers.set(`keepalive/${connection.stream}`, after(now, this.#jitter(holdMs / 3)));
  }

  #timer(name: string, now: Instant): void {
    if (name === 'retry') {
      if (this.#running && this.#connections.size === 0) this.#connect(now);
      return;
    }
    const [what, stream] = name.split('/');
    const connection = this.#connections.get(Number(stream));
    if (!connection) return;
    if (what === 'keepalive') {
      this.#write(connection, encodeMessage(KEEPALIVE));
      this.#armKeepalive(connection, now);
    } else if (what === 'connect') {
      this.#remove(connection);
      this.#lose(connection, `no connection within ${CONNECT_TIMEOUT_MS / 1000} s`, true, now);
    } else {
      const cause = connection.state === 'OpenSent' ? `no OPEN within ${OPEN_WAIT_MS / 1000} s` : 'hold timer expired';
      this.#fail(connection, { code: HOLD_TIMER_EXPIRED, subcode: 0, data: new Uint8Array(0), cause }, now);
    }
  }

  #log(level: LogLevel, sentence: string, fields: Record<string, string | number>): void {
    this.#outputs.push({ kind: 'log', level, sentence, fields });
  }
}
