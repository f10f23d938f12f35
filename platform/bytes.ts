// Big-endian, bounded reading and writing for control messages. The hot path does not use this file.
import { timingSafeEqual } from 'node:crypto';
import { WireError } from './errors.ts';

export type Bytes = Uint8Array;

/** Reads one message front to back; every read names both numbers when the message is too short. */
export class Reader {
  readonly bytes: Bytes;
  readonly what: string;
  position: number;
  readonly end: number;

  constructor(bytes: Bytes, what: string, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.what = what;
    this.position = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  #need(length: number): number {
    if (length > this.remaining) {
      throw new WireError(`${this.what} needs ${length} more octets, ${this.remaining} remain`);
    }
    const at = this.position;
    this.position += length;
    return at;
  }

  u8(): number {
    return this.bytes[this.#need(1)]!;
  }

  u16(): number {
    const at = this.#need(2);
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  u24(): number {
    const at = this.#need(3);
    return (this.bytes[at]! << 16) | (this.bytes[at + 1]! << 8) | this.bytes[at + 2]!;
  }

  u32(): number {
    const at = this.#need(4);
    const b = this.bytes;
    return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** A copy of the next `length` octets. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#need(length);
    return this.bytes.slice(at, at + length) as Uint8Array<ArrayBuffer>;
  }

  rest(): Uint8Array<ArrayBuffer> {
    return this.take(this.remaining);
  }

  skip(length: number): void {
    this.#need(length);
  }

  /** A reader over the next `length` octets, which this one then skips. */
  sub(length: number, what: string): Reader {
    const at = this.#need(length);
    return new Reader(this.bytes, what, at, at + length);
  }

  expectEnd(): void {
    if (this.remaining !== 0) throw new WireError(`${this.what} has ${this.remaining} octets after its end`);
  }
}

/** Grows as needed; `patch*` fills in lengths that are known only later. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  #room(length: number): number {
    const at = this.#length;
    const needed = at + length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): this {
    const at = this.#room(1); // first, since it may replace the array
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    this.patch16(this.#room(2), value);
    return this;
  }

  u24(value: number): this {
    return this.u8(value >>> 16).u16(value & 0xffff);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }

  u64(value: bigint): this {
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffff_ffffn));
  }

  put(bytes: Bytes): this {
    const at = this.#room(bytes.length); // first, since it may replace the array
    this.#bytes.set(bytes, at);
    return this;
  }

  zeros(length: number): this {
    this.#room(length);
    return this;
  }

  patch8(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  patch16(at: number, value: number): void {
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
  }

  patch32(at: number, value: number): void {
    this.patch16(at, value >>> 16);
    this.patch16(at + 2, value & 0xffff);
  }

  /** The written octets, owned by the caller. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}

export function concat(...parts: readonly Bytes[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function toHex(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const clean = text.replaceAll(/\s/g, '');
  if (clean.length % 2 !== 0 || /[^0-9a-fA-F]/.test(clean)) throw new WireError(`not hexadecimal: ${text.slice(0, 40)}`);
  return new Uint8Array(Buffer.from(clean, 'hex'));
}

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, 'utf8'));
}

export function fromUtf8(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** Equality without an early exit; for anything a peer could guess at. */
export function equalConstantTime(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export function equalBytes(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((octet, i) => octet === b[i]);
}

/** Big-endian comparison of equal-length strings: negative, zero or positive. */
export function compareBytes(a: Bytes, b: Bytes): number {
  return Buffer.compare(a, b);
}

/** Overwrites a secret whose owner ends. */
export function wipe(...secrets: readonly (Bytes | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0);
}
