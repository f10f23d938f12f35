// One concern of an exchange. The initiator's task builds the request, then processes the response; the responder's
// processes the request, then builds the response. `finish` runs when the whole exchange has succeeded.
import type { Instant } from '../../platform/time.ts';
import { FIRST_STATUS_NOTIFY } from '../wire/ike/numbers.ts';
import type { Gateway } from '../wire/ike/gateway.ts';
import type { Payload, PayloadOf } from '../wire/ike/payloads.ts';
import type { ExchangeRow } from './exchanges.ts';
import type { IkeSa } from './ike-sa.ts';

export interface Failure {
  /** Notify that the responder answers, or that the initiator got or found. */
  readonly notify: number;
  readonly data?: Uint8Array;
  /** Responder: the ESP SPI that the notify is about (RFC 7296 3.10). */
  readonly espSpi?: Uint8Array;
  /** Responder: payloads that go with the notify. */
  readonly payloads?: readonly Payload[];
  /** A clause that names what is wrong. */
  readonly cause: string;
  /** What the operator can do about it. */
  readonly nextStep: string;
  /** `ike`: the IKE SA ends with it. */
  readonly scope: 'ike' | 'exchange';
  /** Initiator: how the peer learns that the IKE SA ends. */
  readonly tell?: 'delete' | 'authentication-failed';
  /** Initiator: the peer sends us to another gateway. */
  readonly redirect?: Gateway;
}

/**
 * `wait`: the first task of an exchange has asked for something outside; `process` comes again with the same payloads when
 * that is there. Of an initiator: `again`: the request is built anew; `followup`: it goes on with IKE_FOLLOWUP_KE and the
 * same tasks; `over`: nothing comes of the exchange, though nobody has failed.
 */
export type Verdict = Failure | 'again' | 'followup' | 'over' | 'wait' | undefined;

export interface Task {
  /** Its answer counts even when the IKE SA has been ended meanwhile. */
  readonly outlivesSa?: true;
  build(sa: IkeSa, out: Payload[], now: Instant): void;
  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Verdict;
  finish?(sa: IkeSa, now: Instant): void;
  /** The exchange did not succeed: release what was taken for it. */
  abandon?(sa: IkeSa, now: Instant): void;
}

/** An exchange that we begin. */
export interface Request {
  readonly row: ExchangeRow;
  readonly tasks: readonly Task[];
  /** False: drop it when its turn comes. */
  readonly wanted?: (sa: IkeSa) => boolean;
}

/** The first error notify, if any. */
export function errorNotify(payloads: readonly Payload[]): PayloadOf<'Notify'> | undefined {
  return payloads.find((payload) => payload.kind === 'Notify' && payload.type < FIRST_STATUS_NOTIFY) as PayloadOf<'Notify'> | undefined;
}
