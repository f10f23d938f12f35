import { deepStrictEqual, equal } from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CertificateAuth, IkeProfile, SigningCredential } from '../../firmware/ike/profile.ts';
import { classicAuth, isSignature, SIGNATURE_HASHES, signatureAuth, signatureProblem, signsClassically } from '../../firmware/ike/signatures.ts';
import { decodeMessage, encodeMessage } from '../../firmware/wire/ike/message.ts';
import { ExchangeType, NotifyType } from '../../firmware/wire/ike/numbers.ts';
import { concat, fromHex, toHex, utf8 } from '../../platform/bytes.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { SignatureAlgorithm } from '../../platform/crypto.ts';
import { SystemClock } from '../../platform/time.ts';
import type { OpensslIssued } from '../platform/openssl-authority.ts';
import { CA_EXTENSIONS, OpensslAuthority } from '../platform/openssl-authority.ts';
import type { World } from './pair.ts';
import { LATENCY_MS, pair } from './pair.ts';

const suite = new RealSuite();
const OCTETS = utf8('what is signed');

interface Keys {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

function encoded({ publicKey, privateKey }: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }): Keys {
  return { publicKey: publicKey.export({ type: 'spki', format: 'der' }), privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }) };
}

function ecKeys(namedCurve: string): Keys {
  return encoded(generateKeyPairSync('ec', { namedCurve }));
}

const KEYS: Readonly<Record<'ecdsa' | 'ed25519' | 'rsa', Keys>> = {
  ecdsa: ecKeys('P-256'),
  ed25519: encoded(generateKeyPairSync('ed25519')),
  rsa: encoded(generateKeyPairSync('rsa', { modulusLength: 2048 })),
};

/** AlgorithmIdentifiers as RFC 7427 A and RFC 8420 print them, and the same without optional parameters. */
const IDENTIFIERS: readonly (readonly [SignatureAlgorithm, keyof typeof KEYS, string, string | undefined])[] = [
  ['ecdsa-sha256', 'ecdsa', '300a06082a8648ce3d040302', undefined],
  ['ecdsa-sha384', 'ecdsa', '300a06082a8648ce3d040303', undefined],
  ['ecdsa-sha512', 'ecdsa', '300a06082a8648ce3d040304', undefined],
  ['ed25519', 'ed25519', '300506032b6570', undefined],
  ['rsa-pss-sha256', 'rsa', '304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120', '303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a203020120'],
  ['rsa-pss-sha384', 'rsa', '304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130', undefined],
  ['rsa-pss-sha512', 'rsa', '304106092a864886f70d01010a3034a00f300d06096086480165030402030500a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140', undefined],
  ['rsa-pkcs1-sha256', 'rsa', '300d06092a864886f70d01010b0500', '300b06092a864886f70d01010b'],
  ['rsa-pkcs1-sha384', 'rsa', '300d06092a864886f70d01010c0500', undefined],
  ['rsa-pkcs1-sha512', 'rsa', '300d06092a864886f70d01010d0500', '300b06092a864886f70d01010d'],
];

