// What must survive before anything is published: the boot count of the rekey counter's high word.
import type { Store } from '../../platform/store.ts';

const DOCUMENT = 'boot-count';
/** The count is 32 bits wide on the wire. */
const LARGEST_COUNT = 0xffff_ffff;

/**
 * Counts this boot and returns its number, durable before it returns. It is the time in seconds, or one more than the last
 * where the clock has not come so far: a box that lost what it stored (factory reset, broken disk, another box in its
 * place, an older snapshot of its machine) thus still counts higher than before, or its peers would take its keys for
 * replayed ones.
 */
export function nextBootCount(store: Store, unixMs: number): number {
  const before = store.read(DOCUMENT);
  const last = before === undefined ? 0 : Number(new TextDecoder().decode(before)) || 0;
  const count = Math.min(LARGEST_COUNT, Math.max(last + 1, Math.floor(unixMs / 1000)));
  store.write(DOCUMENT, new TextEncoder().encode(String(count)));
  return count;
}
