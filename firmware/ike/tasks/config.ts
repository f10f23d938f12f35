// Configuration payloads (RFC 7296 2.19, 3.15): the overlay address and Director's addresses (docs/WIRE.md).
import { concat } from '../../../platform/bytes.ts';
import { addressBytes, addressText } from '../../wire/address.ts';
import { CfgAttribute, CfgType, NotifyType } from '../../wire/ike/numbers.ts';
import type { CfgAttributeValue, Payload } from '../../wire/ike/payloads.ts';
import { findPayload, notify } from '../../wire/ike/payloads.ts';
import { decodeSettings, encodeSettings, SETTING_TYPES } from '../client-settings.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Failure, Task } from '../task.ts';
import { errorNotify } from '../task.ts';

const EMPTY = new Uint8Array(0);
const HOST_PREFIX_V6 = 128;
const MAX_DIRECTOR_ADDRESSES = 16;

export class ConfigRequest implements Task {
  build(sa: IkeSa, out: Payload[]): void {
    if (!sa.profile.requestConfiguration) return;
    const { internalIp4Address, internalIp6Address, directorIp4, directorIp6 } = CfgAttribute;
    const types = [internalIp4Address, internalIp6Address, ...SETTING_TYPES, ...(sa.peer.vendor ? [directorIp4, directorIp6] : [])];
    out.push({ kind: 'CP', type: CfgType.request, attributes: types.map((type) => ({ type, value: EMPTY })) });
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    if (!sa.profile.requestConfiguration) return undefined;
    const reply = findPayload(payloads, 'CP');
    const attributes = reply?.type === CfgType.reply ? reply.attributes : [];
    const [assigned, alsoAssigned] = assignedAddresses(attributes);
    sa.grant.assigned = assigned;
    sa.grant.alsoAssigned = alsoAssigned;
    sa.grant.settings = decodeSettings(attributes);
    sa.grant.directorAddresses = directorAddresses(attributes);
    if (sa.grant.assigned !== undefined) return undefined;
    const error = errorNotify(payloads);
    return {
      notify: error?.type ?? NotifyType.INTERNAL_ADDRESS_FAILURE,
      cause: 'the peer did not assign an overlay address',
      nextStep: "look at the peer's log and its address pool",
      scope: 'ike',
      tell: 'delete',
    };
  }
}

/** One of each family, IPv4 first. */
function assignedAddresses(attributes: readonly CfgAttributeValue[]): string[] {
  const v4 = attributes.find((entry) => entry.type === CfgAttribute.internalIp4Address && entry.value.length === 4);
  const v6 = attributes.find((entry) => entry.type === CfgAttribute.internalIp6Address && entry.value.length === 17);
  return [v4?.value, v6?.value.subarray(0, 16)].flatMap((value) => (value === undefined ? [] : [addressText(value)]));
}

function directorAddresses(attributes: readonly CfgAttributeValue[]): string[] {
  return attributes
    .filter(({ type, value }) => (type === CfgAttribute.directorIp4 && value.length === 4) || (type === CfgAttribute.directorIp6 && value.length === 16))
    .slice(0, MAX_DIRECTOR_ADDRESSES)
    .map(({ value }) => addressText(value));
}

export class ConfigAnswer implements Task {
  #asked = false;

  process(_sa: IkeSa, payloads: readonly Payload[]): undefined {
    this.#asked = findPayload(payloads, 'CP')?.type === CfgType.request;
  }

  build(sa: IkeSa, out: Payload[]): void {
    if (!this.#asked) return;
    const { assigned, alsoAssigned, settings, directorAddresses: directors } = sa.grant;
    if (assigned === undefined) {
      out.push(notify(NotifyType.INTERNAL_ADDRESS_FAILURE));
      return;
    }
    const attributes: CfgAttributeValue[] = [addressAttribute(addressBytes(assigned))];
    if (alsoAssigned !== undefined) attributes.push(addressAttribute(addressBytes(alsoAssigned)));
    if (settings !== undefined) attributes.push(...encodeSettings(settings));
    for (const director of sa.peer.vendor ? (directors ?? []) : []) {
      const value = addressBytes(director);
      attributes.push({ type: value.length === 4 ? CfgAttribute.directorIp4 : CfgAttribute.directorIp6, value });
    }
    out.push({ kind: 'CP', type: CfgType.reply, attributes });
  }
}

function addressAttribute(address: Uint8Array): CfgAttributeValue {
  if (address.length === 4) return { type: CfgAttribute.internalIp4Address, value: address };
  return { type: CfgAttribute.internalIp6Address, value: concat(address, Uint8Array.of(HOST_PREFIX_V6)) };
}
