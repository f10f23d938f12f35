// How an upgrade of many boxes goes on, decided from its rows alone: boxes go in waves, a wave begins when every box of
// those before it is done, and too many failures keep the rest from beginning.

/** In this order as long as all goes well; the last five have nothing after them. */
export type UpgradeState = 'pending' | 'downloading' | 'installing' | 'rebooting' | 'on-trial' | 'good' | 'returned' | 'refused' | 'failed' | 'cancelled';

/** States that have nothing after them. */
export const OVER: readonly UpgradeState[] = ['good', 'returned', 'refused', 'failed', 'cancelled'];
const FAILED: readonly UpgradeState[] = ['returned', 'refused', 'failed'];

/** Nothing has been written to a slot yet, so that the box can be called back. */
const RECALLABLE: readonly UpgradeState[] = ['pending', 'downloading'];

/** How long a box may be silent in a state in which it cannot or need not speak: it writes, boots, or is on trial. */
const BUSY_SECONDS: Partial<Record<UpgradeState, number>> = { installing: 2400, rebooting: 1800, 'on-trial': 1800 };

/** What a state is worth of the whole way, in percent; a download fills what lies before `installing`. */
const SHARE: Record<UpgradeState, number> = { pending: 0, downloading: 0, installing: 50, rebooting: 70, 'on-trial': 80, good: 100, returned: 100, refused: 100, failed: 100, cancelled: 100 };

export interface WaveBox {
  readonly wave: number;
  readonly state: UpgradeState;
  readonly startedUnixMs: number | undefined;
}

export function isOver(state: UpgradeState): boolean {
  return OVER.includes(state);
}

export function isFailure(state: UpgradeState): boolean {
  return FAILED.includes(state);
}

export function isRecallable(state: UpgradeState): boolean {
  return RECALLABLE.includes(state);
}

export function silenceSeconds(state: UpgradeState, answerSeconds: number): number {
  return Math.max(answerSeconds, BUSY_SECONDS[state] ?? 0);
}

/** 0-100 of one box's way; `downloaded` of its download. */
export function shareOf(state: UpgradeState, downloaded: number): number {
  return state === 'downloading' ? Math.floor((downloaded * SHARE.installing) / 100) : SHARE[state];
}

/** Sizes of the waves for so many boxes: as given, and the rest in a last one; or so many about equal ones. */
export function waveSizes(boxes: number, wanted: { readonly waves?: number; readonly waveSizes?: readonly number[] }): readonly number[] {
  const sizes: number[] = [];
  let left = boxes;
  const count = Math.min(boxes, wanted.waves ?? 1);
  const next = wanted.waveSizes ?? Array.from({ length: count }, (_, i) => Math.floor((boxes + i) / count));
  for (const size of next) {
    if (left === 0) break;
    sizes.push(Math.min(size, left));
    left -= sizes.at(-1)!;
  }
  return left === 0 ? sizes : [...sizes, left];
}

export type WaveStep =
  /** Boxes of this wave may begin. */
  | { readonly kind: 'begin'; readonly wave: number }
  /** What has not begun never will. */
  | { readonly kind: 'stop' }
  | { readonly kind: 'over'; readonly status: 'COMPLETED' | 'FAILED' | 'CANCELLED' }
  | { readonly kind: 'wait' };

/** The next step; to be asked again after a `begin` or `stop` was carried out. */
export function nextStep(boxes: readonly WaveBox[], failuresAllowed: number, cancelled: boolean): WaveStep {
  const tooMany = boxes.filter(({ state }) => isFailure(state)).length > failuresAllowed;
  const waiting = boxes.filter(({ state, startedUnixMs }) => state === 'pending' && startedUnixMs === undefined);
  if (waiting.length > 0 && (tooMany || cancelled)) return { kind: 'stop' };
  if (boxes.every(({ state }) => isOver(state))) return { kind: 'over', status: cancelled ? 'CANCELLED' : tooMany ? 'FAILED' : 'COMPLETED' };
  const wave = Math.min(...waiting.map((box) => box.wave));
  const isFree = boxes.every((box) => box.wave >= wave || isOver(box.state));
  return waiting.length > 0 && isFree ? { kind: 'begin', wave } : { kind: 'wait' };
}
