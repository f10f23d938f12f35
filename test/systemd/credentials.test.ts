// Credentials of the service manager in front of the configuration file.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../platform/config.ts';
import { withCredentials } from '../../platform/credentials.ts';
import { ConfigError } from '../../platform/errors.ts';
import { withScratch } from '../platform/scratch.ts';

const CONFIG = parseConfig('{"role": "controller", "prestaging": "/etc/record.json", "enrolment": {"url": "https://d", "token": "from-file"}}', 'test');

describe('credentials', () => {
  it('leave the configuration as it is where there are none', () => {
    for (const directory of [undefined, '', '/nonexistent']) assert.deepEqual(withCredentials(CONFIG, directory), CONFIG);
  });

  it('go before the file: the path of the prestaging record, and the enrolment token without its line end', () => {
    withScratch((directory) => {
      writeFileSync(join(directory, 'selvage.prestaging'), '{}');
      writeFileSync(join(directory, 'selvage.enrolment-token'), 'from-credential\n');
      const config = withCredentials(CONFIG, directory);
      assert.equal(config.prestaging, join(directory, 'selvage.prestaging'));
      assert.deepEqual(config.enrolment, { ...CONFIG.enrolment, token: 'from-credential' });
    });
  });

  it('are refused when empty, with the name of the file', () => {
    withScratch((directory) => {
      writeFileSync(join(directory, 'selvage.enrolment-token'), ' \n');
      assert.throws(() => withCredentials(CONFIG, directory), (error) => error instanceof ConfigError && error.message.includes('selvage.enrolment-token'));
    });
  });
});
