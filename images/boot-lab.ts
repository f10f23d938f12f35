// What an image must show in the lab: it boots, is onboarded, carries traffic and is marked good; with a bundle, that it takes
// an upgrade; and with `life`, that it goes back, and forgets everything when it is told to.
import { statSync } from 'node:fs';
import { ImageLab, SHOW_SLOT } from './image-lab.ts';
import type { ImageLabOptions, Reachability } from './image-lab.ts';

const GOOD_MS = 300_000;
const UPGRADE_MS = 900_000;
const VARIABLES = 'grub-editenv /boot/efi/EFI/BOOT/grubenv list | tr "\\n" " "';
const UPGRADE_LOG = 'selvage show system package; tail -n 20 /var/log/versa/versa-upgrade.log; journalctl -u rauc -n 20 --no-pager';

/** The beginnings of block groups of 128 MiB. */
interface Spot {
  readonly groups: readonly number[];
  readonly mebibytes: number;
}

/** The file system's directories and two of its superblocks: e2fsck finds another one, and makes what it can of the rest. */
const REPAIRABLE: Spot = { groups: [0, 1], mebibytes: 100 };
/** All superblocks: ext4 has copies in the first group and in those whose numbers are powers of 3, 5 and 7. */
const BEYOND_REPAIR: Spot = { groups: [0, 1, 3, 5, 7, 9, 25, 27, 49], mebibytes: 8 };

/** Overwrites parts of the data partition and restarts; read-only before, for a file system that finds itself damaged writes its superblock again. */
function spoil({ groups, mebibytes }: Spot): string {
  return [
    'echo 1 >/proc/sys/kernel/sysrq; sync; echo u >/proc/sysrq-trigger; sleep 3; data=$(findmnt -no SOURCE /data)',
    `for group in ${groups.join(' ')}; do dd if=/dev/urandom of=$data bs=1M seek=$((group * 128)) count=${mebibytes} conv=fsync,notrunc status=none; done`,
    'echo b >/proc/sysrq-trigger',
  ].join('; ');
}

const FILLER = '/data/filler';

/** Tells device keys apart; empty without one. */
const DEVICE_KEY = 'find /data -type f -name "*device-key*" -exec sha256sum {} + | cut -c 1-64 | sort | tr "\n" " "';

export interface BootResult extends Reachability {
  readonly loginSeconds: number;
  /** From power to the end of the Task. */
  readonly onboardedSeconds: number;
  /** Names of units that failed. */
  readonly failedUnits: string;
  readonly memoryUsedMiB: number;
  readonly dataMiB: number;
  readonly serial: string;
  readonly dataState: string;
  /** Only with a bundle: the slot that runs after the upgrade, and who of the other branch was not reached. */
  readonly upgraded?: Stage;
  /** Only with `life`. */
  readonly life?: LifeResult;
}

export interface LifeResult {
  readonly rolledBack: Stage;
  /** After the factory reset and another onboarding. */
  readonly reset: Stage;
  readonly isKeyNew: boolean;
  /** With a data partition of which enough is left for a repair. */
  readonly repaired: DiskTrouble;
  /** With one that nothing can be made of. */
  readonly damaged: DiskTrouble;
  /** With one that is full, of which the box does not forget what was there. */
  readonly full: DiskTrouble;
  /** On a medium that is write-protected. */
  readonly readOnly: DiskTrouble;
}

/** A box whose data partition cannot be used as it should, when it is onboarded: what its boot and its alarm say. */
export interface DiskTrouble {
  readonly stage: Stage;
  readonly dataState: string;
  readonly alarm: string;
}

export interface Stage extends Reachability {
  readonly slot: string;
  readonly failedUnits: string;
}

export type BootOptions = ImageLabOptions & {
  /** Bundle for the upgrade; undefined = without one. */
  readonly bundle: string | undefined;
  /** Also back, and to the factory's state. Needs a bundle. */
  readonly life: boolean;
  /** Told how long `writeLog` was when the upgrade was ordered, and when the new system was good. */
  readonly onUpgraded: (marks: { readonly fromBytes: number; readonly toBytes: number }) => void;
};

