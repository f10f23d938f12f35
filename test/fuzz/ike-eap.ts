// The life of a branch that is an EAP user, with passwords or with the TLS of simulations, while changed copies of its
// and its server's messages overtake them. A bystander that is another user of the same server must not notice.
import type { EapUser } from '../../firmware/ike/profile.ts';
import type { ChainRequest, ChainResult, SignatureAlgorithm } from '../../platform/crypto.ts';
import { fakeAnchor, fakeCertificate, fakeKeyPair, FakeSuite } from '../../platform/crypto-fake.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { TlsEngine, TlsOptions, TlsVersion } from '../../platform/tls-engine.ts';
import { fuzzLife, replayInput } from './ike.ts';
import type { Cast, IkeWorld } from './ike-world.ts';
import { openIkeWorld, RecordingSuite } from './ike-world.ts';
import type { FuzzTarget } from './target.ts';

const PASSWORD = 'correct horse';
/** The conversation is long: most of it must pass for its end to be reached. */
const ONE_OF = 5;
/** In the middle of the conversation. */
const REPLAY_AFTER_MS = 75;

/** Certificates, signatures and TLS of simulations; the messages of IKE are really sealed. */
class EapSuite extends RecordingSuite {
  readonly #fake = new FakeSuite();
  readonly #newestVersion: TlsVersion;

  constructor(newestVersion: TlsVersion) {
    super();
    this.#newestVersion = newestVersion;
  }

  override openTls(options: TlsOptions): TlsEngine {
    return this.#fake.openTls({ ...options, newestVersion: this.#newestVersion });
  }

  override checkChain(request: ChainRequest): ChainResult {
    return this.#fake.checkChain(request);
  }

  override certificatePublicKey(certificate: Uint8Array): Uint8Array | undefined {
    return this.#fake.certificatePublicKey(certificate);
  }

  override sign(algorithm: SignatureAlgorithm, privateKey: Uint8Array, data: Uint8Array): Uint8Array {
    return this.#fake.sign(algorithm, privateKey, data);
  }

  override verify(algorithm: SignatureAlgorithm, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
    return this.#fake.verify(algorithm, publicKey, data, signature);
  }
}

function credential(email: string): { chain: Uint8Array[]; privateKey: Uint8Array } {
  const { publicKey, privateKey } = fakeKeyPair(new SeededRandom(email));
  const certificate = fakeCertificate({ emails: [email], uris: [], publicKey });
  // Long enough for fragments.
  return { chain: [certificate, certificate, certificate], privateKey };
}

interface Variant {
  readonly method: 'mschapv2' | 'tls';
  readonly version: TlsVersion;
  readonly eapOnly: boolean;
}

const VARIANTS: readonly Variant[] = [
  { method: 'mschapv2', version: '1.3', eapOnly: false },
  { method: 'tls', version: '1.3', eapOnly: false },
  { method: 'tls', version: '1.2', eapOnly: true },
];

function castOf({ method, version, eapOnly }: Variant): Cast {
  const anchors = [fakeAnchor()];
  const user = (identity: string): EapUser =>
    method === 'tls' ? { kind: 'eap', identity, certificate: credential(identity), eapOnly } : { kind: 'eap', identity, password: PASSWORD };
  return {
    suite: () => new EapSuite(version),
    client: (identity) => ({ localAuth: user(identity), remoteAuth: { kind: 'certificate', anchors } }),
    server: {
      localAuth: { kind: 'certificate', ...credential('c1@acme.example'), algorithm: 'ecdsa-sha256' },
      // Users with passwords decline the first one.
      remoteAuth: { kind: 'eap', methods: ['tls', 'mschapv2'], anchors, eapOnly },
    },
    serverOptions: { lookupEap: () => ({ password: PASSWORD }) },
  };
}

function open(seed: number): IkeWorld {
  return openIkeWorld(seed, castOf(VARIANTS[seed % VARIANTS.length]!));
}

export const IKE_EAP: FuzzTarget = {
  name: 'ike-eap',
  about: 'messages of an EAP user and its server, changed on the way or sealed after the change',
  promise: 'no crash, no hang, no state growth, and another user of the server keeps its SAs',
  run: (dice, corpus, trail) => fuzzLife(dice, corpus, trail, open(dice.uint32()), ONE_OF),
  replay(bytes) {
    for (const seed of VARIANTS.keys()) replayInput(open(seed), bytes, REPLAY_AFTER_MS);
  },
};
