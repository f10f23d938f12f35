// Deterministic simulation from the command line: main.ts [--nodes N] [--seed S] [--scenario NAME]. Prints one line of
// JSON; exit status 0 when everything held. The same arguments always print the same trace hash.
import { parseArgs } from 'node:util';
import { UsageError } from '../../platform/errors.ts';
import { CHAOS_SCENARIO } from './chaos-scenario.ts';
import type { Scenario } from './scenario.ts';
import { SDWAN_SCENARIO } from './sdwan-scenario.ts';
import { UNDERLAY_SCENARIO } from './underlay-scenario.ts';
import { createWorld } from './world.ts';

const SCENARIOS: readonly Scenario[] = [SDWAN_SCENARIO, CHAOS_SCENARIO, UNDERLAY_SCENARIO];
const MOST_NODES = 10_000;

interface Arguments {
  readonly nodes: number;
  readonly seed: string;
  readonly scenario: Scenario;
}

function readArguments(): Arguments {
  const options = { nodes: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' }, scenario: { type: 'string', default: SCENARIOS[0]!.name } } as const;
  const { values } = parseArgs({ options });
  const nodes = Number(values.nodes);
  if (!Number.isInteger(nodes) || nodes < 2 || nodes > MOST_NODES) throw new UsageError(`--nodes is ${values.nodes}; allowed: 2 to ${MOST_NODES}`);
  const scenario = SCENARIOS.find(({ name }) => name === values.scenario);
  const known = SCENARIOS.map(({ name, about }) => `${name} (${about})`).join(', ');
  if (scenario === undefined) throw new UsageError(`--scenario is ${values.scenario}; allowed: ${known}`);
  return { nodes, seed: values.seed, scenario };
}

async function main(): Promise<number> {
  const { nodes, seed, scenario } = readArguments();
  const world = createWorld(seed);
  const broken = await scenario.run(world, { nodes });
  for (const sentence of broken) process.stderr.write(`${sentence}\n`);
  const result = { scenario: scenario.name, nodes, seed, virtualMs: Math.ceil(world.now), packets: world.flow.delivered, traceHash: world.traceHash(), ok: broken.length === 0 };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return broken.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true ? 2 : 1;
}