/** To be called as first process of the lab's enclosure. Throws OperationalError with what the box says when it does not come so far. */
export async function bootInLab(options: BootOptions): Promise<BootResult> {
  const lab = await ImageLab.start(options);
  try {
    await lab.login();
    const loginSeconds = lab.seconds;
    const task = await lab.onboarded();
    const onboardedSeconds = lab.seconds;
    const reached = await lab.askHosts();
    await slotIsGood(lab, 'A');
    const result: BootResult = {
      ...reached,
      loginSeconds,
      onboardedSeconds,
      failedUnits: await failedUnits(lab),
      memoryUsedMiB: Number(await lab.say("free -m | awk '/^Mem/ { print $3 }'")),
      dataMiB: Number(await lab.say('df -m --output=size /data | tail -n 1')),
      dataState: await lab.say('cat /run/selvage-image/data'),
      serial: await lab.say('cat /sys/class/dmi/id/product_serial'),
    };
    if (options.bundle === undefined) return result;
    const upgraded = await upgrade(lab, options.bundle, options);
    return options.life ? { ...result, upgraded, life: await live(lab, task) } : { ...result, upgraded };
  } finally {
    await lab.close();
  }
}

function failedUnits(lab: ImageLab): Promise<string> {
  return lab.say('systemctl --failed --plain --no-legend | cut -d " " -f 1 | tr "\\n" " "');
}

/** The appliance itself has marked the slot that runs, in the variables that GRUB reads. */
function slotIsGood(lab: ImageLab, slot: 'A' | 'B'): Promise<void> {
  return lab.until(`slot ${slot} is good`, `${VARIABLES} | grep "${slot}_OK=1 ${slot}_TRY=0"`, GOOD_MS, `${VARIABLES}; ${UPGRADE_LOG}`);
}

async function stage(lab: ImageLab): Promise<Stage> {
  const slot = await lab.say(SHOW_SLOT);
  return { slot, failedUnits: await failedUnits(lab), ...(await lab.askHosts()) };
}

async function upgrade(lab: ImageLab, bundle: string, { writeLog, onUpgraded }: BootOptions): Promise<Stage> {
  const logged = (): number => (writeLog === undefined ? 0 : statSync(writeLog).size);
  const fromBytes = logged();
  await lab.upgrade(bundle, UPGRADE_MS);
  await slotIsGood(lab, 'B');
  const upgraded = await stage(lab);
  onUpgraded({ fromBytes, toBytes: logged() });
  return upgraded;
}

async function live(lab: ImageLab, task: number): Promise<LifeResult> {
  await lab.restart('selvage request system rollback');
  await slotIsGood(lab, 'A');
  const rolledBack = await stage(lab);
  const key = await lab.say(DEVICE_KEY);
  await lab.orderRecord();
  await lab.say('selvage request system factory-reset "$(cat /sys/class/dmi/id/product_serial)"');
  // As when the stick is plugged in again.
  await lab.say('udevadm trigger --action=add --subsystem-match=block');
  const again = await lab.onboarded(task);
  const reset = await stage(lab);
  const newKey = await lab.say(DEVICE_KEY);
  const full = await filled(lab);
  const repaired = await spoilt(lab, REPAIRABLE, again);
  const damaged = await spoilt(lab, BEYOND_REPAIR, repaired.task);
  await lab.orderRecord();
  await lab.protectDisk();
  await lab.onboarded(damaged.task);
  return { rolledBack, reset, isKeyNew: key !== '' && newKey !== '' && key !== newKey, full, repaired, damaged, readOnly: await diskTrouble(lab) };
}

/** Leaves no block of the data partition free, also none of those that are kept for root, and restarts; makes room again afterwards. */
async function filled(lab: ImageLab): Promise<DiskTrouble> {
  await lab.restart(`cat /dev/zero >${FILLER} 2>/dev/null; sync; reboot`);
  await lab.until('the box is onboarded as before', 'selvage show system status | grep -q "^ztp *up"', GOOD_MS, 'selvage show system status; df /data');
  const trouble = await diskTrouble(lab);
  await lab.say(`rm ${FILLER}`);
  await lab.until('state is stored again', '! selvage show alarms | grep -q state-not-stored', GOOD_MS, 'selvage show alarms; df /data; mount');
  return trouble;
}

async function diskTrouble(lab: ImageLab): Promise<DiskTrouble> {
  const dataState = await lab.say('cat /run/selvage-image/data');
  const alarms = await lab.say('selvage show alarms | grep -o "data-partition-[a-z]*\\|state-not-stored"');
  return { stage: await stage(lab), dataState, alarm: alarms.split(/\s+/).join(' ') };
}

/** Spoils parts of the data partition under the running box, which restarts without another word to it, and is onboarded again. */
async function spoilt(lab: ImageLab, spot: Spot, task: number): Promise<DiskTrouble & { readonly task: number }> {
  await lab.orderRecord();
  await lab.restart(spoil(spot));
  return { task: await lab.onboarded(task), ...(await diskTrouble(lab)) };
}
