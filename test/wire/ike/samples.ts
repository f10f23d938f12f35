// Every kind of payload with its octets, written out by hand after RFC 7296's diagrams.
import type { Payload } from '../../../firmware/wire/ike/payloads.ts';
import { transform } from '../../../firmware/wire/ike/proposal.ts';
import { ANY_IPV4, ANY_IPV6 } from '../../../firmware/wire/ike/selector.ts';
import { fromHex, utf8 } from '../../../platform/bytes.ts';

export interface Sample {
  readonly name: string;
  readonly type: number;
  readonly payload: Payload;
  /** The body, without the generic header. */
  readonly hex: string;
}

const NONCE = '000102030405060708090a0b0c0d0e0f';

export const SAMPLES: readonly Sample[] = [
  {
    name: 'SA of IKE_SA_INIT',
    type: 33,
    payload: { kind: 'SA', proposals: [{ number: 1, protocol: 1, spi: new Uint8Array(0), transforms: [transform(1, 20, 256), transform(2, 6), transform(4, 31)] }] },
    hex: '00000024 01010003  0300000c 01000014 800e0100  03000008 02000006  00000008 0400001f',
  },
  {
    name: 'SA with two ESP proposals',
    type: 33,
    payload: {
      kind: 'SA',
      proposals: [
        { number: 1, protocol: 3, spi: fromHex('02000001'), transforms: [transform(1, 20, 128), transform(5, 1)] },
        { number: 2, protocol: 3, spi: fromHex('02000001'), transforms: [transform(1, 28), transform(5, 0)] },
      ],
    },
    hex: '02000020 01030402 02000001 0300000c 01000014 800e0080 00000008 05000001  0000001c 02030402 02000001 03000008 0100001c 00000008 05000000',
  },
  { name: 'KE', type: 34, payload: { kind: 'KE', group: 31, data: fromHex('aabb') }, hex: '001f0000 aabb' },
  { name: 'IDi', type: 35, payload: { kind: 'IDi', idType: 3, data: utf8('a@b') }, hex: '03000000 614062' },
  { name: 'IDr', type: 36, payload: { kind: 'IDr', idType: 1, data: fromHex('c0000201') }, hex: '01000000 c0000201' },
  { name: 'CERT', type: 37, payload: { kind: 'CERT', encoding: 4, data: fromHex('3000') }, hex: '04 3000' },
  { name: 'CERTREQ', type: 38, payload: { kind: 'CERTREQ', encoding: 4, data: new Uint8Array(20) }, hex: `04 ${'00'.repeat(20)}` },
  { name: 'AUTH', type: 39, payload: { kind: 'AUTH', method: 14, data: fromHex('0a0b') }, hex: '0e000000 0a0b' },
  { name: 'Nonce', type: 40, payload: { kind: 'Nonce', data: fromHex(NONCE) }, hex: NONCE },
  { name: 'Notify', type: 41, payload: { kind: 'Notify', protocol: 0, spi: new Uint8Array(0), type: 16388, data: fromHex('11') }, hex: '00004004 11' },
  { name: 'Notify REKEY_SA', type: 41, payload: { kind: 'Notify', protocol: 3, spi: fromHex('02000343'), type: 16393, data: new Uint8Array(0) }, hex: '03044009 02000343' },
  { name: 'Delete of children', type: 42, payload: { kind: 'Delete', protocol: 3, spis: [fromHex('02000343'), fromHex('02000344')] }, hex: '03040002 02000343 02000344' },
  { name: 'Delete of the IKE SA', type: 42, payload: { kind: 'Delete', protocol: 1, spis: [] }, hex: '01000000' },
  { name: 'Vendor ID', type: 43, payload: { kind: 'VendorId', data: utf8('x') }, hex: '78' },
  {
    name: 'TSi, IPv4 and IPv6',
    type: 44,
    payload: { kind: 'TSi', selectors: [{ ...ANY_IPV4, protocol: 6, startPort: 80, endPort: 81, startAddress: '10.0.0.0', endAddress: '10.0.0.255' }, ANY_IPV6] },
    hex: `02000000 07060010 0050 0051 0a000000 0a0000ff  08000028 0000ffff ${'00'.repeat(16)} ${'ff'.repeat(16)}`,
  },
  { name: 'TSr', type: 45, payload: { kind: 'TSr', selectors: [ANY_IPV4] }, hex: '01000000 07000010 0000ffff 00000000 ffffffff' },
  {
    name: 'CP',
    type: 47,
    payload: { kind: 'CP', type: 2, attributes: [{ type: 1, value: fromHex('0a000009') }, { type: 20480, value: fromHex('0a090901') }] },
    hex: '02000000 0001 0004 0a000009  5000 0004 0a090901',
  },
  { name: 'EAP', type: 48, payload: { kind: 'EAP', data: fromHex('01010005 01') }, hex: '0101000501' },
];
