// EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2-02, RFC 2759): both ends show that they know the NT hash of a password.
//
//   server                                   client
//   challenge                       -->
//                                   <--      response
//   success (authenticator response) -->     (or failure with a new challenge, as long as tries are left)
//                                   <--      acknowledgement
//
// Deviations: passwords are not changed (error 648 is a refusal); the client does not try a second time by itself, for it
// has one password only.
import { equalConstantTime, fromUtf8, utf8, wipe } from '../../../platform/bytes.ts';
import { EapType } from '../../wire/eap.ts';
import type { MsChapV2 } from '../../wire/eap-mschapv2.ts';
import { CHALLENGE_BYTES, decodeMsChapV2, encodeMsChapV2, failureText, parseFailure, parseSuccess, successText } from '../../wire/eap-mschapv2.ts';
import type { ClientMethodStep, EapClientMethod, EapCredentials, EapServerMethod, EapTools, ServerMethodStep } from './method.ts';
import { authenticatorResponse, masterSessionKey, ntResponse, userName } from './mschapv2-keys.ts';
import { NT_HASH_BYTES, ntHash } from './nt-hash.ts';

/** Passwords that a user may try in one conversation. */
export const MAX_TRIES = 3;
/** Packets of the other end: one per try, and one acknowledgement. */
const MAX_PACKETS = MAX_TRIES + 1;

/** A copy that its taker wipes. */
function hashOf(credentials: EapCredentials): Uint8Array {
  return 'password' in credentials ? ntHash(credentials.password) : credentials.ntHash.slice();
}

export class MsChapV2Server implements EapServerMethod {
  readonly type = EapType.mschapv2;
  readonly maxResponses = MAX_PACKETS;
  readonly #tools: EapTools;
  readonly #identity: string;
  readonly #lookup: () => EapCredentials | undefined;
  readonly #name: string;
  #challenge: Uint8Array;
  #id: number;
  #tries = 0;
  #state: 'challenged' | 'succeeded' | 'refused' = 'challenged';
  #msk: Uint8Array | undefined;

  /** `lookup` is asked at every try, so that what it knows may change in between. */
  constructor(tools: EapTools, user: { identity: string; lookup: () => EapCredentials | undefined }, serverName: string) {
    this.#tools = tools;
    this.#identity = user.identity;
    this.#lookup = user.lookup;
    this.#name = serverName;
    this.#challenge = tools.random.bytes(CHALLENGE_BYTES);
    this.#id = tools.random.bytes(1)[0]!;
  }

