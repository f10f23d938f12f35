// Which messages are legal when: one row per exchange and role, in the order in which they are tried.
import { ExchangeType, NotifyType, Protocol } from '../wire/ike/numbers.ts';
import type { Payload, PayloadKind } from '../wire/ike/payloads.ts';
import { findNotify, findPayload } from '../wire/ike/payloads.ts';
import type { Sentence } from './sentences.ts';

/**
 * `eap`: between the first and the last IKE_AUTH of an EAP conversation.
 * `rekeyed`: replaced by another IKE SA and waiting for its deletion. `deleting`: our Delete is on its way.
 * `closed`: only repeats its last reply until it is forgotten.
 */
export type SaState = 'new' | 'init-sent' | 'half-open' | 'auth-sent' | 'eap' | 'established' | 'rekeyed' | 'deleting' | 'closed';

export type ExchangeName = 'init' | 'intermediate' | 'auth' | 'eap-first' | 'eap' | 'eap-last' | 'auth-childless' | 'rekey-ike' | 'rekey-child' | 'create-child' | 'followup' | 'informational';

export interface ExchangeRow {
  readonly name: ExchangeName;
  readonly exchange: number;
  /** Our role in this exchange. */
  readonly role: 'initiator' | 'responder';
  readonly from: readonly SaState[];
  /** Undefined: the state stays. */
  readonly to: SaState | undefined;
  /** Payloads that the peer's message must have (a response with an error notify need not). */
  readonly required: readonly PayloadKind[];
  /** Payloads that the peer's message may have; others are ignored. */
  readonly optional: readonly PayloadKind[];
  /** Notify to answer in a wrong state; undefined: drop. */
  readonly wrongState: number | undefined;
  /** Tells requests of one exchange type apart. */
  readonly when: ((payloads: readonly Payload[]) => boolean) | undefined;
  /** The log line of a success. */
  readonly story: Sentence;
}

type RowOptions = Partial<Pick<ExchangeRow, 'to' | 'wrongState' | 'when' | 'story'>>;

function row(name: ExchangeName, exchange: number, role: ExchangeRow['role'], from: readonly SaState[], required: readonly PayloadKind[], optional: readonly PayloadKind[], options: RowOptions = {}): ExchangeRow {
  return { name, exchange, role, from, required, optional, to: undefined, wrongState: undefined, when: undefined, story: 'IKE exchange done', ...options };
}

const isIkeRekey = (payloads: readonly Payload[]): boolean => findPayload(payloads, 'SA')?.proposals[0]?.protocol === Protocol.IKE;
/** RFC 6023 3: the request that begins IKE_AUTH, with nothing of a child in it. */
const isChildless = (payloads: readonly Payload[]): boolean =>
  findPayload(payloads, 'IDi') !== undefined && (['SA', 'TSi', 'TSr'] as const).every((kind) => findPayload(payloads, kind) === undefined);
const hasNoAuth = (payloads: readonly Payload[]): boolean => findPayload(payloads, 'AUTH') === undefined;
const isChildRekey = (payloads: readonly Payload[]): boolean => findNotify(payloads, NotifyType.REKEY_SA) !== undefined;

const { IKE_SA_INIT, IKE_INTERMEDIATE, IKE_AUTH, CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL } = ExchangeType;
const BUSY = NotifyType.TEMPORARY_FAILURE;
const CLOSING: readonly SaState[] = ['established', 'rekeyed', 'deleting'];

