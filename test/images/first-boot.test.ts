// The script that names a box's ports, over a made-up /sys and an empty /etc.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SCRIPT = join(import.meta.dirname, '../../images/files/usr/lib/selvage/image/first-boot');
const ETHERNET = '1';
const LOOPBACK = '772';

/** In a mount table of its own: `$1` becomes /sys/class/net, the file is copied out of /etc to `$2`. */
const INSIDE = 'mount --bind "$1" /sys/class/net && mount -t tmpfs tmpfs /etc && "$3" && cp /etc/selvage/selvage.json "$2"';

describe('the first boot of a box', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-first-boot-'));
  const net = join(scratch, 'net');

  const add = (name: string, type: string, place?: string): void => {
    mkdirSync(join(net, name), { recursive: true });
    writeFileSync(join(net, name, 'type'), `${type}\n`);
    if (place === undefined) return;
    mkdirSync(join(scratch, 'devices', place), { recursive: true });
    symlinkSync(join(scratch, 'devices', place), join(net, name, 'device'));
  };

  after(() => rmSync(scratch, { recursive: true, force: true }));

  it('names Ethernet ports by their place on the buses, and nothing else', () => {
    add('lo', LOOPBACK);
    add('enp0s10', ETHERNET, 'pci0000:00/0000:00:0a.0');
    add('enp0s8', ETHERNET, 'pci0000:00/0000:00:08.0');
    add('enp2s0f1', ETHERNET, 'pci0000:00/0000:00:1c.0/0000:02:00.1');
    add('enp2s0f0', ETHERNET, 'pci0000:00/0000:00:1c.0/0000:02:00.0');
    add('dummy0', ETHERNET);
    add('wlan0', ETHERNET, 'pci0000:00/0000:00:02.0');
    mkdirSync(join(net, 'wlan0', 'wireless'));
    const written = join(scratch, 'selvage.json');
    const { status, stderr } = spawnSync('unshare', ['--mount', '--', 'sh', '-c', INSIDE, 'inside', net, written, SCRIPT], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(readFileSync(written, 'utf8')), {
      role: 'branch',
      interfaces: ['enp0s8', 'enp0s10', 'enp2s0f0', 'enp2s0f1'].map((device, index) => ({ name: `vni-0/${index}`, device })),
    });
  });
});
