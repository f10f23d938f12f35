// An EAP conversation inside IKE_AUTH (RFC 7296 2.16) and what its last message needs of its first.
import type { PayloadOf, Payload } from '../../wire/ike/payloads.ts';
import type { EapClient } from './client.ts';
import type { EapServer } from './server.ts';

export interface EapRun {
  readonly machine: EapServer | EapClient;
  /** The peer's ID payload, which its last AUTH covers. */
  readonly peerId: PayloadOf<'IDi' | 'IDr'>;
  /** Responder: the first request, whose child SA and configuration the last answer grants. */
  readonly request: readonly Payload[];
}
