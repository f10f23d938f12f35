// What goes into a speaker and what comes out of it.
import type { LogEvent } from '../../platform/log.ts';
import type { IpAddress } from '../model.ts';
import type { Family } from '../wire/bgp/family.ts';
import type { BgpPeerConfig } from './neighbor.ts';
import type { BgpRoute } from './route.ts';

export type BgpInput =
  /** The whole new list. Peers that stay as they are keep their sessions. */
  | { readonly kind: 'peers'; readonly peers: readonly BgpPeerConfig[] }
  /** Streams that a peer opened have numbers below zero, chosen by the caller and never used twice. */
  | { readonly kind: 'stream-connected'; readonly peer: string; readonly stream: number; readonly incoming: boolean }
  | { readonly kind: 'stream-data'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly kind: 'stream-closed'; readonly stream: number; readonly cause?: string | undefined }
  /** Optional: while false, nothing but keepalives is written and changes wait, one per route. */
  | { readonly kind: 'stream-writable'; readonly stream: number; readonly writable: boolean }
  | { readonly kind: 'originate'; readonly route: BgpRoute }
  | { readonly kind: 'withdraw'; readonly family: Family; readonly key: string }
  /** Asks a peer for all its routes again, after the acceptance policy changed. */
  | { readonly kind: 'refresh'; readonly peer: string }
  | { readonly kind: 'stop'; readonly peer: string; readonly reason: string }
  /** Ends a `stop`. */
  | { readonly kind: 'start'; readonly peer: string };

export type BgpOutput =
  | { readonly kind: 'connect'; readonly peer: string; readonly stream: number; readonly local: IpAddress; readonly remote: IpAddress }
  | { readonly kind: 'write'; readonly stream: number; readonly bytes: Uint8Array }
  /** The stream's number is forgotten; a later `stream-closed` for it is ignored. */
  | { readonly kind: 'close'; readonly stream: number }
  /** A change of what one peer announces; undefined = withdrawn, refused, or expired after its session was lost. */
  | { readonly kind: 'route'; readonly peer: string; readonly family: Family; readonly key: string; readonly route: BgpRoute | undefined }
  /** A change of the best path, own routes included. `peer` is empty for an own route. */
  | { readonly kind: 'best'; readonly family: Family; readonly key: string; readonly route: BgpRoute | undefined; readonly peer: string }
  | { readonly kind: 'peer-up'; readonly peer: string }
  | { readonly kind: 'peer-down'; readonly peer: string; readonly cause: string }
  | { readonly kind: 'log'; readonly event: LogEvent };
