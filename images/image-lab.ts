// The lab with an image in place of branch-2: flashed to a blank disk, its ports on the wires of the branch, its prestaging
// record on a USB stick. The machine is driven by its console, and judged by it, by Director and by the hosts of its LANs.
import { closeSync, openSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settleInside } from '../provisioning/lab/enclosure.ts';
import { hostCommand } from '../provisioning/lab/host-command.ts';
import type { LabNode } from '../provisioning/lab/lab-node.ts';
import { LabNetwork } from '../provisioning/lab/network.ts';
import { Onboarding, serialOf } from '../provisioning/lab/onboarding.ts';
import { familyOf, fewAtOnce } from '../provisioning/lab/reachability.ts';
import { hostsOf, labTopology } from '../provisioning/lab/topology.ts';
import { waitFor } from '../provisioning/lab/wait-for.ts';
import { OperationalError } from '../platform/errors.ts';
import { SystemClock } from '../platform/time.ts';
import type { Architecture } from './architecture.ts';
import { copyInto } from './slot-image.ts';
import { VirtualMachine } from './virtual-machine.ts';
import type { DiskBus, MachineOptions } from './virtual-machine.ts';

/** Larger than the image, so that the data partition has something to grow into. */
const DISK_BYTES = 4 * 1024 ** 3;
const STICK_BYTES = 8 * 1024 ** 2;
const SECTOR_BYTES = 512;
/** Software emulation on a machine that does other things, too. */
const BOOT_MS = 600_000;
const ONBOARDING_MS = 600_000;
const ANSWER_MS = 20_000;
const ASKED_AT_ONCE = 4;
/**
 * An emulated processor that waits for its turn reads its clock late, which is no broken clock, and gives no sign of life for
 * longer than a real one might, which is no reason to start the appliance again.
 */
const ARGUMENTS = 'tsc=nowatchdog mitigations=off systemd.service_watchdogs=0';
const FIRST_PARTITION = '1M';
/** Says which slot a box was started from: A or B. */
export const SHOW_SLOT = 'sed "s/.*rauc.slot=\\([AB]\\).*/\\1/" /proc/cmdline';
const STICK_LABEL = 'PRESTAGING';
const STICK_FOLDER = '::selvage';

const REPLACED = 'branch-2';
export const SERIAL = serialOf(REPLACED);
/** Wires of the branch by the number of the port, as the topology names them; port 1 has no cable. */
const PORTS = ['vni-0_0', undefined, 'vni-0_2', 'vni-0_3'];

export interface ImageLabOptions {
  readonly architecture: Architecture['machine'];
  /** Raw image. */
  readonly image: string;
  readonly diskBus: DiskBus;
  /** File that gets every write of the disk, if any. */
  readonly writeLog?: string | undefined;
  readonly runDirectory: string;
  readonly print: (line: string) => void;
}

export interface Reachability {
  readonly asked: number;
  /** `tenant2-branch2 10.1.0.10 tcp` of every question between LANs that found no or a wrong host. */
  readonly unreached: readonly string[];
}

export class ImageLab {
  readonly #options: ImageLabOptions;
  readonly #clock = new SystemClock();
  readonly #network: LabNetwork;
  readonly #onboarding: Onboarding;
  readonly #stick: string;
  readonly #machineOptions: MachineOptions;
  #machine: VirtualMachine;
  #started: number;

  private constructor(options: ImageLabOptions, network: LabNetwork, onboarding: Onboarding, stick: string) {
    this.#options = options;
    this.#network = network;
    this.#onboarding = onboarding;
    this.#stick = stick;
    const { architecture, diskBus, writeLog, runDirectory } = options;
    const node = network.node(REPLACED);
    const prefix = ['nsenter', '-t', String(node.holderPid), '--net', '--'];
    const disk = join(runDirectory, 'disk.img');
    flash(options.image, disk);
    this.#machineOptions = { architecture, disk, diskBus, writeLog, stick, taps: joinTaps(node), serial: SERIAL, directory: runDirectory, prefix };
    this.#machine = VirtualMachine.start(this.#machineOptions);
    this.#started = this.#clock.now();
    options.print(`virtual machine: power on, disk on ${diskBus}; console in ${this.#machine.consoleLog}`);
  }

