import { deepStrictEqual, equal, match, ok } from 'node:assert/strict';
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import type { IkeIdentity, IkeProfile } from '../../firmware/ike/profile.ts';
import { identityText } from '../../firmware/ike/profile.ts';
import { withInBandResponses } from '../../firmware/ike/certificate-request.ts';
import { CertEncoding } from '../../firmware/wire/ike/numbers.ts';
import { toHex } from '../../platform/bytes.ts';
import { decodeCertificate } from '../../platform/certificate.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { ChainRequest, ChainResult, RevocationCheck, SignatureAlgorithm } from '../../platform/crypto.ts';
import { installReflectMetadata } from '../../platform/reflect-metadata.ts';
import { dateFromUnixMs } from '../../platform/time.ts';
import type { Authority } from '../../platform/x509.ts';
import { createAuthority, createCsr, generateKeyPair, issueCrl, issueFromCsr } from '../../platform/x509.ts';
import { pair, pskProfile, UNIX_MS, World } from './pair.ts';

const URI = 'urn:selvage:acme:site:101:tenant:2';

interface Device {
  readonly privateKey: Uint8Array;
  readonly certificate: Uint8Array;
}

async function issue(authority: Authority, email: string, serialNumber: string, days = 30, unixMs = UNIX_MS): Promise<Device> {
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  const csr = await createCsr({ privateKey, subject: 'device' });
  const certificate = await issueFromCsr(authority, csr, { subject: 'device', emails: [email], uris: [URI], dnsNames: [], ipAddresses: [], days, unixMs, serialNumber, client: true, server: true });
  return { privateKey, certificate };
}

function credentials(device: Device, anchors: readonly Uint8Array[], algorithm: SignatureAlgorithm = 'ecdsa-sha256'): Pick<IkeProfile, 'localAuth' | 'remoteAuth'> {
  return { localAuth: { kind: 'certificate', chain: [device.certificate], privateKey: device.privateKey, algorithm }, remoteAuth: { kind: 'certificate', anchors } };
}

/** A device with an Ed25519 key, and the root of its own that issued it. */
async function ed25519Device(email: string): Promise<Device & { anchor: Uint8Array }> {
  installReflectMetadata();
  const { BasicConstraintsExtension, SubjectAlternativeNameExtension, X509CertificateGenerator } = await import('@peculiar/x509');
  const signingAlgorithm = { name: 'Ed25519' };
  const generate = async (): Promise<webcrypto.CryptoKeyPair> => (await webcrypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const [root, leaf] = [await generate(), await generate()];
  const dates = { notBefore: dateFromUnixMs(UNIX_MS - 1000), notAfter: dateFromUnixMs(UNIX_MS + 86_400_000) };
  const issuer = await X509CertificateGenerator.createSelfSigned({ ...dates, serialNumber: '01', name: 'CN=Ed25519 root', keys: root, signingAlgorithm, extensions: [new BasicConstraintsExtension(true, undefined, true)] });
  const names = new SubjectAlternativeNameExtension([{ type: 'email', value: email }]);
  const certificate = await X509CertificateGenerator.create({ ...dates, serialNumber: '02', subject: 'CN=device', issuer: issuer.subject, publicKey: leaf.publicKey, signingKey: root.privateKey, signingAlgorithm, extensions: [names] });
  const privateKey = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey));
  return { privateKey, certificate: new Uint8Array(certificate.rawData), anchor: new Uint8Array(issuer.rawData) };
}

