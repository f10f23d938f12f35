// IKE_INTERMEDIATE with an additional key exchange (RFC 9242, RFC 9370 2.2.2, draft-ietf-ipsecme-ikev2-mlkem): the
// initiator sends an encapsulation key, the responder a ciphertext; what it holds is mixed into the keys before IKE_AUTH.
import { wipe } from '../../../platform/bytes.ts';
import type { KemKeyPair } from '../../../platform/crypto.ts';
import type { Instant } from '../../../platform/time.ts';
import { NotifyType, notifyName } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findPayload } from '../../wire/ike/payloads.ts';
import { ownRow } from '../exchanges.ts';
import type { IkeSa } from '../ike-sa.ts';
import { deriveRekeyedIkeKeys } from '../keymat.ts';
import type { Failure, Request, Task } from '../task.ts';
import { errorNotify } from '../task.ts';
import { authRequest } from './auth-request.ts';

export function intermediateRequest(): Request {
  return { row: ownRow('intermediate'), tasks: [new IntermediateRequest()] };
}

/** SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr): computed as for an IKE SA that replaces another. */
function updateKeys(sa: IkeSa, shared: Uint8Array): void {
  const algorithms = sa.algorithms!;
  const secrets = { shared, nonceI: sa.nonceInitiator, nonceR: sa.nonceResponder, spiI: sa.spiInitiator, spiR: sa.spiResponder };
  sa.replaceKeys(deriveRekeyedIkeKeys(sa.env.suite, algorithms.prf, sa.keys!.skD, algorithms, secrets));
  wipe(shared);
  sa.keyExchangesDue = 0;
}

function failed(notify: number, cause: string): Failure {
  return { notify, cause, nextStep: "check the peer's IKE software", scope: 'ike' };
}

class IntermediateRequest implements Task {
  #pair: KemKeyPair | undefined;
  #shared: Uint8Array | undefined;

  build(sa: IkeSa, out: Payload[]): void {
    const kem = sa.algorithms!.additional!;
    this.#pair = sa.env.suite.kemGenerate(kem, sa.env.random);
    out.push({ kind: 'KE', group: kem, data: this.#pair.publicKey });
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const pair = this.#pair!;
    const ke = findPayload(payloads, 'KE');
    if (ke === undefined) {
      const error = errorNotify(payloads)!;
      return failed(error.type, `the peer answered ${notifyName(error.type)} to the additional key exchange`);
    }
    this.#shared = ke.group === pair.kem ? sa.env.suite.kemDecapsulate(pair, ke.data) : undefined;
    wipe(pair.privateKey);
    return this.#shared === undefined ? { ...failed(NotifyType.INVALID_SYNTAX, "the peer's ciphertext does not fit the key exchange"), tell: 'delete' } : undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    updateKeys(sa, this.#shared!);
    sa.conversation.enqueue(authRequest(sa), now);
  }

  abandon(): void {
    if (this.#pair !== undefined) wipe(this.#pair.privateKey);
  }
}

export class IntermediateAnswer implements Task {
  #ciphertext: Uint8Array | undefined;
  #shared: Uint8Array | undefined;

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const kem = sa.algorithms!.additional;
    const ke = findPayload(payloads, 'KE')!;
    if (kem === undefined || sa.keyExchangesDue === 0) return failed(NotifyType.INVALID_SYNTAX, 'no additional key exchange is agreed');
    if (ke.group !== kem) return failed(NotifyType.INVALID_SYNTAX, `the additional key exchange is of method ${ke.group}, agreed is ${kem}`);
    const made = sa.env.suite.kemEncapsulate(kem, ke.data, sa.env.random);
    if (made === undefined) return failed(NotifyType.INVALID_SYNTAX, "the peer's encapsulation key is not valid");
    this.#ciphertext = made.ciphertext;
    this.#shared = made.shared;
    return undefined;
  }

  build(sa: IkeSa, out: Payload[]): void {
    out.push({ kind: 'KE', group: sa.algorithms!.additional!, data: this.#ciphertext! });
  }

  finish(sa: IkeSa): void {
    updateKeys(sa, this.#shared!);
  }
}
