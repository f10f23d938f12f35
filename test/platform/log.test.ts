import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { closeSync, openSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { FileSink, JournalSink } from '../../platform/log-file.ts';
import { formatLine } from '../../platform/log-line.ts';
import type { Fields, LogRecord } from '../../platform/log.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { withScratch } from './scratch.ts';

const AT = 1_790_000_000_123;

function line(sentence: string, fields: Fields): string {
  const record: LogRecord = { level: 'info', sentence, fields, unixMs: AT, channel: 'ipsec' };
  return formatLine(record);
}

describe('platform/log', () => {
  it('writes time, level, sentence and fields on one line', () => {
    strictEqual(
      line('IKE SA established', { peer: 'c1', remote: '[2001:db8::1]:500', count: 3, nat: false, none: undefined }),
      '2026-09-21T14:13:20.123Z info IKE SA established peer=c1 remote=[2001:db8::1]:500 count=3 nat=false',
    );
  });

  it('quotes values with spaces, quotes and nothing in them', () => {
    strictEqual(line('x', { a: 'two words', b: 'say "hi" \\', c: '', d: 'k=v' }), '2026-09-21T14:13:20.123Z info x a="two words" b="say \\"hi\\" \\\\" c="" d="k=v"');
  });

  it('keeps a record on one line whatever a peer puts into a name', () => {
    const text = line('x', { name: 'a\n2026-09-21T14:13:20.123Z error forged\r\u001b[2J\u2028' });
    strictEqual(text.split(/[\n\r\u2028]/).length, 1);
    strictEqual(text, '2026-09-21T14:13:20.123Z info x name="a\\u000a2026-09-21T14:13:20.123Z error forged\\u000d\\u001b[2J\\u2028"');
  });

  it('shows no octets, even when a cast brings them in', () => {
    // @ts-expect-error octets could be a key, so they are no field
    const fields: Fields = { key: Uint8Array.of(1, 2, 3) };
    strictEqual(line('x', fields), '2026-09-21T14:13:20.123Z info x key=withheld');
  });

  it('writes each channel to its own file, and to a new one after rotation', () =>
    withScratch((directory) => {
      const sink = new FileSink(join(directory, 'versa'));
      const log = new SinkLog([sink], () => AT);
      log.channel('ipsec').info('one');
      log.channel('bgp').warning('two', { peer: 'c1' });
      renameSync(join(directory, 'versa', 'versa-ipsec.log'), join(directory, 'versa', 'versa-ipsec.log.1'));
      log.channel('ipsec').info('three');
      sink.reopen();
      log.channel('ipsec').info('four');
      sink.close();
      const read = (name: string): string => readFileSync(join(directory, 'versa', name), 'utf8');
      strictEqual(read('versa-ipsec.log.1'), '2026-09-21T14:13:20.123Z info one\n2026-09-21T14:13:20.123Z info three\n');
      strictEqual(read('versa-ipsec.log'), '2026-09-21T14:13:20.123Z info four\n');
      strictEqual(read('versa-bgp.log'), '2026-09-21T14:13:20.123Z warning two peer=c1\n');
      strictEqual(sink.lost, 0);
    }));

  it('counts what it cannot write instead of failing', () =>
    withScratch((directory) => {
      const sink = new FileSink(directory);
      const log = new SinkLog([sink], () => AT);
      renameSync(directory, `${directory}-gone`);
      log.channel('ipsec').info('one');
      renameSync(`${directory}-gone`, directory);
      strictEqual(sink.lost, 1);
    }));

  it('gives the journal a priority per level and leaves unimportant records out', () =>
    withScratch((directory) => {
      const path = join(directory, 'journal');
      const fd = openSync(path, 'w');
      const log = new SinkLog([new JournalSink({ least: 'info', fd })], () => AT);
      log.channel('ipsec').debug('zero');
      log.channel('ipsec').info('one', { a: 1 });
      log.channel('ztp').error('two');
      closeSync(fd);
      strictEqual(readFileSync(path, 'utf8'), '<6>ipsec: one a=1\n<3>ztp: two\n');
    }));

  it('keeps only the newest records in memory', () => {
    const sink = new MemorySink(2);
    const log = new SinkLog([sink], () => AT);
    for (const sentence of ['one', 'two', 'three']) log.channel('bgp').info(sentence);
    deepStrictEqual(sink.records.map((record) => record.sentence), ['two', 'three']);
  });
});
