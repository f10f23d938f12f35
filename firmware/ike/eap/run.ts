// An EAP conversation inside IKE_AUTH (RFC 7296 2.16) and what its last message needs of its first.
import type { PayloadOf, Payload } from '../../wire/ike/payloads.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { EapClient } from './client.ts';
import { EapServer } from './server.ts';

export interface EapRun {
  readonly machine: EapServer | EapClient;
  /** The peer's ID payload, which its last AUTH covers. */
  readonly peerId: PayloadOf<'IDi' | 'IDr'>;
  /** Responder: the first request, whose child SA and configuration the last answer grants. */
  readonly request: readonly Payload[];
}

/** A peer may give up by INFORMATIONAL once its user was refused: tells the service, and returns why the user was. */
export function noteGivenUp(sa: IkeSa): string | undefined {
  const machine = sa.eap?.machine;
  if (!(machine instanceof EapServer) || machine.refusal === undefined) return undefined;
  const { identity: user, refusal: cause } = machine;
  const identity = user === undefined ? undefined : ({ kind: 'user', value: user } as const);
  sa.env.emit({ kind: 'peer-refused', profile: sa.profile.name, remote: sa.path.remote, identity, serial: sa.peer.serial, cause });
  return cause;
}
