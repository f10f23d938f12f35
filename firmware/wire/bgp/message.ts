// BGP messages other than UPDATE, the common header, and the cut of a TCP stream into messages (RFC 4271 4).
//
// | Marker (16) all ones | Length (2) | Type (1) | body |
import { WireError } from '../../../platform/errors.ts';
import { Reader, Writer, fromUtf8, utf8 } from '../../../platform/bytes.ts';
import { addressBytes, addressText } from '../address.ts';
import type { Capabilities } from './capability.ts';
import { NO_CAPABILITIES, decodeCapabilities, encodeCapabilities } from './capability.ts';
import type { Family } from './family.ts';
import type { Notification } from './notification.ts';
import { CEASE, CEASE_HARD_RESET, MESSAGE_HEADER_ERROR, OPEN_ERROR, ROUTE_REFRESH_ERROR, notificationWords } from './notification.ts';

export const OPEN = 1;
export const UPDATE = 2;
export const NOTIFICATION = 3;
export const KEEPALIVE = 4;
export const ROUTE_REFRESH = 5;

export const HEADER_BYTES = 19;
export const MOST_MESSAGE_BYTES = 4096;
/** RFC 8654: for every type but OPEN and KEEPALIVE, once the capability was exchanged. */
export const MOST_EXTENDED_MESSAGE_BYTES = 65535;

const VERSION = 4;
/** Stands for a number that needs 4 octets (RFC 6793 9). */
const AS_TRANS = 23456;
const CAPABILITIES_PARAMETER = 2;
const EXTENDED_PARAMETERS = 255;
const SHUTDOWN_TEXT_BYTES = 255;

interface MessageType {
  readonly name: string;
  readonly least: number;
  readonly most: number;
  /** What a wrong length is answered with; RFC 7313 5 has its own code for ROUTE-REFRESH. */
  readonly lengthAnswer: number;
}

const BAD_LENGTH = (MESSAGE_HEADER_ERROR << 8) | 2;

export const MESSAGE_TYPES: ReadonlyMap<number, MessageType> = new Map([
  [OPEN, { name: 'OPEN', least: 29, most: MOST_MESSAGE_BYTES, lengthAnswer: BAD_LENGTH }],
  [UPDATE, { name: 'UPDATE', least: 23, most: MOST_EXTENDED_MESSAGE_BYTES, lengthAnswer: BAD_LENGTH }],
  [NOTIFICATION, { name: 'NOTIFICATION', least: 21, most: MOST_EXTENDED_MESSAGE_BYTES, lengthAnswer: BAD_LENGTH }],
  [KEEPALIVE, { name: 'KEEPALIVE', least: 19, most: 19, lengthAnswer: BAD_LENGTH }],
  [ROUTE_REFRESH, { name: 'ROUTE-REFRESH', least: 23, most: 23, lengthAnswer: (ROUTE_REFRESH_ERROR << 8) | 1 }],
]);

/** A whole message: header and body. */
export function encodeMessage(type: number, body: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(HEADER_BYTES + body.length);
  out.fill(0xff, 0, 16);
  out[16] = out.length >>> 8;
  out[17] = out.length & 0xff;
  out[18] = type;
  out.set(body, HEADER_BYTES);
  return out;
}

export interface RawMessage {
  readonly type: number;
  readonly body: Uint8Array;
}

/** Checks marker, type and length of a header; returns the whole message's length. */
function checkHeader(header: Uint8Array): number {
  const reader = new Reader(header, 'BGP header');
  if (reader.take(16).some((octet) => octet !== 0xff)) throw new WireError('the marker is not all ones', (MESSAGE_HEADER_ERROR << 8) | 1);
  const length = reader.u16();
  const code = reader.u8();
  const type = MESSAGE_TYPES.get(code);
  if (!type) throw new WireError(`message type ${code}`, (MESSAGE_HEADER_ERROR << 8) | 3, Uint8Array.of(code));
  if (length < type.least || length > type.most) {
    throw new WireError(`${type.name} of ${length} octets, allowed are ${type.least} to ${type.most}`, type.lengthAnswer, header.slice(16, 18));
  }
  return length;
}

/** Collects a stream's octets, in pieces of any size, into messages. Holds at most one message. */
export class MessageCutter {
  #buffer = new Uint8Array(MOST_MESSAGE_BYTES);
  #length = 0;
  #needed = HEADER_BYTES;

