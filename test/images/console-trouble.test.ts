import assert from 'node:assert/strict';
import { consoleTrouble } from '../../images/console-trouble.ts';

describe('the trouble that a console tells of', () => {
  const boot = Array.from({ length: 100 }, (_, i) => `[    0.${i}] booting\r\n\r\n`);

  it('is the complaint of the kernel, with what led to it, also when the box has restarted since', () => {
    const log = [...boot, '[   12.1] rauc: writing\r\n', '[   12.3] BUG: unable to handle page fault for address: 0\r\n', '[   12.4] Call Trace:\r\n', ...boot].join('');
    const shown = consoleTrouble(log);
    assert.deepEqual(shown.slice(2, 5), ['[   12.1] rauc: writing', '[   12.3] BUG: unable to handle page fault for address: 0', '[   12.4] Call Trace:']);
    assert.ok(shown.length < 60);
  });

  it('is else where the box stopped, without empty lines', () => {
    assert.deepEqual(consoleTrouble(boot.join('')).at(-1), '[    0.99] booting');
    assert.equal(consoleTrouble(boot.join('')).length, 15);
    assert.deepEqual(consoleTrouble(''), []);
  });
});
