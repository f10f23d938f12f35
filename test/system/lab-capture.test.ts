// The record of the lab's whole WAN, made by real boxes on the real topology.
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enclose } from '../../provisioning/lab/enclosure.ts';
import type { CaptureFindings } from './lab-capture-probe.ts';

const PROBE = join(import.meta.dirname, 'lab-capture-probe.ts');

describe("the capture of the lab's WAN", function () {
  this.timeout(120_000);
  let found: CaptureFindings;

  before(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'selvage-lab-capture-'));
    try {
      const file = join(directory, 'findings.json');
      assert.equal(await enclose(PROBE, [file], { keepOnFailure: false, announce: false }), 0, 'the probe inside the lab failed');
      found = JSON.parse(readFileSync(file, 'utf8')) as CaptureFindings;
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('holds every packet of sealed traffic, counted by its sender', () => {
    assert.deepEqual(found.sealed.verdict, { held: true, cause: '' });
    assert.deepEqual(
      found.sealed.direct.map(({ from, to, packets }) => `${from} ${to} ${packets}`).toSorted(),
      ['branch-1 branch-2 30', 'branch-2 branch-1 30'],
    );
    // The packets of branch-2 are there before and behind its NAT box.
    assert.equal(found.sealed.kinds['overlay-esp'], 90);
  });

  it('finds one LAN packet in the clear overlay, on both sides of the NAT box', () => {
    assert.equal(found.leaking.verdict.held, false);
    assert.equal(found.leaking.unexpected.count, 2);
    // An ICMP error of the receiver, which has no socket there, may quote it once more.
    assert.ok(found.leaking.leaks.count >= 2);
    assert.ok(found.leaking.leaks.first.some((text) => /branch-2, inside its NAT box.* shows 10\.1\.0\.10/.test(text)), found.leaking.leaks.first.join('\n'));
  });

  it('ends once, with whole files on every wire', () => {
    assert.deepEqual(found.ends, Array.from({ length: 4 }, () => ({ lost: 0, endedEarly: false })));
    assert.equal(found.sameEnds, true);
  });

  it("shows a LAN host's own packet to who has the keys, and to nobody else", () => {
    assert.equal(found.withKeys.length, 30);
    assert.match(found.withKeys[0]!, /^274 .*selvage_ext:.*esp:gre:mpls:ip:udp/);
    assert.equal(found.withoutKeys, 0);
  });
});