describe('ike: signatures', () => {
  for (const [algorithm, keyType, identifier, other] of IDENTIFIERS) {
    it(`signs with ${algorithm} under its AlgorithmIdentifier and verifies it`, () => {
      const { publicKey, privateKey } = KEYS[keyType];
      const { method, data } = signatureAuth(suite, algorithm, privateKey, OCTETS);
      equal(method, 14);
      equal(toHex(data.subarray(1, 1 + data[0]!)), identifier);
      const problem = (auth: Uint8Array): string | undefined => signatureProblem(suite, { publicKey, keyType }, OCTETS, { method, data: auth });
      equal(problem(data), undefined);
      data[data.length - 1]! ^= 1;
      equal(problem(data), 'the signature does not verify');
      data[data.length - 1]! ^= 1;
      if (other !== undefined) equal(problem(concat(Uint8Array.of(other.length / 2), fromHex(other), data.subarray(1 + data[0]!))), undefined);
      for (let length = 0; length <= data[0]!; length++) equal(problem(data.subarray(0, length)), 'the signature algorithm is not supported');
    });
  }

  it('announces each hash once', () => deepStrictEqual(SIGNATURE_HASHES, [2, 3, 4, 5]));

  it('refuses a PSS signature as PKCS#1 v1.5, and a salt of another length', () => {
    const { publicKey, privateKey } = KEYS.rsa;
    const { method, data } = signatureAuth(suite, 'rsa-pss-sha256', privateKey, OCTETS);
    const signature = data.subarray(1 + data[0]!);
    const pkcs1 = fromHex('0f300d06092a864886f70d01010b0500');
    equal(signatureProblem(suite, { publicKey, keyType: 'rsa' }, OCTETS, { method, data: concat(pkcs1, signature) }), 'the signature does not verify');
    const otherSalt = data.slice();
    otherSalt[data[0]!] = 0x14;
    equal(signatureProblem(suite, { publicKey, keyType: 'rsa' }, OCTETS, { method, data: otherSalt }), 'the signature algorithm is not supported');
  });

  for (const [curve, method, octets] of [['P-256', 9, 64], ['P-384', 10, 96], ['P-521', 11, 132]] as const) {
    it(`signs with ${curve} for a peer that knows RFC 4754 alone`, () => {
      const { publicKey, privateKey } = ecKeys(curve);
      const auth = classicAuth(suite, publicKey, privateKey, OCTETS);
      deepStrictEqual([auth.method, auth.data.length], [method, octets]);
      const problem = (data: Uint8Array, key = publicKey): string | undefined => signatureProblem(suite, { publicKey: key, keyType: 'ecdsa' }, OCTETS, { method, data });
      // Halves with leading zero octets come about once in 256 signatures.
      for (let i = 0; i < 20; i++) equal(problem(classicAuth(suite, publicKey, privateKey, OCTETS).data), undefined);
      equal(problem(auth.data.subarray(1)), `the signature has ${octets - 1} octets, its curve needs ${octets}`);
      equal(problem(new Uint8Array(octets)), 'the signature does not verify');
      equal(problem(auth.data, ecKeys(curve === 'P-256' ? 'P-384' : 'P-256').publicKey), `authentication method ${method} does not fit the certificate's key`);
    });
  }

  it('signs with RSA and SHA-1 only for a legacy profile', () => {
    const { publicKey, privateKey } = KEYS.rsa;
    const auth = classicAuth(suite, publicKey, privateKey, OCTETS);
    equal(auth.method, 1);
    equal(signatureProblem(suite, { publicKey, keyType: 'rsa' }, OCTETS, auth), undefined);
    equal(signatureProblem(suite, { publicKey, keyType: 'rsa' }, utf8('something else'), auth), 'the signature does not verify');
    equal(signatureProblem(suite, { publicKey: KEYS.ecdsa.publicKey, keyType: 'ecdsa' }, OCTETS, auth), "authentication method 1 does not fit the certificate's key");
  });

  it('knows no classic method for other keys', () => {
    deepStrictEqual([KEYS.ecdsa, KEYS.ed25519, KEYS.rsa].map(({ publicKey }) => signsClassically(publicKey, false)), [true, false, false]);
    equal(signsClassically(KEYS.rsa.publicKey, true), true);
    deepStrictEqual([1, 2, 9, 10, 11, 14].filter((method) => isSignature(method, false)), [9, 10, 11, 14]);
    equal(isSignature(1, true), true);
  });
});

