import { match, strictEqual } from 'node:assert/strict';
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import type { X509Certificate } from '@peculiar/x509';
import { checkChain } from '../../platform/chain.ts';
import { installReflectMetadata } from '../../platform/reflect-metadata.ts';
import { dateFromUnixMs } from '../../platform/time.ts';

const NOW = 1_790_000_000_000;
const DAY = 86_400_000;

interface Issued {
  readonly certificate: X509Certificate;
  readonly der: Uint8Array;
  readonly keys: webcrypto.CryptoKeyPair;
}

interface Wanted {
  readonly name: string;
  readonly issuer?: Issued;
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** KeyUsage bits of @peculiar/x509; absent = no extension. */
  readonly usage?: number;
  readonly days?: number;
  readonly emails?: readonly string[];
  readonly criticalOid?: string;
  readonly algorithm?: keyof typeof ALGORITHMS;
}

const ALGORITHMS = {
  'P-256': { key: { name: 'ECDSA', namedCurve: 'P-256' }, signature: { name: 'ECDSA', hash: 'SHA-256' } },
  'P-384': { key: { name: 'ECDSA', namedCurve: 'P-384' }, signature: { name: 'ECDSA', hash: 'SHA-384' } },
  Ed25519: { key: { name: 'Ed25519' }, signature: { name: 'Ed25519' } },
  RSA: { key: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) }, signature: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } },
  'RSA-1024': { key: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024, publicExponent: Uint8Array.of(1, 0, 1) }, signature: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } },
  'RSA-SHA1': { key: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-1', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) }, signature: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-1' } },
} as const;

const SIGN = 0x01; // digitalSignature
const CERTIFY = 0x20; // keyCertSign

async function issue(wanted: Wanted): Promise<Issued> {
  installReflectMetadata();
  const x509 = await import('@peculiar/x509');
  const own = ALGORITHMS[wanted.algorithm ?? 'P-256'];
  const keys = (await webcrypto.subtle.generateKey(own.key as webcrypto.EcKeyGenParams, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const signer = wanted.issuer?.keys.privateKey ?? keys.privateKey;
  const signature = Object.values(ALGORITHMS).find(({ key }) => key.name === signer.algorithm.name && (!('namedCurve' in key) || key.namedCurve === (signer.algorithm as webcrypto.EcKeyAlgorithm).namedCurve) && (!('hash' in key) || key.hash === (signer.algorithm as webcrypto.RsaHashedKeyAlgorithm).hash.name))!.signature;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '0102',
    subject: [{ CN: [wanted.name] }],
    issuer: wanted.issuer?.certificate.subjectName ?? [{ CN: [wanted.name] }],
    notBefore: dateFromUnixMs(NOW - DAY),
    notAfter: dateFromUnixMs(NOW + (wanted.days ?? 30) * DAY),
    signingAlgorithm: signature,
    publicKey: keys.publicKey,
    signingKey: signer,
    extensions: [
      new x509.BasicConstraintsExtension(wanted.ca ?? false, wanted.pathLength, true),
      ...(wanted.usage === undefined ? [] : [new x509.KeyUsagesExtension(wanted.usage, true)]),
      ...(wanted.emails === undefined ? [] : [new x509.SubjectAlternativeNameExtension(wanted.emails.map((value) => ({ type: 'email', value })))]),
      ...(wanted.criticalOid === undefined ? [] : [new x509.Extension(wanted.criticalOid, true, Uint8Array.of(5, 0))]),
    ],
  });
  return { certificate, der: new Uint8Array(certificate.rawData), keys };
}

function check(chain: readonly Issued[], anchor: Issued): string {
  const result = checkChain({ chain: chain.map(({ der }) => der), anchors: [anchor.der], unixMs: NOW });
  return result.ok ? `ok ${result.keyType} ${result.emails.join(' ')}`.trimEnd() : result.cause;
}

