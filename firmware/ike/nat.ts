// NAT detection (RFC 7296 2.23): each end hashes the addresses it believes in; a mismatch shows a NAT.
import { equalBytes, Writer } from '../../platform/bytes.ts';
import type { Endpoint } from '../model.ts';
import { addressBytes } from '../wire/address.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { notify } from '../wire/ike/payloads.ts';
import { sha1 } from './sha1.ts';

export interface NatFinding {
  /** A NAT in front of this end. */
  readonly local: boolean;
  /** A NAT in front of the peer. */
  readonly remote: boolean;
}

export const NO_NAT: NatFinding = { local: false, remote: false };

function natHash(spiI: Uint8Array, spiR: Uint8Array, endpoint: Endpoint): Uint8Array {
  return sha1(new Writer(64).put(spiI).put(spiR).put(addressBytes(endpoint.address)).u16(endpoint.port).finish());
}

/** Both notifies; `pretend` spoils the source hash, so that the peer sees a NAT. */
export function natNotifies(spiI: Uint8Array, spiR: Uint8Array, local: Endpoint, remote: Endpoint, pretend: boolean): Payload[] {
  const source = natHash(spiI, spiR, pretend ? { ...local, port: 0 } : local);
  return [
    notify(NotifyType.NAT_DETECTION_SOURCE_IP, source),
    notify(NotifyType.NAT_DETECTION_DESTINATION_IP, natHash(spiI, spiR, remote)),
  ];
}

/** What the peer's notifies say; no notifies, no NAT traversal. */
export function detectNat(payloads: readonly Payload[], spiI: Uint8Array, spiR: Uint8Array, local: Endpoint, remote: Endpoint): NatFinding {
  const hashes = (type: number): Uint8Array[] =>
    payloads.flatMap((payload) => (payload.kind === 'Notify' && payload.type === type ? [payload.data] : []));
  const sources = hashes(NotifyType.NAT_DETECTION_SOURCE_IP);
  const destinations = hashes(NotifyType.NAT_DETECTION_DESTINATION_IP);
  if (sources.length === 0 || destinations.length === 0) return NO_NAT;
  const expectedSource = natHash(spiI, spiR, remote);
  const expectedDestination = natHash(spiI, spiR, local);
  return {
    remote: !sources.some((hash) => equalBytes(hash, expectedSource)),
    local: !destinations.some((hash) => equalBytes(hash, expectedDestination)),
  };
}
