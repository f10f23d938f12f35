// The shape of every protocol core. Machines are sans-IO: bytes, time and randomness come in, outputs are polled.
import type { Instant } from '../platform/time.ts';

/** Every machine's input union contains this; it is delivered when `deadline()` has passed. */
export interface Timeout {
  readonly kind: 'timeout';
}

/**
 * Law: drain `poll()` until it returns undefined before the next `handle()`; then read `deadline()`.
 * A machine never throws for what a peer sent; it throws InternalError or UsageError for our own mistakes only.
 */
export interface Machine<Input, Output> {
  handle(input: Input | Timeout, now: Instant): void;
  poll(): Output | undefined;
  deadline(): Instant | undefined;
}