  begin(): Uint8Array {
    return encodeMsChapV2({ op: 'challenge', id: this.#id, challenge: this.#challenge, name: utf8(this.#name) });
  }

  receive(data: Uint8Array): ServerMethodStep {
    const packet = decodeMsChapV2(data);
    if (packet.op === 'response' && this.#state === 'challenged') return this.#judge(packet);
    if (packet.op === 'success-acknowledged' && this.#state === 'succeeded') {
      const msk = this.#msk!;
      this.#msk = undefined;
      return { kind: 'success', msk };
    }
    if (packet.op === 'failure-acknowledged' && this.#tries > 0 && this.#state !== 'succeeded') return { kind: 'failure', cause: 'the user was not authenticated' };
    return { kind: 'failure', cause: `EAP-MSCHAPv2 ${packet.op} is not expected now` };
  }

  #judge(packet: Extract<MsChapV2, { op: 'response' }>): ServerMethodStep {
    const challenges = { authenticator: this.#challenge, peer: packet.peerChallenge, name: packet.name };
    const known = this.#lookup();
    // The same work for a user that nobody knows, so that time does not tell the two apart.
    const hash = known === undefined ? this.#tools.random.bytes(NT_HASH_BYTES) : hashOf(known);
    const matches = equalConstantTime(ntResponse(this.#tools.suite, hash, challenges), packet.ntResponse);
    const sameUser = userName(fromUtf8(packet.name)) === userName(this.#identity);
    const good = matches && known !== undefined && sameUser;
    if (good) {
      this.#state = 'succeeded';
      this.#msk = masterSessionKey(hash, packet.ntResponse);
    }
    const text = successText(authenticatorResponse(hash, packet.ntResponse, challenges));
    wipe(hash);
    if (good) return { kind: 'request', data: encodeMsChapV2({ op: 'success', id: packet.id, text }) };
    return this.#refuse(!sameUser ? 'the name in the response is not the EAP identity' : known === undefined ? 'the user is not known' : 'the password is wrong');
  }

  #refuse(attempt: string): ServerMethodStep {
    const retry = ++this.#tries < MAX_TRIES;
    this.#challenge = this.#tools.random.bytes(CHALLENGE_BYTES);
    const text = failureText(retry, this.#challenge);
    const data = encodeMsChapV2({ op: 'failure', id: this.#id, text });
    this.#id = (this.#id + 1) & 0xff;
    if (!retry) this.#state = 'refused';
    return { kind: 'request', data, attempt };
  }

  wipe(): void {
    wipe(this.#msk);
    this.#msk = undefined;
  }
}

/** Error numbers that a server sends (RFC 2759 6). */
const ERRORS: Readonly<Record<number, string>> = {
  646: 'the account may not log in at this time',
  647: 'the account is disabled',
  648: 'the password has expired',
  649: 'the account may not dial in',
  691: 'the user name or the password is wrong',
  709: 'the password could not be changed',
};

export class MsChapV2Client implements EapClientMethod {
  readonly type = EapType.mschapv2;
  readonly maxRequests = MAX_PACKETS;
  readonly #tools: EapTools;
  readonly #name: Uint8Array;
  readonly #hash: Uint8Array;
  #proof: { readonly response: Uint8Array; readonly expected: Uint8Array } | undefined;
  msk: Uint8Array | undefined;

  constructor(tools: EapTools, identity: string, password: string) {
    this.#tools = tools;
    this.#name = utf8(identity);
    this.#hash = ntHash(password);
  }

  receive(data: Uint8Array): ClientMethodStep {
    const packet = decodeMsChapV2(data);
    switch (packet.op) {
      case 'challenge':
        if (this.#proof !== undefined) return { kind: 'failure', cause: 'the server sends a second challenge' };
        return this.#answer(packet);
      case 'success':
        return this.#checkServer(packet.text);
      case 'failure':
        return this.#refused(packet.text);
      default:
        return { kind: 'failure', cause: `the server sends EAP-MSCHAPv2 ${packet.op}` };
    }
  }

  #answer(packet: Extract<MsChapV2, { op: 'challenge' }>): ClientMethodStep {
    const peerChallenge = this.#tools.random.bytes(CHALLENGE_BYTES);
    const challenges = { authenticator: packet.challenge, peer: peerChallenge, name: this.#name };
    const response = ntResponse(this.#tools.suite, this.#hash, challenges);
    this.#proof = { response, expected: authenticatorResponse(this.#hash, response, challenges) };
    return { kind: 'response', data: encodeMsChapV2({ op: 'response', id: packet.id, peerChallenge, ntResponse: response, name: this.#name }) };
  }

  #checkServer(text: string): ClientMethodStep {
    const shown = parseSuccess(text);
    if (this.#proof === undefined || shown === undefined || !equalConstantTime(shown, this.#proof.expected)) {
      return { kind: 'failure', cause: 'the server does not show that it knows the password' };
    }
    this.msk ??= masterSessionKey(this.#hash, this.#proof.response);
    return { kind: 'response', data: encodeMsChapV2({ op: 'success-acknowledged' }) };
  }

  #refused(text: string): ClientMethodStep {
    const error = parseFailure(text)?.error ?? 0;
    const cause = `${ERRORS[error] ?? 'the server gives no known reason'} (E=${error})`;
    return { kind: 'refused', data: encodeMsChapV2({ op: 'failure-acknowledged' }), cause };
  }

  wipe(): void {
    wipe(this.#hash, this.msk, this.#proof?.expected);
    this.msk = undefined;
  }
}
