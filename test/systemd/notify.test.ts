// The real appliance under a service manager's eyes: sd_notify(3) on a real Unix datagram socket.
import assert from 'node:assert/strict';
import { sleep } from '../../platform/time.ts';
import { ServiceManager } from './service-manager.ts';

const WATCHDOG_MS = 600;

describe('an appliance under systemd', () => {
  const manager = new ServiceManager();

  before(() => manager.start({ role: 'branch', name: 'unit-test', serial: 'UNIT1' }, WATCHDOG_MS));
  after(() => manager.end());

  it('is ready before it shows its state and gives signs of life', async () => {
    await manager.until('three signs of life', () => manager.signsOfLife() >= 3);
    assert.equal(manager.notifications[0], 'READY=1');
    assert.match(manager.notifications[1]!, /^STATUS=branch unit-test: \S/);
    assert.equal(manager.notifications.slice(1).find((line) => !line.startsWith('STATUS=')), 'WATCHDOG=1');
  });

  it('gives no sign of life while its forwarder stands still, and says why', async () => {
    await manager.halt('forwarder');
    await manager.until('silence noticed', () => manager.notifications.at(-1)!.startsWith('STATUS=forwarder does not answer; branch unit-test'));
    const before = manager.signsOfLife();
    await sleep(1.25 * WATCHDOG_MS);
    assert.equal(manager.signsOfLife(), before);
    assert.match(manager.log('service'), /part of the appliance does not answer part=forwarder/);
    manager.release('forwarder');
    await manager.until('new signs of life', () => manager.signsOfLife() > before + 1);
    assert.match(manager.log('service'), /part of the appliance answers again part=forwarder/);
    await manager.until('the plain status', () => manager.notifications.findLast((line) => line.startsWith('STATUS='))!.startsWith('STATUS=branch unit-test: '));
  });

  it('gives no sign of life while its control loop stands still', async () => {
    await manager.halt('control');
    // What was sent before it stood still has arrived after this.
    await sleep(WATCHDOG_MS / 4);
    const before = manager.notifications.length;
    await sleep(1.25 * WATCHDOG_MS);
    assert.equal(manager.notifications.length, before);
    manager.release('control');
    await manager.until('new signs of life', () => manager.notifications.length > before + 1);
  });

  it('says that it stops, and ends in order', async () => {
    assert.equal(await manager.stop(), 0);
    await manager.until('word of the stop', () => manager.notifications.at(-1) === 'STOPPING=1');
  });
});
