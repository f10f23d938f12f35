// Boots a box from the disk that a power cut left, without any network: it must come to its prompt in the slot that was
// judged, with its data partition, and its appliance must find the configuration that it had.
import { mkdirSync } from 'node:fs';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { SERIAL, SHOW_SLOT } from '../image-lab.ts';
import { VirtualMachine, type MachineOptions } from '../virtual-machine.ts';
import type { Slot } from './boot-choice.ts';

const BOOT_MS = 1_200_000;
/** A machine that is emulated on a busy one takes its time. */
const COMMAND_MS = 300_000;
const TRIES = 300;
const PAUSE_MS = 2000;
const PORTS = 4;
/** What the appliance writes when it has read its certificate and the configuration that Director had sent. */
const RESTORED = 'journalctl --boot --unit=selvage --output=cat --no-pager | grep "ZTP restored a configuration"';

export interface CutBoot extends Pick<MachineOptions, 'architecture' | 'diskBus' | 'disk' | 'directory'> {
  readonly slot: Slot;
}

/** Resolves with what is wrong; empty when nothing is. The disk is written to. */
export async function bootCutDisk({ slot, ...options }: CutBoot): Promise<string[]> {
  mkdirSync(options.directory, { recursive: true });
  const machine = VirtualMachine.start({ ...options, stick: undefined, taps: Array.from({ length: PORTS }, () => undefined), serial: SERIAL, prefix: [] });
  try {
    await machine.console.login(BOOT_MS);
    const data = await machine.console.run('cat /run/selvage-image/data', COMMAND_MS);
    const booted = await machine.console.run(SHOW_SLOT, COMMAND_MS);
    const restored = await answered(machine, RESTORED, (said) => said.includes('onboarded=true'));
    return [
      ...(data === 'usable' ? [] : [`booted, the data partition is ${data}`]),
      ...(booted === slot ? [] : [`booted in slot ${booted}, not ${slot}`]),
      ...(restored === undefined ? ['booted, the appliance does not find its configuration'] : []),
    ];
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    return [`does not boot: ${error.message}`];
  } finally {
    await machine.stop();
  }
}

/** What a command says as soon as it is the right thing; undefined when that does not come. */
async function answered(machine: VirtualMachine, command: string, isRight: (said: string) => boolean): Promise<string | undefined> {
  for (let tries = 0; tries < TRIES; tries++) {
    const said = await machine.console.run(command, COMMAND_MS);
    if (isRight(said)) return said;
    await sleep(PAUSE_MS);
  }
  return undefined;
}
