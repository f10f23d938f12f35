// EAP packets (RFC 3748 4): requests and responses of a type, success and failure. What a type carries is its own file's.
import { Reader, Writer } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';

export const EapCode = { request: 1, response: 2, success: 3, failure: 4 } as const;
export const EapType = { identity: 1, notification: 2, nak: 3, tls: 13, mschapv2: 26 } as const;

const HEADER_BYTES = 4;

/** `identifier` pairs a response with its request; the verdict repeats that of the last response. */
export type EapPacket =
  | { readonly code: 'request' | 'response'; readonly identifier: number; readonly type: number; readonly data: Uint8Array }
  | { readonly code: 'success' | 'failure'; readonly identifier: number };

export function encodeEap(packet: EapPacket): Uint8Array<ArrayBuffer> {
  const length = HEADER_BYTES + ('data' in packet ? 1 + packet.data.length : 0);
  const writer = new Writer(length).u8(EapCode[packet.code]).u8(packet.identifier).u16(length);
  if ('data' in packet) writer.u8(packet.type).put(packet.data);
  return writer.finish();
}

/** Throws WireError. Inside IKE the length must be the payload's (RFC 7296 3.16): there is no padding to ignore. */
export function decodeEap(bytes: Uint8Array): EapPacket {
  const reader = new Reader(bytes, 'EAP packet');
  const code = reader.u8();
  const identifier = reader.u8();
  const length = reader.u16();
  if (length !== bytes.length) throw new WireError(`an EAP packet claims ${length} octets, it has ${bytes.length}`);
  switch (code) {
    case EapCode.request:
    case EapCode.response:
      return { code: code === EapCode.request ? 'request' : 'response', identifier, type: reader.u8(), data: reader.rest() };
    case EapCode.success:
    case EapCode.failure:
      reader.expectEnd();
      return { code: code === EapCode.success ? 'success' : 'failure', identifier };
    default:
      throw new WireError(`EAP code ${code} is not known`);
  }
}
