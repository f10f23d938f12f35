import { deepStrictEqual, doesNotThrow, match, strictEqual, throws } from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeCertificate } from '../../platform/certificate.ts';
import { checkChain } from '../../platform/chain.ts';
import { decodeCrl } from '../../platform/crl.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { WireError } from '../../platform/errors.ts';
import { SystemClock } from '../../platform/time.ts';
import { issueCrl } from '../../platform/x509.ts';
import { CA_EXTENSIONS, OpensslAuthority } from './openssl-authority.ts';
import type { OpensslIssued } from './openssl-authority.ts';

/** After everything that is issued here. */
const NOW = new SystemClock().unixMs() + 600_000;
const DAY = 86_400_000;
const DEVICE = ['basicConstraints=critical,CA:false', 'keyUsage=critical,digitalSignature'];

describe('platform/chain with certificates of openssl', () => {
  let directory: string;
  let openssl: OpensslAuthority;
  let root: OpensslIssued;
  let regional: OpensslIssued;
  let issuing: OpensslIssued;
  let leaf: OpensslIssued;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
    openssl = new OpensslAuthority(directory);
    root = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS, key: 'rsa' });
    regional = openssl.issue({ name: 'Regional', issuer: root, extensions: CA_EXTENSIONS });
    issuing = openssl.issue({ name: 'Issuing', issuer: regional, extensions: CA_EXTENSIONS, key: 'ed25519' });
    leaf = openssl.issue({ name: 'box', issuer: issuing, serial: '4660', extensions: [...DEVICE, 'subjectAltName=email:box@acme.example'] });
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  function check(chain: readonly OpensslIssued[], revocation?: RevocationCheck, unixMs = NOW, anchors = [root]): string {
    const result = checkChain({ chain: chain.map(({ der }) => der), anchors: anchors.map(({ der }) => der), unixMs, revocation });
    return result.ok ? `ok ${result.keyType}` : `${result.cause}${result.revoked ? ' !' : ''}`;
  }

  function leafOf(issuer: OpensslIssued, ...extensions: string[]): OpensslIssued {
    return openssl.certify(leaf, issuer, [...DEVICE, ...extensions]);
  }

  it('finds the way over three authorities of three kinds of key, whatever the order', () => {
    strictEqual(check([leaf, issuing, regional]), 'ok ecdsa');
    strictEqual(check([leaf, regional, issuing]), 'ok ecdsa');
    strictEqual(check([leaf, regional, root, issuing]), 'ok ecdsa');
    strictEqual(check([leaf, regional]), 'certificate leads to no trust anchor');
    strictEqual(check([leaf, issuing], undefined, NOW, [root, regional]), 'ok ecdsa');
  });

  it('takes another way when the first one is not good', () => {
    const other = openssl.issue({ name: 'Other', extensions: CA_EXTENSIONS });
    const crossed = openssl.issue({ name: 'Crossed', issuer: other, extensions: ['basicConstraints=critical,CA:false'] });
    // The same authority, certified twice: by one that gave it no right to certify, and by the root.
    const again = openssl.certify(crossed, root, CA_EXTENSIONS);
    const box = leafOf(again);
    strictEqual(check([box, crossed, again], undefined, NOW, [other, root]), 'ok ecdsa');
    strictEqual(check([box, crossed], undefined, NOW, [other, root]), 'intermediate certificate is not an authority (basicConstraints)');
  });

  it('takes a device with an RSA key', () => {
    strictEqual(check([openssl.issue({ name: 'rsa', issuer: root, key: 'rsa', extensions: DEVICE })]), 'ok rsa');
  });

  it('asks for a purpose that authenticates peers where purposes are named', () => {
    for (const purpose of ['serverAuth', 'clientAuth', '1.3.6.1.5.5.7.3.17', 'anyExtendedKeyUsage', 'codeSigning,clientAuth']) {
      strictEqual(check([leafOf(root, `extendedKeyUsage=critical,${purpose}`)]), 'ok ecdsa');
    }
    strictEqual(check([leafOf(root, 'extendedKeyUsage=codeSigning')]), 'certificate is not for authentication of peers (extendedKeyUsage 1.3.6.1.5.5.7.3.3)');
    const narrow = openssl.issue({ name: 'Narrow', issuer: root, extensions: [...CA_EXTENSIONS, 'extendedKeyUsage=emailProtection'] });
    match(check([leafOf(narrow), narrow]), /^intermediate certificate is not for authentication of peers/);
  });

  it('takes the critical policy anyPolicy and no other, while any policy that is not critical passes', () => {
    strictEqual(check([leafOf(root, 'certificatePolicies=critical,2.5.29.32.0')]), 'ok ecdsa');
    strictEqual(check([leafOf(root, 'certificatePolicies=1.3.6.1.4.1.99999.7')]), 'ok ecdsa');
    strictEqual(check([leafOf(root, 'certificatePolicies=critical,1.3.6.1.4.1.99999.7')]), 'certificate is for policy 1.3.6.1.4.1.99999.7 only, which is not understood');
    match(check([leafOf(root, 'policyConstraints=critical,requireExplicitPolicy:0')]), /critical extension 2\.5\.29\.36/);
  });

  const CONSTRAINTS: readonly (readonly [string, string, string])[] = [
    ['permitted;email:acme.example', 'email:box@acme.example', 'ok ecdsa'],
    ['permitted;email:acme.example', 'email:box@ACME.example', 'ok ecdsa'],
    ['permitted;email:acme.example', 'email:box@sub.acme.example', 'mail address box@sub.acme.example is not permitted'],
    ['permitted;email:.acme.example', 'email:box@sub.acme.example', 'ok ecdsa'],
    ['permitted;email:.acme.example', 'email:box@acme.example', 'mail address box@acme.example is not permitted'],
    ['permitted;email:box@acme.example', 'email:box@acme.example', 'ok ecdsa'],
    ['permitted;email:box@acme.example', 'email:Box@acme.example', 'mail address Box@acme.example is not permitted'],
    ['excluded;email:acme.example', 'email:box@acme.example', 'mail address box@acme.example is excluded'],
    ['excluded;email:acme.example', 'email:box@other.example', 'ok ecdsa'],
    ['permitted;email:acme.example', 'DNS:anything.example', 'ok ecdsa'],
    ['permitted;DNS:acme.example', 'DNS:acme.example', 'ok ecdsa'],
    ['permitted;DNS:acme.example', 'DNS:a.b.acme.example', 'ok ecdsa'],
    ['permitted;DNS:acme.example', 'DNS:notacme.example', 'DNS name notacme.example is not permitted'],
    ['excluded;DNS:acme.example', 'DNS:box.acme.example', 'DNS name box.acme.example is excluded'],
    ['permitted;URI:director.acme.example', 'URI:https://director.acme.example:9443/x', 'ok ecdsa'],
    ['permitted;URI:.acme.example', 'URI:https://user@director.acme.example', 'ok ecdsa'],
    ['permitted;URI:.acme.example', 'URI:https://director.acme.example.evil.org/', 'URI https://director.acme.example.evil.org/ is not permitted'],
    ['permitted;URI:.acme.example', 'URI:urn:selvage:x', 'URI urn:selvage:x is not permitted'],
    ['excluded;URI:.acme.example', 'URI:urn:selvage:x', 'URI urn:selvage:x is excluded'],
  ];

  it('holds names to the critical name constraints of every authority above', () => {
    for (const [constraint, name, expected] of CONSTRAINTS) {
      const upper = openssl.certify(regional, root, [...CA_EXTENSIONS, `nameConstraints=critical,${constraint}`]);
      const lower = openssl.certify(issuing, upper, CA_EXTENSIONS);
      const said = expected === 'ok ecdsa' ? expected : `certificate is outside of the name constraints of authority Regional: the ${expected}`;
      strictEqual(check([leafOf(lower, `subjectAltName=${name}`), lower, upper]), said, `${constraint} ${name}`);
    }
  }).timeout(180_000);

  it('refuses an authority that constrains names of other forms', () => {
    const strange = openssl.issue({ name: 'Strange', issuer: root, extensions: [...CA_EXTENSIONS, 'nameConstraints=permitted;IP:10.0.0.0/255.0.0.0'] });
    strictEqual(check([leafOf(strange), strange]), 'authority Strange constrains a form of name that is not understood');
  });

  it('refuses what a list of its issuer names, be it leaf or intermediate', () => {
    const crls = [openssl.crl(root, []), openssl.crl(regional, []), openssl.crl(issuing, ['1234', '00FF'])];
    strictEqual(check([leaf, issuing, regional], { crls, policy: 'hard' }), 'certificate was revoked on 2026-10-01 !');
    strictEqual(check([leafOf(issuing), issuing, regional], { crls, policy: 'hard' }), 'ok ecdsa');
    const serial = decodeSerial(issuing);
    const upper = [openssl.crl(root, []), openssl.crl(regional, [serial]), openssl.crl(issuing, [])];
    strictEqual(check([leaf, issuing, regional], { crls: upper, policy: 'soft' }), 'intermediate certificate was revoked on 2026-10-01 !');
  });

  it('believes no list of another signer, whatever name it bears', () => {
    const impostor = openssl.issue({ name: 'Issuing', extensions: CA_EXTENSIONS });
    const mute = openssl.issue({ name: 'Mute', issuer: root, extensions: ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign'] });
    strictEqual(check([leaf, issuing, regional], { crls: [openssl.crl(impostor, ['1234'])], policy: 'soft' }), 'ok ecdsa');
    strictEqual(check([leafOf(mute), mute], { crls: [openssl.crl(root, []), openssl.crl(mute, [])], policy: 'hard' }), 'certificate cannot be checked: no current CRL or OCSP response of issuer Mute (hard fail)');
  });

  it('without a current list passes softly and fails hard, and still believes what an old list names', () => {
    const crls = [openssl.crl(root, []), openssl.crl(regional, []), openssl.crl(issuing, ['1234'])];
    const box = leafOf(issuing);
    const late = NOW + 2 * DAY;
    strictEqual(check([box, issuing, regional], { crls, policy: 'soft' }, late), 'ok ecdsa');
    strictEqual(check([box, issuing, regional], { crls, policy: 'hard' }, late), 'intermediate certificate cannot be checked: no current CRL or OCSP response of issuer Root (hard fail)');
    strictEqual(check([leaf, issuing, regional], { crls, policy: 'soft' }, late), 'certificate was revoked on 2026-10-01 !');
    strictEqual(check([box, issuing, regional], { crls: crls.slice(0, 2), policy: 'hard' }), 'certificate cannot be checked: no current CRL or OCSP response of issuer Issuing (hard fail)');
    strictEqual(check([box, issuing, regional], { crls: [Uint8Array.of(1, 2, 3)], policy: 'soft' }), 'ok ecdsa');
  });

  it('reads its own lists as openssl made them and as Director makes them', async () => {
    const crl = decodeCrl(openssl.crl(issuing, ['1234', '00FF']));
    deepStrictEqual([...crl.revoked.keys()].toSorted(), ['1234', 'ff']);
    const authority = openssl.issue({ name: 'Provider', extensions: CA_EXTENSIONS });
    const privateKey = createPrivateKey(readFileSync(`${authority.base}.key`)).export({ format: 'der', type: 'pkcs8' });
    const own = await issueCrl({ certificate: authority.der, privateKey }, { revoked: [{ serialNumber: '4abc', revokedUnixMs: NOW }], unixMs: NOW, days: 1, number: 1 });
    deepStrictEqual([...decodeCrl(own).revoked.keys()], ['4abc']);
    const box = openssl.issue({ name: 'box', issuer: authority, serial: '19132', extensions: DEVICE });
    match(check([box], { crls: [own], policy: 'hard' }, NOW, [authority]), /^certificate was revoked on .* !$/);
  });

  it('survives lists that are cut short or have a bit flipped', () => {
    const der = openssl.crl(issuing, ['1234']);
    for (let length = 0; length < der.length; length++) throws(() => decodeCrl(der.slice(0, length)), WireError);
    for (let at = 0; at < der.length * 8; at += 3) {
      const bad = der.slice();
      bad[at >>> 3]! ^= 1 << (at & 7);
      doesNotThrow(() => checkChain({ chain: [leaf.der, issuing.der, regional.der], anchors: [root.der], unixMs: NOW, revocation: { crls: [bad], policy: 'soft' } }));
    }
  });
});

function decodeSerial({ der }: OpensslIssued): string {
  return decodeCertificate(der).serialNumber.padStart(4, '0');
}
