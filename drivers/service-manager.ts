// What the appliance asks of systemd, over its own socket: another unit of ours, or a new boot of the machine.
import { run } from './iproute.ts';

/** Starts a unit even when systemd has given it up. Does not wait until it runs. Rejects with an OperationalError. */
export async function startUnit(unit: string): Promise<void> {
  await run('systemctl', ['reset-failed', unit]);
  await run('systemctl', ['start', '--no-block', unit]);
}

/** Ends everything in order and boots again. Rejects with an OperationalError. */
export async function rebootHost(): Promise<void> {
  await run('systemctl', ['reboot']);
}
