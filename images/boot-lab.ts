// What an image must show in the lab: it boots, is onboarded, carries traffic and is marked good; and with `life`, that it
// takes an upgrade, goes back, and forgets everything when it is told to.
import { ImageLab } from './image-lab.ts';
import type { ImageLabOptions, Reachability } from './image-lab.ts';

const GOOD_MS = 300_000;
const UPGRADE_MS = 900_000;
const VARIABLES = 'grub-editenv /boot/efi/EFI/BOOT/grubenv list | tr "\\n" " "';
const UPGRADE_LOG = 'selvage show system package; tail -n 20 /var/log/versa/versa-upgrade.log; journalctl -u rauc -n 20 --no-pager';
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
  /** Only with `life`. */
  readonly life?: LifeResult;
}

export interface LifeResult {
  /** After the upgrade, and after the way back: the slot that runs, and who of the other branch was not reached. */
  readonly upgraded: Stage;
  readonly rolledBack: Stage;
  /** After the factory reset and another onboarding. */
  readonly reset: Stage;
  readonly isKeyNew: boolean;
}

export interface Stage extends Reachability {
  readonly slot: string;
  readonly failedUnits: string;
}

export type BootOptions = ImageLabOptions & {
  /** Bundle for the upgrade of `life`; undefined = without it. */
  readonly bundle: string | undefined;
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
    return options.bundle === undefined ? result : { ...result, life: await live(lab, task, options.bundle) };
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
  const slot = await lab.say('sed "s/.*rauc.slot=\\([AB]\\).*/\\1/" /proc/cmdline');
  return { slot, failedUnits: await failedUnits(lab), ...(await lab.askHosts()) };
}

async function live(lab: ImageLab, task: number, bundle: string): Promise<LifeResult> {
  await lab.upgrade(bundle, UPGRADE_MS);
  await slotIsGood(lab, 'B');
  const upgraded = await stage(lab);
  await lab.restart('selvage request system rollback');
  await slotIsGood(lab, 'A');
  const rolledBack = await stage(lab);
  const key = await lab.say(DEVICE_KEY);
  await lab.orderRecord();
  await lab.say('selvage request system factory-reset "$(cat /sys/class/dmi/id/product_serial)"');
  // As when the stick is plugged in again.
  await lab.say('udevadm trigger --action=add --subsystem-match=block');
  await lab.onboarded(task);
  const reset = await stage(lab);
  const newKey = await lab.say(DEVICE_KEY);
  return { upgraded, rolledBack, reset, isKeyNew: key !== '' && newKey !== '' && key !== newKey };
}
