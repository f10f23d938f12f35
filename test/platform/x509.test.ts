import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { utf8 } from '../../platform/bytes.ts';
import { decodeCertificate } from '../../platform/certificate.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { UsageError, WireError } from '../../platform/errors.ts';
import { decodePem, encodePem } from '../../platform/pem.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import type { Authority, IssueRequest } from '../../platform/x509.ts';
import { BACKDATE_MS, certificateFacts, createAuthority, createCsr, generateKeyPair, issueCrl, issueFromCsr, keyMatches, readCrl, verifyCsr } from '../../platform/x509.ts';

const NOW = 1_790_000_000_000;
const DAY = 86_400_000;
const suite = new RealSuite();

/** Those of the request, as they are in the certificate. */
const ADDRESSES = ['0a000001', '20010db8000000000000000000000001'];
const REQUEST: IssueRequest = {
  subject: 'b1',
  emails: ['b1@acme.example', 'b1@provider.example'],
  uris: ['urn:selvage:example:site:100:tenant:1', 'urn:selvage:example:site:100:tenant:2'],
  dnsNames: ['b1.example'],
  ipAddresses: ['10.0.0.1', '2001:db8::1'],
  days: 30,
  unixMs: NOW,
  serialNumber: '0a1b2c',
  client: true,
  server: true,
};

function check(chain: readonly Uint8Array[], anchors: readonly Uint8Array[], unixMs = NOW): string {
  const result = suite.checkChain({ chain, anchors, unixMs });
  return result.ok ? 'ok' : result.cause;
}

