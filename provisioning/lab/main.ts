// The lab: a whole SD-WAN in network namespaces on one machine. `main.ts [--once] [--json] [--nat drop|accept]` runs
// it, `main.ts shell NODE [command]` enters a node of the running one.
import { parseArgs } from 'node:util';
import { UsageError } from '../../platform/errors.ts';
import { enclose, enclosedRunDirectory, settleInside } from './enclosure.ts';
import { LabNetwork } from './network.ts';
import { Onboarding } from './onboarding.ts';
import { enterNode } from './shell.ts';
import { hostsOf, labTopology } from './topology.ts';
import type { NatPolicy } from './topology.ts';

interface LabOptions {
  /** Check once, tear down and end, with exit code 0 only when all held. */
  readonly once: boolean;
  readonly json: boolean;
  readonly natPolicy: NatPolicy;
}

function parse(args: readonly string[]): LabOptions {
  const options = { once: { type: 'boolean' }, json: { type: 'boolean' }, nat: { type: 'string' } } as const;
  const { values } = parseArgs({ args: [...args], options });
  const nat = values.nat ?? 'drop';
  if (nat !== 'drop' && nat !== 'accept') throw new UsageError(`--nat is ${nat}; allowed: drop, accept`);
  return { once: values.once ?? false, json: values.json ?? false, natPolicy: nat };
}

/** The first signal that asks for the end; a first process of a PID namespace gets only what it listens to. */
function endOfLab(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
}

async function runInside(runDirectory: string, options: LabOptions): Promise<number> {
  const ended = endOfLab();
  settleInside();
  const network = await LabNetwork.create(labTopology(), { natPolicy: options.natPolicy, runDirectory });
  network.startHosts();
  for (const node of network.nodes()) process.stdout.write(`${node.name}: files in ${node.directory}\n`);
  for (const host of hostsOf(network.topology)) process.stdout.write(`${host.name}: ${host.addresses.join(', ')}\n`);
  const onboarding = new Onboarding({ network, runDirectory, exportKeys: options.once, print: (line) => process.stdout.write(`${line}\n`) });
  await onboarding.run();
  if (!options.once) await ended;
  return 0;
}

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === 'shell') return enterNode(args[1], args.slice(2));
  const options = parse(args);
  const runDirectory = enclosedRunDirectory();
  if (runDirectory !== undefined) return runInside(runDirectory, options);
  return enclose(import.meta.filename, args, { keepOnFailure: true, announce: true });
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