describe('ike: certificates', () => {
  let authority: Authority;
  let stranger: Authority;
  let branchDevice: Device;
  let controllerDevice: Device;

  before(async () => {
    authority = await createAuthority({ commonName: 'Example provider', unixMs: UNIX_MS, days: 3650 });
    stranger = await createAuthority({ commonName: 'Somebody else', unixMs: UNIX_MS, days: 3650 });
    branchDevice = await issue(authority, 'b1@acme.example', '01');
    controllerDevice = await issue(authority, 'c1@acme.example', '02');
  });

  function connect(branch: Partial<IkeProfile>, controller?: Partial<IkeProfile>): ReturnType<typeof pair> {
    const made = pair({ branch, controller: controller ?? credentials(controllerDevice, [authority.certificate]) });
    // IKE_AUTH { IDi, CERT, CERTREQ, IDr, AUTH, ... } -->   <-- { IDr, CERT, AUTH, ... }
    made.world.initiate(made.branch, made.controller, 'to-controller');
    made.world.run(2000);
    return made;
  }

  it('authenticates both ends with ECDSA certificates and passes their names on', () => {
    const { branch, controller, world } = connect(credentials(branchDevice, [authority.certificate]));
    equal(branch.of('ike-up').length, 1, world.story() + JSON.stringify(branch.of('connect-failed')));
    deepStrictEqual(controller.of('ike-up')[0]?.certificate, { emails: ['b1@acme.example'], uris: [URI], chain: [branchDevice.certificate] });
    deepStrictEqual(branch.of('ike-up')[0]?.certificate?.emails, ['c1@acme.example']);
    // A certificate needs fragments at the default size.
    ok(world.packets.every((packet) => packet.send.bytes.length <= 1200));
  });

  it('refuses a revoked certificate on either side, and takes it again from one that knows of no revocation', async () => {
    const crls = [await issueCrl(authority, { revoked: [{ serialNumber: '01', revokedUnixMs: UNIX_MS }], unixMs: UNIX_MS, days: 1, number: 1 })];
    const parts = { branch: credentials(branchDevice, [authority.certificate]), controller: credentials(controllerDevice, [authority.certificate]) };
    const revocation = (): RevocationCheck => ({ crls, policy: 'soft' });
    const careful = pair({ ...parts, controllerOptions: { revocation } });
    careful.world.initiate(careful.branch, careful.controller, 'to-controller');
    careful.world.run(2000);
    equal(careful.controller.of('peer-refused')[0]?.cause, "peer's certificate was revoked on 2026-11-23");
    match(careful.branch.of('connect-failed')[0]!.cause, /certificate was revoked on 2026-11-23/);
    const hard = pair({ ...parts, controllerOptions: { revocation: () => ({ crls: [], policy: 'hard' }) } });
    hard.world.initiate(hard.branch, hard.controller, 'to-controller');
    hard.world.run(2000);
    equal(hard.controller.of('peer-refused')[0]?.cause, "peer's certificate cannot be checked: no current CRL or OCSP response of issuer Example provider (hard fail)");
    equal(connect(parts.branch).branch.of('ike-up').length, 1);
  });

  it('ends a live IKE SA when the certificate of its peer is revoked, and leaves the others', async () => {
    const crls: Uint8Array[] = [];
    const made = pair({
      branch: credentials(branchDevice, [authority.certificate]),
      controller: credentials(controllerDevice, [authority.certificate]),
      both: { revocation: () => ({ crls, policy: 'soft' }) },
    });
    const { world, branch, controller } = made;
    world.initiate(branch, controller, 'to-controller');
    world.run(2000);
    crls.push(await issueCrl(authority, { revoked: [{ serialNumber: '01', revokedUnixMs: UNIX_MS }], unixMs: UNIX_MS, days: 1, number: 1 }));
    // The branch knows the same list, but its peer is not on it.
    world.input(branch, { kind: 'revocations' });
    equal(branch.of('ike-down').length, 0);
    world.input(controller, { kind: 'revocations' });
    // INFORMATIONAL { D } -->   <-- { }
    world.run(2000);
    deepStrictEqual(controller.of('ike-down').map(({ reason }) => reason), ["peer's certificate was revoked on 2026-11-23"]);
    deepStrictEqual([branch, controller].map((node) => node.endpoint.snapshot().ikeSas.length), [0, 0]);
    equal(branch.of('child-down').length, 1);
  });

  it('looks for revoked certificates among many SAs in slices, also of those that are rekeyed meanwhile', async () => {
    const crls: Uint8Array[] = [];
    const asked: number[] = [];
    let checks = 0;
    class CountingSuite extends RealSuite {
      override checkChain(request: ChainRequest): ChainResult {
        checks++;
        return super.checkChain(request);
      }
    }
    const world = new World(1, new CountingSuite());
    const controller = world.add('controller', '192.0.2.2', {
      profiles: [pskProfile('branches', 'c1@acme.example', undefined, credentials(controllerDevice, [authority.certificate]))],
      revocation: () => ({ crls, policy: 'soft' }),
    });
    const serialNumbers = Array.from({ length: 45 }, (_, i) => (0x1000 + i).toString(16));
    const devices = await Promise.all(serialNumbers.map((serialNumber, i) => issue(authority, `b${i}@acme.example`, serialNumber)));
    const branches = devices.map((device, i) => {
      const branch = world.add(`b${i}`, `192.0.2.${i + 3}`, { profiles: [pskProfile('to-controller', `b${i}@acme.example`, 'c1@acme.example', credentials(device, [authority.certificate]))] });
      world.initiate(branch, controller, 'to-controller');
      return branch;
    });
    world.run(5000);
    equal(controller.of('ike-up').length, branches.length);
    crls.push(await issueCrl(authority, { revoked: serialNumbers.map((serialNumber) => ({ serialNumber, revokedUnixMs: UNIX_MS })), unixMs: UNIX_MS, days: 1, number: 1 }));
    const last = controller.endpoint.snapshot().ikeSas.at(-1)!;
    checks = 0;
    world.input(controller, { kind: 'revocations' });
    asked.push(checks);
    // CREATE_CHILD_SA { SA, Ni, KEi } --> comes in before the last slice
    world.input(branches.at(-1)!, { kind: 'rekey-ike', ikeSa: branches.at(-1)!.endpoint.snapshot().ikeSas[0]!.ikeSa });
    const { local, remote, bytes } = world.packets.at(-1)!.send;
    world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: remote, remote: local, bytes });
    while (controller.endpoint.deadline() === world.instant) {
      world.input(controller, { kind: 'timeout' });
      asked.push(checks);
    }
    deepStrictEqual(asked.slice(0, 3), [20, 40, 45]);
    world.run(5000);
    equal(controller.of('ike-down').length, branches.length);
    ok(controller.of('ike-down').some(({ ikeSa }) => ikeSa === last.ikeSa));
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
  });

  it('says on which way a certificate leads to an anchor, also when hard fail refuses it for want of anything current', () => {
    const parts = { branch: credentials(branchDevice, [authority.certificate]), controller: credentials(controllerDevice, [authority.certificate]) };
    for (const policy of ['soft', 'hard'] as const) {
      const { world, branch, controller } = pair({ ...parts, controllerOptions: { revocation: () => ({ crls: [], policy }) } });
      world.initiate(branch, controller, 'to-controller');
      world.run(2000);
      deepStrictEqual(controller.of('certificate-seen').map(({ path }) => path), [[branchDevice.certificate, authority.certificate]]);
      equal(controller.of('peer-refused').length, policy === 'hard' ? 1 : 0);
      equal(branch.of('certificate-seen').length, 0);
    }
  });

  it('takes OCSP responses that the peer brings along, whose bytes prove themselves or count for nothing', async () => {
    const forged = { kind: 'CERT', encoding: CertEncoding.ocspContent, data: Uint8Array.of(1, 2, 3) } as const;
    const known = { crls: [], policy: 'hard', ocspResponses: [Uint8Array.of(9)] } as const;
    deepStrictEqual(withInBandResponses(known, [forged]), { crls: [], policy: 'hard', ocspResponses: [Uint8Array.of(9), forged.data] });
    deepStrictEqual(withInBandResponses(undefined, [forged]), { crls: [], policy: 'soft', ocspResponses: [forged.data] });
    equal(withInBandResponses(known, []), known);
    equal(withInBandResponses(known, Array.from({ length: 100 }, () => forged))!.ocspResponses!.length, 9);
  });

  for (const algorithm of ['ecdsa-sha384', 'ecdsa-sha512'] as const) {
    it(`signs with ${algorithm}`, () => {
      equal(connect(credentials(branchDevice, [authority.certificate], algorithm)).branch.of('ike-up').length, 1);
    });
  }

  it('signs and verifies with Ed25519', async () => {
    const device = await ed25519Device('b1@acme.example');
    const { branch, controller } = connect(credentials(device, [authority.certificate], 'ed25519'), credentials(controllerDevice, [device.anchor]));
    equal(branch.of('ike-up').length, 1, JSON.stringify(controller.of('peer-refused')));
    equal(controller.of('ike-up')[0]?.certificate?.emails[0], 'b1@acme.example');
  });

  it('mixes a pre-shared key one way with a certificate the other way', () => {
    const key = { kind: 'psk', key: Uint8Array.from({ length: 32 }, (_, i) => i) } as const;
    const { branch } = connect(
      { localAuth: key, remoteAuth: { kind: 'certificate', anchors: [authority.certificate] } },
      { localAuth: credentials(controllerDevice, []).localAuth, remoteAuth: key },
    );
    equal(branch.of('ike-up').length, 1);
  });

  it('names a certificate of an unknown authority on both ends', async () => {
    const { branch, controller } = connect(credentials(await issue(stranger, 'b1@acme.example', '03'), [authority.certificate]));
    equal(controller.of('peer-refused')[0]?.cause, "peer's certificate leads to no trust anchor");
    equal(branch.of('connect-failed')[0]?.cause, "peer refuses: peer's certificate leads to no trust anchor");
  });

  it('names an expired certificate with its day', async () => {
    const old = await issue(authority, 'b1@acme.example', '04', 1, UNIX_MS - 10 * 86_400_000);
    const { branch } = connect(credentials(old, [authority.certificate]));
    match(branch.of('connect-failed')[0]!.cause, /^peer refuses: peer's certificate expired on 2026-/);
  });

  it('refuses a good certificate of another identity', async () => {
    const other = await issue(authority, 'b2@acme.example', '05');
    const { controller } = connect(credentials(other, [authority.certificate]));
    equal(controller.of('peer-refused')[0]?.cause, "peer's certificate is not for the identity b1@acme.example");
  });

  it('takes identities of DNS names, addresses and subjects, when the certificate has them', async () => {
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: 'device' });
    const request = { subject: 'b1 of Acme, Inc.', emails: [], uris: [], dnsNames: ['B1.acme.example'], ipAddresses: ['192.0.2.1', '2001:db8::1'], days: 30, unixMs: UNIX_MS, serialNumber: '08', client: true, server: true };
    const device = { privateKey, certificate: await issueFromCsr(authority, csr, request) };
    const { subject } = decodeCertificate(device.certificate);
    const dn = (der: Uint8Array): IkeIdentity => ({ kind: 'dn', value: toHex(der) });
    const upperCase = subject.map((octet) => (octet >= 0x61 && octet <= 0x7a ? octet - 0x20 : octet));
    const verdict = (localIdentity: IkeIdentity): unknown => {
      const { controller, world } = connect({ ...credentials(device, [authority.certificate]), localIdentity });
      return controller.of('peer-refused')[0]?.cause ?? identityText(controller.of('ike-up')[0]?.remoteIdentity ?? { kind: 'fqdn', value: world.story() });
    };
    equal(verdict({ kind: 'fqdn', value: 'b1.acme.example' }), 'b1.acme.example');
    equal(verdict({ kind: 'ipv4', value: '192.0.2.1' }), '192.0.2.1');
    equal(verdict({ kind: 'ipv6', value: '2001:db8::1' }), '2001:db8::1');
    equal(verdict(dn(subject)), 'CN=b1 of Acme\\, Inc.');
    equal(verdict(dn(upperCase)), 'CN=B1 OF ACME\\, INC.');
    equal(verdict({ kind: 'fqdn', value: 'b2.acme.example' }), "peer's certificate is not for the identity b2.acme.example");
    equal(verdict({ kind: 'ipv4', value: '192.0.2.2' }), "peer's certificate is not for the identity 192.0.2.2");
    equal(verdict(dn(decodeCertificate(branchDevice.certificate).subject)), "peer's certificate is not for the identity CN=device");
    equal(verdict({ kind: 'email', value: 'B1.acme.example' }), "peer's certificate is not for the identity B1.acme.example");
    for (const broken of [subject.slice(0, -1), Uint8Array.of(0x30, 0x80), new Uint8Array(0)]) equal(verdict(dn(broken)), 'the identity is of a type that is not accepted, or not readable');
  });

  it('refuses the certificate of one device with the key of another', () => {
    const thief = { certificate: branchDevice.certificate, privateKey: controllerDevice.privateKey };
    const { controller, branch } = connect(credentials(thief, [authority.certificate]));
    equal(controller.of('peer-refused')[0]?.cause, 'the signature does not verify');
    equal(branch.of('connect-failed').length, 1);
  });

  it('refuses a signature of another kind than the certificate has', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const thief = { certificate: branchDevice.certificate, privateKey: new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' })) };
    const { controller } = connect(credentials(thief, [authority.certificate], 'ed25519'));
    equal(controller.of('peer-refused')[0]?.cause, "the signature is ed25519 but the certificate's key is ecdsa");
  });

  it('does not take a pre-shared key where a certificate is asked for', () => {
    const { controller } = connect({ remoteAuth: { kind: 'certificate', anchors: [authority.certificate] } });
    equal(controller.of('peer-refused')[0]?.cause, 'the peer did not authenticate with a digital signature');
  });

  it('refuses a responder whose certificate is not trusted, and tells it', async () => {
    const { branch, controller } = connect(credentials(branchDevice, [authority.certificate]), credentials(await issue(stranger, 'c1@acme.example', '06'), [authority.certificate]));
    equal(branch.of('connect-failed')[0]?.cause, "peer's certificate leads to no trust anchor");
    equal(controller.of('ike-down')[0]?.reason, "peer refuses: peer's certificate leads to no trust anchor");
  });
});
