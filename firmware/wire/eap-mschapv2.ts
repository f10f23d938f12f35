// The type data of EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2-02) and the texts inside it (RFC 2759 4-6):
//   op 1 | id 1 | length 2 | ...    challenge: 16 | challenge 16 | name
//                                   response:  49 | peer challenge 16 | zero 8 | NT-Response 24 | flags 1 | name
//                                   success and failure of the server: text
//   op 1                            the client's acknowledgement of success or failure
import { fromHex, fromUtf8, Reader, toHex, utf8, Writer } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';

const Op = { challenge: 1, response: 2, success: 3, failure: 4 } as const;
export const CHALLENGE_BYTES = 16;
export const NT_RESPONSE_BYTES = 24;
const RESPONSE_VALUE_BYTES = 49;
const RESERVED_BYTES = 8;
const MAX_NAME_BYTES = 256;
const MAX_TEXT_BYTES = 512;

/** ERROR_AUTHENTICATION_FAILURE (RFC 2759 6). */
export const AUTHENTICATION_FAILURE = 691;
const VERSION = 3;

interface Acknowledgement {
  readonly op: 'success-acknowledged' | 'failure-acknowledged';
}

export type MsChapV2 =
  | { readonly op: 'challenge'; readonly id: number; readonly challenge: Uint8Array; readonly name: Uint8Array }
  | { readonly op: 'response'; readonly id: number; readonly peerChallenge: Uint8Array; readonly ntResponse: Uint8Array; readonly name: Uint8Array }
  | { readonly op: 'success' | 'failure'; readonly id: number; readonly text: string }
  | Acknowledgement;

export function encodeMsChapV2(packet: MsChapV2): Uint8Array<ArrayBuffer> {
  if (!('id' in packet)) return Uint8Array.of(packet.op === 'success-acknowledged' ? Op.success : Op.failure);
  const body = bodyOf(packet);
  return new Writer(4 + body.length).u8(Op[packet.op]).u8(packet.id).u16(4 + body.length).put(body).finish();
}

function bodyOf(packet: Exclude<MsChapV2, Acknowledgement>): Uint8Array {
  switch (packet.op) {
    case 'challenge':
      return new Writer(64).u8(CHALLENGE_BYTES).put(packet.challenge).put(packet.name).finish();
    case 'response':
      return new Writer(128).u8(RESPONSE_VALUE_BYTES).put(packet.peerChallenge).zeros(RESERVED_BYTES).put(packet.ntResponse).u8(0).put(packet.name).finish();
    default:
      return utf8(packet.text);
  }
}

/** Throws WireError. */
export function decodeMsChapV2(data: Uint8Array): MsChapV2 {
  const reader = new Reader(data, 'EAP-MSCHAPv2');
  const op = reader.u8();
  if (reader.remaining === 0 && op === Op.success) return { op: 'success-acknowledged' };
  if (reader.remaining === 0 && op === Op.failure) return { op: 'failure-acknowledged' };
  const id = reader.u8();
  const length = reader.u16();
  if (length !== data.length) throw new WireError(`EAP-MSCHAPv2 claims ${length} octets, it has ${data.length}`);
  switch (op) {
    case Op.challenge:
      expectValueSize(reader.u8(), CHALLENGE_BYTES);
      return { op: 'challenge', id, challenge: reader.take(CHALLENGE_BYTES), name: bounded(reader, MAX_NAME_BYTES) };
    case Op.response:
      return decodeResponse(reader, id);
    case Op.success:
    case Op.failure:
      return { op: op === Op.success ? 'success' : 'failure', id, text: fromUtf8(bounded(reader, MAX_TEXT_BYTES)) };
    default:
      throw new WireError(`EAP-MSCHAPv2 operation ${op} is not known`);
  }
}

function decodeResponse(reader: Reader, id: number): MsChapV2 {
  expectValueSize(reader.u8(), RESPONSE_VALUE_BYTES);
  const peerChallenge = reader.take(CHALLENGE_BYTES);
  reader.skip(RESERVED_BYTES);
  const ntResponse = reader.take(NT_RESPONSE_BYTES);
  reader.skip(1);
  return { op: 'response', id, peerChallenge, ntResponse, name: bounded(reader, MAX_NAME_BYTES) };
}

function expectValueSize(size: number, expected: number): void {
  if (size !== expected) throw new WireError(`an EAP-MSCHAPv2 value of ${size} octets; ${expected} are legal`);
}

function bounded(reader: Reader, limit: number): Uint8Array {
  if (reader.remaining > limit) throw new WireError(`EAP-MSCHAPv2 carries ${reader.remaining} octets of text; at most ${limit} are taken`);
  return reader.rest();
}

/** `response` is the 20 octets of the authenticator response (RFC 2759 5). */
export function successText(response: Uint8Array): string {
  return `S=${toHex(response).toUpperCase()} M=authenticated`;
}

/** The authenticator response of a success, or undefined. */
export function parseSuccess(text: string): Uint8Array | undefined {
  const digits = /^S=([0-9A-Fa-f]{40})(?: |$)/.exec(text)?.[1];
  return digits === undefined ? undefined : fromHex(digits);
}

/** `challenge` is for the next try, where one is allowed. */
export function failureText(retry: boolean, challenge: Uint8Array): string {
  return `E=${AUTHENTICATION_FAILURE} R=${retry ? 1 : 0} C=${toHex(challenge).toUpperCase()} V=${VERSION} M=wrong user name or password`;
}

export interface MsChapV2Failure {
  readonly error: number;
  readonly retry: boolean;
  readonly challenge: Uint8Array | undefined;
}

export function parseFailure(text: string): MsChapV2Failure | undefined {
  const found = /^E=(\d{1,10}) R=([01])(?: C=([0-9A-Fa-f]{32}))?(?: |$)/.exec(text);
  if (found === null) return undefined;
  return { error: Number(found[1]), retry: found[2] === '1', challenge: found[3] === undefined ? undefined : fromHex(found[3]) };
}
