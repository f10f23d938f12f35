// What must not be left behind or told: every secret that a handshake makes, and the keys that profiles hold.
import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { CLASSIC_IKE_PROPOSAL, DEFAULT_IKE_PROPOSALS, type IkeProposal } from '../../firmware/ike/algorithms.ts';
import { utf8 } from '../../platform/bytes.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { ControlAead, DhGroup, DhKeyPair, Encapsulation, HmacName, KemId, KemKeyPair } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr, type Authority } from '../../platform/x509.ts';
import { listFiles, readText } from '../source-files.ts';
import { KEY, pair, UNIX_MS, type Node } from './pair.ts';

/** Two nonces of 32 octets are the key of SKEYSEED, and no secret. */
const NONCE_PAIR_BYTES = 64;

/** Remembers, by identity, every array in which a secret was given out or taken as a key, with what it held. */
class WatchingSuite extends RealSuite {
  readonly secrets = new Map<Uint8Array, { readonly what: string; readonly octets: Uint8Array }>();

  #watch<Octets extends Uint8Array | undefined>(what: string, octets: Octets): Octets {
    if (octets !== undefined && !this.secrets.has(octets)) this.secrets.set(octets, { what, octets: octets.slice() });
    return octets;
  }

  override dhGenerate(group: DhGroup, random: Random): DhKeyPair {
    const made = super.dhGenerate(group, random);
    this.#watch('Diffie-Hellman private value', made.privateValue);
    return made;
  }

  override dhShared(own: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined {
    return this.#watch('Diffie-Hellman secret', super.dhShared(own, peerPublic));
  }

  override kemGenerate(kem: KemId, random: Random): KemKeyPair {
    const made = super.kemGenerate(kem, random);
    this.#watch('ML-KEM private key', made.privateKey);
    return made;
  }

  override kemEncapsulate(kem: KemId, publicKey: Uint8Array): Encapsulation | undefined {
    const made = super.kemEncapsulate(kem, publicKey);
    this.#watch('ML-KEM secret', made?.shared);
    return made;
  }

  override kemDecapsulate(own: KemKeyPair, ciphertext: Uint8Array): Uint8Array | undefined {
    return this.#watch('ML-KEM secret', super.kemDecapsulate(own, ciphertext));
  }

  override hmac(name: HmacName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
    if (key.length !== NONCE_PAIR_BYTES && key !== KEY) this.#watch('key of an HMAC', key);
    return super.hmac(name, key, ...parts);
  }

  override aeadSeal(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return super.aeadSeal(aead, this.#watch('key of an AEAD', key), nonce, aad, plaintext);
  }

  override aeadOpen(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    return super.aeadOpen(aead, this.#watch('key of an AEAD', key), nonce, aad, sealed);
  }

  override cbcEncrypt(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return super.cbcEncrypt(this.#watch('key of a cipher', key), iv, plaintext);
  }
}

/** Everything that an endpoint has told its service, but for what it must: datagrams, and the keys of child SAs. */
function told(node: Node): string {
  const texts = node.outputs.filter(({ kind }) => kind !== 'send' && kind !== 'child-up');
  return JSON.stringify(texts, (_name, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value));
}

/** The forms in which octets are found in a log line. */
function forms(octets: Uint8Array): readonly string[] {
  const buffer = Buffer.from(octets);
  return [buffer.toString('hex'), buffer.toString('base64'), buffer.toString('base64url'), [...octets].join(','), buffer.toString('latin1')];
}

function life(proposals: readonly IkeProposal[], suite: WatchingSuite) {
  const made = pair({ suite, branch: { proposals }, controller: { proposals } });
  const { world, branch, controller } = made;
  world.initiate(branch, controller, 'to-controller');
  world.run(500);
  world.input(branch, { kind: 'rekey-child', child: branch.of('child-up')[0]!.child });
  world.run(500);
  world.input(controller, { kind: 'rekey-ike', ikeSa: 1 });
  world.run(500);
  world.input(branch, { kind: 'terminate', ikeSa: 1, reason: 'the test is over' });
  // Beyond the time in which a repeated request is still answered.
  world.run(120_000);
  equal(branch.endpoint.snapshot().ikeSas.length + controller.endpoint.snapshot().ikeSas.length, 0, world.story());
  return made;
}

async function device(authority: Authority, email: string, serialNumber: string): Promise<{ privateKey: Uint8Array; certificate: Uint8Array }> {
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  const csr = await createCsr({ privateKey, subject: 'device' });
  const certificate = await issueFromCsr(authority, csr, { subject: 'device', emails: [email], uris: [], dnsNames: [], ipAddresses: [], days: 30, unixMs: UNIX_MS, serialNumber, client: true, server: true });
  return { privateKey, certificate };
}

const CASES: readonly (readonly [string, readonly IkeProposal[]])[] = [
  ['Curve25519 alone', [CLASSIC_IKE_PROPOSAL]],
  ['Curve25519 and ML-KEM-768', DEFAULT_IKE_PROPOSALS],
  ['AES-CBC and HMAC', [{ encryption: ['aes-256-cbc'], integrity: ['hmac-sha256-128'], prf: ['sha256'], groups: [19] }]],
];

describe('ike: secrets are wiped', () => {
  for (const [name, proposals] of CASES) {
    it(`when the connection has ended, over its rekeys (${name})`, () => {
      const suite = new WatchingSuite();
      life(proposals, suite);
      ok(suite.secrets.size >= 20, `only ${suite.secrets.size} secrets were seen`);
      const left = [...suite.secrets].filter(([octets]) => octets.some((octet) => octet !== 0)).map(([octets, { what }]) => `${what} of ${octets.length} octets`);
      deepStrictEqual(left, []);
    });
  }

  it('also when a handshake is given up half-way', () => {
    const suite = new WatchingSuite();
    const { world, branch, controller } = pair({ suite, branch: { proposals: DEFAULT_IKE_PROPOSALS }, controller: { proposals: DEFAULT_IKE_PROPOSALS } });
    // IKE_SA_INIT is answered, nothing after it gets through.
    world.fate = ({ index }) => (index < 2 ? [10] : []);
    world.initiate(branch, controller, 'to-controller');
    world.run(600_000);
    equal(branch.of('connect-failed').length, 1);
    const left = [...suite.secrets].filter(([octets]) => octets.some((octet) => octet !== 0)).map(([, { what }]) => what);
    deepStrictEqual(left, []);
  });
});

describe('ike: comparisons are constant-time', () => {
  /** Octets that are no secrets, or that only an authenticated peer can compare with (nonces and COOKIE2 inside SK). */
  const PUBLIC: Readonly<Record<string, number>> = {
    'certificate-request.ts': 2, // names and hashes of authorities
    'followup.ts': 1, // a link, inside SK
    'mobility.ts': 1, // addresses
    'nat.ts': 2, // hashes of addresses
    'ppk.ts': 1, // name of the key
    'redirect.ts': 2, // our nonce, which is on the wire; the name of a gateway
    'sa-register.ts': 1, // an SPI of zeros
    'signatures.ts': 2, // AlgorithmIdentifier
    'tasks/init.ts': 1, // Vendor ID
    'tasks/mobike.ts': 1, // COOKIE2, inside SK
  };

  it('wherever AUTH, an ICV, a cookie or an EAP response is checked; what is compared otherwise is public', () => {
    const found: Record<string, number> = {};
    for (const path of listFiles().filter((file) => file.startsWith('firmware/ike/'))) {
      const uses = (readText(path) ?? '').split('\n').filter((line) => line.includes('equalBytes(')).length;
      if (uses > 0) found[path.slice('firmware/ike/'.length)] = uses;
    }
    deepStrictEqual(found, PUBLIC);
  });
});

describe('ike: private keys never in logs, captures or crash reports', () => {
  it('neither a pre-shared key nor a secret of the handshake is told or sent', () => {
    for (const [name, proposals] of CASES) {
      const suite = new WatchingSuite();
      const { world, branch, controller } = life(proposals, suite);
      const text = told(branch) + told(controller);
      const wire = world.packets.map(({ send }) => Buffer.from(send.bytes).toString('hex')).join(' ');
      for (const octets of [KEY, ...[...suite.secrets.values()].map((entry) => entry.octets)]) {
        for (const form of forms(octets)) ok(!text.includes(form), `${name}: a secret of ${octets.length} octets is told`);
        ok(!wire.includes(Buffer.from(octets).toString('hex')), `${name}: a secret of ${octets.length} octets is sent`);
      }
    }
  });

  it('nor is one told when it is wrong', () => {
    const other = utf8('another key of at least 128 bits: 91c2');
    const { world, branch, controller } = pair({ branch: { localAuth: { kind: 'psk', key: other }, remoteAuth: { kind: 'psk', key: other } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(60_000);
    equal(branch.of('connect-failed').length, 1);
    for (const octets of [KEY, other]) for (const form of forms(octets)) ok(!(told(branch) + told(controller)).includes(form));
  });

  it('nor the private key of a certificate', async () => {
    const authority = await createAuthority({ commonName: 'Example provider', unixMs: UNIX_MS, days: 30 });
    const [b, c] = [await device(authority, 'b1@acme.example', '01'), await device(authority, 'c1@acme.example', '02')];
    const auth = (own: typeof b) => ({
      localAuth: { kind: 'certificate', chain: [own.certificate], privateKey: own.privateKey, algorithm: 'ecdsa-sha256' } as const,
      remoteAuth: { kind: 'certificate', anchors: [authority.certificate] } as const,
    });
    const { world, branch, controller } = pair({ branch: auth(b), controller: auth(c) });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('ike-up').length, 1, world.story());
    const wire = world.packets.map(({ send }) => Buffer.from(send.bytes).toString('hex')).join(' ');
    // The scalar alone: the public key around it is meant to be seen.
    for (const { privateKey } of [b, c]) {
      const scalar = privateKey.subarray(36, 68);
      for (const form of forms(scalar)) ok(!(told(branch) + told(controller)).includes(form));
      ok(!wire.includes(Buffer.from(scalar).toString('hex')));
    }
  });

  it('nor does a process that ends leave its memory on the disk', () => {
    for (const unit of ['selvage.service', 'selvage-director.service']) ok(/^LimitCORE=0$/m.test(readText(`systemd/${unit}`) ?? ''), unit);
    const reporting = listFiles().filter((path) => /^(firmware|platform|provisioning|drivers)\/.*\.(ts|mjs)$/.test(path) && /process\.report|report-on-|heapsnapshot|writeHeapSnapshot/.test(readText(path) ?? ''));
    deepStrictEqual(reporting, []);
  });
});