  /**
   * Takes octets from `chunk` at `at`; returns where it stopped and the message that became whole there, if any.
   * Call again until `next` is the chunk's end. Throws WireError for a bad header; the stream is then useless.
   */
  take(chunk: Uint8Array, at: number): { next: number; message: RawMessage | undefined } {
    let next = at;
    for (;;) {
      const step = Math.min(this.#needed - this.#length, chunk.length - next);
      this.#buffer.set(chunk.subarray(next, next + step), this.#length);
      this.#length += step;
      next += step;
      if (this.#length < this.#needed) return { next, message: undefined };
      if (this.#needed === HEADER_BYTES) this.#expect(checkHeader(this.#buffer.subarray(0, HEADER_BYTES)));
      if (this.#length === this.#needed) break;
    }
    const message = { type: this.#buffer[18]!, body: this.#buffer.slice(HEADER_BYTES, this.#length) };
    this.#length = 0;
    this.#needed = HEADER_BYTES;
    return { next, message };
  }

  #expect(length: number): void {
    this.#needed = length;
    if (length <= this.#buffer.length) return;
    const larger = new Uint8Array(MOST_EXTENDED_MESSAGE_BYTES);
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

export interface Open {
  /** From the 4-octet AS capability where there is one. */
  readonly asNumber: number;
  readonly holdSeconds: number;
  /** IPv4 text. */
  readonly routerId: string;
  readonly capabilities: Capabilities;
}

export function encodeOpen(open: Open): Uint8Array<ArrayBuffer> {
  const capabilities = encodeCapabilities({ ...open.capabilities, asNumber: open.asNumber });
  const writer = new Writer().u8(VERSION).u16(open.asNumber > 0xffff ? AS_TRANS : open.asNumber);
  writer.u16(open.holdSeconds).put(addressBytes(open.routerId));
  if (capabilities.length + 2 <= 0xff) {
    writer.u8(capabilities.length + 2).u8(CAPABILITIES_PARAMETER).u8(capabilities.length);
  } else {
    // RFC 9072 2: two-octet lengths.
    writer.u8(EXTENDED_PARAMETERS).u8(EXTENDED_PARAMETERS).u16(capabilities.length + 3).u8(CAPABILITIES_PARAMETER).u16(capabilities.length);
  }
  return encodeMessage(OPEN, writer.put(capabilities).finish());
}

/** Throws WireError with `answer` set to the OPEN error to send. Says nothing about whether the values suit us. */
export function decodeOpen(body: Uint8Array): Open {
  const reader = new Reader(body, 'OPEN');
  const version = reader.u8();
  if (version !== VERSION) throw new WireError(`BGP version ${version}`, (OPEN_ERROR << 8) | 1, Uint8Array.of(0, VERSION));
  const twoOctetAs = reader.u16();
  const holdSeconds = reader.u16();
  const routerId = addressText(reader.take(4));
  let capabilities = NO_CAPABILITIES;
  try {
    let length = reader.u8();
    const extended = length === EXTENDED_PARAMETERS && reader.remaining > 0 && reader.bytes[reader.position] === EXTENDED_PARAMETERS;
    if (extended) {
      reader.skip(1);
      length = reader.u16();
    }
    const parameters = reader.sub(length, 'optional parameters');
    reader.expectEnd();
    while (parameters.remaining > 0) {
      const type = parameters.u8();
      const value = parameters.sub(extended ? parameters.u16() : parameters.u8(), `optional parameter ${type}`);
      if (type !== CAPABILITIES_PARAMETER) throw new WireError(`optional parameter ${type}`, (OPEN_ERROR << 8) | 4);
      capabilities = decodeCapabilities(value, capabilities);
    }
  } catch (error) {
    if (error instanceof WireError && error.answer === undefined) throw new WireError(error.message, OPEN_ERROR << 8);
    throw error;
  }
  return { asNumber: capabilities.asNumber ?? twoOctetAs, holdSeconds, routerId, capabilities };
}

export function encodeNotification({ code, subcode, data }: Notification): Uint8Array<ArrayBuffer> {
  return encodeMessage(NOTIFICATION, new Writer(data.length + 2).u8(code).u8(subcode).put(data).finish());
}

export function decodeNotification(body: Uint8Array): Notification {
  const reader = new Reader(body, 'NOTIFICATION');
  return { code: reader.u8(), subcode: reader.u8(), data: reader.rest() };
}

/** Data of an administrative Cease: the operator's words (RFC 9003 2). */
export function shutdownText(words: string): Uint8Array<ArrayBuffer> {
  let text = utf8(words).slice(0, SHUTDOWN_TEXT_BYTES);
  while (utf8(fromUtf8(text)).length > text.length) text = text.slice(0, -1);
  return new Writer(text.length + 1).u8(text.length).put(text).finish();
}

/** What a NOTIFICATION says, in words; looks into a hard reset (RFC 8538 3.1) and shows the operator's text. */
export function describeNotification({ code, subcode, data }: Notification): string {
  const words = notificationWords(code, subcode);
  if (code !== CEASE) return words;
  if (subcode === CEASE_HARD_RESET && data.length >= 2) {
    return `${words}, ${describeNotification({ code: data[0]!, subcode: data[1] === CEASE_HARD_RESET ? 0 : data[1]!, data: data.slice(2) })}`;
  }
  if ((subcode === 2 || subcode === 4) && data.length > 1 && data[0]! === data.length - 1) {
    // What a peer writes must not steer a terminal or split a log line.
    return `${words} ("${fromUtf8(data.subarray(1)).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')}")`;
  }
  return words;
}

/** RFC 7313 4: what the octet that RFC 2918 reserved says. */
export const REFRESH_REQUEST = 0;
export const REFRESH_BEGINS = 1;
export const REFRESH_ENDS = 2;

export interface RouteRefresh {
  readonly family: Family;
  readonly subtype: number;
}

export function encodeRouteRefresh({ family, subtype }: RouteRefresh): Uint8Array<ArrayBuffer> {
  return encodeMessage(ROUTE_REFRESH, new Writer(4).u16(family.afi).u8(subtype).u8(family.safi).finish());
}

export function decodeRouteRefresh(body: Uint8Array): RouteRefresh {
  const reader = new Reader(body, 'ROUTE-REFRESH');
  const afi = reader.u16();
  const subtype = reader.u8();
  return { family: { afi, safi: reader.u8() }, subtype };
}
