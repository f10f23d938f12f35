import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SystemClock } from '../../platform/time.ts';
import { certificateFacts, createAuthority } from '../../platform/x509.ts';

describe('platform/crypto-real certificatePublicKey', () => {
  it('reads the key of a certificate that nobody trusts, and nothing from other octets', async () => {
    const clock = new SystemClock();
    const authority = await createAuthority({ commonName: 'Somebody', unixMs: clock.unixMs(), days: 1 });
    const suite = new RealSuite();
    deepStrictEqual(suite.certificatePublicKey(authority.certificate), certificateFacts(authority.certificate).publicKey);
    strictEqual(suite.certificatePublicKey(authority.certificate.slice(0, 50)), undefined);
    strictEqual(suite.certificatePublicKey(new Uint8Array(0)), undefined);
  });
});