describe('platform/x509', () => {
  let authority: Authority;
  let device: { privateKey: Uint8Array; publicKey: Uint8Array };
  let csr: Uint8Array;
  let certificate: Uint8Array;

  before(async () => {
    authority = await createAuthority({ commonName: 'Example provider', unixMs: NOW, days: 3650 });
    device = await generateKeyPair('ecdsa-p256');
    csr = await createCsr({ privateKey: device.privateKey, subject: 'wanted' });
    certificate = await issueFromCsr(authority, csr, REQUEST);
  });

  it('issues what was asked for, for the key of the request', () => {
    const { sha256, ...facts } = certificateFacts(certificate);
    deepStrictEqual(facts, {
      subject: 'b1',
      issuer: 'Example provider',
      ca: false,
      emails: REQUEST.emails,
      uris: REQUEST.uris,
      dnsNames: REQUEST.dnsNames,
      ipAddresses: ADDRESSES,
      notBeforeUnixMs: NOW - BACKDATE_MS,
      notAfterUnixMs: NOW + 30 * DAY,
      serialNumber: '0a1b2c',
      publicKey: device.publicKey,
    });
    match(sha256, /^[0-9a-f]{64}$/);
    match(new X509Certificate(certificate).subjectAltName ?? '', /IP Address:10\.0\.0\.1, IP Address:2001:DB8:/);
  });

  it('passes the chain check, which gives key, names and expiry', () => {
    const result = suite.checkChain({ chain: [certificate], anchors: [authority.certificate], unixMs: NOW });
    deepStrictEqual(result, {
      ok: true,
      publicKey: device.publicKey,
      keyType: 'ecdsa',
      emails: REQUEST.emails,
      uris: REQUEST.uris,
      dnsNames: REQUEST.dnsNames,
      ipAddresses: ADDRESSES,
      subject: decodeCertificate(certificate).subject,
      serialNumber: '0a1b2c',
      notAfterUnixMs: NOW + 30 * DAY,
    });
  });

  it('signs so that the issued key verifies', () => {
    const signature = suite.sign('ecdsa-sha256', device.privateKey, utf8('data'));
    strictEqual(suite.verify('ecdsa-sha256', certificateFacts(certificate).publicKey, utf8('data'), signature), true);
  });

  it('names the day on which a certificate expired or begins', () => {
    strictEqual(check([certificate], [authority.certificate], NOW + 31 * DAY), 'certificate expired on 2026-10-21');
    strictEqual(check([certificate], [authority.certificate], NOW - 2 * DAY), 'certificate is not valid before 2026-09-21');
  });

  it('refuses a certificate of a stranger, even one of the same name', async () => {
    const other = await createAuthority({ commonName: 'Other', unixMs: NOW, days: 10 });
    const namesake = await createAuthority({ commonName: 'Example provider', unixMs: NOW, days: 10 });
    strictEqual(check([certificate], [other.certificate]), 'certificate leads to no trust anchor');
    strictEqual(check([certificate], [namesake.certificate]), 'certificate is not signed by the authority that it names');
    strictEqual(check([certificate], [other.certificate, namesake.certificate, authority.certificate]), 'ok');
    strictEqual(check([certificate], []), 'certificate leads to no trust anchor');
  });

  it('refuses a device that acts as an authority, and an authority that acts as a device', async () => {
    const below = await issueFromCsr({ certificate, privateKey: device.privateKey }, csr, { ...REQUEST, subject: 'below' });
    strictEqual(check([below, certificate], [authority.certificate]), 'intermediate certificate is not an authority (basicConstraints)');
    strictEqual(check([authority.certificate], [authority.certificate]), 'certificate is an authority, not a device');
  });

  it('refuses empty, long and damaged chains in words', () => {
    strictEqual(check([], [authority.certificate]), 'there is no certificate');
    strictEqual(check(new Array<Uint8Array>(9).fill(certificate), [authority.certificate]), 'chain has 9 certificates, at most 8 are read');
    match(check([new Uint8Array(70_000)], [authority.certificate]), /certificate is not readable \(certificate has 70000 octets, at most 65536 are read\)/);
    const trailing = new Uint8Array(certificate.length + 1);
    trailing.set(certificate);
    match(check([trailing], [authority.certificate]), /1 octets after its end/);
    match(check([utf8(encodePem('CERTIFICATE', certificate))], [authority.certificate]), /not readable/);
  });

  it('gives a cause for every truncation and never accepts a flipped bit', () => {
    const anchors = [authority.certificate];
    const random = new SeededRandom('flip');
    for (let length = 0; length < certificate.length; length++) {
      throws(() => decodeCertificate(certificate.slice(0, length)), WireError);
      strictEqual(suite.checkChain({ chain: [certificate.slice(0, length)], anchors, unixMs: NOW }).ok, false);
    }
    for (let round = 0; round < 600; round++) {
      const at = randomBelow(random, certificate.length);
      const bad = certificate.slice();
      bad[at]! ^= 1 << randomBelow(random, 8);
      ok(!suite.checkChain({ chain: [bad], anchors, unixMs: NOW }).ok, `accepted a flip at octet ${at}`);
    }
  });

  it('verifies a request only with its own signature', async () => {
    deepStrictEqual(await verifyCsr(csr), { commonName: 'wanted', publicKey: device.publicKey });
    const bad = csr.slice();
    bad[bad.length - 1]! ^= 1;
    strictEqual(await verifyCsr(bad), undefined);
    strictEqual(await verifyCsr(new Uint8Array(0)), undefined);
    strictEqual(await verifyCsr(csr.slice(0, 40)), undefined);
    await rejects(issueFromCsr(authority, bad, REQUEST), UsageError);
  });

  it('lists revoked serials in a CRL that only the authority can sign', async () => {
    const revoked = [{ serialNumber: '0a1b2c', revokedUnixMs: NOW }, { serialNumber: '7f', revokedUnixMs: NOW - DAY }];
    const crl = await issueCrl(authority, { revoked, unixMs: NOW, days: 7, number: 1 });
    deepStrictEqual(await readCrl(crl, authority.certificate), { thisUpdateUnixMs: NOW, nextUpdateUnixMs: NOW + 7 * DAY, revoked });
    deepStrictEqual((await readCrl(await issueCrl(authority, { revoked: [], unixMs: NOW, days: 7, number: 1 }), authority.certificate)).revoked, []);
    const namesake = await createAuthority({ commonName: 'Example provider', unixMs: NOW, days: 10 });
    await rejects(readCrl(crl, namesake.certificate), WireError);
    await rejects(readCrl(crl.slice(0, 50), authority.certificate), WireError);
  });

  it('knows whether a key belongs to a certificate', async () => {
    strictEqual(await keyMatches(certificate, device.privateKey), true);
    strictEqual(await keyMatches(certificate, authority.privateKey), false);
  });

  it('writes PEM that it reads back, and refuses what is none', () => {
    const text = encodePem('CERTIFICATE', certificate);
    deepStrictEqual(decodePem('CERTIFICATE', `${text}\n${encodePem('CERTIFICATE', authority.certificate)}`), [certificate, authority.certificate]);
    strictEqual(new X509Certificate(text).subject, 'CN=b1');
    throws(() => decodePem('PRIVATE KEY', text), WireError);
    throws(() => decodePem('CERTIFICATE', '-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----'), WireError);
  });
});
