// The activation link as text.
import assert from 'node:assert/strict';
import { decodeActivationLink, encodeActivationLink } from '../../provisioning/ztp/activation-link.ts';
import { RECORD } from './configuration-fixture.ts';

const EXPIRES = 1_800_000_000_000;
const LINK = encodeActivationLink(RECORD, EXPIRES);

describe('ztp/activation-link', () => {
  it('brings the record and its end to the other side, whatever host the link names', () => {
    assert.deepEqual(decodeActivationLink(LINK), { document: RECORD, expiresUnixMs: EXPIRES });
    assert.deepEqual(decodeActivationLink(` ${LINK.replace(/\/\/[^/]+/, '//other.setup')}\n`).document, RECORD);
  });

  it('is a link for the serial number of its box', () => {
    assert.ok(LINK.startsWith(`https://${RECORD.serial.toLowerCase()}.setup/ztp?d=`));
    assert.ok(LINK.length < 2900, 'fits a QR code');
  });

  it('refuses every truncation of itself', () => {
    for (let length = 0; length < LINK.length; length++) assert.throws(() => decodeActivationLink(LINK.slice(0, length)), /activation link/, String(length));
  });

  it('refuses what is no link, and what holds no record', () => {
    const of = (content: unknown): string => `https://a.setup/ztp?d=${Buffer.from(JSON.stringify(content)).toString('base64url')}`;
    for (const text of ['', 'text', LINK.replace('https', 'http'), LINK.replace('/ztp', '/other'), `${LINK}+`, `https://a.setup/ztp?d=${'A'.repeat(40_000)}`]) {
      assert.throws(() => decodeActivationLink(text), /this is no activation link/);
    }
    for (const content of [null, [], 1, {}, { record: RECORD }, { record: RECORD, expiresUnixMs: 'never' }, { expiresUnixMs: 1 }]) {
      assert.throws(() => decodeActivationLink(of(content)), /holds no prestaging record/);
    }
  });
});
