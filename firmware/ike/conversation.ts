// One IKE SA's messages: opens what arrives, checks it against the exchange table, runs the tasks, seals what they
// built, keeps replies for repeated requests and repeats our own request until it is answered or given up.
//
// What a peer sends ends at most its own IKE SA: an authentic but malformed message closes it (RFC 7296 2.21.3),
// anything that is not authentic is dropped and leaves no trace but a log line.
import { WireError } from '../../platform/errors.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import type { Header, Message } from '../wire/ike/message.ts';
import { encodeMessage } from '../wire/ike/message.ts';
import { ExchangeType, exchangeName, NotifyType, notifyName, Protocol } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { notify } from '../wire/ike/payloads.ts';
import type { ExchangeRow } from './exchanges.ts';
import { admit, ownRow, requestRow } from './exchanges.ts';
import type { IkeSa, Path } from './ike-sa.ts';
import type { IkeDropReason } from './input-output.ts';
import { noteReceived, noteSent } from './intermediate.ts';
import { follow } from './redirect.ts';
import type { Opened, Sealing } from './sealing.ts';
import { innerPayloads } from './sealing.ts';
import type { Failure, Request, Task, Verdict } from './task.ts';
import { errorNotify } from './task.ts';
import { responderTasks } from './tasks/catalogue.ts';
import { Window } from './window.ts';

/** After an unauthenticated refusal of IKE_SA_INIT a forged one still loses to a real answer within this time (RFC 7296 2.21.1). */
const REFUSAL_GRACE_MS = 3_000;
/** Requests that may wait behind the outstanding one. */
const MAX_QUEUE = 32;

export class Conversation {
  readonly #sa: IkeSa;
  readonly #window: Window;
  readonly #queue: Request[] = [];
  #current: Request | undefined;
  #sealing: Sealing | undefined;
  /** What sealed the last reply, whose request may come again. */
  #replySealing: Sealing | undefined;
  #refusal: Failure | undefined;
  /** Goes on with the message that a task has asked to wait with. */
  #waiting: ((now: Instant) => void) | undefined;
  lastHeard: Instant;

  constructor(sa: IkeSa, now: Instant) {
    this.#sa = sa;
    this.#window = new Window(sa.env.retransmission, sa.env.random);
    this.lastHeard = now;
  }

  get busy(): boolean {
    return this.#current !== undefined;
  }

  /** Tasks of our outstanding request; a colliding request of the peer looks for its twin here. */
  get currentTasks(): readonly Task[] {
    return this.#current?.tasks ?? [];
  }

