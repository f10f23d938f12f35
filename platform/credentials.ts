// What the service manager hands over apart from the configuration file (systemd.exec(5), LoadCredential=): secrets that
// lie encrypted on the disk, or that a virtual machine's host passes in.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from './config.ts';
import { ConfigError } from './errors.ts';

export const PRESTAGING_CREDENTIAL = 'selvage.prestaging';
export const ENROLMENT_TOKEN_CREDENTIAL = 'selvage.enrolment-token';

/**
 * The configuration with what the credentials of `directory` (`$CREDENTIALS_DIRECTORY`) say: the prestaging record of a
 * branch and the enrolment token of a Controller. A credential goes before the file's value. Throws ConfigError.
 */
export function withCredentials(config: Config, directory: string | undefined): Config {
  if (directory === undefined || directory === '') return config;
  const record = join(directory, PRESTAGING_CREDENTIAL);
  const token = join(directory, ENROLMENT_TOKEN_CREDENTIAL);
  return {
    ...config,
    prestaging: existsSync(record) ? record : config.prestaging,
    enrolment: existsSync(token) ? { ...config.enrolment, token: readToken(token) } : config.enrolment,
  };
}

function readToken(path: string): string {
  const token = readFileSync(path, 'utf8').trim();
  if (token === '') throw new ConfigError({ source: path, key: 'the credential', value: 'empty', allowed: 'the one-time token that Director issued' });
  return token;
}
