// The Debian package under apt and a real systemd, on this machine's own Debian and on Debian 13: install, run, purge.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { architectureOf } from '../../images/architecture.ts';
import { buildDeb } from '../../images/package/deb.ts';
import { applianceRoot } from '../system/debian-root.ts';
import { bootMachine } from '../systemd/machine.ts';
import { RECORD } from '../ztp/configuration-fixture.ts';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));

const BRANCH = { role: 'branch', name: 'b1', serial: RECORD.serial, interfaces: [{ name: 'vni-0/0', device: 'wan0' }] };
const DIRECTOR = { role: 'director', name: 'd1', provider: 'Provider', serial: 'D1', director: { addresses: ['127.0.0.1'], listenAddress: '127.0.0.1', listenPort: 443 } };

/** `traces` lists every file, user and group of the machine, apart from what apt, dpkg and systemd keep for themselves. */
const PROBE = `
export DEBIAN_FRONTEND=noninteractive
traces() {
  # Not the homes: somebody else may be at work on the machine whose files these are.
  find /etc /usr /var -xdev -maxdepth 4 \\( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log/apt -o -path /var/log/journal -o -path /var/lib/systemd -o -path /var/tmp \\) -prune -o -print | grep -v -e '^/var/log/dpkg.log$' -e '^/etc/[a-z]*-$' -e '^/etc/.pwd.lock$' | sort
  find /run/netns /run/selvage* 2>/dev/null | grep -v '^/run/netns$'
  sort /etc/passwd /etc/group
}
ip link set lo up
ip link add wan0 type veth peer name wan1
# What others make on the way: the place of credentials, and logrotate's memory.
mkdir -p /etc/credstore /var/lib/logrotate
touch /var/lib/logrotate/status
traces >/probe/before
apt-get install -y -q --no-install-recommends /probe/selvage.deb >/probe/apt 2>&1 || say never "$(tail -5 /probe/apt)"
say verified "$(dpkg --verify selvage)"
cp /probe/record.json /etc/credstore/selvage.prestaging
cp /probe/branch.json /etc/selvage/selvage.json
systemctl enable --now -q selvage.service
await 'ip netns exec INTERNET-Transport-VR ip addr show dev vni-0_0 | grep 192.0.2.10'
say branch "$(selvage show system status 2>/dev/null | grep -c forwarding)"
say forwarding "$(sysctl -n net.ipv4.ip_forward)"
before=$(main selvage)
apt-get install -y -q --reinstall /probe/selvage.deb >/probe/apt 2>&1 || say never "$(tail -5 /probe/apt)"
say upgraded "$([ "$before" != "$(main selvage)" ] && systemctl is-active selvage)"
systemctl disable --now -q selvage.service
cp /probe/director.json /etc/selvage/selvage.json
systemctl enable --now -q selvage-director.service
say director "$(systemctl show -P StatusText selvage-director)"
logrotate --force /etc/logrotate.d/selvage
apt-get purge -y -q selvage >/probe/apt 2>&1 || say never "$(tail -5 /probe/apt)"
traces >/probe/after
say left "$(diff /probe/before /probe/after | grep '^[<>]' | tr '\\n' ' ')"
say units "$(systemctl list-units --all --plain --no-legend 'selvage*' | tr '\\n' ' ')"
say port "$(ip -br link show dev wan0 2>/dev/null || ip -br link show dev vni-0_0 | cut -d@ -f1)"
`;

describe('the Debian package', () => {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-deb-test-'));
  let deb = '';

  before(function () {
    this.timeout(120_000);
    deb = buildDeb(CHECKOUT, architectureOf(process.arch), directory);
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  for (const [release, lower] of [["this machine's own Debian", () => '/'], ['Debian 13', () => applianceRoot('trixie')]] as const) {
    it(`installs the service on ${release}, upgrades it, and leaves nothing after a purge`, function () {
      this.timeout(240_000);
      const facts = bootMachine({
        lower: lower(),
        prepare: `cp ${deb} "$1/selvage.deb"`,
        files: { 'record.json': JSON.stringify(RECORD), 'branch.json': JSON.stringify(BRANCH), 'director.json': JSON.stringify(DIRECTOR) },
        probe: PROBE,
        timeoutMs: 90_000,
      });
      const { verified, branch, forwarding, upgraded, director, left, units } = Object.fromEntries(facts) as Record<string, string>;
      assert.deepEqual({ verified, branch, forwarding, upgraded, director, left, units }, { verified: '', branch: '1', forwarding: '0', upgraded: 'active', director: 'director d1: up', left: '', units: '' });
    });
  }

  it('is the same octets when built again', function () {
    this.timeout(120_000);
    const sum = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
    const first = sum(deb);
    assert.equal(sum(buildDeb(CHECKOUT, architectureOf(process.arch), directory)), first);
  });

  it('holds the licences, and asks for the C library that its programs need', () => {
    const listing = execFileSync('dpkg-deb', ['-c', deb], { encoding: 'utf8', maxBuffer: 1 << 26 });
    for (const path of ['./usr/share/doc/selvage/copyright', './usr/lib/systemd/system/selvage.service', './usr/lib/selvage/bin/node', './usr/bin/selvage']) assert.ok(listing.includes(` ${path}\n`), path);
    const depends = execFileSync('dpkg-deb', ['-f', deb, 'Depends'], { encoding: 'utf8' });
    assert.match(depends, /^libc6 \(>= 2\.\d\d\), libstdc\+\+6, /);
  });
});
