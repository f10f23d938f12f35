// Our own change of address (RFC 4555 3.5): every IKE SA of the connection goes on from the new one, its children at
// once, and the peer is told.
import type { Instant } from '../../platform/time.ts';
import type { IkeSa, Path } from './ike-sa.ts';
import type { IkeInput } from './input-output.ts';
import { moveChildrenOver, noteMove } from './mobility.ts';
import { addressUpdateRequest } from './tasks/mobike.ts';

type Move = Extract<IkeInput, { kind: 'move' }>;

const IKE_PORT = 500;
const NATT_PORT = 4500;

/** `all` are the endpoint's SAs. */
export function move(sa: IkeSa, all: readonly IkeSa[], input: Move, now: Instant): void {
  if (sa.origin.role !== 'initiator') {
    sa.log('info', 'IKE SA cannot move to another address', { cause: 'the peer began the connection and decides over addresses' });
    return;
  }
  if (!sa.extensions.mobike) {
    sa.end({ reason: 'our address changed, and the connection is without MOBIKE', event: 'IKE Deleted' }, now);
    return;
  }
  const path = newPath(sa.path, input);
  for (const other of all) {
    if (other.number !== sa.number) continue;
    other.path = path;
    other.conversation.resend();
    // A peer that has not got our answer to its rekey yet knows the replaced SA only.
    if (other === sa || other.state === 'rekeyed') other.conversation.enqueue(addressUpdateRequest(path), now);
  }
  moveChildrenOver(sa, now);
  noteMove(sa);
}

/** To port 4500 where we can: there may be a NAT on the new path. */
function newPath(before: Path, input: Move): Path {
  const { socket, nattSocket, local } = input;
  const { address, port } = before.remote;
  if (nattSocket === undefined) return { socket, natt: false, local, remote: { address, port: before.natt ? IKE_PORT : port } };
  return { socket: nattSocket, natt: true, local: { address: local.address, port: NATT_PORT }, remote: { address, port: before.natt ? port : NATT_PORT } };
}
