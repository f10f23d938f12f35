// EAP-TLS: TLS 1.2 (RFC 5216) and TLS 1.3 (RFC 9190), both ends with certificates.
//
//   server                                   client
//   start                           -->
//                                   <--      ClientHello
//   ... ServerHelloDone (or Finished) -->                             any of them in fragments
//                                   <--      ... Finished
//   Finished (or, with TLS 1.3, one octet 0 as application data) -->
//                                   <--      empty
//
// TLS itself is elsewhere and answers later: `wait`, then `resume`. Whose certificate is not trusted gets no further
// flight of ours, so with TLS 1.3 no server learns who the user is before it is trusted. Deviations: that refusal is an
// EAP failure without a TLS alert; sessions are not resumed.
import { wipe } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { TlsExporter, TlsOptions, TlsSession, TlsStep, TlsVersion } from '../../../platform/tls-engine.ts';
import { EapType } from '../../wire/eap.ts';
import { decodeEapTls, EAP_TLS_EMPTY, EAP_TLS_START, encodeEapTls } from '../../wire/eap-tls.ts';
import type { CertificateFacts } from '../input-output.ts';
import type { ClientMethodStep, EapClientMethod, EapServerMethod, ServerMethodStep } from './method.ts';
import { TlsFragments } from './tls-fragments.ts';

/** Packets of the peer: both ends' messages may come in fragments. */
const MAX_PACKETS = 64;
const MSK_BYTES = 64;
/** RFC 9190 2.1.1: says, protected, that nothing follows. */
const COMMITMENT = Uint8Array.of(0);
/** RFC 5216 2.3 and RFC 9190 2.3; the MSK is the first half. */
const EXPORTERS: Readonly<Record<TlsVersion, TlsExporter>> = {
  '1.2': { label: 'client EAP encryption', context: undefined },
  '1.3': { label: 'EXPORTER_EAP_TLS_Key_Material', context: Uint8Array.of(EapType.tls) },
};

const WAIT = { kind: 'wait' } as const;
const EMPTY = encodeEapTls(EAP_TLS_EMPTY);

/** TLS, one connection; what comes of each message of the peer arrives by `resume`. */
export interface TlsPort {
  open(options: TlsOptions): void;
  feed(bytes: Uint8Array): void;
  close(): void;
}

/** `names`: whom the certificate may stand for, e-mail names first. */
export type Trust = { readonly ok: true; readonly facts: CertificateFacts; readonly names: readonly string[] } | { readonly ok: false; readonly cause: string };

export interface EapTlsOptions {
  readonly port: TlsPort;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** DER; named to the client. */
  readonly anchors: readonly Uint8Array[];
  /** Judges the peer's chain, and whether it may be who it is to be. */
  trust(chain: readonly Uint8Array[]): Trust;
}

function openTls({ port, chain, privateKey, anchors }: EapTlsOptions, role: TlsOptions['role']): void {
  port.open({ role, chain, privateKey, anchors, exporters: EXPORTERS, exportedBytes: 2 * MSK_BYTES, greeting: COMMITMENT });
}

function takeMsk({ exported }: TlsSession): Uint8Array {
  const msk = exported.slice(0, MSK_BYTES);
  wipe(exported);
  return msk;
}

/**
 * Who the certificate says the user is (RFC 5216 5.2): the name that the user claims, or the first one for who hides behind
 * an anonymous identity (RFC 9190 2.1.7). Windows calls a computer `host/` and its DNS name.
 */
