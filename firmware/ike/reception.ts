// Where datagrams arrive: finds their IKE SA, or makes one for a new IKE_SA_INIT after the cookie check, without
// keeping state for anyone before that. Answers outside of an IKE SA are few and rationed (RFC 7296 2.21.4).
import { WireError } from '../../platform/errors.ts';
import type { Fields } from '../../platform/log.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import type { Endpoint } from '../model.ts';
import { formatEndpoint } from '../model.ts';
import type { Header, Message } from '../wire/ike/message.ts';
import { decodeMessage, encodeMessage, HEADER_BYTES } from '../wire/ike/message.ts';
import { ExchangeType, exchangeName, NotifyType, notifyName } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../wire/ike/payloads.ts';
import { checkLiveness } from './clocks.ts';
import { CookieJar } from './cookie.ts';
import { requestRow } from './exchanges.ts';
import { originOf } from './half-open.ts';
import type { InitOrigin } from './half-open.ts';
import type { IkeSa, Path } from './ike-sa.ts';
import type { InitRates } from './init-rate.ts';
import { InitRate } from './init-rate.ts';
import type { IkeDropReason, IkeInput } from './input-output.ts';
import type { CompleteProfile } from './profile.ts';
import { RationedLog } from './rationed-log.ts';
import type { SaRegister } from './sa-register.ts';
import { responderTasks } from './tasks/catalogue.ts';

type Datagram = Extract<IkeInput, { kind: 'datagram' }>;

/** A peer that said nothing this long after IKE_SA_INIT is forgotten. */
const HALF_OPEN_MS = 30_000;
/** Answers without an IKE SA, per second. */
const STRAY_ANSWERS_PER_SECOND = 10;

export class Reception {
  readonly #register: SaRegister;
  readonly #cookies: CookieJar;
  readonly #rate: InitRate;
  readonly #log: RationedLog;
  readonly #profileFor: (request: { local: Endpoint; remote: Endpoint; socket: string }) => CompleteProfile | undefined;
  #straySecond = 0;
  #strayAnswers = 0;

  constructor(register: SaRegister, rates: InitRates, profileFor: (request: { local: Endpoint; remote: Endpoint; socket: string }) => CompleteProfile | undefined) {
    this.#register = register;
    this.#profileFor = profileFor;
    this.#cookies = new CookieJar(register.suite, register.random);
    this.#rate = new InitRate(rates);
    this.#log = new RationedLog(register);
  }

  receive(datagram: Datagram, now: Instant): void {
    let message: Message;
    try {
      message = decodeMessage(datagram.bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#undecodable(datagram, error, now);
      return;
    }
    const { header } = message;
    const path: Path = { socket: datagram.socket, natt: datagram.natt, local: datagram.local, remote: datagram.remote };
    if (header.exchange === ExchangeType.IKE_SA_INIT && !header.response) {
      this.#receiveInit(message, datagram, path, now);
      return;
    }
    const sa = this.#register.find(header.fromInitiator ? header.spiResponder : header.spiInitiator);
    if (sa === undefined) this.#unknownSpi(header, path, now);
    else if (message.sealed === undefined && header.response && findNotify(message.payloads, NotifyType.INVALID_IKE_SPI) !== undefined) this.#toldUnknown(sa, header, now);
    else sa.conversation.receive(message, datagram.bytes, path, now);
  }

  #drop(reason: IkeDropReason, cause: string, path: Path, fields: Fields = {}): void {
    this.#register.emit({ kind: 'dropped', reason });
    this.#register.log('debug', 'IKE message dropped', { remote: formatEndpoint(path.remote), cause, ...fields });
  }

  // ------------------------------------------------------------------------------------------ IKE_SA_INIT

  #receiveInit(message: Message, datagram: Datagram, path: Path, now: Instant): void {
    const { header } = message;
    if (!header.fromInitiator || header.messageId !== 0 || header.spiResponder.some((octet) => octet !== 0)) return this.#drop('malformed', 'IKE_SA_INIT with an illegal header', path);
    const profile = this.#profileFor(path);
    if (profile === undefined) return this.#drop('no-profile', 'no profile answers here', path, { socket: path.socket });
    const origin = originOf(path.remote.address, profile.vxlan !== undefined);
    if (!this.#rate.take(origin, now)) return this.#overloaded('rate-limited', 'IKE_SA_INIT rate limit reached', origin.source, path, now);
    const known = this.#register.findInit(datagram.bytes);
    if (known !== undefined) return known.conversation.repeatInit(path);
    const nonce = findPayload(message.payloads, 'Nonce');
    if (nonce === undefined) return this.#drop('malformed', 'IKE_SA_INIT without nonce', path);
    if (this.#mayEnter(message, nonce.data, origin, path, now)) this.#answerInit(message, datagram.bytes, profile, path, now);
  }

  /** The half-open limits and the load as a whole; may answer with a cookie (RFC 7296 2.6). */
  #mayEnter(message: Message, nonce: Uint8Array, origin: InitOrigin, path: Path, now: Instant): boolean {
    const { remote } = path;
    const admission = this.#register.halfOpen.judge(origin);
    const load = this.#rate.judge(now);
    if (admission === 'full') {
      this.#overloaded('too-many-half-open', 'IKE half-open limit reached', origin.source, path, now);
      return false;
    }
    const shown = findNotify(message.payloads, NotifyType.COOKIE)?.data;
    const { spiInitiator } = message.header;
    const isProven = shown !== undefined && this.#cookies.accepts(shown, nonce, remote, spiInitiator, now);
    if (!isProven && (admission === 'cookie' || load !== 'admit')) {
      this.#register.log('debug', 'IKE cookie requested', { remote: formatEndpoint(remote) });
      this.#answerPlain(message.header, path, [notify(NotifyType.COOKIE, this.#cookies.cookie(nonce, remote, spiInitiator, now))]);
      return false;
    }
    if (load === 'full') {
      this.#overloaded('rate-limited', 'IKE_SA_INIT rate limit reached', 'all sources together', path, now);
      return false;
    }
    this.#rate.spendTotal(now);
    return true;
  }