describe('ike: choice among credentials', function () {
  this.timeout(60_000);
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-test-'));
  const names = ['basicConstraints=CA:FALSE', 'keyUsage=digitalSignature'];
  let root: OpensslIssued;
  let other: OpensslIssued;
  let theirs: CertificateAuth;
  const ours: Record<string, SigningCredential> = {};

  before(() => {
    const openssl = new OpensslAuthority(scratch);
    root = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS });
    other = openssl.issue({ name: 'Other root', extensions: CA_EXTENSIONS });
    const middle = openssl.issue({ name: 'Middle', issuer: other, extensions: CA_EXTENSIONS });
    const credential = (algorithm: SignatureAlgorithm, key: 'ec' | 'rsa' | 'ed25519', issuer: OpensslIssued, email: string, between: readonly OpensslIssued[] = []): SigningCredential => {
      const device = openssl.issue({ name: 'device', issuer, key, extensions: [...names, `subjectAltName=email:${email}`] });
      return { algorithm, privateKey: device.privateKey, chain: [device, ...between].map(({ der }) => der) };
    };
    theirs = { kind: 'certificate', ...credential('ecdsa-sha256', 'ec', root, 'c1@acme.example') };
    ours['rsa'] = credential('rsa-pss-sha512', 'rsa', root, 'b1@acme.example');
    ours['ecdsa'] = credential('ecdsa-sha256', 'ec', root, 'b1@acme.example');
    ours['ed25519'] = credential('ed25519', 'ed25519', root, 'b1@acme.example');
    ours['from the other root'] = credential('ecdsa-sha384', 'ec', middle, 'b1@acme.example', [middle]);
  });

  after(() => rmSync(scratch, { recursive: true, force: true }));

  function connect(credentials: readonly string[], anchors: readonly OpensslIssued[], prepare: (world: World) => void = () => undefined): ReturnType<typeof pair> {
    const [first, ...alternatives] = credentials.map((name) => ours[name]!);
    const clock = new SystemClock();
    const made = pair({
      branch: { localAuth: { kind: 'certificate', ...first!, alternatives }, remoteAuth: { kind: 'certificate', anchors: [root.der, other.der] } } satisfies Partial<IkeProfile>,
      controller: { localAuth: theirs, remoteAuth: { kind: 'certificate', anchors: anchors.map(({ der }) => der) } },
      both: { unixMs: () => clock.unixMs() },
    });
    prepare(made.world);
    made.world.initiate(made.branch, made.controller, 'to-controller');
    made.world.run(5000);
    return made;
  }

  /** The credential with which the branch has authenticated itself. */
  function shown({ controller }: ReturnType<typeof pair>): string | undefined {
    const leaf = controller.of('ike-up')[0]?.certificate?.chain?.[0];
    return Object.entries(ours).find(([, { chain }]) => leaf !== undefined && toHex(chain[0]!) === toHex(leaf))?.[0];
  }

  /** The responder seems to announce these hashes; the initiator notices the change only after it has shown its credential. */
  function announce(hashes: readonly number[]): (world: World) => void {
    return (world) => {
      world.fate = ({ from, send }) => {
        const { header, payloads } = decodeMessage(send.bytes);
        if (from === world.nodes[1] && header.exchange === ExchangeType.IKE_SA_INIT) {
          const data = Uint8Array.from(hashes.flatMap((hash) => [0, hash]));
          const changed = payloads.flatMap((payload) => {
            if (payload.kind !== 'Notify' || payload.type !== NotifyType.SIGNATURE_HASH_ALGORITHMS) return [payload];
            return hashes.length === 0 ? [] : [{ ...payload, data }];
          });
          Object.assign(send, { bytes: encodeMessage(header, changed) });
        }
        return [LATENCY_MS];
      };
    };
  }

  it('takes the first one where the peer can verify all', () => {
    equal(shown(connect(['rsa', 'ecdsa', 'ed25519'], [root])), 'rsa');
    equal(shown(connect(['ed25519', 'rsa', 'ecdsa'], [root])), 'ed25519');
  });

  it('takes one that leads to an authority of the CERTREQ', () => {
    equal(shown(connect(['ecdsa', 'from the other root'], [other])), 'from the other root');
    equal(shown(connect(['from the other root', 'ecdsa'], [root])), 'ecdsa');
  });

  it('takes one whose hash the peer announces, RFC 4754 where it announces none', () => {
    const chosen = (hashes: readonly number[]): string | undefined => shown(connect(['rsa', 'ecdsa', 'ed25519'], [root], announce(hashes)));
    deepStrictEqual([chosen([2]), chosen([4]), chosen([5]), chosen([])], ['ecdsa', 'rsa', 'ed25519', 'ecdsa']);
  });

  it('names the signatures that the peer does not accept', () => {
    const { branch } = connect(['rsa', 'ed25519'], [root], announce([2]));
    equal(branch.of('connect-failed')[0]?.cause, 'the peer does not accept rsa-pss-sha512 or ed25519 signatures');
  });
});
