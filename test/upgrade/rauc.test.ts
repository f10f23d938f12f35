// RAUC itself in a Debian 13 root, with its service on a D-Bus of its own: what it says of bundles, and its slots.
// Installing needs the device mapper of a whole machine, which a namespace has not.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { architectureOf } from '../../images/architecture.ts';
import { makeBundle } from '../../images/bundle.ts';
import { updateAuthority } from '../../images/update-authority.ts';
import { SeededRandom } from '../../platform/random.ts';
import { applianceRoot } from '../system/debian-root.ts';

const PROBE = fileURLToPath(new URL('rauc-probe.ts', import.meta.url));

const SYSTEM = `[system]
compatible=selvage-x86_64
bootloader=grub
grubenv=/boot/grubenv
data-directory=/data/rauc
bundle-formats=-plain
[keyring]
path=/etc/rauc/keyring.pem
check-purpose=codesign
[slot.rootfs.0]
device=/a.img
type=raw
bootname=A
[slot.rootfs.1]
device=/b.img
type=raw
bootname=B
`;

/** Bundles of every kind, then RAUC's service; in the root. */
const PREPARE = `
set -eu
mkdir -p /data/rauc /run/dbus
cd /bundles
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.pem -days 30 -subj /CN=$1 -addext extendedKeyUsage=$2 -addext keyUsage=digitalSignature 2>/dev/null
}
bundle() {
  rm -rf content; mkdir content
  head -c 300000 /dev/urandom >content/rootfs.img
  printf '[update]\\ncompatible=selvage-%s\\nversion=%s\\n[bundle]\\nformat=%s\\n[image.rootfs]\\nfilename=rootfs.img\\n' "$2" "$3" "$5" >content/manifest.raucm
  rauc bundle --cert=$4.pem --key=$4.key content $1.raucb
}
authority ours codeSigning
authority stranger codeSigning
authority server serverAuth
cat ours.pem server.pem ca.pem >/etc/rauc/keyring.pem
bundle good x86_64 1.1.0 ours verity
bundle foreign aarch64 1.1.0 ours verity
bundle old x86_64 0.9.0 ours verity
bundle stranger x86_64 1.1.0 stranger verity
bundle plain x86_64 1.1.0 ours plain
rm -rf content; mkdir content
bundle purpose x86_64 1.1.0 server verity || true
head -c 250000 good.raucb >truncated.raucb
head -c 300000 /dev/urandom >unsigned.raucb
truncate -s 1M /a.img /b.img
grub-editenv /boot/grubenv create
grub-editenv /boot/grubenv set ORDER='A B' A_OK=1 A_TRY=1 B_OK=0 B_TRY=0
dbus-daemon --system --fork
rauc --override-boot-slot=A service >/service.log 2>&1 &
for i in $(seq 100); do rauc status >/dev/null 2>&1 && break; sleep 0.1; done
`;

const ENTER = `
set -eu
lower=$1 scratch=$2 node=$3 probe=$4
mount -t tmpfs tmpfs "$scratch"
cd "$scratch"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work" root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs tmpfs root/run
mkdir -p root/etc/rauc root/bundles
cp "$7/built.raucb" "$7/ca.pem" root/bundles/
printf '%s' "$5" >root/etc/rauc/system.conf
printf '%s' "$6" >root/prepare
chroot root sh /prepare >&2
"$node" --disable-warning=ExperimentalWarning "$probe" "$scratch/root"
chroot root grub-editenv /boot/grubenv list
cmp -s root/a.img root/b.img && echo untouched
`;

interface Judged {
  readonly [bundle: string]: string;
}

describe('RAUC 1.13', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-rauc-'));
  const ours = mkdtempSync(join(tmpdir(), 'selvage-rauc-bundle-'));
  let judged: Judged = {};
  let said: readonly string[] = [];

  before(function () {
    this.timeout(300_000);
    const authority = updateAuthority(join(ours, 'authority'));
    copyFileSync(authority.ca, join(ours, 'ca.pem'));
    writeFileSync(join(ours, 'slot'), new SeededRandom(1).bytes(300_000));
    makeBundle({ architecture: architectureOf('x86_64'), version: '1.2.0', slot: join(ours, 'slot'), signer: authority }, join(ours, 'built.raucb'));
    const args = ['--mount', '--pid', '--net', '--fork', '--kill-child=SIGKILL', '--', 'sh', '-c', ENTER, 'enter', applianceRoot('trixie'), scratch, process.execPath, PROBE, SYSTEM, PREPARE, ours];
    const { stdout, stderr, status } = spawnSync('unshare', args, { encoding: 'utf8', timeout: 120_000, killSignal: 'SIGKILL' });
    assert.equal(status, 0, stderr.slice(-3000));
    const [first = '', ...rest] = stdout.trim().split('\n');
    judged = JSON.parse(first) as Judged;
    said = rest;
  });

  after(() => [scratch, ours].forEach((path) => rmSync(path, { recursive: true, force: true })));

  it('accepts a bundle of ours, for this architecture and not too old', () => {
    assert.equal(judged['good'], 'accepted 1.1.0');
  });

  it('accepts the bundle that npm run bundle makes, signed by the authority of an image', () => {
    assert.equal(judged['built'], 'accepted 1.2.0');
  });

  for (const [bundle, fact, cause] of [
    ['unsigned', 'unsigned', /Invalid bundle format|signature/i],
    ['stranger', 'signed by a stranger', /signature|verif/i],
    ['purpose', 'signed with a certificate that is not for code', /unsuitable certificate purpose/i],
    ['foreign', 'for another architecture', /is for selvage-aarch64, this box is selvage-x86_64/],
    ['truncated', 'truncated', /exceeds bundle size|Invalid bundle/],
    ['old', 'older than the floor', /version 0\.9\.0, and nothing older than 1\.0\.0/],
    ['plain', 'in the format that is checked only after unpacking', /format/],
  ] as const) {
    it(`leads to a refusal of a bundle that is ${fact}`, () => {
      assert.match(judged[bundle]!, cause);
    });
  }

  it('tells which slot is booted and not yet marked good, marks it in GRUB\'s variables, and touches no slot', () => {
    assert.equal(judged['before'], 'selvage-x86_64 A booted, B');
    assert.equal(judged['after'], 'selvage-x86_64 A booted good, B');
    assert.deepEqual(said.filter((line) => /^[AB]_|ORDER/.test(line)).toSorted(), ['A_OK=1', 'A_TRY=0', 'B_OK=0', 'B_TRY=0', 'ORDER=A B']);
    assert.ok(said.includes('untouched'));
  });
});
