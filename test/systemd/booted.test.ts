// The units under a real systemd, with everything they forbid in force: the appliance from credential to virtual router,
// the watchdog's verdict, and Director.
import assert from 'node:assert/strict';
import { RECORD } from '../ztp/configuration-fixture.ts';
import { bootMachine, INSTALL_CHECKOUT } from './machine.ts';

const BRANCH = { role: 'branch', name: 'b1', serial: RECORD.serial, interfaces: [{ name: 'vni-0/0', device: 'wan0' }] };
const DIRECTOR = { role: 'director', name: 'd1', provider: 'Provider', serial: 'D1', director: { addresses: ['127.0.0.1'], listenAddress: '127.0.0.1', listenPort: 443 } };

/** What systemd does on a real box within 30 s, it does here within 6; a busy machine may not answer sooner. */
const SHORT_WATCHDOG = '[Service]\nWatchdogSec=6\nRestartSec=200ms\n';

/** SECCOMP_MODE_FILTER: system calls are judged by the unit's filter. */
const FILTERED = '2';

const PROBE = `
systemctl restart systemd-sysusers systemd-tmpfiles-setup
ip link set lo up
ip link add wan0 type veth peer name wan1
systemctl start selvage.service
await 'ip netns exec INTERNET-Transport-VR ip addr show dev vni-0_0 | grep 192.0.2.10'
say circuit "$(ip netns exec INTERNET-Transport-VR ip -br -4 addr show dev vni-0_0 | grep -o '192[^ ]*')"
await 'ip netns exec Provider-Control-VR true'
say routers "$(ip netns | cut -d' ' -f1 | sort | tr '\\n' ' ')"
await 'systemctl show -P StatusText selvage | grep -q ^branch'
say status "$(systemctl show -P StatusText selvage)"
say seccomp "$(grep '^Seccomp:' /proc/$(main selvage)/status | cut -f2)"
logrotate --force /etc/logrotate.d/selvage
say reopened "$(journalctl --no-pager -o cat -u selvage | grep -c 'Sent signal SIGHUP to main process')"
before=$(main selvage)
timeouts() { journalctl --no-pager -o cat -u selvage | grep -c 'Watchdog timeout'; }
earlier=$(timeouts)
kill -STOP "$before"
await "[ \\$(systemctl show -P MainPID selvage) != $before ] && [ \\$(systemctl show -P ActiveState selvage) = active ]"
say watchdog "$(($(timeouts) - earlier))"
say restarted "$([ "$before" != "$(main selvage)" ] && echo yes)"
systemctl stop selvage
say stopped "$(systemctl show -P Result selvage)"
cp /probe/etc/selvage/director.json /etc/selvage/selvage.json
systemctl restart systemd-tmpfiles-setup
systemctl start selvage-director
say director "$(systemctl show -P StatusText selvage-director)"
say listens "$(ss -Hltn | grep -c '127.0.0.1:443')"
say user "$(ps -o user:20= -p "$(main selvage-director)")"
say director-seccomp "$(grep '^Seccomp:' /proc/$(main selvage-director)/status | cut -f2)"
say powers "$(grep CapEff /proc/$(main selvage-director)/status | cut -f2)"
`;

describe('the services under systemd', () => {
  let facts: ReadonlyMap<string, string>;

  before(function () {
    this.timeout(120_000);
    facts = bootMachine({
      prepare: INSTALL_CHECKOUT,
      files: {
        'etc/selvage/selvage.json': JSON.stringify(BRANCH),
        'etc/selvage/director.json': JSON.stringify(DIRECTOR),
        'etc/credstore/selvage.prestaging': JSON.stringify(RECORD),
        'etc/systemd/system/selvage.service.d/watchdog.conf': SHORT_WATCHDOG,
      },
      probe: PROBE,
      timeoutMs: 110_000,
    });
  });

  it('start a branch from a credential, with virtual routers that the operator can enter', () => {
    assert.equal(facts.get('circuit'), '192.0.2.10/24');
    assert.equal(facts.get('routers')!.trim(), 'INTERNET-Transport-VR Provider-Control-VR');
    assert.equal(facts.get('seccomp'), FILTERED);
    assert.match(facts.get('status')!, /^branch b1: .*ztp starting \(Stage staging-ike\.\)/);
  });

  it('ask a running appliance to reopen its logs, start it again when it stands still, and stop it in order', () => {
    assert.equal(facts.get('reopened'), '1');
    assert.equal(facts.get('watchdog'), '1');
    assert.equal(facts.get('restarted'), 'yes');
    assert.equal(facts.get('stopped'), 'success');
  });

  it('run Director as a user of its own that may do nothing but listen on port 443', () => {
    assert.equal(facts.get('director'), 'director d1: up');
    assert.equal(facts.get('listens'), '1');
    assert.equal(facts.get('user')!.trim(), 'selvage-director');
    assert.equal(facts.get('powers'), '0000000000000400');
    assert.equal(facts.get('director-seccomp'), FILTERED);
  });
});
