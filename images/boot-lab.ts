// Boots an image in the lab, in place of branch-2: flashed to a blank disk, its ports on the wires of the branch, its
// prestaging record on a USB stick. What was seen is the result.
import { closeSync, openSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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
import type { DiskBus } from './virtual-machine.ts';

/** Larger than the image, so that the data partition has something to grow into. */
const DISK_BYTES = 4 * 1024 ** 3;
const STICK_KIB = 8192;
/** Software emulation on a machine that does other things, too. */
const BOOT_MS = 600_000;
const ONBOARDING_MS = 600_000;
const ANSWER_MS = 20_000;
const ASKED_AT_ONCE = 4;
/** An emulated processor that waits for its turn reads its clock late, which is no broken clock. */
const ARGUMENTS = 'tsc=nowatchdog mitigations=off';
const FIRST_PARTITION = '1M';
const GRUB_VARIABLES = 'grub-editenv /boot/efi/EFI/BOOT/grubenv list | tr "\\n" " "';

const REPLACED = 'branch-2';
/** Wires of the branch by the number of the port, as the topology names them; port 1 has no cable. */
const PORTS = ['vni-0_0', undefined, 'vni-0_2', 'vni-0_3'];

export interface BootOptions {
  readonly architecture: Architecture['machine'];
  /** Raw image. */
  readonly image: string;
  readonly diskBus: DiskBus;
  readonly runDirectory: string;
  readonly print: (line: string) => void;
}

export interface BootResult {
  readonly loginSeconds: number;
  /** From power to the end of the Task. */
  readonly onboardedSeconds: number;
  /** Names of units that failed. */
  readonly failedUnits: string;
  readonly memoryUsedMiB: number;
  readonly dataMiB: number;
  readonly serial: string;
  readonly dataState: string;
  /** GRUB's variables while slot A is on trial, and after RAUC was told that it is good. */
  readonly onTrial: string;
  readonly markedGood: string;
  /** `tenant2-branch2 10.1.0.10 tcp` of every question between LANs that found no or a wrong host. */
  readonly unreached: readonly string[];
  readonly asked: number;
}

/** To be called as first process of the lab's enclosure. */
export async function bootInLab(options: BootOptions): Promise<BootResult> {
  const { print, runDirectory } = options;
  const clock = new SystemClock();
  settleInside();
  const network = await LabNetwork.create(labTopology(), { natPolicy: 'drop', runDirectory });
  network.startHosts();
  const onboarding = new Onboarding({ network, runDirectory, exportKeys: false, print });
  await onboarding.startDirector();
  await onboarding.createInventory();
  await onboarding.startController();
  await onboarding.prestage('branch-1');
  onboarding.startNode('branch-1');
  const serial = serialOf(REPLACED);
  const record = JSON.stringify(await onboarding.director.orderPrestaging(REPLACED));

  const node = network.node(REPLACED);
  const taps = joinTaps(node);
  const disk = join(runDirectory, 'disk.img');
  flash(options.image, disk);
  const machine = VirtualMachine.start({
    architecture: options.architecture,
    disk,
    diskBus: options.diskBus,
    stick: makeStick(runDirectory, serial, record),
    taps,
    serial,
    directory: runDirectory,
    prefix: ['nsenter', '-t', String(node.holderPid), '--net', '--'],
  });
  print(`virtual machine: power on, disk on ${options.diskBus}; console in ${machine.consoleLog}`);
  const started = clock.now();
  const seconds = (): number => Math.round((clock.now() - started) / 100) / 10;
  try {
    await machine.console.login(BOOT_MS);
    const loginSeconds = seconds();
    print(`virtual machine: login prompt after ${loginSeconds} s`);
    await onboarding.awaitOnboarded('branch-1');
    await awaitTask(onboarding, serial, clock, print, machine);
    const onboardedSeconds = seconds();
    print(`virtual machine: onboarded after ${onboardedSeconds} s`);
    const unreached = await askHosts(network);
    const say = (command: string): Promise<string> => machine.console.run(command);
    return {
      loginSeconds,
      onboardedSeconds,
      failedUnits: await say('systemctl --failed --plain --no-legend | cut -d " " -f 1 | tr "\\n" " "'),
      memoryUsedMiB: Number(await say("free -m | awk '/^Mem/ { print $3 }'")),
      dataMiB: Number(await say('df -m --output=size /data | tail -n 1')),
      dataState: await say('cat /run/selvage-image/data'),
      onTrial: await say(GRUB_VARIABLES),
      markedGood: await say(`rauc status mark-good >/dev/null 2>&1; ${GRUB_VARIABLES}`),
      serial: await say('cat /sys/class/dmi/id/product_serial'),
      unreached: unreached.missing,
      asked: unreached.asked,
    };
  } finally {
    await machine.stop();
    onboarding.close();
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

function flash(image: string, disk: string): void {
  writeFileSync(disk, '');
  truncateSync(disk, DISK_BYTES);
  const out = openSync(disk, 'r+');
  try {
    copyInto(image, out, 0);
  } finally {
    closeSync(out);
  }
  const settings = join(dirname(disk), 'arguments.cfg');
  writeFileSync(settings, `set arguments="${ARGUMENTS}"\n`);
  hostCommand('mcopy', ['-i', `${disk}@@${FIRST_PARTITION}`, settings, '::/EFI/BOOT/arguments.cfg']);
}

function makeStick(directory: string, serial: string, record: string): string {
  const stick = join(directory, 'stick.img');
  const file = join(directory, 'record.json');
  writeFileSync(file, record, { mode: 0o600 });
  hostCommand('mformat', ['-C', '-i', stick, '-T', String(STICK_KIB * 2), '-h', '16', '-s', '63', '::']);
  hostCommand('mmd', ['-i', stick, '::selvage']);
  hostCommand('mcopy', ['-i', stick, file, `::selvage/${serial}.json`]);
  return stick;
}

async function awaitTask(onboarding: Onboarding, serial: string, clock: SystemClock, print: BootOptions['print'], machine: VirtualMachine): Promise<void> {
  let shown = '';
  const state = await waitFor({ clock, timeoutMs: ONBOARDING_MS, pauseMs: 500 }, async () => {
    const task = (await onboarding.tasks()).find((each) => each.serial === serial);
    const line = task === undefined ? 'no task yet' : `task ${task.id} ${task.status} ${task.percentage} %`;
    if (line !== shown) print(`virtual machine: ${line}`);
    shown = line;
    return task?.status === 'COMPLETED' ? { ok: true, value: undefined } : { ok: false, cause: line };
  });
  if (state.ok) return;
  const status = await machine.console.run('selvage show system status; systemctl status selvage --no-pager; tail -n 20 /var/log/versa/versa-ztp.log');
  throw new OperationalError('image-onboarding', `the box was not onboarded (${state.cause}); it says:\n${status}`, 'read the console log that was named');
}

/** Every host of the replaced branch asks those of the other one, and is asked by them. */
async function askHosts(network: LabNetwork): Promise<{ readonly missing: string[]; readonly asked: number }> {
  const hosts = hostsOf(network.topology);
  const questions = hosts.flatMap((from) =>
    hosts
      .filter((to) => to.tenant === from.tenant && to.branch !== from.branch)
      .flatMap((to) => to.addresses.flatMap((address) => (['tcp', 'udp'] as const).map((transport) => ({ from, to, address, transport })))),
  );
  const missing: string[] = [];
  await fewAtOnce(questions, ASKED_AT_ONCE, async ({ from, to, address, transport }) => {
    const answered = await network.ask(from.name, address, transport, ANSWER_MS);
    if (answered !== to.name) missing.push(`${from.name} ${address} ${familyOf(address)} ${transport}: ${answered ?? 'no answer'}`);
  });
  return { missing, asked: questions.length };
}
