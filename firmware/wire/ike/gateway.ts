// The contents of REDIRECT and REDIRECTED_FROM (RFC 5685 5.1 to 5.3): which gateway, and in REDIRECT of IKE_SA_INIT the
// initiator's nonce.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +---------------+---------------+-------------------------------+
//   | GW Ident Type |  GW Ident Len |      New GW Identity          ~
//   +---------------+---------------+-------------------------------+
//   ~                       Nonce Data                              ~
//   +---------------------------------------------------------------+
import { fromUtf8, utf8, Writer } from '../../../platform/bytes.ts';
import { addressBytes, addressText } from '../address.ts';

export interface Gateway {
  readonly kind: 'ipv4' | 'ipv6' | 'fqdn';
  readonly value: string;
}

const HEADER_BYTES = 2;
const TYPES = { ipv4: 1, ipv6: 2, fqdn: 3 } as const;
const MAX_NAME_BYTES = 253;

/** `nonce`: empty outside of IKE_SA_INIT, and in REDIRECTED_FROM. */
export function encodeGateway({ kind, value }: Gateway, nonce: Uint8Array = new Uint8Array(0)): Uint8Array {
  const identity = kind === 'fqdn' ? utf8(value) : addressBytes(value);
  return new Writer(HEADER_BYTES + identity.length + nonce.length).u8(TYPES[kind]).u8(identity.length).put(identity).put(nonce).finish();
}

/** Undefined for a type that is not known or contents that do not fit it. */
export function decodeGateway(data: Uint8Array): { readonly gateway: Gateway; readonly nonce: Uint8Array } | undefined {
  if (data.length < HEADER_BYTES || data.length < HEADER_BYTES + data[1]!) return undefined;
  const end = HEADER_BYTES + data[1]!;
  const gateway = gatewayOf(data[0]!, data.slice(HEADER_BYTES, end));
  return gateway && { gateway, nonce: data.slice(end) };
}

function gatewayOf(type: number, identity: Uint8Array): Gateway | undefined {
  if (type === TYPES.ipv4 && identity.length === 4) return { kind: 'ipv4', value: addressText(identity) };
  if (type === TYPES.ipv6 && identity.length === 16) return { kind: 'ipv6', value: addressText(identity) };
  if (type !== TYPES.fqdn || identity.length === 0 || identity.length > MAX_NAME_BYTES || identity.some((octet) => octet > 0x7e)) return undefined;
  const value = fromUtf8(identity);
  return /^[A-Za-z0-9.-]+$/.test(value) ? { kind: 'fqdn', value } : undefined;
}
