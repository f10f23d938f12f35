// IKEv2 header and payload chain (RFC 7296 3.1, 3.2).
//
//   SPIi 8 | SPIr 8 | next payload 1 | version 1 | exchange 1 | flags 1 | message id 4 | length 4 | payloads
//   payload: next payload 1 | critical bit + reserved 1 | length 2 | body
import { Reader, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { NotifyType, PayloadType } from './numbers.ts';
import type { Payload } from './payloads.ts';
import { decodePayload, encodePayload, payloadType } from './payloads.ts';

export const HEADER_BYTES = 28;
export const PAYLOAD_HEADER_BYTES = 4;
const VERSION = 0x20;
const FLAG_INITIATOR = 0x08;
const FLAG_RESPONSE = 0x20;
const CRITICAL = 0x80;
const MAX_PAYLOADS = 128;

export interface Header {
  /** 8 octets each; the responder's is zero in the first request. */
  readonly spiInitiator: Uint8Array;
  readonly spiResponder: Uint8Array;
  readonly exchange: number;
  /** Sent by the original initiator of the IKE SA. */
  readonly fromInitiator: boolean;
  readonly response: boolean;
  readonly messageId: number;
}

/** The SK or SKF payload of a message, still closed. Positions are within the whole message. */
export interface SealedPart {
  readonly kind: 'SK' | 'SKF';
  /** Type of the first payload inside. */
  readonly firstPayload: number;
  /** First octet of the payload's generic header. */
  readonly start: number;
}

export interface Message {
  readonly header: Header;
  /** Payloads outside SK/SKF. */
  readonly payloads: readonly Payload[];
  readonly sealed: SealedPart | undefined;
}

/** The header alone; throws WireError with `answer` INVALID_MAJOR_VERSION when that is what is wrong. */
export function decodeHeader(bytes: Uint8Array): { header: Header; firstPayload: number } {
  const reader = new Reader(bytes, 'IKE header');
  const spiInitiator = reader.take(8);
  const spiResponder = reader.take(8);
  const firstPayload = reader.u8();
  const version = reader.u8();
  const exchange = reader.u8();
  const flags = reader.u8();
  const messageId = reader.u32();
  const length = reader.u32();
  if (version >> 4 !== VERSION >> 4) {
    throw new WireError(`IKE version ${version >> 4}, only 2 is spoken here`, NotifyType.INVALID_MAJOR_VERSION);
  }
  if (length !== bytes.length) throw new WireError(`IKE header claims ${length} octets, ${bytes.length} arrived`, NotifyType.INVALID_SYNTAX);
  if (spiInitiator.every((octet) => octet === 0)) throw new WireError('IKE header has a zero initiator SPI');
  const header: Header = {
    spiInitiator,
    spiResponder,
    exchange,
    fromInitiator: (flags & FLAG_INITIATOR) !== 0,
    response: (flags & FLAG_RESPONSE) !== 0,
    messageId,
  };
  return { header, firstPayload };
}

/** Throws WireError; its `answer` is the notify type that RFC 7296 asks for. */
export function decodeMessage(bytes: Uint8Array): Message {
  const { header, firstPayload } = decodeHeader(bytes);
  const chain = decodeChain(bytes, HEADER_BYTES, firstPayload);
  return { header, ...chain };
}

/** A chain of payloads from `start` to the end; used for whole messages and for what SK carried. */
export function decodeChain(bytes: Uint8Array, start: number, firstPayload: number): { payloads: Payload[]; sealed: SealedPart | undefined } {
  const reader = new Reader(bytes, 'payload chain', start);
  const payloads: Payload[] = [];
  let type = firstPayload;
  for (let count = 0; type !== PayloadType.none; count++) {
    if (count === MAX_PAYLOADS) throw new WireError(`more than ${MAX_PAYLOADS} payloads`, NotifyType.INVALID_SYNTAX);
    const at = reader.position;
    const next = reader.u8();
    const critical = (reader.u8() & CRITICAL) !== 0;
    const length = reader.u16();
    if (length < PAYLOAD_HEADER_BYTES || length - PAYLOAD_HEADER_BYTES > reader.remaining) {
      const claim = `payload ${type} claims ${length} octets, ${reader.remaining + PAYLOAD_HEADER_BYTES} remain`;
      throw new WireError(claim, NotifyType.INVALID_SYNTAX);
    }
    const body = reader.sub(length - PAYLOAD_HEADER_BYTES, `payload ${type}`);
    if (type === PayloadType.SK || type === PayloadType.SKF) {
      // The next-payload field of SK names the first payload inside, so SK ends the chain (RFC 7296 3.14).
      reader.expectEnd();
      return { payloads, sealed: { kind: type === PayloadType.SK ? 'SK' : 'SKF', firstPayload: next, start: at } };
    }
    const payload = decodeBody(type, body);
    if (payload !== undefined) payloads.push(payload);
    else if (critical) {
      throw new WireError(`payload ${type} is critical and not known`, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(type));
    }
    type = next;
  }
  reader.expectEnd();
  return { payloads, sealed: undefined };
}

function decodeBody(type: number, body: Reader): Payload | undefined {
  try {
    return decodePayload(type, body);
  } catch (error) {
    if (error instanceof WireError && error.answer === undefined) throw new WireError(error.message, NotifyType.INVALID_SYNTAX);
    throw error;
  }
}

/** Writes the header with a length of 0, to be patched by `finishMessage`. */
export function writeHeader(writer: Writer, header: Header, firstPayload: number): void {
  const flags = (header.fromInitiator ? FLAG_INITIATOR : 0) | (header.response ? FLAG_RESPONSE : 0);
  writer.put(header.spiInitiator).put(header.spiResponder).u8(firstPayload).u8(VERSION);
  writer.u8(header.exchange).u8(flags).u32(header.messageId).u32(0);
}

/** Fills in the message's total length. */
export function finishMessage(writer: Writer): Uint8Array<ArrayBuffer> {
  writer.patch32(24, writer.length);
  return writer.finish();
}

/** A message without SK. */
export function encodeMessage(header: Header, payloads: readonly Payload[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writeHeader(writer, header, firstTypeOf(payloads));
  writeChain(writer, payloads);
  return finishMessage(writer);
}

export function firstTypeOf(payloads: readonly Payload[]): number {
  return payloads[0] === undefined ? PayloadType.none : payloadType(payloads[0]);
}

export function writeChain(writer: Writer, payloads: readonly Payload[]): void {
  for (const [i, payload] of payloads.entries()) {
    const start = writer.length;
    writer.u8(firstTypeOf(payloads.slice(i + 1, i + 2))).u8(0).u16(0);
    encodePayload(writer, payload);
    writer.patch16(start + 2, writer.length - start);
  }
}
