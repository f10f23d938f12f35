// The oracle's own octets: payload chains, prf and key expansion of the one suite that it speaks.
import { createHmac } from 'node:crypto';

export type Parts = readonly (Uint8Array | number)[];

export function join(...parts: Parts): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
}

export function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255);
}

export function prf(key: Uint8Array, ...data: Parts): Buffer {
  return createHmac('sha256', key).update(join(...data)).digest();
}

export function expand(key: Uint8Array, seed: Uint8Array, length: number): Buffer {
  let out: Buffer = Buffer.alloc(0);
  for (let i = 1, last: Buffer = Buffer.alloc(0); out.length < length; i++) {
    last = prf(key, last, seed, i);
    out = Buffer.concat([out, last]);
  }
  return out.subarray(0, length);
}

export interface RawPayload {
  readonly type: number;
  readonly body: Buffer;
  readonly isCritical?: boolean;
}

export function chainOf(payloads: readonly RawPayload[]): Buffer {
  return Buffer.concat(payloads.map((payload, i) => join(payloads[i + 1]?.type ?? 0, payload.isCritical === true ? 0x80 : 0, u16(payload.body.length + 4), payload.body)));
}

export function parseChain(bytes: Buffer, first: number): RawPayload[] {
  const payloads: RawPayload[] = [];
  let at = 0;
  for (let type = first; type !== 0; ) {
    const length = bytes.readUInt16BE(at + 2);
    payloads.push({ type, body: bytes.subarray(at + 4, at + length) });
    type = bytes[at]!;
    at += length;
  }
  return payloads;
}

/** One proposal; each transform is type, id and key length or 0. */
export function saBody(protocol: number, spi: Uint8Array, transforms: readonly (readonly [number, number, number])[]): Buffer {
  const encoded = transforms.map(([type, id, bits], i) => {
    const attributes = bits === 0 ? Buffer.alloc(0) : join(0x80, 14, u16(bits));
    return join(i === transforms.length - 1 ? 0 : 3, 0, u16(8 + attributes.length), type, 0, u16(id), attributes);
  });
  const length = 8 + spi.length + encoded.reduce((sum, part) => sum + part.length, 0);
  return join(0, 0, u16(length), 1, protocol, spi.length, transforms.length, spi, ...encoded);
}

export const ANY_V4 = join(1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
