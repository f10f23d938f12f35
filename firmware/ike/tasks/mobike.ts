// MOBIKE's notifies (RFC 4555): support in IKE_AUTH; the initiator's new address (3.5), the responder's answer to it and
// its test whether the peer really is there (3.7), both in INFORMATIONAL.
import { equalBytes } from '../../../platform/bytes.ts';
import type { Instant } from '../../../platform/time.ts';
import { sameEndpoint } from '../../model.ts';
import { NotifyType, notifyName } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findNotify, notify } from '../../wire/ike/payloads.ts';
import { ownRow } from '../exchanges.ts';
import type { IkeSa, Path } from '../ike-sa.ts';
import { forbidsThisNat, moveChildrenOver, noteMove, offersMobike, renewNat, standing } from '../mobility.ts';
import { natNotifies } from '../nat.ts';
import type { Failure, Request, Task } from '../task.ts';
import { errorNotify } from '../task.ts';

const COOKIE2_BYTES = 16;
const MIN_COOKIE2_BYTES = 8;
const MAX_COOKIE2_BYTES = 64;
const NEXT_STEP = 'check the path from the new address to the peer';

/** In IKE_AUTH: both ends say that they can; the responder after the initiator. */
export class MobikeSupport implements Task {
  build(sa: IkeSa, out: Payload[]): void {
    if (sa.role === 'initiator' ? offersMobike(sa) : sa.extensions.mobike) out.push(notify(NotifyType.MOBIKE_SUPPORTED));
  }

  process(sa: IkeSa, payloads: readonly Payload[]): undefined {
    sa.extensions.mobike = offersMobike(sa) && findNotify(payloads, NotifyType.MOBIKE_SUPPORTED) !== undefined;
  }
}

function detection(sa: IkeSa, path: Path): Payload[] {
  return natNotifies(sa.spiInitiator, sa.spiResponder, path.local, path.remote, sa.profile.forceUdpEncapsulation);
}

/** The connection may have gone on under another SA before the exchange was done: then it is done there. */
function doAgain(sa: IkeSa, request: Request, now: Instant): void {
  const owner = standing(sa);
  if (owner !== sa && owner.state === 'established') owner.conversation.enqueue(request, now);
}

/** Our path as the initiator: tells the peer where we are. Repeated on a path that is as it was, it shows new mappings of NATs. */
class AddressUpdate implements Task {
  readonly #path: Path;
  #encapsulated = false;

  constructor(path: Path) {
    this.#path = path;
  }

  build(sa: IkeSa, out: Payload[]): void {
    this.#encapsulated = sa.encapsulates;
    out.push(notify(NotifyType.UPDATE_SA_ADDRESSES), ...detection(sa, this.#path));
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const owner = standing(sa);
    // Moved again meanwhile: the answer to the next update counts (RFC 4555 3.5).
    if (owner.path !== this.#path) return undefined;
    const error = errorNotify(payloads);
    if (error !== undefined) return { notify: error.type, cause: `the peer does not take our new address: ${notifyName(error.type)}`, nextStep: NEXT_STEP, scope: 'ike', tell: 'delete' };
    renewNat(owner, sa, payloads);
    return undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    const owner = standing(sa);
    if (owner.path === this.#path && owner.encapsulates !== this.#encapsulated) moveChildrenOver(owner, now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    doAgain(sa, addressUpdateRequest(standing(sa).path), now);
  }
}

export function addressUpdateRequest(path: Path): Request {
  return { row: ownRow('informational'), tasks: [new AddressUpdate(path)], wanted: (sa) => sa.path === path };
}

/** As the responder: only who is at the new address can return what is sent there. */
class ReturnRoutability implements Task {
  readonly #path: Path;
  #cookie: Uint8Array | undefined;

  constructor(path: Path) {
    this.#path = path;
  }

  build(sa: IkeSa, out: Payload[]): void {
    this.#cookie ??= sa.env.random.bytes(COOKIE2_BYTES);
    out.push(notify(NotifyType.COOKIE2, this.#cookie));
  }

  process(_sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const returned = findNotify(payloads, NotifyType.COOKIE2);
    if (returned !== undefined && equalBytes(returned.data, this.#cookie!)) return undefined;
    return { notify: NotifyType.COOKIE2, cause: 'the peer did not return what was sent to its new address', nextStep: NEXT_STEP, scope: 'ike', tell: 'delete' };
  }

  finish(sa: IkeSa, now: Instant): void {
    const owner = standing(sa);
    if (owner.path !== this.#path) return;
    moveChildrenOver(owner, now);
    noteMove(owner);
  }

  abandon(sa: IkeSa, now: Instant): void {
    doAgain(sa, returnRoutabilityRequest(this.#path), now);
  }
}

function returnRoutabilityRequest(path: Path): Request {
  // A test of a path that has been left again says nothing.
  return { row: ownRow('informational'), tasks: [new ReturnRoutability(path)], wanted: (sa) => sa.path === path };
}

/** In INFORMATIONAL, beside what else is in it. */
export class MobikeAnswer implements Task {
  #cookie: Uint8Array | undefined;
  #detects = false;
  #moved = false;
  #encapsulated = false;

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    if (!sa.extensions.mobike) return undefined;
    const cookie = findNotify(payloads, NotifyType.COOKIE2)?.data;
    if (cookie !== undefined && cookie.length >= MIN_COOKIE2_BYTES && cookie.length <= MAX_COOKIE2_BYTES) this.#cookie = cookie;
    this.#detects = findNotify(payloads, NotifyType.NAT_DETECTION_SOURCE_IP) !== undefined;
    const owner = standing(sa);
    this.#encapsulated = owner.encapsulates;
    // Only who began the connection decides over addresses (RFC 4555 3.1).
    if (findNotify(payloads, NotifyType.UPDATE_SA_ADDRESSES) === undefined || sa.origin.role !== 'responder' || !owner.announced) return undefined;
    return this.#update(sa, owner, payloads);
  }

  #update(sa: IkeSa, owner: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const path = sa.heardOn;
    if (forbidsThisNat(payloads, path)) {
      return { notify: NotifyType.UNEXPECTED_NAT_DETECTED, cause: 'the peer allows no NAT, and there is one', nextStep: '', scope: 'exchange' };
    }
    this.#moved = !sameEndpoint(path.remote, owner.path.remote) || !sameEndpoint(path.local, owner.path.local);
    if (this.#moved) owner.path = path;
    renewNat(owner, sa, payloads);
    return undefined;
  }

  build(sa: IkeSa, out: Payload[]): void {
    if (this.#detects) out.push(...detection(sa, sa.heardOn));
    if (this.#cookie !== undefined) out.push(notify(NotifyType.COOKIE2, this.#cookie));
  }

  finish(sa: IkeSa, now: Instant): void {
    const owner = standing(sa);
    if (this.#moved) {
      sa.path = owner.path;
      owner.conversation.resend();
      owner.conversation.enqueue(returnRoutabilityRequest(owner.path), now);
    } else if (owner.encapsulates !== this.#encapsulated) moveChildrenOver(owner, now);
  }
}
