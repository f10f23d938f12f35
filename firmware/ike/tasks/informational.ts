// INFORMATIONAL (RFC 7296 1.4): liveness, deletion of children and of the IKE SA, notifies on the way.
import { utf8 } from '../../../platform/bytes.ts';
import type { Instant } from '../../../platform/time.ts';
import type { Endpoint } from '../../model.ts';
import type { Gateway } from '../../wire/ike/gateway.ts';
import { NotifyType, Protocol } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findNotify, notify } from '../../wire/ike/payloads.ts';
import type { ChildSa } from '../child-sa.ts';
import { espSpiBytes, espSpiNumber, removeChild } from '../child-sa.ts';
import { noteGivenUp } from '../eap/run.ts';
import { ownRow } from '../exchanges.ts';
import type { IkeSa } from '../ike-sa.ts';
import { observedEndpoint, observedEndpointNotify, refusalText } from '../private-notifies.ts';
import { follow, redirection } from '../redirect.ts';
import type { Failure, Request, Task } from '../task.ts';

/** ESP SPIs of a peer that are remembered until our own request for a child is answered. */
const MAX_DELETED_EARLY = 16;
const IKE_DELETE: Payload = { kind: 'Delete', protocol: Protocol.IKE, spis: [] };

/** An empty request: an answer shows that the peer lives. */
class Liveness implements Task {
  build(): void {}
  process(): undefined {}
}

export function livenessRequest(): Request {
  return { row: ownRow('informational'), tasks: [new Liveness()] };
}

class Observed implements Task {
  readonly #endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push(observedEndpointNotify(this.#endpoint));
  }

  process(): undefined {}
}

export function observedRequest(endpoint: Endpoint): Request {
  return { row: ownRow('informational'), tasks: [new Observed(endpoint)] };
}

/** Our Delete of the IKE SA, or our word that the peer's authentication failed (RFC 7296 2.21.2). */
class End implements Task {
  readonly #tell: 'delete' | 'authentication-failed';
  readonly #reason: string;

  constructor(tell: 'delete' | 'authentication-failed', reason: string) {
    this.#tell = tell;
    this.#reason = reason;
  }

  build(sa: IkeSa, out: Payload[]): void {
    out.push(this.#tell === 'delete' ? IKE_DELETE : notify(NotifyType.AUTHENTICATION_FAILED, sa.peer.vendor ? utf8(this.#reason) : undefined));
  }

  process(): undefined {}

  finish(sa: IkeSa, now: Instant): void {
    sa.close(now, 0);
  }
}

export function endRequest(tell: 'delete' | 'authentication-failed', reason: string): Task {
  return new End(tell, reason);
}

/** Our Delete of one child; it is down when the peer has answered. */
export class ChildDeletion implements Task {
  readonly #child: ChildSa;
  readonly #reason: string;

  constructor(child: ChildSa, reason: string) {
    this.#child = child;
    this.#reason = reason;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    this.#child.state = 'deleting';
    out.push({ kind: 'Delete', protocol: Protocol.ESP, spis: [espSpiBytes(this.#child.inbound.spi)] });
  }

  process(): undefined {}

  finish(sa: IkeSa, now: Instant): void {
    removeChild(sa, this.#child, this.#reason, now);
    this.abandon(sa);
  }

  /** A child that lost a collision was never in the table that releases SPIs. */
  abandon(sa: IkeSa): void {
    if (!sa.children.has(this.#child.number)) sa.env.releaseEspSpi(this.#child.inbound.spi);
  }
}

export function deleteChildRequest(child: ChildSa, reason: string): Request {
  return { row: ownRow('informational'), tasks: [new ChildDeletion(child, reason)] };
}

export class InformationalAnswer implements Task {
  #ends: string | undefined;
  #redirect: Gateway | undefined;
  readonly #gone: ChildSa[] = [];
  #ownSpis: Uint8Array[] = [];

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const failed = findNotify(payloads, NotifyType.AUTHENTICATION_FAILED);
    if (failed !== undefined) {
      const text = sa.peer.vendor ? refusalText(failed.data) : undefined;
      this.#ends = `peer refuses: ${text ?? 'it does not accept our identity or credential'}`;
    }
    const endpoint = sa.peer.vendor ? observedEndpoint(payloads) : undefined;
    if (endpoint !== undefined && sa.announced) sa.env.emit({ kind: 'observed', ikeSa: sa.number, endpoint });
    if (sa.origin.role === 'initiator') this.#redirect = redirection(sa, payloads)?.redirect;
    for (const payload of payloads) {
      if (payload.kind !== 'Delete') continue;
      if (payload.protocol === Protocol.IKE) this.#ends ??= 'the peer deleted the IKE SA';
      else if (payload.protocol === Protocol.ESP) this.#deleteChildren(sa, payload.spis);
    }
    return undefined;
  }

  /** The peer names its inbound SPIs, which are our outbound ones. */
  #deleteChildren(sa: IkeSa, spis: readonly Uint8Array[]): void {
    const named = new Set(spis.map(espSpiNumber));
    for (const child of sa.children.values()) {
      if (!named.delete(child.outbound.spi)) continue;
      this.#gone.push(child);
      // RFC 7296 1.4.1: when both delete at once, the answer does not repeat what our own Delete says.
      if (child.state !== 'deleting') this.#ownSpis.push(espSpiBytes(child.inbound.spi));
    }
    for (const spi of named) if (sa.deletedEarly.size < MAX_DELETED_EARLY) sa.deletedEarly.add(spi);
  }

  build(_sa: IkeSa, out: Payload[]): void {
    if (this.#ownSpis.length > 0) out.push({ kind: 'Delete', protocol: Protocol.ESP, spis: this.#ownSpis });
  }

  finish(sa: IkeSa, now: Instant): void {
    for (const child of this.#gone) removeChild(sa, child, child.state === 'replaced' ? 'rekeyed' : 'the peer deleted it', now);
    if (this.#ends !== undefined) return sa.endedByPeer(noteGivenUp(sa) ?? this.#ends, now);
    const owner = this.#redirect === undefined ? undefined : sa.env.connection(sa.number);
    if (owner?.announced === true) follow(owner, this.#redirect!, now);
  }
}
