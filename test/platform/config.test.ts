import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, parseConfig } from '../../platform/config.ts';
import { ConfigError } from '../../platform/errors.ts';
import { withScratch } from './scratch.ts';

function problem(config: unknown): string {
  try {
    parseConfig(typeof config === 'string' ? config : JSON.stringify(config), 'selvage.json');
  } catch (error) {
    ok(error instanceof ConfigError, String(error));
    strictEqual(error.message.includes('\n'), false);
    return error.message;
  }
  return 'accepted';
}

describe('platform/config', () => {
  it('fills in defaults around a role', () => {
    deepStrictEqual(parseConfig('{"role": "branch"}', 'x'), {
      role: 'branch',
      name: '',
      serial: '',
      dataDirectory: '/var/lib/selvage',
      logDirectory: '/var/log/versa',
      runDirectory: '/run/selvage',
      prestaging: '',
      provider: '',
      southbound: { name: '', addresses: [], gateways: [] },
      director: { addresses: [], listenAddress: '::', listenPort: 443, database: '' },
      enrolment: { url: '', anchorSha256: '', token: '' },
      interfaces: [],
      forwarder: { workers: 0 },
      certificates: { revocation: 'soft', timeFloor: '', ocspResponder: '' },
      rescue: { firstRetrySeconds: 120, longestRetrySeconds: 3600 },
      debug: { exportKeys: false },
    });
  });

  it('takes every key that it knows', () => {
    const given = {
      role: 'controller',
      name: 'c1',
      serial: 'S-1',
      dataDirectory: '/d',
      logDirectory: '/l',
      runDirectory: '/r',
      prestaging: '/p.json',
      provider: 'example',
      southbound: { name: 'vni-0/1', addresses: ['10.0.0.2/24', '2001:db8::2/64'], gateways: ['10.0.0.1', '2001:db8::1'] },
      director: { addresses: ['10.0.0.1'], listenAddress: '10.0.0.1', listenPort: 8443, database: 'postgres://u:p@h/db' },
      enrolment: { url: 'https://10.0.0.1:8443', anchorSha256: 'ab'.repeat(32), token: 't' },
      interfaces: [{ name: 'vni-0/0', device: 'eth0' }, { name: 'vni-0/1', device: 'eth1' }],
      forwarder: { workers: 3 },
      certificates: { revocation: 'hard', timeFloor: '2026-01-02T03:04:05Z', ocspResponder: 'http://10.0.0.1/ocsp' },
      rescue: { firstRetrySeconds: 10, longestRetrySeconds: 100 },
      debug: { exportKeys: true },
    };
    deepStrictEqual(parseConfig(JSON.stringify(given), 'x'), given);
  });

  it('is frozen to the bottom', () => {
    const config = parseConfig('{"role": "branch", "interfaces": [{"name": "vni-0/0", "device": "eth0"}]}', 'x');
    for (const part of [config, config.director, config.interfaces, config.interfaces[0], config.debug]) ok(Object.isFrozen(part));
  });

  it('names file, key, value and what is allowed in one line', () => {
    strictEqual(problem({ role: 'branhc' }), 'selvage.json: role is "branhc"; allowed: branch, controller or director');
    strictEqual(problem({}), 'selvage.json: role is missing; allowed: branch, controller or director');
    strictEqual(problem({ role: 'branch', director: { listenPort: 0 } }), 'selvage.json: director.listenPort is 0; allowed: an integer from 1 to 65535');
    strictEqual(problem({ role: 'branch', debug: { exportKeys: 'yes' } }), 'selvage.json: debug.exportKeys is "yes"; allowed: true or false');
    strictEqual(problem({ role: 'branch', forwarder: { workers: 9 } }), 'selvage.json: forwarder.workers is 9; allowed: an integer from 0 to 8');
    strictEqual(problem({ role: 'branch', dataDirectory: 'relative' }), 'selvage.json: dataDirectory is "relative"; allowed: an absolute path');
  });

  it('names an unknown key and the known ones beside it', () => {
    strictEqual(problem({ role: 'branch', debug: { exportkeys: true } }), 'selvage.json: debug.exportkeys is true; allowed: no such key; known are exportKeys');
    ok(problem({ role: 'branch', nmae: 'b1' }).startsWith('selvage.json: nmae is "b1"; allowed: no such key; known are role, name, '));
  });

  it('refuses interfaces that are malformed, unknown or named twice', () => {
    for (const interfaces of [
      {},
      ['vni-0/0'],
      [{ name: 'eth0', device: 'eth0' }],
      [{ name: 'vni-0/0', device: 'a/b' }],
      [{ name: 'vni-0/0', device: 'eth0', mtu: 1500 }],
      [{ name: 'vni-0/0', device: 'eth0' }, { name: 'vni-0/0', device: 'eth1' }],
      [{ name: 'vni-0/0', device: 'eth0' }, { name: 'vni-0/1', device: 'eth0' }],
    ]) {
      ok(problem({ role: 'branch', interfaces }).startsWith('selvage.json: interfaces is '), JSON.stringify(interfaces));
    }
  });

  it('refuses addresses that are none, or too many', () => {
    for (const southbound of [{ addresses: ['10.0.0.2'] }, { addresses: ['10.0.0.2/33'] }, { addresses: 'x' }, { gateways: ['10.0.0.1/24'] }, { gateways: ['::1', '::2', '::3'] }, { name: 'eth0' }]) {
      ok(problem({ role: 'controller', southbound }).startsWith('selvage.json: southbound.'), JSON.stringify(southbound));
    }
    ok(problem({ role: 'director', director: { addresses: ['here'] } }).startsWith('selvage.json: director.addresses is ["here"]'));
  });

  it('never shows a secret', () => {
    strictEqual(problem({ role: 'branch', enrolment: { token: 12345 } }), 'selvage.json: enrolment.token is withheld; allowed: a text');
    strictEqual(problem({ role: 'director', director: { database: 'mysql://user:hunter2@h' } }), 'selvage.json: director.database is withheld; allowed: a postgres:// URL, or ""');
  });

  it('refuses sections that are values, values that are sections, and what is no object', () => {
    for (const config of [{ role: 'branch', director: 5 }, { role: 'branch', debug: null }, { role: { a: 1 } }, { role: 'branch', name: { a: 1 } }, [], 'null', '7', '{', '']) {
      ok(problem(config) !== 'accepted', JSON.stringify(config));
    }
  });

  it('reads a file, and says so when it cannot', () =>
    withScratch((directory) => {
      const file = join(directory, 'selvage.json');
      throws(() => loadConfig(file), /not readable \(ENOENT\)/);
      writeFileSync(file, '{"role": "director", "name": "d1"}');
      strictEqual(loadConfig(file).name, 'd1');
    }));
});
