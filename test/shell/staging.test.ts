import { deepStrictEqual, match, strictEqual, throws } from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMMANDS } from '../../firmware/shell/commands.ts';
import { matchWords } from '../../firmware/shell/grammar.ts';
import { stagingParameters } from '../../firmware/shell/staging.ts';
import { documentChecks } from '../../provisioning/ztp/schema.ts';

const stagingRecord = (words: readonly string[]): string => stagingParameters(words)['record']!;

const ANCHOR = 'a'.repeat(64);
const FLAGS = `-w 1 -n BOX1 -c 198.51.100.2 -s 192.0.2.10/24 -g 192.0.2.1 -l BOX1@staging.Provider -lk ${'A'.repeat(43)}= -a ${ANCHOR}`;

describe('shell/staging', () => {
  it('takes an address family from the network instead of an address', () => {
    const words = FLAGS.replace(/-s \S+ -g \S+ /, '-d --slaac ');
    const [circuit] = documentChecks().prestaging(JSON.parse(stagingRecord(words.split(' ')))).circuits;
    deepStrictEqual(circuit, { id: 1, name: 'vni-0/1', transport: 'INTERNET', addresses: [], gateways: [], automatic: ['dhcp', 'slaac'] });
    throws(() => documentChecks().prestaging(JSON.parse(stagingRecord(FLAGS.replace('-g', '-d -g').split(' ')))), /circuits\.0\.addresses is "192\.0\.2\.10\/24"; allowed: no IPv4 address, for "automatic" has dhcp/);
  });

  it('makes a record that the box accepts from flags as staging.py has them', () => {
    const record = documentChecks().prestaging(JSON.parse(stagingRecord(FLAGS.split(' '))));
    strictEqual(record.serial, 'BOX1');
    strictEqual(record.provider, 'Provider');
    deepStrictEqual(record.circuits, [{ id: 1, name: 'vni-0/1', transport: 'INTERNET', addresses: ['192.0.2.10/24'], gateways: ['192.0.2.1'] }]);
    deepStrictEqual(record.controllers, [{ transport: 'INTERNET', address: '198.51.100.2' }]);
    deepStrictEqual(record.staging, { localIdentity: 'BOX1@staging.Provider', remoteIdentity: 'controller@staging.Provider', psk: `${'A'.repeat(43)}=`, tenant: 1 });
  });

  it('takes long flags, several Controllers and both address families', () => {
    const words = FLAGS.replace('-c 198', '--controller 2001:db8::2 --controller 198').replace('-s 192', '--static 2001:db8::10/64 -s 192');
    const record = documentChecks().prestaging(JSON.parse(stagingRecord(words.split(' '))));
    deepStrictEqual(record.controllers.map(({ address }) => address), ['2001:db8::2', '198.51.100.2']);
    deepStrictEqual(record.circuits[0]!.addresses, ['2001:db8::10/64', '192.0.2.10/24']);
  });

  it('leaves the serial number to the box when none is given', () => {
    strictEqual('serial' in (JSON.parse(stagingRecord(FLAGS.replace('-n BOX1 ', '').split(' '))) as object), false);
  });

  it('names the flag that is missing, unknown or without value', () => {
    throws(() => stagingRecord(FLAGS.replace(/-c \S+ /, '').split(' ')), /-c or --controller ADDRESS is missing/);
    throws(() => stagingRecord(FLAGS.replace(/-s \S+ /, '').split(' ')), /-s or --static ADDRESS\/LENGTH is missing/);
    throws(() => stagingRecord(['-q', '1']), /knows no -q; flags are\n[^]*--local-id IDENTITY/);
    throws(() => stagingRecord(['-c']), /-c needs a value/);
    throws(() => stagingRecord([]), /needs flags/);
    throws(() => stagingRecord(FLAGS.replace('@staging.', '@').split(' ')), /is not SERIAL@staging.PROVIDER/);
    throws(() => stagingRecord(FLAGS.replace('-w 1', '-w x').split(' ')), /-w x is not the number of a port/);
  });

  it('hands over a file as it is, and nothing beside it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'selvage-staging-'));
    try {
      const file = join(directory, 'record.json');
      writeFileSync(file, '{"serial":"BOX1"}');
      strictEqual(stagingRecord(['--record', file]), '{"serial":"BOX1"}');
      throws(() => stagingRecord(['--record', file, '-n', 'BOX1']), /leave the other flags out/);
      throws(() => stagingRecord(['-f', join(directory, 'other.json')]), /cannot be read/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('hands over an activation link as it is, and nothing beside it', () => {
    deepStrictEqual(stagingParameters(['-u', 'https://box1.setup/ztp?d=AA']), { link: 'https://box1.setup/ztp?d=AA' });
    throws(() => stagingParameters(['--url', 'https://box1.setup/ztp?d=AA', '-n', 'BOX1']), /leave the other flags out/);
  });

  it('is a command whose flags reach the box as one record', () => {
    const command = COMMANDS.find(({ query }) => query === 'request-staging')!;
    const { parameters } = matchWords(command.pattern, ['request', 'staging', ...FLAGS.split(' ')])!;
    match(command.prepare!(parameters)['record']!, /"provider":"Provider"/);
    strictEqual(matchWords(command.pattern, ['request', 'stage']), undefined);
  });
});
