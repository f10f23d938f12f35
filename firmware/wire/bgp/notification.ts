// NOTIFICATION codes and their words (RFC 4271 4.5, 4486, 6608, 7313, 8538, 9003).

export const MESSAGE_HEADER_ERROR = 1;
export const OPEN_ERROR = 2;
export const UPDATE_ERROR = 3;
export const HOLD_TIMER_EXPIRED = 4;
export const FSM_ERROR = 5;
export const CEASE = 6;
export const ROUTE_REFRESH_ERROR = 7;

export const CEASE_MAXIMUM_PREFIXES = 1;
export const CEASE_ADMINISTRATIVE_SHUTDOWN = 2;
export const CEASE_PEER_DECONFIGURED = 3;
export const CEASE_CONFIGURATION_CHANGE = 6;
export const CEASE_COLLISION = 7;
export const CEASE_HARD_RESET = 9;

interface CodeRow {
  readonly code: number;
  readonly words: string;
  readonly subcodes: Readonly<Record<number, string>>;
}

const CODES: readonly CodeRow[] = [
  { code: MESSAGE_HEADER_ERROR, words: 'message header error', subcodes: { 1: 'connection not synchronized', 2: 'bad message length', 3: 'bad message type' } },
  {
    code: OPEN_ERROR,
    words: 'OPEN error',
    subcodes: {
      1: 'unsupported version number', 2: 'bad peer AS', 3: 'bad BGP identifier', 4: 'unsupported optional parameter', 6: 'unacceptable hold time',
      7: 'unsupported capability', 11: 'role mismatch',
    },
  },
  {
    code: UPDATE_ERROR,
    words: 'UPDATE error',
    subcodes: {
      1: 'malformed attribute list', 2: 'unrecognized well-known attribute', 3: 'missing well-known attribute', 4: 'attribute flags error',
      5: 'attribute length error', 6: 'invalid ORIGIN', 8: 'invalid NEXT_HOP', 9: 'optional attribute error', 10: 'invalid network field',
      11: 'malformed AS_PATH',
    },
  },
  { code: HOLD_TIMER_EXPIRED, words: 'hold timer expired', subcodes: {} },
  { code: FSM_ERROR, words: 'message not expected', subcodes: { 1: 'in OpenSent', 2: 'in OpenConfirm', 3: 'in Established' } },
  {
    code: CEASE,
    words: 'cease',
    subcodes: {
      1: 'maximum number of prefixes reached', 2: 'administrative shutdown', 3: 'peer de-configured', 4: 'administrative reset', 5: 'connection rejected',
      6: 'other configuration change', 7: 'connection collision resolution', 8: 'out of resources', 9: 'hard reset', 10: 'BFD down',
    },
  },
  { code: ROUTE_REFRESH_ERROR, words: 'ROUTE-REFRESH error', subcodes: { 1: 'invalid message length' } },
];

export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** `cease: administrative shutdown`, or the numbers where there are no words. */
export function notificationWords(code: number, subcode: number): string {
  const row = CODES.find((candidate) => candidate.code === code);
  if (!row) return `code ${code} subcode ${subcode}`;
  if (subcode === 0) return row.words;
  return `${row.words}: ${row.subcodes[subcode] ?? `subcode ${subcode}`}`;
}
