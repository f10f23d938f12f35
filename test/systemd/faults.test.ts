// Disks that fail under a box, in a real file system and under a real systemd: the box starts, says so, and stages.
import assert from 'node:assert/strict';
import { RECORD } from '../ztp/configuration-fixture.ts';
import { bootMachine, INSTALL_CHECKOUT } from './machine.ts';

const BRANCH = { role: 'branch', name: 'b1', serial: RECORD.serial, interfaces: [{ name: 'vni-0/0', device: 'wan0' }] };

/** `tell NAME` starts the box and says what its status line and its alarms say, and whether it asks a Controller. */
const PROBE = `
systemctl restart systemd-sysusers systemd-tmpfiles-setup
ip link set lo up
ip link add wan0 type veth peer name wan1
selvage() { /usr/lib/selvage/bin/node /usr/lib/selvage/firmware/shell/main.ts "$@"; }
tell() {
  systemctl reset-failed selvage 2>/dev/null || true
  systemctl start selvage
  await 'journalctl --no-pager -o cat _PID=$(systemctl show -P MainPID selvage) | grep -q "IKE SA is being initiated"'
  say "$1-status" "$(systemctl show -P StatusText selvage)"
  say "$1-alarms" "$(selvage show alarms | grep -o 'state-not-stored' | tr '\\n' ' ')"
  say "$1-restarts" "$(systemctl show -P NRestarts selvage)"
}
tell healthy
before=$(sha256sum </var/lib/selvage/state/ztp-device-key)
selvage request system factory-reset WRONG && say accepted wrong
selvage request system factory-reset ${RECORD.serial}
await '[ $(systemctl show -P NRestarts selvage) = 1 ] && [ -e /var/lib/selvage/state/ztp-device-key ]'
say reset "$([ "$before" != "$(sha256sum </var/lib/selvage/state/ztp-device-key)" ] && echo 'another key')"
systemctl stop selvage
for document in $(ls /var/lib/selvage/state); do head -c 300 /dev/urandom >/var/lib/selvage/state/$document; done
tell corrupted
await '[ $(selvage show alarms | grep -c state-not-stored) = 0 ]'
systemctl stop selvage
mount -t tmpfs -o size=16k tmpfs /var/lib/selvage
dd if=/dev/zero of=/var/lib/selvage/full bs=4k count=100 2>/dev/null || true
tell full
rm /var/lib/selvage/full
systemctl stop selvage
umount /var/lib/selvage
mount --bind /var/lib/selvage /var/lib/selvage
mount -o remount,bind,ro /var/lib/selvage
tell read-only
`;

describe('a box whose disk fails', () => {
  let facts: ReadonlyMap<string, string>;

  before(function () {
    this.timeout(240_000);
    facts = bootMachine({
      prepare: INSTALL_CHECKOUT,
      files: { 'etc/selvage/selvage.json': JSON.stringify(BRANCH), 'etc/credstore/selvage.prestaging': JSON.stringify(RECORD) },
      probe: PROBE,
      timeoutMs: 220_000,
    });
  });

  for (const [fault, name, alarms] of [['disk full', 'full', 'state-not-stored '], ['read-only media', 'read-only', 'state-not-stored '], ['corrupted /data', 'corrupted', '']] as const) {
    it(`starts, says so and can be onboarded again: ${fault}`, () => {
      assert.match(facts.get(`${name}-status`)!, /ztp starting \(Stage staging-ike\.\)/);
      assert.equal(facts.get(`${name}-alarms`), alarms);
      assert.equal(facts.get(`${name}-restarts`), '0');
    });
  }

  it('forgets its keys by a factory reset, which its serial confirms', () => {
    assert.equal(facts.get('accepted'), undefined);
    assert.equal(facts.get('reset'), 'another key');
  });

  it('raises nothing on a disk that works', () => {
    assert.equal(facts.get('healthy-alarms'), '');
  });
});
