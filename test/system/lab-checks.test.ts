// The lab's checks on a network of plain routers: each holds where all is well and fails where something is broken.
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enclose } from '../../provisioning/lab/enclosure.ts';
import type { ProbeFindings } from './lab-checks-probe.ts';

const PROBE = join(import.meta.dirname, 'lab-checks-probe.ts');

const HOLD = ['load, whole', 'rekey, without a loss', 'throughput, whole', 'outage, that and only that', 'isolation, closed', 'reachability, whole'];

const FAIL: readonly (readonly [string, RegExp])[] = [
  ['load, with a gap', /tenant2-branch1 to tenant2-branch2: \d+ sent, \d+ received/],
  ['rekey, with a loss', /\d+ sent, \d+ received/],
  ['throughput, nobody has the address', /iperf3/],
  ['outage, nothing stops', /meanwhile tenant3-branch2 answered tenant3-branch1 at 10\.2\.0\.10, nobody should/],
  ['outage, others stop too', /meanwhile it did not hold that tenant 2 goes on/],
  ['outage, nothing comes back', /after 3 s afterwards tenant3-branch1 asked 10\.2\.0\.10 over UDP: nobody answered, tenant3-branch2 should/],
  ['isolation, open', /tenant2-branch1 reaches 198\.51\.100\.2 of outside: ping, 198\.51\.100\.2:179 refused/],
  ['isolation, the gateway is away too', /does not reach its gateway 10\.1\.0\.1, so the probe proves nothing/],
  ['reachability, one wire cut', /tenant3-branch2 asked 10\.1\.0\.10 over TCP: nobody answered, tenant3-branch1 should/],
  ['reachability, another tenant answers', /tenant2-branch1 asked 10\.2\.0\.10 over TCP: tenant3-branch2 answered, tenant2-branch2 should/],
];

describe("the lab's checks", function () {
  this.timeout(180_000);
  let found: ProbeFindings;

  before(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'selvage-lab-checks-'));
    try {
      const file = join(directory, 'findings.json');
      assert.equal(await enclose(PROBE, [file], { keepOnFailure: false, announce: false }), 0, 'the probe inside the lab failed');
      found = JSON.parse(readFileSync(file, 'utf8')) as ProbeFindings;
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  for (const name of HOLD) it(`hold: ${name}`, () => assert.deepEqual(found.verdicts[name], { held: true, cause: '' }));

  for (const [name, cause] of FAIL) {
    it(`fail: ${name}`, () => {
      assert.equal(found.verdicts[name]!.held, false);
      assert.match(found.verdicts[name]!.cause, cause);
    });
  }

  it('count what was lost in a gap, and leave nothing unjudged', () => {
    assert.ok(found.lostInGap > 10, `${found.lostInGap} lost`);
    assert.deepEqual(Object.keys(found.verdicts).toSorted(), [...HOLD, ...FAIL.map(([name]) => name)].toSorted());
  });
});
