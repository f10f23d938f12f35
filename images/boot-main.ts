// Boots an image under emulation and onboards it in the lab; with --life it is also upgraded, rolled back and reset; with
// --power-cuts it is upgraded, and the power fails at so many moments of that:
// `boot-main.ts x86_64|aarch64 [--disk sata|usb|virtio] [--image FILE] [--life] [--power-cuts N [--seed S] [--boots N]
// [--recording DIRECTORY]] [--json]`.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { enclose, enclosedRunDirectory } from '../provisioning/lab/enclosure.ts';
import { PLATFORM_VERSION } from '../firmware/version.ts';
import { OperationalError, UsageError } from '../platform/errors.ts';
import { architectureOf } from './architecture.ts';
import { bootInLab } from './boot-lab.ts';
import type { BootOptions, BootResult, Stage } from './boot-lab.ts';
import { CHECKOUT } from './build.ts';
import { consoleTrouble } from './console-trouble.ts';
import { prepareEmulators } from './emulator.ts';
import { imageFiles } from './image.ts';
import { keepMarks, keepRecording, recordingIn, tryPowerCuts, WRITES, type CutResult } from './power-cut/cuts.ts';
import { CONSOLE_LOG, type DiskBus } from './virtual-machine.ts';

const DISKS: readonly DiskBus[] = ['sata', 'usb', 'virtio'];
/** In use after boot and onboarding. */
const MEMORY_LIMIT_MIB = 350;
const DEFAULT_SEED = '1';
/** Where the recording of the last run that failed stays: directories of runs are removed by the next one. */
const KEPT_RECORDING = join(CHECKOUT, '.selvage/recorded-upgrade');

function faultsOf(result: Outcome): string[] {
  return [
    ...(result.loginSeconds === undefined ? [] : faultsOfBoot(result as BootResult)),
    ...faultsOfStage('after the upgrade', result.upgraded, 'B'),
    ...faultsOfStage('after the way back', result.life?.rolledBack, 'A'),
    ...faultsOfStage('after the factory reset', result.life?.reset, 'A'),
    ...faultsOfStage('with a repaired data partition', result.life?.repaired.stage, 'A'),
    ...faultsOfStage('with a full disk', result.life?.full.stage, 'A'),
    ...faultsOfStage('on a write-protected disk', result.life?.readOnly.stage, 'A'),
    ...faultsOfStage('without its data partition', result.life?.damaged.stage, 'A'),
    ...(result.life?.isKeyNew === false ? ['the device key is the same after the factory reset'] : []),
    ...(result.powerCuts ?? []).flatMap(({ cut, faults }) => faults.map((fault) => `${cut}: ${fault}`)),
  ];
}

function faultsOfBoot({ failedUnits, memoryUsedMiB, dataState, unreached }: BootResult): string[] {
  return [
    ...(failedUnits === '' ? [] : [`units failed: ${failedUnits}`]),
    ...(memoryUsedMiB <= MEMORY_LIMIT_MIB ? [] : [`${memoryUsedMiB} MiB of memory are in use, ${MEMORY_LIMIT_MIB} are allowed`]),
    ...(dataState === 'usable' ? [] : [`the data partition is ${dataState}`]),
    ...unreached.map((question) => `no traffic: ${question}`),
  ];
}

function faultsOfStage(when: string, stage: Stage | undefined, expected: string): string[] {
  if (stage === undefined) return [];
  const { slot, failedUnits, unreached } = stage;
  return [
    ...(slot === expected ? [] : [`${when} slot ${slot} runs, not ${expected}`]),
    ...(failedUnits === '' ? [] : [`${when} units failed: ${failedUnits}`]),
    ...unreached.map((question) => `${when} no traffic: ${question}`),
  ];
}

interface Order extends Omit<BootOptions, 'writeLog' | 'onUpgraded'> {
  readonly slotFile: string;
  readonly cuts: { readonly count: number; readonly seed: string; readonly boots: number };
  /** Directory of an upgrade that was recorded before; undefined = record one. */
  readonly recorded: string | undefined;
  readonly isJson: boolean;
}

type Outcome = Partial<BootResult> & { readonly powerCuts?: readonly CutResult[] };

function number(name: string, text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new UsageError(`--${name} is ${text}; allowed: 0 to 9999`);
  return Number(text);
}

