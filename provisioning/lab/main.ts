// The lab: a whole SD-WAN in network namespaces on one machine. `main.ts [--once] [--json] [--nat drop|accept]` runs
// it, `main.ts shell NODE [command]` enters a node of the running one.
import { parseArgs } from 'node:util';
import { UsageError } from '../../platform/errors.ts';
import { runChecks } from './checks.ts';
import { enclose, enclosedRunDirectory, settleInside } from './enclosure.ts';
import { LabNetwork } from './network.ts';
import { Onboarding } from './onboarding.ts';
import { exitCodeOf, reportLines } from './report.ts';
import type { RunningLab, RunningNode } from './running-lab.ts';
import { enterNode } from './shell.ts';
import { hostsOf, labTopology } from './topology.ts';
import type { NatPolicy } from './topology.ts';
import { WanCapture } from './wan-capture.ts';
import { SystemClock, rfc3339 } from '../../platform/time.ts';

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
  const clock = new SystemClock();
  const startedAt = rfc3339(clock.unixMs());
  // With --json, standard output is the result alone.
  const print = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`);
  const network = await LabNetwork.create(labTopology(), { natPolicy: options.natPolicy, runDirectory });
  network.startHosts();
  for (const node of network.nodes()) print(`${node.name}: files in ${node.directory}`);
  for (const host of hostsOf(network.topology)) print(`${host.name}: ${host.addresses.join(', ')}`);
  const capture = await WanCapture.start(network.topology, runDirectory, clock);
  const onboarding = new Onboarding({ network, runDirectory, exportKeys: options.once, print });
  await onboarding.run();
  const lab: RunningLab = {
    network,
    director: { request: (method, path, body) => onboarding.director.call(method, path, body) },
    get nodes() {
      return runningNodes(network);
    },
    tasks: await onboarding.tasks(),
    onboardingSeconds: onboarding.onboardingSeconds,
    startedAt,
    natPolicy: options.natPolicy,
    capture,
    restart: async (node) => onboarding.startNode(node),
  };
  const report = await runChecks(lab, print);
  for (const line of reportLines(report)) print(line);
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  if (!options.once) {
    print('The lab runs until it is interrupted; "npm run lab -- shell NODE" enters a node.');
    await ended;
  }
  onboarding.close();
  return exitCodeOf(report);
}

function runningNodes(network: LabNetwork): RunningNode[] {
  return network.nodes().map(({ name, firmware }) => ({
    name,
    role: name === 'director' ? 'director' : name.startsWith('controller') ? 'controller' : 'branch',
    processId: firmware?.pid ?? 0,
  }));
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