  /** Brings up Director, Controller and branch-1, and switches the box on. To be called as first process of the lab's enclosure. */
  static async start(options: ImageLabOptions): Promise<ImageLab> {
    const { print, runDirectory } = options;
    settleInside();
    const network = await LabNetwork.create(labTopology(), { natPolicy: 'drop', runDirectory });
    network.startHosts();
    const onboarding = new Onboarding({ network, runDirectory, exportKeys: false, print });
    await onboarding.startDirector();
    await onboarding.createInventory();
    await onboarding.startController();
    await onboarding.prestage('branch-1');
    onboarding.startNode('branch-1');
    await onboarding.awaitOnboarded('branch-1');
    const stick = makeStick(runDirectory);
    await orderRecord(onboarding, runDirectory, stick);
    return new ImageLab(options, network, onboarding, stick);
  }

  /** Seconds since the box was last switched on or told to restart. */
  get seconds(): number {
    return Math.round((this.#clock.now() - this.#started) / 100) / 10;
  }

  /** Orders a prestaging record for the box and puts it on its stick. The box must not be reading it. */
  async orderRecord(): Promise<void> {
    await orderRecord(this.#onboarding, this.#options.runDirectory, this.#stick);
  }

  /** Waits for the prompt of a box that starts, and logs in. */
  async login(timeoutMs = BOOT_MS): Promise<void> {
    await this.#machine.console.login(timeoutMs);
    this.#options.print(`virtual machine: login prompt after ${this.seconds} s`);
  }

  /** What a command on the console wrote. */
  say(command: string, timeoutMs?: number): Promise<string> {
    return this.#machine.console.run(command, timeoutMs);
  }

  /** Types a command after which the box restarts by itself, and waits for its next prompt. */
  async restart(command: string, timeoutMs = BOOT_MS): Promise<void> {
    this.#started = this.#clock.now();
    this.#machine.console.type(command);
    await this.login(timeoutMs);
  }

  /**
   * Cuts the power, protects the disk from writing, and waits for the prompt of the box that starts from it. Not on USB: after a
   * write that was refused there, the firmware (EDK2) reads nothing more, and GRUB does not come as far as the kernel.
   */
  async protectDisk(): Promise<void> {
    await this.#machine.stop();
    this.#started = this.#clock.now();
    this.#machine = VirtualMachine.start({ ...this.#machineOptions, diskBus: 'virtio', isReadOnly: true, writeLog: undefined });
    await this.login();
  }

  /** Uploads a bundle to Director and orders it for the box; waits for the prompt after its restart, and for the end of the order. */
  async upgrade(bundle: string, timeoutMs: number): Promise<void> {
    const { director } = this.#onboarding;
    const { version } = await director.uploadSoftware(bundle);
    this.#started = this.#clock.now();
    // The bundle of an image under test has the version that runs.
    const { id } = await director.orderUpgrade({ version, sites: [REPLACED], reinstall: true, bytesPerSecond: 20_000_000 });
    await this.login(timeoutMs);
    const state = await waitFor({ clock: this.#clock, timeoutMs, pauseMs: 500 }, async () => {
      const { status, boxes } = await director.task(id);
      return status === 'PENDING' ? { ok: false, cause: boxes[0]?.state ?? '' } : { ok: true, value: `${status} ${boxes[0]?.state} ${boxes[0]?.cause}`.trim() };
    });
    const said = state.ok ? state.value : state.cause;
    if (said !== 'COMPLETED good') throw new OperationalError('image-upgrade', `the upgrade that Director ordered is: ${said}`, 'read the console log that was named');
    this.#options.print(`virtual machine: upgraded by Director's order after ${this.seconds} s`);
  }

  /** Waits until `condition` of the shell holds on the box. Throws OperationalError with what `shown` says otherwise. */
  async until(what: string, condition: string, timeoutMs: number, shown: string): Promise<void> {
    const state = await waitFor({ clock: this.#clock, timeoutMs, pauseMs: 1000 }, async () =>
      (await this.say(`${condition} && echo holds`)).endsWith('holds') ? { ok: true, value: undefined } : { ok: false, cause: what },
    );
    if (!state.ok) throw new OperationalError('image-state', `the box does not come to this: ${what}; it says:\n${await this.say(shown)}`, 'read the console log that was named');
    this.#options.print(`virtual machine: ${what} after ${this.seconds} s`);
  }

  /** Waits for the completion of the box's newest Task, which must have a higher number than `after`. Resolves with its number. */
  async onboarded(after = 0): Promise<number> {
    let shown = '';
    const state = await waitFor({ clock: this.#clock, timeoutMs: ONBOARDING_MS, pauseMs: 500 }, async () => {
      const task = (await this.#onboarding.tasks()).filter((each) => each.serial === SERIAL && each.id > after).toSorted((a, b) => a.id - b.id).at(-1);
      const line = task === undefined ? 'no task yet' : `task ${task.id} ${task.status} ${task.percentage} %`;
      if (line !== shown) this.#options.print(`virtual machine: ${line}`);
      shown = line;
      return task?.status === 'COMPLETED' ? { ok: true, value: task.id } : { ok: false, cause: line };
    });
    if (!state.ok) {
      const status = await this.say('selvage show system status; systemctl status selvage --no-pager; tail -n 20 /var/log/versa/versa-ztp.log');
      throw new OperationalError('image-onboarding', `the box was not onboarded (${state.cause}); it says:\n${status}`, 'read the console log that was named');
    }
    this.#options.print(`virtual machine: onboarded after ${this.seconds} s`);
    return state.value;
  }

  /** Every host of the box's LANs asks those of the other branch, and is asked by them. */
  async askHosts(): Promise<Reachability> {
    const hosts = hostsOf(this.#network.topology);
    const questions = hosts.flatMap((from) =>
      hosts
        .filter((to) => to.tenant === from.tenant && to.branch !== from.branch)
        .flatMap((to) => to.addresses.flatMap((address) => (['tcp', 'udp'] as const).map((transport) => ({ from, to, address, transport })))),
    );
    const unreached: string[] = [];
    await fewAtOnce(questions, ASKED_AT_ONCE, async ({ from, to, address, transport }) => {
      const answered = await this.#network.ask(from.name, address, transport, ANSWER_MS);
      if (answered !== to.name) unreached.push(`${from.name} ${address} ${familyOf(address)} ${transport}: ${answered ?? 'no answer'}`);
    });
    return { unreached, asked: questions.length };
  }

  /** Cuts the power and ends the lab. */
  async close(): Promise<void> {
    await this.#machine.stop();
    this.#onboarding.close();
  }
}

/** One bridge per wire joins the branch's end to a tap. */
function joinTaps(node: LabNode): (string | undefined)[] {
  return PORTS.map((device, index) => {
    if (device === undefined) return undefined;
    const [bridge, tap] = [`join${index}`, `tap${index}`];
    const lines = [`link add name ${bridge} type bridge`, `tuntap add dev ${tap} mode tap`, ...[device, tap].map((each) => `link set ${each} master ${bridge}`), ...[device, tap, bridge].map((each) => `link set ${each} up`)];
    node.run(['ip', '-batch', '-'], `${lines.join('\n')}\n`);
    // The bridge is a cable: it has no address and says nothing.
    node.run(['sysctl', '-q', '-w', `net.ipv6.conf.${bridge}.disable_ipv6=1`, `net.ipv6.conf.${device}.disable_ipv6=1`, `net.ipv6.conf.${tap}.disable_ipv6=1`]);
    return tap;
  });
}

/** Writes an image to a blank disk, with the arguments that emulation needs. The same octets every time. */
export function flash(image: string, disk: string): void {
  writeFileSync(disk, '');
  truncateSync(disk, DISK_BYTES);
  const out = openSync(disk, 'r+');
  try {
    copyInto(image, out, 0);
  } finally {
    closeSync(out);
  }
  const settings = `${disk}.arguments`;
  writeFileSync(settings, `set arguments="${ARGUMENTS}"\n`);
  hostCommand('mcopy', ['-i', `${disk}@@${FIRST_PARTITION}`, settings, '::/EFI/BOOT/arguments.cfg']);
}

/** A stick with FAT and the folder that a box looks into. */
function makeStick(directory: string): string {
  const stick = join(directory, 'stick.img');
  hostCommand('mformat', ['-C', '-v', STICK_LABEL, '-i', stick, '-T', String(STICK_BYTES / SECTOR_BYTES), '-h', '16', '-s', '63', '::']);
  hostCommand('mmd', ['-i', stick, STICK_FOLDER]);
  return stick;
}

async function orderRecord(onboarding: Onboarding, directory: string, stick: string): Promise<void> {
  const record = join(directory, 'record.json');
  writeFileSync(record, JSON.stringify(await onboarding.director.orderPrestaging(REPLACED)), { mode: 0o600 });
  hostCommand('mcopy', ['-o', '-i', stick, record, `${STICK_FOLDER}/${SERIAL}.json`]);
}