  protect(sealing: Sealing): void {
    if (this.#sealing !== this.#replySealing) this.#sealing?.wipe();
    this.#sealing = sealing;
  }

  /** The keys that the SA itself does not know any more. */
  wipeSecrets(): void {
    this.#replySealing?.wipe();
  }

  /** The request of the reply that was just made may come again after the keys have been replaced. */
  #keepReplySealing(): void {
    if (this.#replySealing !== this.#sealing) this.#replySealing?.wipe();
    this.#replySealing = this.#sealing;
  }

  get protected(): boolean {
    return this.#sealing !== undefined;
  }

  // ------------------------------------------------------------------------------------------ our requests

  enqueue(request: Request, now: Instant): void {
    if (this.#queue.length < MAX_QUEUE) this.#queue.push(request);
    this.startNext(now);
  }

  /** Drops what waits; the last request follows the outstanding one, for the window is 1. */
  enqueueLast(request: Request, now: Instant): void {
    this.#queue.length = 0;
    this.enqueue(request, now);
  }

  /** Drops what waits and what is outstanding. */
  clear(now: Instant): void {
    this.#queue.length = 0;
    this.#waiting = undefined;
    if (this.#current === undefined) return;
    this.#abandon(now);
    // The outstanding id counts as used: the peer may have handled that request.
    this.#window.answered();
  }

  takeQueue(): Request[] {
    return this.#queue.splice(0);
  }

  startNext(now: Instant): void {
    while (this.#current === undefined && this.#queue.length > 0) {
      const request = this.#queue.shift()!;
      if (request.wanted?.(this.#sa) === false) continue;
      this.#current = request;
      this.#sendCurrent(now);
    }
  }

  #sendCurrent(now: Instant): void {
    const { row, tasks } = this.#current!;
    const out: Payload[] = [];
    for (const task of tasks) task.build(this.#sa, out, now);
    const header = this.#header(row.exchange, this.#window.nextId, false);
    noteSent(this.#sa, header, out);
    const messages = this.#encode(header, out);
    if (row.name === 'init') this.#sa.initRequest = messages[0]!;
    this.#sa.setTimer('retransmit', this.#window.sent(messages, now));
    this.#transmit(messages, this.#sa.path);
  }

  retransmit(now: Instant): void {
    if (this.#current === undefined) return;
    const again = this.#window.retransmit(now);
    if (again === undefined) {
      this.#giveUp(now);
      return;
    }
    this.#sa.log('debug', 'IKE message retransmitted', {
      exchange: exchangeName(this.#current.row.exchange),
      messageId: this.#window.outstandingId,
      sending: this.#window.sendings,
    });
    this.#sa.setTimer('retransmit', again.next);
    this.#transmit(again.messages, this.#sa.path);
  }

  /** Sends the outstanding request once more at once, over a path that has just changed. */
  resend(): void {
    this.#transmit(this.#window.outstanding, this.#sa.path);
  }

  #giveUp(now: Instant): void {
    const sendings = this.#window.sendings;
    this.#abandon(now);
    this.#sa.unanswered(this.#refusal, sendings, now);
  }

  /** The grace after an unauthenticated refusal is over. */
  acceptRefusal(now: Instant): void {
    if (this.#refusal !== undefined && this.#current?.row.name === 'init') this.#giveUp(now);
  }

  #abandon(now: Instant): void {
    for (const task of this.#current?.tasks ?? []) task.abandon?.(this.#sa, now);
    this.#current = undefined;
    this.#sa.clearTimer('retransmit');
  }

  // ---------------------------------------------------------------------------------------------- receiving

  /** `message` is the decoded outside of `bytes`. */
  receive(message: Message, bytes: Uint8Array, path: Path, now: Instant): void {
    const { header } = message;
    if (header.fromInitiator !== (this.#sa.role === 'responder')) return this.#drop(header, 'its initiator flag is wrong');
    if (header.exchange === ExchangeType.IKE_SA_INIT) return this.#receiveInit(message, bytes, now);
    if (this.#sealing === undefined) return this.#drop(header, 'no keys are agreed yet');
    const repeated = !header.response && this.#window.judgeRequest(header.messageId) === 'repeated';
    const expected = header.response ? header.messageId === this.#window.outstandingId : this.#window.judgeRequest(header.messageId) !== 'outside';
    if (!expected) return this.#drop(header, 'its message id is outside of the window');
    const opened = this.#open(message, bytes, repeated ? this.#replySealing : this.#sealing);
    if (opened.kind === 'rejected') return this.#drop(header, opened.cause, 'unauthentic');
    if (repeated) return this.#repeatReply(header, opened, path);
    if (opened.kind === 'fragment') return;
    if (this.#waiting !== undefined) return this.#drop(header, 'the message before it is still being handled');
    // Only what is new shows that the peer lives: anybody can send a copy again.
    this.lastHeard = now;
    noteReceived(this.#sa, header, bytes, opened);
    if (header.response) this.#handleResponse(opened, path, now);
    else this.#handleRequest(header, opened, path, now);
    this.startNext(now);
  }

  /** What a task has waited for is there. */
  resume(now: Instant): void {
    const goOn = this.#waiting;
    this.#waiting = undefined;
    goOn?.(now);
    this.startNext(now);
  }

  #open(message: Message, bytes: Uint8Array, sealing: Sealing | undefined): Opened {
    try {
      return sealing?.open(message, bytes) ?? { kind: 'rejected', cause: 'it repeats a message that was not encrypted' };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { kind: 'rejected', cause: error.message };
    }
  }

  #drop(header: Header, cause: string, reason: IkeDropReason = 'unexpected'): void {
    this.#sa.env.emit({ kind: 'dropped', reason });
    this.#sa.log('debug', 'IKE message dropped', { exchange: exchangeName(header.exchange), messageId: header.messageId, cause });
  }

  /** Of a fragmented request only the first fragment asks for the reply again (RFC 7383 2.6.1). */
  #repeatReply(header: Header, opened: Opened, path: Path): void {
    if (opened.kind !== 'rejected' && opened.number !== undefined && opened.number !== 1) return;
    this.#sa.log('debug', 'IKE request repeated, cached reply sent', { exchange: exchangeName(header.exchange), messageId: header.messageId });
    this.#transmit(this.#window.cachedReply, path);
  }

  #receiveInit(message: Message, bytes: Uint8Array, now: Instant): void {
    const { header } = message;
    if (!header.response || this.#sa.state !== 'init-sent' || header.messageId !== 0) return this.#drop(header, 'IKE_SA_INIT is not expected now');
    this.#sa.initResponse = bytes;
    this.#sa.answeredSpi = header.spiResponder;
    this.#runResponse(message.payloads, now);
    this.startNext(now);
  }

  /** The request of IKE_SA_INIT; a failure is answered without state by the caller. */
  answerInit(row: ExchangeRow, task: Task, message: Message, bytes: Uint8Array, now: Instant): Failure | undefined {
    const { payloads, missing } = admit(row, message.payloads);
    if (missing !== undefined) return missingPayload(missing);
    const verdict = task.process(this.#sa, payloads, now);
    if (verdict !== undefined) return verdict as Failure;
    const out: Payload[] = [];
    task.build(this.#sa, out, now);
    const reply = encodeMessage(this.#header(row.exchange, message.header.messageId, true), out);
    this.#sa.initRequest = bytes;
    this.#sa.initResponse = reply;
    this.#sa.state = row.to!;
    task.finish?.(this.#sa, now);
    this.#window.remember([reply]);
    this.#sa.log('debug', row.story, {});
    this.#transmit([reply], this.#sa.path);
    return undefined;
  }

  /** Only while nothing has followed: later the cached reply is another one. */
  repeatInit(path: Path): void {
    if (this.#sa.state === 'half-open' && this.#window.judgeRequest(0) === 'repeated') this.#transmit(this.#window.cachedReply, path);
  }

  // ---------------------------------------------------------------------------------------- peer's requests

  #handleRequest(header: Header, opened: Extract<Opened, { kind: 'whole' }>, path: Path, now: Instant): void {
    if (this.#sa.state === 'closed') return this.#drop(header, 'the IKE SA has ended');
    this.#sa.follow(path);
    this.#sa.heardOn = path;
    let payloads: readonly Payload[];
    try {
      payloads = innerPayloads(opened);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#answerMalformed(header, error, now);
      return;
    }
    // A peer that has settled a rekey collision earlier repeats what it asks until we have settled it too.
    if (this.#sa.undecided && !deletesIkeSa(payloads)) return this.#drop(header, 'the IKE SA is not in use yet');
    const row = requestRow(header.exchange, payloads, this.#sa.state);
    if (row === undefined) return this.#refuse(header, { notify: NotifyType.INVALID_SYNTAX, cause: 'the exchange type is not known', nextStep: '', scope: 'exchange' }, now);
    if (!row.from.includes(this.#sa.state)) {
      if (row.wrongState === undefined) return this.#drop(header, `the exchange does not fit the state ${this.#sa.state}`);
      return this.#refuse(header, { notify: row.wrongState, cause: 'the IKE SA is being replaced or closed', nextStep: '', scope: 'exchange' }, now);
    }
    if (header.exchange === ExchangeType.IKE_AUTH && this.#sa.keyExchangesDue > 0) {
      return this.#refuse(header, { notify: NotifyType.INVALID_SYNTAX, cause: 'the peer left out the additional key exchange', nextStep: "check the peer's IKE software", scope: 'ike' }, now);
    }
    this.#runRequest(row, header, payloads, now);
  }

  #answerMalformed(header: Header, error: WireError, now: Instant): void {
    const critical = error.answer === NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD;
    const type = critical ? NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD : NotifyType.INVALID_SYNTAX;
    this.#refuse(header, { notify: type, data: error.data ?? new Uint8Array(0), cause: error.message, nextStep: '', scope: critical ? 'exchange' : 'ike' }, now);
  }

  #runRequest(row: ExchangeRow, header: Header, received: readonly Payload[], now: Instant): void {
    const { payloads, missing } = admit(row, received);
    if (missing !== undefined) return this.#refuse(header, { ...missingPayload(missing), scope: this.#sa.everUp ? 'exchange' : 'ike' }, now);
    const tasks = responderTasks(row.name);
    for (const task of tasks) {
      const verdict = task.process(this.#sa, payloads, now);
      if (verdict === 'wait') {
        this.#waiting = (later) => this.#runRequest(row, header, received, later);
        return;
      }
      if (verdict === undefined || typeof verdict === 'string') continue;
      for (const started of tasks) started.abandon?.(this.#sa, now);
      this.#refuse(header, verdict, now);
      return;
    }
    const out: Payload[] = [];
    for (const task of tasks) task.build(this.#sa, out, now);
    const replyHeader = this.#header(header.exchange, header.messageId, true);
    noteSent(this.#sa, replyHeader, out);
    const reply = this.#encode(replyHeader, out);
    this.#keepReplySealing();
    this.#window.remember(reply);
    if (row.to !== undefined) this.#sa.state = row.to;
    this.#sa.log('debug', row.story, { exchange: row.name, messageId: header.messageId });
    // `finish` comes first: the peer may use a child as soon as it has our reply.
    for (const task of tasks) task.finish?.(this.#sa, now);
    // To where the request came from (RFC 7296 2.11).
    this.#transmit(reply, this.#sa.heardOn);
  }

  #refuse(header: Header, failure: Failure, now: Instant): void {
    const reply = this.#encode(this.#header(header.exchange, header.messageId, true), [...(failure.payloads ?? []), refusalNotify(failure)]);
    this.#window.remember(reply);
    this.#keepReplySealing();
    this.#transmit(reply, this.#sa.heardOn);
    this.#sa.env.emit({ kind: 'refused', answer: notifyName(failure.notify) });
    this.#sa.log(failure.scope === 'ike' ? 'warning' : 'info', 'IKE request refused', {
      exchange: exchangeName(header.exchange),
      messageId: header.messageId,
      answer: notifyName(failure.notify),
      cause: failure.cause,
    });
    if (failure.scope === 'ike') this.#sa.end({ reason: failure.cause, nextStep: failure.nextStep, event: 'IKE Failed' }, now);
  }

  // --------------------------------------------------------------------------------------- peer's responses

  #handleResponse(opened: Extract<Opened, { kind: 'whole' }>, path: Path, now: Instant): void {
    let payloads: readonly Payload[];
    try {
      payloads = innerPayloads(opened);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.clear(now);
      this.#sa.end({ reason: `the peer's response is malformed: ${error.message}`, nextStep: "update the peer's IKE software", event: 'IKE Failed' }, now);
      return;
    }
    this.#sa.follow(path);
    this.#runResponse(payloads, now);
  }

  #runResponse(received: readonly Payload[], now: Instant): void {
    const request = this.#current;
    if (request === undefined) return;
    const { payloads, missing } = admit(request.row, received);
    // Without an error notify the response must be complete; the statuses of IKE_SA_INIT that ask for a retry are the task's.
    if (this.#sa.state === 'deleting' && request.row.name !== 'informational' && !request.tasks.some((task) => task.outlivesSa)) {
      // The SA has ended meanwhile: nothing may come of this exchange any more, but a rekeyed IKE SA must end as well.
      this.#abandon(now);
      this.#window.answered();
      return;
    }
    let failure = missing !== undefined && errorNotify(payloads) === undefined && request.row.name !== 'init' ? missingPayload(missing) : undefined;
    for (const task of failure === undefined ? request.tasks : []) {
      const verdict = task.process(this.#sa, payloads, now);
      if (typeof verdict === 'string') return this.#goOn(request, verdict, received, now);
      failure = verdict;
      if (failure !== undefined) break;
    }
    if (failure !== undefined) return this.#failed(request, failure, now);
    this.#window.answered();
    this.#current = undefined;
    this.#refusal = undefined;
    this.#sa.clearTimer('retransmit');
    this.#sa.log('debug', request.row.story, { exchange: request.row.name, messageId: this.#window.nextId - 1 });
    if (request.row.to !== undefined) this.#sa.state = request.row.to;
    for (const task of request.tasks) task.finish?.(this.#sa, now);
  }

  #goOn(request: Request, verdict: Extract<Verdict, string>, received: readonly Payload[], now: Instant): void {
    switch (verdict) {
      case 'again':
        // A retried IKE_SA_INIT keeps message id 0 (RFC 7296 2.2); any other retry is a new exchange.
        if (request.row.name === 'init') this.#window.rebuild();
        else this.#window.answered();
        return this.#sendCurrent(now);
      case 'followup':
        this.#current = { ...request, row: ownRow('followup') };
        this.#window.answered();
        return this.#sendCurrent(now);
      case 'over':
        this.#abandon(now);
        return this.#window.answered();
      case 'wait':
        this.#sa.clearTimer('retransmit');
        this.#waiting = (later) => this.#runResponse(received, later);
    }
  }

  #failed(request: Request, failure: Failure, now: Instant): void {
    if (failure.redirect !== undefined) {
      this.#abandon(now);
      this.#window.answered();
      return follow(this.#sa, failure.redirect, now);
    }
    if (request.row.name === 'init') {
      // Nobody has authenticated this answer: wait whether a better one comes.
      if (this.#refusal === undefined) this.#sa.setTimer('refusal', after(now, REFUSAL_GRACE_MS));
      this.#refusal = failure;
      const sentence = 'peer refused our IKE_SA_INIT without authentication, waiting for a better answer';
      this.#sa.log('info', sentence, { answer: notifyName(failure.notify), cause: failure.cause });
      return;
    }
    this.#abandon(now);
    this.#window.answered();
    this.#sa.log('info', 'IKE request failed at the peer', { exchange: request.row.name, answer: notifyName(failure.notify), cause: failure.cause });
    if (failure.scope !== 'ike') return;
    const end = { reason: failure.cause, nextStep: failure.nextStep, event: 'IKE Failed' as const };
    this.#sa.end(failure.tell === undefined ? end : { ...end, tell: failure.tell }, now);
  }

  // ------------------------------------------------------------------------------------------------ sending

  #header(exchange: number, messageId: number, response: boolean): Header {
    const { spiInitiator, spiResponder, role } = this.#sa;
    return { spiInitiator, spiResponder, exchange, fromInitiator: role === 'initiator', response, messageId };
  }

  #encode(header: Header, payloads: readonly Payload[]): readonly Uint8Array[] {
    if (header.exchange === ExchangeType.IKE_SA_INIT) return [encodeMessage(header, payloads)];
    const limit = this.#sa.peer.fragmentation ? this.#sa.profile.fragmentBytes : undefined;
    return this.#sealing!.seal(header, payloads, limit);
  }

  #transmit(messages: readonly Uint8Array[], path: Path): void {
    const { socket, natt, local, remote } = path;
    for (const bytes of messages) this.#sa.env.emit({ kind: 'send', socket, natt, local, remote, bytes });
  }
}

function refusalNotify({ notify: type, data, espSpi }: Failure): Payload {
  return espSpi === undefined ? notify(type, data) : { ...notify(type, data), protocol: Protocol.ESP, spi: espSpi };
}

function deletesIkeSa(payloads: readonly Payload[]): boolean {
  return payloads.some((payload) => payload.kind === 'Delete' && payload.protocol === Protocol.IKE);
}

function missingPayload(kind: string): Failure {
  return { notify: NotifyType.INVALID_SYNTAX, cause: `the message lacks its ${kind} payload`, nextStep: "check the peer's IKE software and settings", scope: 'ike' };
}
