// The lab as an operator runs it, `--once --json`, with both kinds of NAT box.
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { LabReport } from '../../provisioning/lab/report.ts';
import type { NatPolicy } from '../../provisioning/lab/topology.ts';

const LAB = join(import.meta.dirname, '../../provisioning/lab/main.ts');
const RUN_TIMEOUT_MS = 400_000;
const LARGEST_OUTPUT_BYTES = 1 << 26;

for (const nat of ['drop', 'accept'] satisfies NatPolicy[]) {
  describe(`the lab with a NAT box that has input policy ${nat}`, function () {
    this.timeout(RUN_TIMEOUT_MS + 10_000);
    let report: LabReport;

    before(() => {
      const args = ['--disable-warning=ExperimentalWarning', LAB, '--once', '--json', '--nat', nat];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: RUN_TIMEOUT_MS, maxBuffer: LARGEST_OUTPUT_BYTES });
      assert.equal(status, 0, `the lab ended with ${status}:\n${stderr.split('\n').slice(-60).join('\n')}`);
      report = JSON.parse(stdout) as LabReport;
    });

    it('carries out every check, and each holds', () => {
      assert.deepEqual(
        report.checks.map(({ name, held, cause }) => [name, held, cause]),
        ['onboarding', 'drivers', 'reachability', 'isolation', 'mtu', 'throughput', 'decryption', 'pause', 'rekey', 'restart', 'wan'].map((name) => [name, true, '']),
      );
      assert.equal(report.nat, nat);
    });

    it('onboards both branches, with a COMPLETED Task each', () => {
      assert.deepEqual(Object.keys(report.onboardingSeconds).toSorted(), ['branch-1', 'branch-2']);
      assert.deepEqual(report.tasks.map((task) => (task as { status: string }).status), ['COMPLETED', 'COMPLETED']);
    });

    it('reaches every host of the same tenant over both families, and none of another', () => {
      assert.equal(report.reachability.length, 48);
      for (const { from, to, reaches } of report.reachability) assert.equal(reaches, from.slice(0, 7) === to.slice(0, 7), `${from} to ${to}`);
    });

    it('moves TCP between the branches, by native drivers and past the Controller', () => {
      assert.ok(report.throughputGbps !== null && report.throughputGbps > 0);
      assert.deepEqual(Object.keys(report.drivers).toSorted(), ['branch-1', 'branch-2', 'controller-1']);
      assert.deepEqual(report.wan!.direct.map(({ from, to }) => `${from} ${to}`).toSorted(), ['branch-1 branch-2', 'branch-2 branch-1']);
    });

    it('loses nothing during rekeys, which change every SPI and key id', () => {
      assert.equal(report.rekeyLostPackets, 0);
      const { keysBefore, keysAfter, children, streams } = report.rekey!;
      for (const [index, { keyId, sending }] of keysAfter.entries()) {
        assert.notEqual(keyId, keysBefore[index]!.keyId);
        assert.notEqual(sending[0]!.spiIn, keysBefore[index]!.sending[0]!.spiIn);
        assert.notEqual(sending[0]!.spiOut, keysBefore[index]!.sending[0]!.spiOut);
      }
      for (const { before, after } of children) assert.ok(after.length > 0 && after.every((spis) => !before.includes(spis)));
      for (const { sender, echo } of streams) assert.deepEqual([echo.received, echo.sent, sender.received], [sender.sent, sender.sent, sender.sent]);
    });

    it('shows no LAN on the WAN, but the LAN host\'s packet to who has the exported keys', () => {
      assert.equal(report.wan!.leaks.count, 0);
      assert.equal(report.wan!.unexpected.count, 0);
      assert.ok(report.decryption!.packets.length > 0);
      assert.equal(report.decryption!.withoutKeys, 0);
    });
  });
}
