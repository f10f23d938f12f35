// The usual report of mocha, plus the counts in a file, so that the last line can be printed after everything else.
import { writeFileSync } from 'node:fs';
import { reporters } from 'mocha';

export default class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const counts = { passed: 0, failed: 0, finished: false };
    const file = options.reporterOptions?.counts;
    runner.on('pass', () => counts.passed++);
    runner.on('fail', () => counts.failed++);
    runner.on('pending', (test) => {
      // Nothing is skipped in silence: a test that did not run is a test that failed.
      counts.failed++;
      process.stdout.write(`    skipped, which counts as failed: ${test.fullTitle()}\n`);
    });
    runner.on('end', () => (counts.finished = true));
    if (file !== undefined) process.on('exit', () => writeFileSync(file, JSON.stringify(counts)));
  }
}
