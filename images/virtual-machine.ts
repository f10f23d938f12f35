// A box as a virtual machine: firmware, a disk on SATA or USB, network cards on taps, and a serial console.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, createWriteStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from './architecture.ts';
import { emulatorCommand } from './emulator.ts';
import { SerialConsole } from './serial-console.ts';

/** In the directory of a machine. */
export const CONSOLE_LOG = 'console.log';

export type DiskBus = 'sata' | 'usb' | 'virtio';

export interface MachineOptions {
  readonly architecture: Architecture['machine'];
  /** Raw image; written to. */
  readonly disk: string;
  readonly diskBus: DiskBus;
  /** The medium is write-protected; not on SATA, which knows no such thing. */
  readonly isReadOnly?: boolean;
  /** File that gets every write and flush of the disk in their order (power-cut/write-log.ts), if any. */
  readonly writeLog?: string | undefined;
  /** Raw image of a USB stick that is plugged in, if any. */
  readonly stick: string | undefined;
  /** Tap devices; undefined where a card has no cable. In the order of the box's ports. */
  readonly taps: readonly (string | undefined)[];
  /** As the SMBIOS says. */
  readonly serial: string;
  /** For the firmware's variables and the console's log. */
  readonly directory: string;
  /** What QEMU is started by: `nsenter ...` to reach the taps' namespace. */
  readonly prefix: readonly string[];
}

interface Platform {
  readonly program: string;
  readonly machine: readonly string[];
  readonly firmware: string;
  readonly variables: string;
  readonly card: string;
}

const PLATFORMS: Readonly<Record<Architecture['machine'], Platform>> = {
  x86_64: {
    program: 'qemu-system-x86_64',
    // AES and little else that is new.
    machine: ['-machine', 'q35', '-cpu', 'Westmere'],
    firmware: '/usr/share/OVMF/OVMF_CODE_4M.fd',
    variables: '/usr/share/OVMF/OVMF_VARS_4M.fd',
    card: 'e1000e',
  },
  aarch64: {
    program: 'qemu-system-aarch64',
    machine: ['-machine', 'virt', '-cpu', 'cortex-a72'],
    firmware: '/usr/share/AAVMF/AAVMF_CODE.fd',
    variables: '/usr/share/AAVMF/AAVMF_VARS.fd',
    card: 'virtio-net-pci',
  },
};

const MEMORY_MIB = 1024;
const FIRST_CARD_SLOT = 8;

/** The machine that runs all this need not be safe against power cuts itself: nothing waits for its disks. */
function diskArguments({ disk, diskBus, writeLog, isReadOnly = false }: MachineOptions): string[] {
  const file = (filename: string): object => ({ driver: 'raw', 'read-only': isReadOnly, file: { driver: 'file', filename, 'read-only': isReadOnly, cache: { 'no-flush': true } } });
  const medium = writeLog === undefined ? file(disk) : { driver: 'blklogwrites', file: file(disk), log: file(writeLog), 'log-sector-size': 512 };
  const device = { sata: 'ide-hd,bus=sata.0', usb: 'usb-storage,bus=usb.0', virtio: 'virtio-blk-pci' }[diskBus];
  return [...(diskBus === 'sata' ? ['-device', 'ich9-ahci,id=sata'] : []), '-blockdev', JSON.stringify({ 'node-name': 'disk', ...medium }), '-device', `${device},drive=disk,bootindex=0`];
}

function stickArguments(stick: string | undefined): string[] {
  return stick === undefined ? [] : ['-drive', `if=none,id=stick,format=raw,readonly=on,file=${stick}`, '-device', 'usb-storage,bus=usb.0,drive=stick,removable=on'];
}

function cardArguments(card: string, taps: MachineOptions['taps']): string[] {
  return taps.flatMap((tap, index) => {
    const backend = tap === undefined ? [] : ['-netdev', `tap,id=net${index},ifname=${tap},script=no,downscript=no`];
    const connected = tap === undefined ? '' : `,netdev=net${index}`;
    return [...backend, '-device', `${card}${connected},mac=52:54:00:00:00:1${index},addr=${(FIRST_CARD_SLOT + index).toString(16)},romfile=`];
  });
}

export class VirtualMachine {
  readonly console: SerialConsole;
  readonly consoleLog: string;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, consoleLog: string) {
    this.#process = process;
    this.consoleLog = consoleLog;
    this.console = new SerialConsole(process.stdout!, process.stdin!, createWriteStream(consoleLog, { flags: 'a' }));
  }

  static start(options: MachineOptions): VirtualMachine {
    const { program, machine, firmware, variables, card } = PLATFORMS[options.architecture];
    const ownVariables = join(options.directory, 'firmware-variables.fd');
    copyFileSync(variables, ownVariables);
    if (options.writeLog !== undefined) writeFileSync(options.writeLog, '');
    const command = [
      ...options.prefix,
      ...emulatorCommand(program),
      ...machine,
      // One processor: with several, emulated ones lose what one of them writes into code that another one runs.
      ...['-accel', 'tcg', '-smp', '1', '-m', String(MEMORY_MIB), '-nodefaults', '-no-user-config', '-display', 'none'],
      ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${firmware}`, '-drive', `if=pflash,unit=1,format=raw,file=${ownVariables}`],
      ...['-chardev', 'stdio,id=serial,signal=off', '-serial', 'chardev:serial', '-device', 'virtio-rng-pci', '-device', 'qemu-xhci,id=usb'],
      ...['-smbios', `type=1,manufacturer=Selvage,product=virtual,serial=${options.serial}`],
      ...diskArguments(options),
      ...stickArguments(options.stick),
      ...cardArguments(card, options.taps),
    ];
    // A session of its own, to which the kernel gives its share of the processors (sched(7), autogroup).
    const process = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    return new VirtualMachine(process, join(options.directory, CONSOLE_LOG));
  }

  /** Cuts the power; resolves when the machine is gone. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    this.#process.kill('SIGKILL');
    await gone;
  }
}
