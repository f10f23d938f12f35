// The lab's network by itself, with plain sockets where the firmware will be.
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enclose } from '../../provisioning/lab/enclosure.ts';
import type { NatPolicy } from '../../provisioning/lab/topology.ts';
import type { LabFindings } from './lab-network-probe.ts';

const PROBE = join(import.meta.dirname, 'lab-network-probe.ts');

for (const policy of ['drop', 'accept'] satisfies NatPolicy[]) {
  describe(`the lab's network with a NAT box that has input policy ${policy}`, function () {
    this.timeout(120_000);
    let found: LabFindings;

    before(async () => {
      const directory = mkdtempSync(join(tmpdir(), 'selvage-lab-test-'));
      try {
        const code = await enclose(PROBE, ['probe', policy, join(directory, 'findings.json')], { keepOnFailure: false, announce: false });
        assert.equal(code, 0, 'the probe inside the lab failed');
        found = JSON.parse(readFileSync(join(directory, 'findings.json'), 'utf8')) as LabFindings;
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });

    it('reaches what is public, and nothing behind the NAT box or in a LAN', () => {
      assert.deepEqual(found.pings, {
        'branch-1 to controller-1': true,
        'branch-1 to controller-1, IPv6': true,
        'branch-2 to controller-1': true,
        'controller-1 to branch-2 behind the NAT box': false,
        'branch-1 to a LAN of branch-2': false,
        'tenant 2 to its gateway': true,
        'tenant 3 to its gateway, IPv6': true,
      });
    });

    it('has hosts that answer with their own name at the same address in two tenants', () => {
      assert.deepEqual(found.answers, {
        'tenant 2 at branch-1, TCP': 'tenant2-branch1',
        'tenant 3 at branch-1, TCP': 'tenant3-branch1',
        'tenant 2 at branch-2, UDP': 'tenant2-branch2',
        'tenant 3 at branch-2, UDP over IPv6': 'tenant3-branch2',
        'tenant 2 at branch-1 asked by itself': 'tenant2-branch1',
        // undefined, which JSON leaves out: 'the other branch without an overlay'
      });
    });

    it('gives every node virtual routers of its own', () => {
      assert.equal(found.virtualRouters['controller-1'], 'INTERNET-Transport-VR\n');
      assert.equal(found.virtualRouters['branch-1'], 'INTERNET-Transport-VR\nT2-LAN-VR\nT3-LAN-VR\n');
      assert.equal(found.virtualRouters['director'], '');
    });

    it('keeps the port of a branch behind NAT, unless a stranger was let in first', () => {
      assert.equal(found.natPorts.quiet, '4790');
      assert.match(found.natPorts.afterStranger, /^\d+$/);
      assert.equal(found.natPorts.afterStranger === '4790', policy === 'drop');
    });

    it('cuts a wire and mends it, with both families as before', () => {
      assert.deepEqual(found.outage, [false, true, true]);
    });

    it('kills and restarts the firmware of a node, and shows its files outside', () => {
      assert.deepEqual(found.afterKill, { running: false, restarted: true });
      assert.equal(found.fileSeenOutside, 'written inside\n');
    });

    it('leaves no namespace on the machine', () => {
      const names = readdirSync('/run', { withFileTypes: true }).some((entry) => entry.name === 'netns') ? readdirSync('/run/netns') : [];
      assert.deepEqual(names.filter((name) => /^(?:internet|nat-2|tenant\d)/.test(name)), []);
    });
  });
}
