// Runs cases of the matrix, several at once, since most of a case's time is waiting.
import { SystemClock, sleep } from '../../platform/time.ts';
import { RELEASE_FACTS, releaseRoot } from './counterpart.ts';
import { InteropLab } from './lab.ts';
import type { Case, Release } from './row.ts';

/** A case that takes longer hangs. */
const CASE_TIMEOUT_MS = 300_000;

export interface Result {
  readonly case: Case;
  /** The counterpart's own version; empty when it did not start. */
  readonly version: string;
  readonly durationMs: number;
  /** Undefined: passed. */
  readonly failure: Error | undefined;
}

/** The releases among these cases that are not on this machine yet are installed; `say` tells before each. */
export function prepareReleases(cases: readonly Case[], say: (line: string) => void): void {
  for (const release of new Set<Release>(cases.map((entry) => entry.release))) {
    const { debian } = RELEASE_FACTS[release];
    if (debian !== undefined) say(`strongSwan ${release}: root file system of Debian ${debian}`);
    releaseRoot(release);
  }
}

export async function runCase(which: Case): Promise<Result> {
  const clock = new SystemClock();
  const begin = clock.now();
  let lab: InteropLab | undefined;
  let failure: Error | undefined;
  let version = '';
  try {
    lab = await InteropLab.open(which);
    await within(CASE_TIMEOUT_MS, judge(which, lab));
    version = await lab.theirs.version();
  } catch (error) {
    failure = (await lab?.failure(error)) ?? (error as Error);
  } finally {
    await lab?.close();
  }
  return { case: which, version, durationMs: clock.now() - begin, failure };
}

async function judge({ row }: Case, lab: InteropLab): Promise<void> {
  await row.run(lab);
  if (row.ends === 'down') return lab.assertDown();
  await lab.assertOneConnection();
  await lab.assertTraffic();
}

async function within(timeoutMs: number, work: Promise<void>): Promise<void> {
  const late = sleep(timeoutMs).then(() => {
    throw new Error(`not done within ${timeoutMs / 1000} s`);
  });
  await Promise.race([work, late]);
}

/** Runs all cases, `atOnce` at a time; `onResult` is called in the order in which they end. */
export async function runCases(cases: readonly Case[], atOnce: number, onResult: (result: Result) => void): Promise<void> {
  const waiting = [...cases];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) onResult(await runCase(next));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
