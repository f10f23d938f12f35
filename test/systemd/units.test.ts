// The units and rules before the tools that read them: systemd-analyze, systemd-sysusers, systemd-tmpfiles, sysctl.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const UNITS = readdirSync(join(ROOT, 'systemd')).filter((name) => /\.(?:service|path|timer)$/.test(name));

/** The machine's files with the checkout installed as /usr/lib/selvage, in a mount table of its own. */
const INSTALLED = `
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/usr/lib,upperdir=/mnt/upper,workdir=/mnt/work /usr/lib
mkdir -p /usr/lib/selvage/bin
ln -s "$1" /usr/lib/selvage/bin/node
for part in firmware systemd docs; do ln -s "$2/$part" /usr/lib/selvage/$part; done
cp "$2"/systemd/*.service "$2"/systemd/*.path "$2"/systemd/*.timer /usr/lib/systemd/system/
shift 2
exec "$@"
`;

function whenInstalled(...command: string[]): { readonly stdout: string; readonly stderr: string; readonly status: number | null } {
  return spawnSync('unshare', ['--mount', '--', 'sh', '-c', INSTALLED, 'installed', process.execPath, ROOT, ...command], { encoding: 'utf8', timeout: 30_000 });
}

/** The exposure that systemd-analyze computes for a unit, 0 (best) to 10. */
function exposure(unit: string): number {
  const text = execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', join(ROOT, 'systemd', unit)], { encoding: 'utf8' });
  return Number(/Overall exposure level for \S+: ([\d.]+)/.exec(text)![1]);
}

/** The assignments of a unit file, the last one of a name counts. */
function settings(unit: string): ReadonlyMap<string, string> {
  const lines = readFileSync(join(ROOT, 'systemd', unit), 'utf8').split('\n').filter((line) => /^\w+=/.test(line));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

describe('systemd units', () => {
  it('are all understood by systemd, and name programs that are there', () => {
    assert.deepEqual(UNITS, ['selvage-director.service', 'selvage-namespaces.path', 'selvage-namespaces.service', 'selvage-rescue.service', 'selvage-trial-end.service', 'selvage-trial-end.timer', 'selvage.service']);
    const { stdout, stderr, status } = whenInstalled('systemd-analyze', 'verify', '--man=no', ...UNITS.map((unit) => `/usr/lib/systemd/system/${unit}`));
    assert.deepEqual({ stdout, stderr, status }, { stdout: '', stderr: '', status: 0 });
  });

  it('would be refused if they were not', () => {
    const { stderr } = whenInstalled('sh', '-c', 'echo "ProtectSystems=strict" >>/usr/lib/systemd/system/selvage-namespaces.service; systemd-analyze verify --man=no selvage-namespaces.service');
    assert.match(stderr, /ProtectSystems/);
  });

  it('expose Director by at most 4.0 and the appliance as little as docs/OPERATIONS.md says', () => {
    assert.ok(exposure('selvage-director.service') <= 4);
    const documented = Number(/`selvage\.service`[^\n]*at most (\d\.\d)/.exec(readFileSync(join(ROOT, 'docs/OPERATIONS.md'), 'utf8'))![1]);
    for (const unit of ['selvage.service', 'selvage-rescue.service']) {
      const appliance = exposure(unit);
      assert.ok(appliance <= documented, `${unit}: ${appliance} is more than ${documented}`);
    }
  });

  it('give SYS_ADMIN only to those who handle namespaces', () => {
    const withPower = UNITS.filter((unit) => (settings(unit).get('CapabilityBoundingSet') ?? '').includes('CAP_SYS_ADMIN'));
    assert.deepEqual(withPower, ['selvage-namespaces.service', 'selvage-rescue.service', 'selvage.service']);
    assert.equal(settings('selvage-director.service').get('CapabilityBoundingSet'), 'CAP_NET_BIND_SERVICE');
  });

  it('confine rescue as they confine the main service', () => {
    const own = /^(?:ExecStart|ExecStartPre|Description|Documentation|ConditionPathExists|Wants|After|Before|Requires|Conflicts|StartLimit\w+|OnFailure|LoadCredential|RestartSec|WantedBy)$/;
    const confinement = (unit: string): unknown => [...settings(unit)].filter(([name]) => !own.test(name));
    assert.deepEqual(confinement('selvage-rescue.service'), confinement('selvage.service'));
  });

  it('leave the maker of virtual routers in the mount table of the machine', () => {
    const own = /^(?:Protect|Private|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|BindPaths|BindReadOnlyPaths|TemporaryFileSystem|Root|Dynamic|LoadCredential|MountFlags|MountAPIVFS|StateDirectory|LogsDirectory|RuntimeDirectory)/;
    assert.deepEqual([...settings('selvage-namespaces.service').keys()].filter((name) => own.test(name)), []);
  });
});

describe('rules beside the units', () => {
  const root = mkdtempSync(join(tmpdir(), 'selvage-rules-'));

  after(() => rmSync(root, { recursive: true, force: true }));

  it("make Director's user, and directories that only those who need them can read", () => {
    mkdirSync(join(root, 'etc/selvage'), { recursive: true, mode: 0o755 });
    writeFileSync(join(root, 'etc/selvage/selvage.json'), '{}', { mode: 0o644 });
    execFileSync('systemd-sysusers', [`--root=${root}`, join(ROOT, 'systemd/selvage.sysusers.conf')], { stdio: 'pipe' });
    const users = readFileSync(join(root, 'etc/passwd'), 'utf8');
    const [, , uid, gid] = /^selvage-director:.*$/m.exec(users)![0].split(':');
    execFileSync('systemd-tmpfiles', ['--create', `--root=${root}`, join(ROOT, 'systemd/selvage.tmpfiles.conf')], { stdio: 'pipe' });
    const found = ['etc/selvage', 'etc/selvage/selvage.json', 'run/netns', 'run/selvage-namespaces'].map((path) => {
      const { mode, uid: owner, gid: group } = statSync(join(root, path));
      return `${path} ${(mode & 0o7777).toString(8)} ${owner} ${group === Number(gid) ? 'director' : group}`;
    });
    assert.notEqual(uid, '0');
    assert.deepEqual(found, ['etc/selvage 750 0 director', 'etc/selvage/selvage.json 640 0 director', 'run/netns 755 0 0', 'run/selvage-namespaces 700 0 0']);
  });

  it('set parameters that the kernel knows, in a network namespace of the test', () => {
    const { stderr, status } = spawnSync('unshare', ['--net', '--', 'sysctl', '--load', join(ROOT, 'systemd/selvage.sysctl.conf')], { encoding: 'utf8' });
    assert.deepEqual({ stderr, status }, { stderr: '', status: 0 });
  });
});
