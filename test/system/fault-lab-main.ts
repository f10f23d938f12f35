// First process of the fault lab's enclosure: proves one fact after the other and writes a line of JSON for each.
import { appendFileSync } from 'node:fs';
import { UsageError } from '../../platform/errors.ts';
import { enclosedRunDirectory, settleInside } from '../../provisioning/lab/enclosure.ts';
import { ADDRESS_FACTS } from './fault-lab-addresses.ts';
import { CLEAR_FACTS } from './fault-lab-clear.ts';
import { CONFIGURATION_FACTS } from './fault-lab-configuration.ts';
import { KEY_ROUTE_FACTS } from './fault-lab-key-routes.ts';
import { ONBOARDING_FACTS } from './fault-lab-onboarding.ts';
import { OUTAGE_FACTS } from './fault-lab-outages.ts';
import { REVOCATION_FACTS } from './fault-lab-revocation.ts';
import { FaultLab } from './fault-lab.ts';
import type { Fact } from './fault-lab.ts';
import type { Verdict } from './fault-lab-run.ts';

/** One lab serves them all, in this order: each finds what the former left, which is a healthy SD-WAN from ONBOARDING_FACTS on. */
export const FACTS: readonly Fact[] = [...CONFIGURATION_FACTS, ...ONBOARDING_FACTS, ...CLEAR_FACTS, ...KEY_ROUTE_FACTS, ...ADDRESS_FACTS, ...OUTAGE_FACTS, ...REVOCATION_FACTS];

async function prove(fact: Fact, lab: FaultLab): Promise<Verdict> {
  const started = lab.clock.now();
  const seconds = (): number => Math.round((lab.clock.now() - started) / 100) / 10;
  try {
    await fact.prove(lab);
    return { name: fact.name, seconds: seconds(), failure: undefined };
  } catch (error) {
    return { name: fact.name, seconds: seconds(), failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

async function main([verdicts, only]: readonly string[]): Promise<number> {
  const runDirectory = enclosedRunDirectory();
  if (runDirectory === undefined || verdicts === undefined) throw new UsageError('Use: fault-lab-main.ts VERDICTS-FILE, inside an enclosure');
  settleInside();
  const lab = await FaultLab.create(runDirectory);
  let failed = 0;
  for (const fact of FACTS) {
    if (only !== undefined && !new RegExp(only).test(fact.name)) continue;
    const verdict = await prove(fact, lab);
    if (verdict.failure !== undefined) failed++;
    appendFileSync(verdicts, `${JSON.stringify(verdict)}\n`);
  }
  lab.onboarding.close();
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