describe('platform/chain', () => {
  let root: Issued;

  before(async () => {
    root = await issue({ name: 'root', ca: true });
  });

  it('climbs through intermediates given in any order', async () => {
    const upper = await issue({ name: 'upper', issuer: root, ca: true, usage: CERTIFY });
    const lower = await issue({ name: 'lower', issuer: upper, ca: true, usage: CERTIFY });
    const leaf = await issue({ name: 'leaf', issuer: lower, usage: SIGN, emails: ['a@b.c'] });
    const stranger = await issue({ name: 'stranger', ca: true });
    strictEqual(check([leaf, lower, upper], root), 'ok ecdsa a@b.c');
    strictEqual(check([leaf, stranger, upper, lower], root), 'ok ecdsa a@b.c');
    strictEqual(check([leaf, upper], root), 'certificate leads to no trust anchor');
    strictEqual(check([leaf, lower, upper], stranger), 'certificate leads to no trust anchor');
    strictEqual(check([leaf, lower, upper], lower), 'ok ecdsa a@b.c');
  });

  it('does not hold the begin of a certificate against it when only a lower bound of the time is known, but its end', async () => {
    const leaf = await issue({ name: 'leaf', issuer: root });
    const judge = (unixMs: number, isLowerBound: boolean): string => {
      const result = checkChain({ chain: [leaf.der], anchors: [root.der], unixMs, isLowerBound });
      return result.ok ? 'ok' : result.cause;
    };
    strictEqual(judge(0, false), 'certificate is not valid before 2026-09-20');
    strictEqual(judge(0, true), 'ok');
    strictEqual(judge(NOW + 31 * DAY, true), 'certificate expired on 2026-10-21');
  });

  it('counts intermediates against the path length', async () => {
    const tight = await issue({ name: 'tight', ca: true, pathLength: 0 });
    const middle = await issue({ name: 'middle', issuer: tight, ca: true });
    const direct = await issue({ name: 'direct', issuer: tight });
    const below = await issue({ name: 'below', issuer: middle });
    strictEqual(check([direct], tight), 'ok ecdsa');
    strictEqual(check([below, middle], tight), 'trust anchor allows 0 intermediates below it, there are 1');
  });

  it('asks for the right key usage of leaf and authority', async () => {
    const wrong = await issue({ name: 'wrong', issuer: root, ca: true, usage: SIGN });
    const leaf = await issue({ name: 'leaf', issuer: wrong });
    const mute = await issue({ name: 'mute', issuer: root, usage: 0x04 });
    strictEqual(check([leaf, wrong], root), 'intermediate certificate may not sign certificates (keyUsage)');
    strictEqual(check([mute], root), 'certificate is not for signatures (keyUsage)');
    strictEqual(check([await issue({ name: 'committed', issuer: root, usage: 0x02 })], root), 'ok ecdsa');
  });

  it('refuses what has expired anywhere on the way', async () => {
    const old = await issue({ name: 'old', issuer: root, ca: true, days: -0.5 });
    const leaf = await issue({ name: 'leaf', issuer: old });
    match(check([leaf, old], root), /^intermediate certificate expired on 2026-09-2/);
    const dead = await issue({ name: 'dead', ca: true, days: -0.5 });
    match(check([await issue({ name: 'leaf', issuer: dead })], dead), /^trust anchor expired on/);
  });

  it('refuses critical extensions that it does not understand', async () => {
    const odd = await issue({ name: 'odd', issuer: root, criticalOid: '1.3.6.1.4.1.99999.1' });
    strictEqual(check([odd], root), 'certificate has the critical extension 1.3.6.1.4.1.99999.1, which is not understood');
    const constrained = await issue({ name: 'constrained', issuer: root, ca: true, criticalOid: '2.5.29.36' });
    match(check([await issue({ name: 'leaf', issuer: constrained }), constrained], root), /critical extension 2\.5\.29\.36/);
  });

  it('takes ECDSA, Ed25519 and RSA, and no SHA-1', async () => {
    for (const [algorithm, type] of [['P-384', 'ecdsa'], ['Ed25519', 'ed25519'], ['RSA', 'rsa']] as const) {
      const authority = await issue({ name: algorithm, ca: true, algorithm });
      strictEqual(check([await issue({ name: 'leaf', issuer: authority, algorithm })], authority), `ok ${type}`);
    }
    const weak = await issue({ name: 'weak', ca: true, algorithm: 'RSA-SHA1' });
    strictEqual(check([await issue({ name: 'leaf', issuer: weak })], weak), 'certificate is signed with algorithm 1.2.840.113549.1.1.5, which is not accepted');
  });

  it('refuses RSA keys of less than 2048 bits, of the device and of an authority', async () => {
    const short = await issue({ name: 'short', ca: true, algorithm: 'RSA-1024' });
    strictEqual(check([await issue({ name: 'leaf', issuer: root, algorithm: 'RSA-1024' })], root), 'certificate has an RSA key of 1024 bits, at least 2048 are needed');
    strictEqual(check([await issue({ name: 'leaf', issuer: short })], short), 'trust anchor has an RSA key of 1024 bits, at least 2048 are needed');
  });

  it('ends when authorities certify each other in a circle', async () => {
    const a = await issue({ name: 'a', ca: true });
    const b = await issue({ name: 'b', issuer: a, ca: true });
    const again: Issued = { ...(await issue({ name: 'a', issuer: b, ca: true })), keys: a.keys };
    const leaf = await issue({ name: 'leaf', issuer: b });
    const result = check([leaf, b, again], root);
    match(result, /no trust anchor|does not match/);
  });

  it('refuses names with characters that could pose as another name', async () => {
    for (const email of ['a@b.c\0.d', 'a@b.c, URI:urn:x', '']) {
      match(check([await issue({ name: 'leaf', issuer: root, emails: [email] })], root), /not readable \(subjectAltName has a name with characters that are not allowed\)/);
    }
  });

  it('gives the key that the certificate holds', async () => {
    const leaf = await issue({ name: 'leaf', issuer: root });
    const result = checkChain({ chain: [leaf.der], anchors: [root.der], unixMs: NOW });
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leaf.keys.privateKey));
    const own = createPublicKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }) as unknown as string).export({ format: 'der', type: 'spki' });
    strictEqual(result.ok && Buffer.from(result.publicKey).equals(own), true);
  });
});
