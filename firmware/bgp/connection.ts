// One TCP connection of a session and the messages that are legal on it (RFC 4271 8.2.2).
import type { Instant } from '../../platform/time.ts';
import { KEEPALIVE, MessageCutter, OPEN, ROUTE_REFRESH, UPDATE } from '../wire/bgp/message.ts';
import type { Negotiated } from './negotiation.ts';

/** From least to most progress. */
export const CONNECTION_STATES = ['Connect', 'OpenSent', 'OpenConfirm', 'Established'] as const;

export type ConnectionState = (typeof CONNECTION_STATES)[number];

export interface Connection {
  readonly stream: number;
  readonly incoming: boolean;
  readonly cutter: MessageCutter;
  state: ConnectionState;
  negotiated: Negotiated | undefined;
  establishedAt: Instant | undefined;
}

export function newConnection(stream: number, incoming: boolean, state: ConnectionState): Connection {
  return { stream, incoming, cutter: new MessageCutter(), state, negotiated: undefined, establishedAt: undefined };
}

interface Step {
  readonly state: ConnectionState;
  readonly type: number;
  readonly take: 'open' | 'established' | 'keepalive' | 'update' | 'refresh';
}

/** Legal messages; NOTIFICATION is legal everywhere, anything else is an FSM error. */
export const STEPS: readonly Step[] = [
  { state: 'OpenSent', type: OPEN, take: 'open' },
  { state: 'OpenConfirm', type: KEEPALIVE, take: 'established' },
  { state: 'Established', type: KEEPALIVE, take: 'keepalive' },
  { state: 'Established', type: UPDATE, take: 'update' },
  { state: 'Established', type: ROUTE_REFRESH, take: 'refresh' },
];

/** RFC 6608 */
export const FSM_SUBCODES: Readonly<Record<ConnectionState, number>> = { Connect: 0, OpenSent: 1, OpenConfirm: 2, Established: 3 };