function userOf(identity: string, names: readonly string[]): string | undefined {
  if (/^(?:anonymous)?(?:@|$)/i.test(identity)) return names[0];
  const claimed = identity.replace(/^host\//, '').toLowerCase();
  return names.find((name) => name.toLowerCase() === claimed);
}

export class EapTlsServer implements EapServerMethod {
  readonly type = EapType.tls;
  readonly maxResponses = MAX_PACKETS;
  readonly #options: EapTlsOptions;
  readonly #identity: string;
  readonly #fragments = new TlsFragments();
  #isOpen = false;
  /** What the client's empty response brings once everything has been said. */
  #verdict: ServerMethodStep | undefined;

  constructor(options: EapTlsOptions, identity: string) {
    this.#options = options;
    this.#identity = identity;
  }

  begin(): Uint8Array {
    return encodeEapTls(EAP_TLS_START);
  }

  receive(data: Uint8Array): ServerMethodStep {
    const packet = decodeEapTls(data);
    if (packet.start) throw new WireError('the client sends EAP-TLS start');
    const arrival = this.#fragments.receive(packet);
    if (arrival.kind === 'send') return { kind: 'request', data: arrival.data };
    const verdict = this.#verdict;
    this.#verdict = undefined;
    // After our alert the client may answer as it likes (RFC 5216 2.1.3).
    if (verdict?.kind === 'failure' || (verdict !== undefined && arrival.bytes.length === 0)) return verdict;
    this.#drop(verdict);
    if (verdict !== undefined) return { kind: 'failure', cause: 'the client goes on with TLS after its end' };
    if (arrival.bytes.length === 0) return { kind: 'failure', cause: 'the client leaves TLS in the middle' };
    if (!this.#isOpen) openTls(this.#options, 'server');
    this.#isOpen = true;
    this.#options.port.feed(arrival.bytes);
    return WAIT;
  }

  resume({ bytes, session, failure }: TlsStep): ServerMethodStep {
    if (session !== undefined) {
      const verdict = this.#judge(session);
      if (verdict.kind === 'failure') return verdict;
      this.#verdict = verdict;
    } else if (failure !== undefined) {
      this.#verdict = { kind: 'failure', cause: failure };
      if (bytes.length === 0) return this.#verdict;
    }
    if (bytes.length === 0) return { kind: 'failure', cause: 'the client sends an incomplete TLS message' };
    return { kind: 'request', data: this.#fragments.send(bytes) };
  }

  #judge(session: TlsSession): ServerMethodStep {
    const msk = takeMsk(session);
    const trust = this.#options.trust(session.peerChain);
    const user = trust.ok ? userOf(this.#identity, trust.names) : undefined;
    if (trust.ok && user !== undefined) return { kind: 'success', msk, user, certificate: trust.facts };
    wipe(msk);
    return { kind: 'failure', cause: trust.ok ? `the user's certificate is not for ${this.#identity}` : `the user's ${trust.cause}` };
  }

  #drop(verdict: ServerMethodStep | undefined): void {
    if (verdict?.kind === 'success') wipe(verdict.msk);
  }

  wipe(): void {
    this.#drop(this.#verdict);
    this.#verdict = undefined;
    if (this.#isOpen) this.#options.port.close();
    this.#isOpen = false;
  }
}

export class EapTlsClient implements EapClientMethod {
  readonly type = EapType.tls;
  readonly maxRequests = MAX_PACKETS;
  readonly #options: EapTlsOptions;
  readonly #fragments = new TlsFragments();
  #isOpen = false;
  #msk: Uint8Array | undefined;
  /** Whether the server has said, protected, that it is content. */
  #isCommitted = false;
  certificate: CertificateFacts | undefined;

  constructor(options: EapTlsOptions) {
    this.#options = options;
  }

  get msk(): Uint8Array | undefined {
    return this.#isCommitted ? this.#msk : undefined;
  }

  receive(data: Uint8Array): ClientMethodStep {
    const packet = decodeEapTls(data);
    if (packet.start !== !this.#isOpen) throw new WireError(packet.start ? 'the server starts EAP-TLS a second time' : 'the server does not start EAP-TLS');
    if (packet.start) {
      this.#isOpen = true;
      openTls(this.#options, 'client');
      this.#options.port.feed(new Uint8Array(0));
      return WAIT;
    }
    const arrival = this.#fragments.receive(packet);
    if (arrival.kind === 'send') return { kind: 'response', data: arrival.data };
    if (arrival.bytes.length === 0) return { kind: 'failure', cause: 'the server leaves TLS in the middle' };
    this.#options.port.feed(arrival.bytes);
    return WAIT;
  }

  resume({ bytes, received, session, failure }: TlsStep): ClientMethodStep {
    if (failure !== undefined) return { kind: 'refused', data: bytes.length === 0 ? EMPTY : this.#fragments.send(bytes), cause: failure };
    if (session !== undefined) {
      wipe(this.#msk);
      this.#msk = takeMsk(session);
      const trust = this.#options.trust(session.peerChain);
      if (!trust.ok) return { kind: 'failure', cause: `the EAP server's ${trust.cause}` };
      this.certificate = trust.facts;
      // With TLS 1.2 its Finished is the last word.
      this.#isCommitted = session.version === '1.2';
    }
    this.#isCommitted ||= this.#msk !== undefined && received[0] === COMMITMENT[0];
    if (bytes.length === 0 && this.#msk === undefined) return { kind: 'failure', cause: 'the server sends an incomplete TLS message' };
    return { kind: 'response', data: this.#fragments.send(bytes) };
  }

  wipe(): void {
    wipe(this.#msk);
    this.#msk = undefined;
    if (this.#isOpen) this.#options.port.close();
    this.#isOpen = false;
  }
}
