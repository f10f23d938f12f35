// systemd/end-trial, with a RAUC and a systemctl that only say what they were asked.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withScratch } from '../platform/scratch.ts';

const END_TRIAL = fileURLToPath(new URL('../../systemd/end-trial', import.meta.url));

function endTrial(pending: string | undefined, commandLine: string): string {
  let said = '';
  withScratch((directory) => {
    for (const name of ['rauc', 'systemctl']) writeFileSync(join(directory, name), `#!/bin/sh\necho ${name} "$@"\n`, { mode: 0o755 });
    if (pending !== undefined) writeFileSync(join(directory, 'pending'), pending);
    writeFileSync(join(directory, 'cmdline'), commandLine);
    said = execFileSync(END_TRIAL, [join(directory, 'pending'), join(directory, 'cmdline')], { encoding: 'utf8', env: { PATH: `${directory}:${process.env['PATH']}` } });
  });
  return said;
}

describe('the end of a trial', () => {
  const pending = JSON.stringify({ from: 'A', to: 'B', version: '1.1.0', cause: '' });

  it('leads a system that does not speak for itself back to the former one', () => {
    assert.match(endTrial(pending, 'quiet rauc.slot=B ro'), /^the system of slot B did not pass.*\nrauc status mark-bad booted\nsystemctl reboot\n$/);
  });

  it('changes nothing without a trial, in the former slot, and on a host without slots', () => {
    assert.deepEqual([endTrial(undefined, 'rauc.slot=B'), endTrial(pending, 'rauc.slot=A'), endTrial(pending, 'quiet')], ['', '', '']);
  });
});
