// An EAP conversation inside IKE_AUTH (RFC 7296 2.16) and what its last message needs of its first.
import { wipe } from '../../../platform/bytes.ts';
import type { TlsStep } from '../../../platform/tls-engine.ts';
import type { Instant } from '../../../platform/time.ts';
import type { PayloadOf, Payload } from '../../wire/ike/payloads.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { EapClient, EapClientStep } from './client.ts';
import type { EapServerStep } from './server.ts';
import { EapServer } from './server.ts';

interface Common {
  /** The peer's ID payload, which its last AUTH covers. */
  readonly peerId: PayloadOf<'IDi' | 'IDr'>;
}

export interface EapServerRun extends Common {
  readonly machine: EapServer;
  /** The first request, whose child SA and configuration the last answer grants. */
  readonly request: readonly Payload[];
  /** Whoever has not authenticated by then is forgotten. */
  readonly endsAt: Instant;
  /** What the machine has made of a packet that had to wait for TLS. */
  ready?: EapServerStep | undefined;
}

export interface EapClientRun extends Common {
  readonly machine: EapClient;
  ready?: EapClientStep | undefined;
}

export type EapRun = EapServerRun | EapClientRun;

export function isServerRun(run: EapRun | undefined): run is EapServerRun {
  return run?.machine instanceof EapServer;
}

/** TLS has worked on what the last packet brought: the message that it came in is handled to its end. */
export function resumeEap(sa: IkeSa | undefined, step: TlsStep, now: Instant): void {
  const eap = sa?.eap;
  if (sa === undefined || eap === undefined) {
    wipe(step.session?.exported);
    return;
  }
  if (isServerRun(eap)) eap.ready = eap.machine.resume(step);
  else eap.ready = eap.machine.resume(step);
  sa.conversation.resume(now);
}

export function endEap(sa: IkeSa): void {
  sa.eap?.machine.wipe();
  sa.eap = undefined;
}

/** A peer may give up by INFORMATIONAL once its user was refused: tells the service, and returns why the user was. */
export function noteGivenUp(sa: IkeSa): string | undefined {
  const { eap } = sa;
  if (!isServerRun(eap) || eap.machine.refusal === undefined) return undefined;
  const { identity: user, refusal: cause } = eap.machine;
  const identity = user === undefined ? undefined : ({ kind: 'user', value: user } as const);
  sa.env.emit({ kind: 'peer-refused', profile: sa.profile.name, remote: sa.path.remote, identity, serial: sa.peer.serial, cause });
  return cause;
}
