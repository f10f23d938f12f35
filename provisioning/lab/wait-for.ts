// Waiting for a state, not for a time: asks again until the answer is right or the time is up.
import { after, sleep } from '../../platform/time.ts';
import type { Clock } from '../../platform/time.ts';

export interface Waiting {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly pauseMs: number;
}

/** Whether it is so, and if not, why; `final` when it never will be. */
export type State<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly cause: string; readonly final?: boolean };

/**
 * Looks until the state is right. The answer is the last look: with its cause when the time went by. A look that throws
 * counts as not yet right.
 */
export async function waitFor<T>({ clock, timeoutMs, pauseMs }: Waiting, look: () => Promise<State<T>>): Promise<State<T>> {
  const end = after(clock.now(), timeoutMs);
  for (;;) {
    const state = await look().catch((error: unknown): State<T> => ({ ok: false, cause: error instanceof Error ? error.message : String(error) }));
    if (state.ok || state.final === true) return state;
    if (clock.now() >= end) return { ok: false, cause: `after ${Math.round(timeoutMs / 1000)} s ${state.cause}` };
    await sleep(pauseMs);
  }
}
