// Boots an image under emulation and onboards it in the lab; with --life it is also upgraded, rolled back and reset:
// `boot-main.ts x86_64|aarch64 [--disk sata|usb|virtio] [--image FILE] [--life] [--json]`.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { enclose, enclosedRunDirectory } from '../provisioning/lab/enclosure.ts';
import { PLATFORM_VERSION } from '../firmware/version.ts';
import { OperationalError, UsageError } from '../platform/errors.ts';
import { architectureOf } from './architecture.ts';
import { bootInLab } from './boot-lab.ts';
import type { BootResult, LifeResult } from './boot-lab.ts';
import { CHECKOUT } from './build.ts';
import { imageFiles } from './image.ts';
import type { DiskBus } from './virtual-machine.ts';

const DISKS: readonly DiskBus[] = ['sata', 'usb', 'virtio'];
/** In use after boot and onboarding. */
const MEMORY_LIMIT_MIB = 350;

function faultsOf(result: BootResult): string[] {
  return [
    ...(result.failedUnits === '' ? [] : [`units failed: ${result.failedUnits}`]),
    ...(result.memoryUsedMiB <= MEMORY_LIMIT_MIB ? [] : [`${result.memoryUsedMiB} MiB of memory are in use, ${MEMORY_LIMIT_MIB} are allowed`]),
    ...(result.dataState === 'usable' ? [] : [`the data partition is ${result.dataState}`]),
    ...result.unreached.map((question) => `no traffic: ${question}`),
    ...(result.life === undefined ? [] : faultsOfLife(result.life)),
  ];
}

function faultsOfLife({ upgraded, rolledBack, reset, isKeyNew }: LifeResult): string[] {
  const stages = [['after the upgrade', upgraded, 'B'], ['after the way back', rolledBack, 'A'], ['after the factory reset', reset, 'A']] as const;
  return [
    ...stages.flatMap(([when, { slot, failedUnits, unreached }, expected]) => [
      ...(slot === expected ? [] : [`${when} slot ${slot} runs, not ${expected}`]),
      ...(failedUnits === '' ? [] : [`${when} units failed: ${failedUnits}`]),
      ...unreached.map((question) => `${when} no traffic: ${question}`),
    ]),
    ...(isKeyNew ? [] : ['the device key is the same after the factory reset']),
  ];
}

async function main(args: readonly string[]): Promise<number> {
  const options = { disk: { type: 'string' }, image: { type: 'string' }, life: { type: 'boolean' }, json: { type: 'boolean' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const architecture = architectureOf(positionals[0] ?? '');
  const diskBus = DISKS.find((each) => each === (values.disk ?? (architecture.machine === 'x86_64' ? 'sata' : 'virtio')));
  if (diskBus === undefined) throw new UsageError(`--disk is ${values.disk}; allowed: ${DISKS.join(', ')}`);
  const image = resolve(values.image ?? imageFiles({ version: PLATFORM_VERSION, architecture }, join(CHECKOUT, '.selvage/images')).raw);
  if (!existsSync(image)) throw new UsageError(`there is no image ${image}; build it: npm run image -- ${architecture.machine}`);
  const bundle = values.life === true ? image.replace(/img$/, 'raucb') : undefined;
  if (bundle !== undefined && !existsSync(bundle)) throw new UsageError(`there is no bundle ${bundle}; make it: npm run bundle -- ${architecture.machine}`);
  const runDirectory = enclosedRunDirectory();
  if (runDirectory === undefined) return enclose(import.meta.filename, args, { keepOnFailure: true, announce: false });
  const print = (line: string): void => void (values.json === true ? process.stderr : process.stdout).write(`${line}\n`);
  const result = await bootInLab({ architecture: architecture.machine, image, diskBus, bundle, runDirectory, print });
  const faults = faultsOf(result);
  if (values.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
  print(`login after ${result.loginSeconds} s, onboarded after ${result.onboardedSeconds} s, ${result.memoryUsedMiB} MiB of memory in use, data partition ${result.dataMiB} MiB`);
  print(`${result.asked - result.unreached.length} of ${result.asked} questions between LANs answered`);
  for (const fault of faults) print(`FAILED: ${fault}`);
  return faults.length === 0 ? 0 : 1;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  const next = error instanceof OperationalError ? `\nnext: ${error.nextStep}` : '';
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${next}\n`);
  process.exit(1);
}