function orderOf(args: readonly string[], runDirectory: string): Order {
  const options = { disk: { type: 'string' }, image: { type: 'string' }, life: { type: 'boolean' }, json: { type: 'boolean' }, 'power-cuts': { type: 'string' }, seed: { type: 'string' }, boots: { type: 'string' }, recording: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const architecture = architectureOf(positionals[0] ?? '');
  const diskBus = DISKS.find((each) => each === (values.disk ?? (architecture.machine === 'x86_64' ? 'sata' : 'virtio')));
  if (diskBus === undefined) throw new UsageError(`--disk is ${values.disk}; allowed: ${DISKS.join(', ')}`);
  const image = resolve(values.image ?? imageFiles({ version: PLATFORM_VERSION, architecture }, join(CHECKOUT, '.selvage/images')).raw);
  if (!existsSync(image)) throw new UsageError(`there is no image ${image}; build it: npm run image -- ${architecture.machine}`);
  const count = number('power-cuts', values['power-cuts'] ?? '0');
  const cuts = { count, seed: values.seed ?? DEFAULT_SEED, boots: number('boots', values.boots ?? String(count)) };
  const life = values.life ?? false;
  const bundle = life || count > 0 ? image.replace(/img$/, 'raucb') : undefined;
  if (bundle !== undefined && !existsSync(bundle)) throw new UsageError(`there is no bundle ${bundle}; make it: npm run bundle -- ${architecture.machine}`);
  const isJson = values.json ?? false;
  const print = (line: string): void => void (isJson ? process.stderr : process.stdout).write(`${line}\n`);
  return { architecture: architecture.machine, diskBus, image, slotFile: image.replace(/img$/, 'slot'), bundle, life, cuts, recorded: values.recording, isJson, runDirectory, print };
}

async function carryOut(order: Order): Promise<Outcome> {
  const { cuts, runDirectory, recorded } = order;
  const directory = recorded === undefined ? runDirectory : resolve(recorded);
  const booted = recorded === undefined ? await bootInLab({ ...order, writeLog: cuts.count === 0 ? undefined : join(directory, WRITES), onUpgraded: (marks) => keepMarks(directory, marks) }) : {};
  if (cuts.count === 0) return booted;
  return { ...booted, powerCuts: await tryPowerCuts({ ...order, ...cuts, recording: recordingIn(directory), directory: join(runDirectory, 'cuts') }) };
}

/** Keeps what was recorded of an upgrade, if that came to its end, and says how to cut at the same moments again. */
function tellHowAgain({ cuts, recorded, runDirectory, print }: Order): void {
  const recording = recorded ?? (keepRecording(runDirectory, KEPT_RECORDING) ? KEPT_RECORDING : undefined);
  if (recording !== undefined) print(`the same again: --power-cuts ${cuts.count} --seed ${cuts.seed} --recording ${recording}`);
}

async function main(args: readonly string[]): Promise<number> {
  const runDirectory = enclosedRunDirectory();
  const order = orderOf(args, runDirectory ?? '');
  if (runDirectory === undefined) {
    prepareEmulators(order.print);
    return enclose(import.meta.filename, args, { keepOnFailure: true, announce: false });
  }
  const outcome = await carryOut(order).catch((error: unknown) => {
    const log = join(runDirectory, CONSOLE_LOG);
    tellHowAgain(order);
    if (existsSync(log)) order.print(['the console says:', ...consoleTrouble(readFileSync(log, 'utf8'))].join('\n  '));
    throw error;
  });
  const faults = faultsOf(outcome);
  if (order.isJson) process.stdout.write(`${JSON.stringify(outcome)}\n`);
  const { loginSeconds, onboardedSeconds, memoryUsedMiB, dataMiB, asked, unreached, powerCuts } = outcome;
  if (asked !== undefined && unreached !== undefined) {
    order.print(`login after ${loginSeconds} s, onboarded after ${onboardedSeconds} s, ${memoryUsedMiB} MiB of memory in use, data partition ${dataMiB} MiB`);
    order.print(`${asked - unreached.length} of ${asked} questions between LANs answered`);
  }
  if (powerCuts !== undefined) order.print(`${powerCuts.length} power cuts, ${powerCuts.filter(({ booted }) => booted).length} of them booted`);
  for (const fault of faults) order.print(`FAILED: ${fault}`);
  if (faults.length > 0) tellHowAgain(order);
  return faults.length === 0 ? 0 : 1;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  const next = error instanceof OperationalError ? `\nnext: ${error.nextStep}` : '';
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${next}\n`);
  process.exit(1);
}
