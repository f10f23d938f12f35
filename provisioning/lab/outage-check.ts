// Takes something away and gives it back: the traffic through it stops, everything else goes on, and the traffic comes
// back by itself. A forwarder that is paused and a process that is killed are the same check with other actions.
import type { Clock } from '../../platform/time.ts';
import { askAll } from './reachability.ts';
import type { Answer, Asker, Question } from './reachability.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { waitFor } from './wait-for.ts';

/** Something that must be so all the time. */
export interface Invariant {
  readonly name: string;
  holds(): Promise<boolean>;
}

export interface OutageCheck {
  readonly clock: Clock;
  readonly asker: Asker;
  /** Questions that are answered before and after, and by nobody in between, with the right name. */
  readonly affected: readonly (Question & { readonly expected: string })[];
  readonly unaffected: readonly Invariant[];
  takeAway(): Promise<void>;
  giveBack(): Promise<void>;
  /** Default 90 s: an appliance starts, and its Controller and peers hear of it. */
  readonly recoveryTimeoutMs?: number;
}

export interface OutageResult {
  /** From giving back to the first round in which all questions are answered rightly. */
  readonly recoverySeconds: number;
  readonly verdict: Verdict;
}

/** Long enough for an answer on a busy machine, as everything is answered within milliseconds otherwise. */
const SILENCE_MS = 2_000;
const ANSWER_TIMEOUT_MS = 10_000;
const RECOVERY_TIMEOUT_MS = 90_000;
const POLL_MS = 200;

function wrongAnswers(check: OutageCheck, answers: readonly Answer[], when: string): string[] {
  return answers.flatMap(({ from, address, transport, answeredBy }, index) => {
    const { expected } = check.affected[index]!;
    const asked = `${when} ${from} asked ${address} over ${transport.toUpperCase()}`;
    return answeredBy === expected ? [] : [`${asked}: ${answeredBy ?? 'nobody'} answered, ${expected} should`];
  });
}

async function broken(check: OutageCheck, when: string): Promise<string[]> {
  const causes: string[] = [];
  for (const invariant of check.unaffected) if (!(await invariant.holds())) causes.push(`${when} it did not hold that ${invariant.name}`);
  return causes;
}

/** Gives back whatever happens. */
export async function checkOutage(check: OutageCheck): Promise<OutageResult> {
  const { clock, asker, affected } = check;
  const causes = [...wrongAnswers(check, await askAll(asker, affected, ANSWER_TIMEOUT_MS), 'before,'), ...(await broken(check, 'before,'))];
  if (affected.length === 0) causes.push('no traffic is affected, so nothing was checked');
  try {
    await check.takeAway();
    const during = await askAll(asker, affected, SILENCE_MS);
    for (const { from, address, answeredBy } of during) if (answeredBy !== undefined) causes.push(`meanwhile ${answeredBy} answered ${from} at ${address}, nobody should`);
    causes.push(...(await broken(check, 'meanwhile')));
  } finally {
    await check.giveBack();
  }
  const start = clock.now();
  const back = await waitFor({ clock, timeoutMs: check.recoveryTimeoutMs ?? RECOVERY_TIMEOUT_MS, pauseMs: POLL_MS }, async () => {
    const wrong = wrongAnswers(check, await askAll(asker, affected, SILENCE_MS), 'afterwards');
    return wrong.length === 0 ? { ok: true, value: undefined } : { ok: false, cause: wrong[0]! };
  });
  const recoverySeconds = (clock.now() - start) / 1000;
  if (!back.ok) causes.push(back.cause);
  causes.push(...(await broken(check, 'afterwards')));
  return { recoverySeconds, verdict: verdictOf(causes) };
}
