// What a remote client is told besides its addresses, as configuration attributes (RFC 7296 3.15.1, RFC 8598).
import { concat, fromUtf8, utf8 } from '../../platform/bytes.ts';
import { addressBytes, addressText } from '../wire/address.ts';
import { CfgAttribute } from '../wire/ike/numbers.ts';
import type { CfgAttributeValue } from '../wire/ike/payloads.ts';
import type { ClientSettings } from './input-output.ts';

/** Of each kind, in either direction. */
const MAX_ENTRIES = 32;
const MAX_DOMAIN_BYTES = 253;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;

export const SETTING_TYPES: readonly number[] = [
  CfgAttribute.internalIp4Dns,
  CfgAttribute.internalIp6Dns,
  CfgAttribute.internalIp4Subnet,
  CfgAttribute.internalIp6Subnet,
  CfgAttribute.internalDnsDomain,
];

export function encodeSettings(settings: ClientSettings): CfgAttributeValue[] {
  const { dns = [], subnets = [], dnsDomains = [] } = settings;
  return [
    ...dns.slice(0, MAX_ENTRIES).map(dnsAttribute),
    ...subnets.slice(0, MAX_ENTRIES).map(subnetAttribute),
    ...dnsDomains.slice(0, MAX_ENTRIES).map((domain) => ({ type: CfgAttribute.internalDnsDomain, value: utf8(domain) })),
  ];
}

function dnsAttribute(address: string): CfgAttributeValue {
  const value = addressBytes(address);
  return { type: value.length === IPV4_BYTES ? CfgAttribute.internalIp4Dns : CfgAttribute.internalIp6Dns, value };
}

/** IPv4 is followed by a mask, IPv6 by the length of its prefix. */
function subnetAttribute(prefix: string): CfgAttributeValue {
  const [text, length] = prefix.split('/');
  const address = addressBytes(text!);
  if (address.length === IPV6_BYTES) return { type: CfgAttribute.internalIp6Subnet, value: concat(address, Uint8Array.of(Number(length))) };
  return { type: CfgAttribute.internalIp4Subnet, value: concat(address, maskOf(Number(length))) };
}

function maskOf(length: number): Uint8Array {
  return Uint8Array.from({ length: IPV4_BYTES }, (_, i) => 0xff00 >>> Math.min(8, Math.max(0, length - 8 * i)));
}

/** The length of the prefix, or undefined for a mask with holes. */
function lengthOf(mask: Uint8Array): number | undefined {
  const bits = [...mask].map((octet) => octet.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined;
}

/** Undefined when the peer says nothing of the kind; what is malformed is left out. */
export function decodeSettings(attributes: readonly CfgAttributeValue[]): ClientSettings | undefined {
  const read = (reader: (attribute: CfgAttributeValue) => string | undefined): string[] => attributes.flatMap((attribute) => reader(attribute) ?? []).slice(0, MAX_ENTRIES);
  const [dns, subnets, dnsDomains] = [read(readDns), read(readSubnet), read(readDomain)];
  return dns.length + subnets.length + dnsDomains.length === 0 ? undefined : { dns, subnets, dnsDomains };
}

function readDns({ type, value }: CfgAttributeValue): string | undefined {
  const legal = (type === CfgAttribute.internalIp4Dns && value.length === IPV4_BYTES) || (type === CfgAttribute.internalIp6Dns && value.length === IPV6_BYTES);
  return legal ? addressText(value) : undefined;
}

function readSubnet({ type, value }: CfgAttributeValue): string | undefined {
  if (type === CfgAttribute.internalIp4Subnet && value.length === 2 * IPV4_BYTES) {
    const length = lengthOf(value.subarray(IPV4_BYTES));
    return length === undefined ? undefined : `${addressText(value.subarray(0, IPV4_BYTES))}/${length}`;
  }
  const legal = type === CfgAttribute.internalIp6Subnet && value.length === IPV6_BYTES + 1 && value[IPV6_BYTES]! <= 8 * IPV6_BYTES;
  return legal ? `${addressText(value.subarray(0, IPV6_BYTES))}/${value[IPV6_BYTES]}` : undefined;
}

function readDomain({ type, value }: CfgAttributeValue): string | undefined {
  if (type !== CfgAttribute.internalDnsDomain || value.length > MAX_DOMAIN_BYTES) return undefined;
  const domain = fromUtf8(value);
  return /^[A-Za-z0-9._-]+$/.test(domain) ? domain : undefined;
}
