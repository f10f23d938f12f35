// Rescue under a real systemd: a main service that does not stay up, and what takes its place until it does.
import assert from 'node:assert/strict';
import { RECORD } from '../ztp/configuration-fixture.ts';
import { bootMachine, INSTALL_CHECKOUT } from './machine.ts';

const BRANCH = { role: 'branch', name: 'b1', serial: RECORD.serial, interfaces: [{ name: 'vni-0/0', device: 'wan0' }], rescue: { firstRetrySeconds: 4, longestRetrySeconds: 4 } };

/** As long as /probe/broken exists, the main service ends as soon as it begins; rescue does not. */
const BREAK = `
import { existsSync } from 'node:fs';
if (existsSync('/probe/broken') && !process.argv.includes('--rescue')) process.exit(3);
`;

const PROBE = `
systemctl restart systemd-sysusers systemd-tmpfiles-setup
ip link set lo up
ip link add wan0 type veth peer name wan1
touch /probe/broken
systemctl start selvage.service || true
await '[ $(systemctl is-active selvage-rescue) = active ]'
say starts "$(journalctl --no-pager -o cat -u selvage | grep -c '^Starting selvage.service\\|^Starting Selvage SD-WAN')"
say main "$(systemctl is-active selvage)"
say status "$(systemctl show -P StatusText selvage-rescue)"
say alarm "$(/usr/lib/selvage/bin/node /usr/lib/selvage/firmware/shell/main.ts show alarms | grep -c 'critical .*branch-in-maintenance-mode')"
await 'ip netns exec INTERNET-Transport-VR ip addr show dev vni-0_0 | grep 192.0.2.10'
say tunnel "$(ip netns exec INTERNET-Transport-VR ss -Hlun 'sport = :500' | grep -c 192.0.2.10)"
await 'journalctl --no-pager -o cat -u selvage-rescue | grep -q "rescue waits .* attempts=1"'
say again "$(journalctl --no-pager -o cat -u selvage-rescue | grep -c 'rescue starts the main service')"
rm /probe/broken
await '[ $(systemctl is-active selvage) = active ]'
say recovered "$(systemctl is-active selvage-rescue)"
say alarms "$(/usr/lib/selvage/bin/node /usr/lib/selvage/firmware/shell/main.ts show alarms | tail -1)"
`;

describe('rescue', () => {
  let facts: ReadonlyMap<string, string>;

  before(function () {
    this.timeout(240_000);
    facts = bootMachine({
      prepare: INSTALL_CHECKOUT,
      files: {
        'etc/selvage/selvage.json': JSON.stringify(BRANCH),
        'etc/credstore/selvage.prestaging': JSON.stringify(RECORD),
        'etc/systemd/system/selvage.service.d/break.conf': '[Service]\nRestartSec=100ms\nEnvironment=NODE_OPTIONS=--import=/probe/break.mjs\n',
        'break.mjs': BREAK,
      },
      probe: PROBE,
      timeoutMs: 220_000,
    });
  });

  it('begins with the fourth restart within 15 minutes, with the WAN and the IKE socket of a branch', () => {
    assert.equal(facts.get('starts'), '4');
    assert.equal(facts.get('main'), 'failed');
    assert.equal(facts.get('tunnel'), '1');
    assert.match(facts.get('status')!, /^rescue of branch b1: /);
  });

  it('raises branch-in-maintenance-mode', () => {
    assert.equal(facts.get('alarm'), '1');
  });

  it('tries the main service again by itself, and ends when that stays up', () => {
    assert.ok(Number(facts.get('again')) >= 1);
    assert.equal(facts.get('recovered'), 'inactive');
    assert.equal(facts.get('alarms'), 'no alarm is active');
  });
});
