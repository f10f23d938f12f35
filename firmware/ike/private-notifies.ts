// The notifies of our own (docs/WIRE.md): 40960 OBSERVED_ENDPOINT, 40961 DEVICE_SERIAL, 40962 TENANT and
// 40963 VXLAN_ENCAPSULATION. They travel inside SK only, to peers that sent our Vendor ID.
import { fromUtf8, utf8, Writer } from '../../platform/bytes.ts';
import type { Endpoint } from '../model.ts';
import { addressBytes, addressText } from '../wire/address.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload, PayloadOf } from '../wire/ike/payloads.ts';
import { findNotify, notify } from '../wire/ike/payloads.ts';

const MAX_SERIAL_BYTES = 64;
const FAMILY_V4 = 4;
const FAMILY_V6 = 6;

/** Family 1 | reserved 1 | port 2 | address 4 or 16. */
export function observedEndpointNotify(endpoint: Endpoint): PayloadOf<'Notify'> {
  const address = addressBytes(endpoint.address);
  const family = address.length === 4 ? FAMILY_V4 : FAMILY_V6;
  return notify(NotifyType.OBSERVED_ENDPOINT, new Writer(20).u8(family).u8(0).u16(endpoint.port).put(address).finish());
}

export function observedEndpoint(payloads: readonly Payload[]): Endpoint | undefined {
  const data = findNotify(payloads, NotifyType.OBSERVED_ENDPOINT)?.data;
  if (data === undefined || data.length !== (data[0] === FAMILY_V4 ? 8 : data[0] === FAMILY_V6 ? 20 : -1)) return undefined;
  return { address: addressText(data.subarray(4)), port: (data[2]! << 8) | data[3]! };
}

export function serialNotify(serial: string): PayloadOf<'Notify'> {
  return notify(NotifyType.DEVICE_SERIAL, utf8(serial));
}

/** Undefined also for what could not be printed in a log. */
export function deviceSerial(payloads: readonly Payload[]): string | undefined {
  const data = findNotify(payloads, NotifyType.DEVICE_SERIAL)?.data;
  if (data === undefined || data.length > MAX_SERIAL_BYTES) return undefined;
  const text = fromUtf8(data);
  return /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}

export function tenantNotify(tenant: number): PayloadOf<'Notify'> {
  return notify(NotifyType.TENANT, new Writer(4).u32(tenant).finish());
}

export function tenantOf(payloads: readonly Payload[]): number | undefined {
  const data = findNotify(payloads, NotifyType.TENANT)?.data;
  return data?.length === 4 ? new DataView(data.buffer, data.byteOffset).getUint32(0) : undefined;
}

/** Reserved 1 | VNI 3. */
export function vxlanNotify(vni: number): PayloadOf<'Notify'> {
  return notify(NotifyType.VXLAN_ENCAPSULATION, new Writer(4).u8(0).u24(vni).finish());
}

export function vxlanVni(payloads: readonly Payload[]): number | undefined {
  const data = findNotify(payloads, NotifyType.VXLAN_ENCAPSULATION)?.data;
  return data?.length === 4 ? (data[1]! << 16) | (data[2]! << 8) | data[3]! : undefined;
}

/** The text that a peer of our kind adds to a refusal, fit for a log. */
export function refusalText(data: Uint8Array): string | undefined {
  const text = fromUtf8(data.subarray(0, 200));
  return /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}
