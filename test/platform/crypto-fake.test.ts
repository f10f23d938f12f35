import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { FakeSuite, fakeAnchor, fakeCertificate, fakeKeyPair } from '../../platform/crypto-fake.ts';
import { SeededRandom } from '../../platform/random.ts';
import { suiteContract } from './suite-contract.ts';

const suite = new FakeSuite();
const key = fakeKeyPair(new SeededRandom('leaf'));
const names = { emails: ['b1@acme.example'], uris: ['urn:selvage:example:site:100:tenant:2'], dnsNames: ['b1.acme.example'] };

describe('platform/crypto-fake', () => {
  suiteContract(
    () => new FakeSuite(),
    () => (['ecdsa-sha256', 'ecdsa-sha384', 'ed25519'] as const).map((algorithm, i) => ({ algorithm, ...fakeKeyPair(new SeededRandom(i)) })),
  );

  it('reads names and key out of a fake certificate under its anchor', () => {
    const chain = [fakeCertificate({ ...names, publicKey: key.publicKey, serialNumber: '0a' })];
    const result = suite.checkChain({ chain, anchors: [fakeAnchor()], unixMs: 1 });
    deepStrictEqual({ ...result, notAfterUnixMs: 0 }, { ok: true, keyType: 'ecdsa', ...names, ipAddresses: [], subject: new Uint8Array(0), publicKey: key.publicKey, serialNumber: '0a', notAfterUnixMs: 0 });
  });

  it('refuses a fake certificate of another anchor, out of its time, or changed anywhere', () => {
    const good = fakeCertificate({ ...names, publicKey: key.publicKey, notBeforeUnixMs: 1000, notAfterUnixMs: 2000 });
    const anchors = [fakeAnchor()];
    strictEqual(suite.checkChain({ chain: [good], anchors, unixMs: 1500 }).ok, true);
    strictEqual(suite.checkChain({ chain: [good], anchors: [fakeAnchor('other')], unixMs: 1500 }).ok, false);
    strictEqual(suite.checkChain({ chain: [good], anchors, unixMs: 999 }).ok, false);
    deepStrictEqual(suite.checkChain({ chain: [good], anchors, unixMs: 2001 }), { ok: false, cause: 'certificate expired on 1970-01-01' });
    strictEqual(suite.checkChain({ chain: [], anchors, unixMs: 1500 }).ok, false);
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice();
      bad[at]! ^= 1;
      strictEqual(suite.checkChain({ chain: [bad], anchors, unixMs: 1500 }).ok, false);
      strictEqual(suite.checkChain({ chain: [good.slice(0, at)], anchors, unixMs: 1500 }).ok, false);
    }
  });
});
