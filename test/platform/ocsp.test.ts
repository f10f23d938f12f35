// Requests and responses against the responder of the openssl command, which shares no code with ours.
import { deepStrictEqual, equal, ok, strictEqual, throws } from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeCertificate } from '../../platform/certificate.ts';
import type { CertificateFields } from '../../platform/certificate.ts';
import { checkChain } from '../../platform/chain.ts';
import { WireError } from '../../platform/errors.ts';
import { decodeOcspResponse, encodeOcspRequest, isResponseSigned, LARGEST_OCSP_BYTES, statusOf } from '../../platform/ocsp.ts';
import { SystemClock } from '../../platform/time.ts';
import { CA_EXTENSIONS, OpensslAuthority } from './openssl-authority.ts';
import type { OpensslIssued } from './openssl-authority.ts';

/** After everything that is issued here. */
const NOW = new SystemClock().unixMs() + 600_000;
const HOUR = 3_600_000;
const DEVICE = ['basicConstraints=critical,CA:false', 'keyUsage=critical,digitalSignature'];
const RESPONDER = [...DEVICE, 'extendedKeyUsage=critical,OCSPSigning'];
const SERIAL = '1234';

describe('platform/ocsp', () => {
  let directory: string;
  let openssl: OpensslAuthority;
  let root: OpensslIssued;
  let issuer: CertificateFields;
  let leaf: OpensslIssued;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
    openssl = new OpensslAuthority(directory);
    root = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS });
    issuer = decodeCertificate(root.der);
    leaf = openssl.issue({ name: 'box', issuer: root, serial: String(0x1234), extensions: [...DEVICE, 'authorityInfoAccess=OCSP;URI:http://192.0.2.9/ocsp,caIssuers;URI:http://192.0.2.9/ca'] });
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  const request = (nonce?: Uint8Array): Uint8Array => encodeOcspRequest(SERIAL, issuer, nonce);
  const never = (): boolean => false;
  const check = (ocspResponses: readonly Uint8Array[], policy: 'soft' | 'hard' = 'hard', unixMs = NOW, crls: readonly Uint8Array[] = []): string => {
    const result = checkChain({ chain: [leaf.der], anchors: [root.der], unixMs, revocation: { crls, ocspResponses, policy } });
    return result.ok ? 'ok' : `${result.cause}${result.revoked ? ' !' : ''}`;
  };
  const NOTHING = 'certificate cannot be checked: no current CRL or OCSP response of issuer Root (hard fail)';

  it('asks as the openssl responder understands, and reads good, revoked and unknown', () => {
    for (const [answer, state] of [[{ known: [SERIAL] }, 'good'], [{ revoked: [SERIAL] }, 'revoked'], [{}, 'unknown']] as const) {
      const response = decodeOcspResponse(openssl.ocsp(root, request(), answer));
      const status = statusOf(response, SERIAL, issuer)!;
      equal(status.state, state);
      ok(Math.abs(status.thisUpdateUnixMs - NOW) < 900_000);
      // openssl asks the clock twice.
      ok(Math.abs(status.nextUpdateUnixMs! - status.thisUpdateUnixMs - HOUR) < 60_000);
      ok(isResponseSigned(response, issuer, NOW, never));
      strictEqual(response.nonce, undefined);
    }
  });

  it('asks in the octets of openssl, and gets its nonce back', () => {
    deepStrictEqual(request(), openssl.ocspRequest(root, SERIAL));
    const nonce = Uint8Array.from({ length: 32 }, (_, i) => i);
    deepStrictEqual(decodeOcspResponse(openssl.ocsp(root, request(nonce), { known: [SERIAL] })).nonce, nonce);
  });

  it('is asked where the certificate says', () => {
    deepStrictEqual(decodeCertificate(leaf.der).ocspUrls, ['http://192.0.2.9/ocsp']);
  });

  it('lets a chain pass under hard fail with a current response, and only then', () => {
    const good = openssl.ocsp(root, request(), { known: [SERIAL] });
    equal(check([good]), 'ok');
    equal(check([]), NOTHING);
    equal(check([good], 'hard', NOW + 2 * HOUR), NOTHING);
    equal(check([good], 'soft', NOW + 2 * HOUR), 'ok');
    equal(check([openssl.ocsp(root, request(), {})]), NOTHING);
    equal(check([openssl.ocsp(root, request(), { known: [SERIAL], minutes: 0 })]), 'ok');
    equal(check([openssl.ocsp(root, request(), { known: [SERIAL], minutes: 0 })], 'hard', NOW + 2 * HOUR), NOTHING);
  });

  it('refuses what a response has revoked, also when the response has ended', () => {
    const revoked = openssl.ocsp(root, request(), { revoked: [SERIAL] });
    equal(check([revoked], 'soft'), 'certificate was revoked on 2026-10-01 !');
    equal(check([revoked], 'soft', NOW + 2 * HOUR), 'certificate was revoked on 2026-10-01 !');
  });

  it('believes a delegated responder, and nobody whom the issuer has not delegated', () => {
    const delegate = openssl.issue({ name: 'Responder', issuer: root, extensions: RESPONDER, serial: String(0x5555) });
    const stranger = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS });
    const good = { known: [SERIAL] };
    const byDelegate = openssl.ocsp(root, request(), { ...good, signer: delegate });
    equal(check([byDelegate]), 'ok');
    equal(check([byDelegate], 'hard', NOW, [openssl.crl(stranger, ['5555'])]), 'ok');
    // Root's own list is current for the leaf, but then the response of a revoked delegate must not vouch any longer.
    const status = decodeOcspResponse(byDelegate);
    ok(isResponseSigned(status, issuer, NOW, (serialNumber) => serialNumber !== '5555'));
    ok(!isResponseSigned(status, issuer, NOW, (serialNumber) => serialNumber === '5555'));
    ok(!isResponseSigned(status, issuer, NOW + 40 * 24 * HOUR, never));
    for (const signer of [
      openssl.issue({ name: 'Device', issuer: root, extensions: DEVICE }),
      openssl.issue({ name: 'Encipherer', issuer: root, extensions: ['keyUsage=keyEncipherment', 'extendedKeyUsage=OCSPSigning'] }),
      openssl.issue({ name: 'Foreign', issuer: stranger, extensions: RESPONDER }),
    ]) {
      equal(check([openssl.ocsp(root, request(), { ...good, signer })]), NOTHING, signer.name);
    }
  });

  it('believes no response of another certificate, of another issuer of that name, or with a bad signature', () => {
    const other = encodeOcspRequest('1235', issuer, undefined);
    equal(check([openssl.ocsp(root, other, { known: ['1235'] })]), NOTHING);
    const namesake = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS });
    equal(check([openssl.ocsp(namesake, encodeOcspRequest(SERIAL, decodeCertificate(namesake.der), undefined), { known: [SERIAL] })]), NOTHING);
    equal(check([openssl.ocsp(root, request(), { known: [SERIAL], badSignature: true })]), NOTHING);
  });

  it('throws WireError for every truncation, names what a responder refuses, and reads no more than its limit', () => {
    const good = openssl.ocsp(root, request(), { known: [SERIAL] });
    for (let length = 0; length < good.length; length++) throws(() => decodeOcspResponse(good.subarray(0, length)), WireError);
    for (const [code, word] of [[1, 'malformedRequest'], [3, 'tryLater'], [6, 'unauthorized'], [9, 'status 9']] as const) {
      throws(() => decodeOcspResponse(Uint8Array.of(0x30, 3, 0x0a, 1, code)), new RegExp(`the responder answers ${word}`));
    }
    throws(() => decodeOcspResponse(new Uint8Array(LARGEST_OCSP_BYTES + 1)), /at most 131072 are read/);
  });

  it('never believes a response with one bit flipped in what is signed', () => {
    const good = openssl.ocsp(root, request(), { known: [SERIAL] });
    const { signed } = decodeOcspResponse(good);
    const start = Buffer.from(good).indexOf(Buffer.from(signed));
    for (let at = start; at < start + signed.length; at++) {
      const flipped = good.slice();
      flipped[at]! ^= 1 << (at % 8);
      equal(check([flipped]), NOTHING);
    }
  });
});