export const EXCHANGES: readonly ExchangeRow[] = [
  row('init', IKE_SA_INIT, 'responder', ['new'], ['SA', 'KE', 'Nonce'], ['Notify', 'VendorId'], { to: 'half-open', story: 'IKE_SA_INIT answered' }),
  row('init', IKE_SA_INIT, 'initiator', ['init-sent'], ['SA', 'KE', 'Nonce'], ['Notify', 'VendorId', 'CERTREQ'], { to: 'auth-sent', story: 'IKE_SA_INIT was answered by the peer' }),
  row('auth-childless', IKE_AUTH, 'responder', ['half-open'], ['IDi'], ['AUTH', 'IDr', 'CERT', 'CERTREQ', 'CP', 'Notify', 'VendorId'], { to: 'established', when: isChildless }),
  // RFC 7296 2.16: an initiator that leaves out AUTH wants EAP.
  row('eap', IKE_AUTH, 'responder', ['eap'], ['EAP'], ['Notify', 'VendorId'], { when: hasNoAuth }),
  row('eap-last', IKE_AUTH, 'responder', ['eap'], ['AUTH'], ['Notify', 'VendorId'], { to: 'established' }),
  row('eap-first', IKE_AUTH, 'responder', ['half-open'], ['IDi', 'SA', 'TSi', 'TSr'], ['IDr', 'CERT', 'CERTREQ', 'CP', 'Notify', 'VendorId'], { to: 'eap', when: hasNoAuth }),
  row('eap-first', IKE_AUTH, 'initiator', ['auth-sent'], ['IDr', 'EAP'], ['AUTH', 'CERT', 'Notify', 'VendorId'], { to: 'eap' }),
  row('eap', IKE_AUTH, 'initiator', ['eap'], ['EAP'], ['Notify', 'VendorId']),
  row('eap-last', IKE_AUTH, 'initiator', ['eap'], ['AUTH'], ['CP', 'SA', 'TSi', 'TSr', 'Notify', 'VendorId'], { to: 'established' }),
  row('intermediate', IKE_INTERMEDIATE, 'responder', ['half-open'], ['KE'], ['Notify']),
  row('intermediate', IKE_INTERMEDIATE, 'initiator', ['auth-sent'], ['KE'], ['Notify']),
  row('auth', IKE_AUTH, 'responder', ['half-open'], ['IDi', 'SA', 'TSi', 'TSr'], ['AUTH', 'IDr', 'CERT', 'CERTREQ', 'CP', 'Notify', 'VendorId'], { to: 'established' }),
  row('auth', IKE_AUTH, 'initiator', ['auth-sent'], ['IDr', 'AUTH'], ['CERT', 'CP', 'SA', 'TSi', 'TSr', 'Notify', 'VendorId'], { to: 'established' }),
  row('rekey-ike', CREATE_CHILD_SA, 'responder', ['established'], ['SA', 'Nonce', 'KE'], ['Notify'], { when: isIkeRekey, wrongState: BUSY }),
  row('rekey-child', CREATE_CHILD_SA, 'responder', ['established'], ['SA', 'Nonce', 'TSi', 'TSr'], ['KE', 'Notify'], { when: isChildRekey, wrongState: BUSY }),
  row('create-child', CREATE_CHILD_SA, 'responder', ['established'], ['SA', 'Nonce', 'TSi', 'TSr'], ['KE', 'Notify'], { wrongState: BUSY }),
  row('rekey-ike', CREATE_CHILD_SA, 'initiator', CLOSING, ['SA', 'Nonce', 'KE'], ['Notify']),
  row('create-child', CREATE_CHILD_SA, 'initiator', CLOSING, ['SA', 'Nonce', 'TSi', 'TSr'], ['KE', 'Notify']),
  row('rekey-child', CREATE_CHILD_SA, 'initiator', CLOSING, ['SA', 'Nonce', 'TSi', 'TSr'], ['KE', 'Notify']),
  row('followup', IKE_FOLLOWUP_KE, 'responder', ['established'], ['KE'], ['Notify'], { wrongState: BUSY }),
  row('followup', IKE_FOLLOWUP_KE, 'initiator', CLOSING, ['KE'], ['Notify']),
  // During EAP a peer may say that it does not trust us.
  row('informational', INFORMATIONAL, 'responder', ['eap', ...CLOSING], [], ['Delete', 'Notify', 'CP']),
  row('informational', INFORMATIONAL, 'initiator', CLOSING, [], ['Delete', 'Notify', 'CP']),
];

/** The row of a request that arrived: one that fits the state, if there is any. */
export function requestRow(exchange: number, payloads: readonly Payload[], state: SaState): ExchangeRow | undefined {
  const rows = EXCHANGES.filter((entry) => entry.role === 'responder' && entry.exchange === exchange && (entry.when?.(payloads) ?? true));
  return rows.find((entry) => entry.from.includes(state)) ?? rows[0];
}

/** The row of a request that we send. */
export function ownRow(name: ExchangeName): ExchangeRow {
  return EXCHANGES.find((entry) => entry.role === 'initiator' && entry.name === name)!;
}

/** What the row knows of a message; `missing` names the first required payload that is not there. */
export function admit(entry: ExchangeRow, payloads: readonly Payload[]): { payloads: readonly Payload[]; missing: PayloadKind | undefined } {
  const known = payloads.filter((payload) => entry.required.includes(payload.kind) || entry.optional.includes(payload.kind));
  return { payloads: known, missing: entry.required.find((kind) => findPayload(known, kind) === undefined) };
}