  #overloaded(reason: IkeDropReason, sentence: 'IKE_SA_INIT rate limit reached' | 'IKE half-open limit reached', source: string, path: Path, now: Instant): void {
    this.#register.emit({ kind: 'dropped', reason });
    this.#log.write('warning', sentence, { remote: formatEndpoint(path.remote), source }, now);
  }

  #answerInit(message: Message, bytes: Uint8Array, profile: CompleteProfile, path: Path, now: Instant): void {
    const spiResponder = this.#register.allocateIkeSpi();
    const { spiInitiator } = message.header;
    const sa = this.#register.create({ number: this.#register.nextNumber(), role: 'responder', profile, path, spiInitiator, spiResponder }, now);
    const [task] = responderTasks('init');
    const row = requestRow(ExchangeType.IKE_SA_INIT, message.payloads, sa.state)!;
    const failure = sa.conversation.answerInit(row, task!, message, bytes, now);
    if (failure === undefined) {
      this.#register.enterHalfOpen(sa, bytes);
      sa.setTimer('half-open', after(now, HALF_OPEN_MS));
      return;
    }
    const { tenant, name } = profile;
    const fields = { tenant, profile: name, remote: formatEndpoint(path.remote), exchange: 'IKE_SA_INIT', answer: notifyName(failure.notify), cause: failure.cause };
    this.#register.emit({ kind: 'refused', answer: notifyName(failure.notify) });
    this.#log.write('info', 'IKE request refused', fields, now);
    this.#register.forget(sa);
    this.#answerPlain(message.header, path, [notify(failure.notify, failure.data)]);
  }

  // -------------------------------------------------------------------------------------- without an IKE SA

  /** RFC 7296 2.5, 2.21: only requests are answered, and only what an honest peer can use. */
  #undecodable(datagram: Datagram, error: WireError, now: Instant): void {
    const { bytes } = datagram;
    const path: Path = datagram;
    this.#drop('malformed', error.message, path);
    if (bytes.length < HEADER_BYTES || !this.#mayAnswerStray(now)) return;
    const header = headerForAnswer(bytes);
    const init = header.exchange === ExchangeType.IKE_SA_INIT && header.spiResponder.every((octet) => octet === 0);
    // Nobody has an IKE SA of SPI 0 (RFC 7296 3.1), so nobody could use the answer.
    if (header.response || !header.fromInitiator || header.spiInitiator.every((octet) => octet === 0)) return;
    if (error.answer === NotifyType.INVALID_MAJOR_VERSION || (init && error.answer === NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD)) {
      this.#answerPlain(header, path, [notify(error.answer, error.data)]);
    }
  }

  #unknownSpi(header: Header, path: Path, now: Instant): void {
    this.#drop('unknown-spi', 'its SPI is not known', path, { exchange: exchangeName(header.exchange) });
    if (header.response || !this.#mayAnswerStray(now)) return;
    this.#answerPlain(header, path, [notify(NotifyType.INVALID_IKE_SPI)]);
  }

  /** Anybody can send INVALID_IKE_SPI: it is a reason to ask the peer, no more (RFC 7296 2.4). */
  #toldUnknown(sa: IkeSa, header: Header, now: Instant): void {
    sa.log('debug', 'IKE message dropped', { exchange: exchangeName(header.exchange), cause: 'an unprotected message says that the peer does not know this IKE SA' });
    if (sa.announced) checkLiveness(sa, now);
  }

  #mayAnswerStray(now: Instant): boolean {
    const second = Math.floor(now / 1000);
    if (second !== this.#straySecond) [this.#straySecond, this.#strayAnswers] = [second, 0];
    return ++this.#strayAnswers <= STRAY_ANSWERS_PER_SECOND;
  }

  /** An answer without SK to a request's header. */
  #answerPlain(request: Header, path: Path, payloads: readonly Payload[]): void {
    const { socket, natt, local, remote } = path;
    const header: Header = { ...request, fromInitiator: !request.fromInitiator, response: true };
    this.#register.emit({ kind: 'send', socket, natt, local, remote, bytes: encodeMessage(header, payloads) });
  }
}

/** The header's fields of a message that as a whole could not be decoded. */
function headerForAnswer(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const flags = bytes[19]!;
  return {
    spiInitiator: bytes.slice(0, 8),
    spiResponder: bytes.slice(8, 16),
    exchange: bytes[18]!,
    fromInitiator: (flags & 0x08) !== 0,
    response: (flags & 0x20) !== 0,
    messageId: view.getUint32(20),
  };
}
