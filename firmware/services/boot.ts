// What must survive a restart before anything is published: the boot count of the rekey counter's high word.
import type { Store } from '../../platform/store.ts';

const DOCUMENT = 'boot-count';

/** Counts this boot and returns its number, durable before it returns; 1 on the first boot. */
export function nextBootCount(store: Store): number {
  const before = store.read(DOCUMENT);
  const count = (before === undefined ? 0 : Number(new TextDecoder().decode(before)) || 0) + 1;
  store.write(DOCUMENT, new TextEncoder().encode(String(count)));
  return count;
}
