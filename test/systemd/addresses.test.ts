// A branch whose WAN port takes its addresses from the network, under a real systemd with everything its unit forbids in
// force: on this machine's own Debian, and with the dhcpcd of Debian 13.
import assert from 'node:assert/strict';
import { applianceRoot } from '../system/debian-root.ts';
import { RECORD } from '../ztp/configuration-fixture.ts';
import { bootMachine, INSTALL_CHECKOUT } from './machine.ts';

const BRANCH = { role: 'branch', name: 'b1', serial: RECORD.serial, interfaces: [{ name: 'vni-0/0', device: 'wan0' }] };
const AUTOMATIC = { ...RECORD, circuits: [{ ...RECORD.circuits[0]!, addresses: [], gateways: [], automatic: ['dhcp', 'slaac'] }] };

const PROBE = `
systemctl restart systemd-sysusers systemd-tmpfiles-setup
ip link set lo up
ip link add wan0 type veth peer name wan1
ip addr add 192.0.2.1/24 dev wan1
ip addr add 2001:db8:9::1/64 dev wan1 nodad
ip link set wan1 up
dnsmasq --port=0 --conf-file=/dev/null --user=root --pid-file= --dhcp-leasefile=/run/leases --interface=wan1 --bind-interfaces --no-ping \\
  --dhcp-range=192.0.2.50,192.0.2.50,2m --dhcp-option=option:router,192.0.2.1 --enable-ra --ra-param=wan1,5 --dhcp-range=2001:db8:9::,slaac,64,10m
cp /etc/resolv.conf /run/resolv.before 2>/dev/null || touch /run/resolv.before /etc/resolv.conf
systemctl start selvage.service
both() { ip netns exec INTERNET-Transport-VR ip -br addr show dev vni-0_0; }
await 'ip netns exec INTERNET-Transport-VR ip addr show dev vni-0_0 | grep 192.0.2.50'
await 'ip netns exec INTERNET-Transport-VR ip addr show dev vni-0_0 | grep "2001:db8:9:"'
say addresses "$(both | grep -o '[0-9a-f.:]*/[0-9]*' | cut -d/ -f1 | grep -v fe80 | tr '\\n' ' ')"
shell="/usr/lib/selvage/bin/node --disable-warning=ExperimentalWarning /usr/lib/selvage/firmware/shell/main.ts"
await "$shell show interfaces wan | grep 'IPv6.*SLAAC.*up'"
say shown "$($shell show interfaces wan | grep -c ' up ')"
say version "$(dhcpcd --version | head -1)"
pids() { for pid in $(ip netns pids INTERNET-Transport-VR); do [ "$(cat /proc/$pid/comm)" = dhcpcd ] && echo $pid; done; true; }
say users "$(for pid in $(pids); do ps -o user:20= -p $pid; done | sort | uniq | tr -d ' ' | tr '\\n' ' ')"
say resolver "$(cmp /etc/resolv.conf /run/resolv.before && echo kept)"
say leases "$(ls /var/lib/selvage/leases | grep -c 'duid\\|vni-0_0')"
kill -KILL "$(main selvage)"
before=$(pids | tr '\\n' ' ')
await '[ $(systemctl show -P NRestarts selvage) = 1 ] && [ $(systemctl show -P ActiveState selvage) = active ]'
await '[ $(journalctl --no-pager -o cat -u selvage | grep -c "circuit was given an address.*address=192") = 2 ]'
say stayed "$(for pid in $before; do [ -d /proc/$pid ] && echo $pid; done)"
systemctl stop selvage
say left "$(ip netns pids INTERNET-Transport-VR | wc -l)"
say after "$(both | grep -c 192.0.2.50)"
`;

function boot(lower: string): ReadonlyMap<string, string> {
  return bootMachine({
    lower,
    prepare: INSTALL_CHECKOUT,
    files: { 'etc/selvage/selvage.json': JSON.stringify(BRANCH), 'etc/credstore/selvage.prestaging': JSON.stringify(AUTOMATIC), 'etc/systemd/system/selvage.service.d/soon.conf': '[Service]\nRestartSec=200ms\n' },
    probe: PROBE,
    timeoutMs: 90_000,
  });
}

function judge(facts: ReadonlyMap<string, string>, version: RegExp): void {
  assert.match(facts.get('version')!, version);
  assert.match(facts.get('addresses')!, /^192\.0\.2\.50 2001:db8:9:0:[0-9a-f:]+ $/);
  assert.equal(facts.get('shown'), '2');
  assert.equal(facts.get('users'), 'dhcpcd root ', 'what reads packets is not root');
  assert.equal(facts.get('resolver'), 'kept');
  assert.ok(Number(facts.get('leases')) >= 2);
  assert.equal(facts.get('stayed'), '', 'the client ends with a killed appliance');
  assert.deepEqual([facts.get('left'), facts.get('after')], ['0', '0'], 'a stopped appliance leaves no client and no lease');
}

describe('WAN addresses from the network under systemd', function () {
  this.timeout(300_000);

  it('come under all that the unit forbids, by a client that works for itself as another user and ends with the service', () => judge(boot('/'), /^dhcpcd \d/));

  it('come on Debian 13 as well', () => judge(boot(applianceRoot('trixie')), /^dhcpcd 10/));
});
