// EAP-TLS between two endpoints, with the TLS of simulations. Real TLS is in test/system, with strongSwan.
import { deepStrictEqual, equal, match, notDeepStrictEqual, ok } from 'node:assert/strict';
import { DEFAULT_IKE_PROPOSALS } from '../../firmware/ike/algorithms.ts';
import type { AuthorizationRequest, IkeEndpointOptions } from '../../firmware/ike/endpoint.ts';
import type { EapAuth, EapUser, IkeProfile } from '../../firmware/ike/profile.ts';
import { decodeHeader } from '../../firmware/wire/ike/message.ts';
import { utf8 } from '../../platform/bytes.ts';
import { fakeAnchor, fakeCertificate, fakeCrl, fakeKeyPair, FakeSuite } from '../../platform/crypto-fake.ts';
import type { RevocationCheck, Suite } from '../../platform/crypto.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { TlsEngine, TlsOptions, TlsStep } from '../../platform/tls-engine.ts';
import { classicPair, pair, UNIX_MS } from './pair.ts';

const USER = 'alice@acme.example';
const GATEWAY = 'c1@acme.example';

/** Opens TLS with other options than it is asked to. */
class OtherTlsSuite extends FakeSuite {
  readonly #change: (options: TlsOptions) => Partial<TlsOptions>;

  constructor(change: (options: TlsOptions) => Partial<TlsOptions>) {
    super();
    this.#change = change;
  }

  override openTls(options: TlsOptions): TlsEngine {
    return super.openTls({ ...options, ...this.#change(options) });
  }
}

describe('ike: EAP-TLS', () => {
  const anchors = [fakeAnchor('Acme')];

  function credential(email: string, more: { anchor?: string; serialNumber?: string; length?: number; dnsNames?: string[] } = {}): { chain: Uint8Array[]; privateKey: Uint8Array } {
    const { publicKey, privateKey } = fakeKeyPair(new SeededRandom(email));
    const { anchor = 'Acme', serialNumber = '02', length = 1, dnsNames = [] } = more;
    const certificate = fakeCertificate({ emails: email === '' ? [] : [email], uris: [], dnsNames, publicKey, serialNumber, anchor: fakeAnchor(anchor) });
    return { chain: Array.from({ length }, () => certificate), privateKey };
  }

  interface Scenario {
    readonly user?: Partial<Extract<EapUser, { certificate: unknown }>>;
    readonly client?: Partial<IkeProfile>;
    readonly server?: Partial<IkeProfile>;
    readonly gateway?: ReturnType<typeof credential>;
    readonly eap?: Partial<EapAuth>;
    readonly options?: Partial<IkeEndpointOptions>;
    readonly both?: Partial<IkeEndpointOptions>;
    readonly suite?: Suite;
  }

  function make({ user, client, server, gateway = credential(GATEWAY), eap, options, both = {}, suite = new FakeSuite() }: Scenario): ReturnType<typeof pair> {
    return classicPair({
      suite,
      branch: { localAuth: { kind: 'eap', identity: USER, certificate: credential(USER), ...user }, remoteAuth: { kind: 'certificate', anchors }, ...client },
      controller: { localAuth: { kind: 'certificate', ...gateway, algorithm: 'ecdsa-sha256' }, remoteAuth: { kind: 'eap', methods: ['tls'], anchors, ...eap }, ...server },
      controllerOptions: options ?? {},
      both,
    });
  }

  function connect(scenario: Scenario = {}): ReturnType<typeof pair> {
    const made = make(scenario);
    made.world.initiate(made.branch, made.controller, 'to-controller');
    made.world.run(3000);
    return made;
  }

  function isUp(made: ReturnType<typeof pair>): void {
    const [mine] = made.branch.of('child-up');
    const [theirs] = made.controller.of('child-up');
    ok(mine !== undefined && theirs !== undefined, made.world.story() + JSON.stringify([...made.branch.of('connect-failed'), ...made.controller.of('peer-refused')]));
    deepStrictEqual({ ...mine.outbound, id: 0 }, { ...theirs.inbound, id: 0 });
    isClosed(made);
  }

  /** Every TLS engine that was opened has been closed. */
  function isClosed({ branch, controller }: ReturnType<typeof pair>): void {
    for (const node of [branch, controller]) equal(node.of('tls-open').length, node.of('tls-close').length, `engines of ${node.name}`);
  }

  function refused(made: ReturnType<typeof pair>, cause: RegExp): void {
    const { branch, controller } = made;
    match([...branch.of('connect-failed'), ...controller.of('peer-refused')].map((output) => output.cause).join('; ') || 'nothing failed', cause);
    deepStrictEqual([branch.of('ike-up').length, controller.of('ike-up').length, branch.of('child-up').length], [0, 0, 0]);
    deepStrictEqual([branch.endpoint.snapshot().ikeSas.length, controller.endpoint.snapshot().ikeSas.length], [0, 0]);
    isClosed(made);
  }

  it('brings a user up with TLS 1.3, and says whom the certificate names', () => {
    const asked: AuthorizationRequest[] = [];
    const authorize = (request: AuthorizationRequest): { ok: true } => {
      asked.push(request);
      return { ok: true };
    };
    const made = connect({ options: { authorize }, client: { fragmentBytes: 9000 } });
    // IDi, ..., SA, TSi, TSr       -->   <-- IDr, CERT, AUTH, EAP(Request/Identity)
    // EAP(Response/Identity)       -->   <-- EAP(Request/TLS start)
    // EAP(ClientHello)             -->   <-- EAP(ServerHello ... Finished)
    // EAP(Certificate ... Finished) -->  <-- EAP(application data 0)
    // EAP(empty)                   -->   <-- EAP(Success)
    // AUTH                         -->   <-- AUTH, SA, TSi, TSr
    isUp(made);
    equal(decodeHeader(made.world.packets.at(-1)!.send.bytes).header.messageId, 6);
    deepStrictEqual(made.controller.of('ike-up')[0]?.remoteIdentity, { kind: 'user', value: USER });
    deepStrictEqual([asked[0]?.identity.value, asked[0]?.certificate?.emails, asked[0]?.certificate?.chain?.length], [USER, [USER], 1]);
  });

  it('brings a user up with TLS 1.2', () => {
    const made = connect({ suite: new OtherTlsSuite(() => ({ newestVersion: '1.2' })) });
    isUp(made);
    equal(decodeHeader(made.world.packets.at(-1)!.send.bytes).header.messageId, 6);
  });

  it('comes after an additional key exchange with ML-KEM', () => {
    const made = connect({ client: { proposals: DEFAULT_IKE_PROPOSALS }, server: { proposals: DEFAULT_IKE_PROPOSALS } });
    isUp(made);
    match(made.branch.of('ike-up')[0]?.suite ?? '', /ml-kem-768/);
  });

  it('carries long chains of both ends in fragments', () => {
    const made = connect({ user: { certificate: credential(USER, { length: 6 }) }, gateway: credential(GATEWAY, { length: 7 }) });
    isUp(made);
    // Two exchanges per flight, and one per further fragment.
    const exchanges = made.branch.logged('IKE exchange done').length;
    ok(exchanges > 10, `${exchanges} exchanges`);
  });

  it('refuses a message that is larger than it takes', () => {
    refused(connect({ user: { certificate: credential(USER, { length: 150 }) } }), /an EAP-TLS message claims \d+ octets, at most 32768 are taken/);
  });

  it('takes the user from the certificate when the EAP identity is anonymous', () => {
    const made = connect({ user: { identity: '@acme.example' } });
    isUp(made);
    equal(made.controller.of('ike-up')[0]?.remoteIdentity.value, USER);
  });

  it('knows a computer by the DNS name of its certificate', () => {
    for (const identity of ['laptop.acme.example', 'host/Laptop.Acme.Example', 'anonymous@acme.example']) {
      const made = connect({ user: { identity, certificate: credential('', { dnsNames: ['laptop.acme.example'] }) } });
      isUp(made);
      equal(made.controller.of('ike-up')[0]?.remoteIdentity.value, 'laptop.acme.example');
    }
  });

  it('refuses a certificate of another user', () => {
    refused(connect({ user: { identity: 'bob@acme.example' } }), /the user's certificate is not for bob@acme.example/);
  });

  it('refuses a user of an unknown authority', () => {
    refused(connect({ user: { certificate: credential(USER, { anchor: 'Somebody else' }) } }), /the user's certificate leads to no trust anchor/);
  });

  it('refuses a user without a certificate', () => {
    refused(connect({ suite: new OtherTlsSuite(({ role, chain }) => ({ chain: role === 'client' ? [] : chain })) }), /the user's certificate is missing/);
  });

  it('refuses a revoked user, and tells who that was', () => {
    const revocation = { crls: [fakeCrl({ revokedSerialNumbers: ['66'], revokedUnixMs: UNIX_MS - 1, nextUpdateUnixMs: UNIX_MS + 1e9, anchor: anchors[0]! })], policy: 'hard' } as const;
    const made = connect({ user: { certificate: credential(USER, { serialNumber: '66' }) }, options: { revocation: () => revocation } });
    refused(made, /the user's certificate was revoked on 2026-11-2/);
    deepStrictEqual(made.controller.of('peer-refused')[0]?.identity, { kind: 'user', value: USER });
    const good = connect({ options: { revocation: () => revocation } });
    isUp(good);
  });

  it('ends what a certificate vouched for that is revoked later, at either end', () => {
    let crls: Uint8Array[] = [];
    const revocation = (): RevocationCheck => ({ crls, policy: 'soft' });
    for (const end of ['branch', 'controller'] as const) {
      crls = [];
      const made = connect({ user: { eapOnly: true, certificate: credential(USER, { serialNumber: '66' }) }, gateway: credential(GATEWAY, { serialNumber: '66' }), eap: { eapOnly: true }, both: { revocation } });
      isUp(made);
      crls = [fakeCrl({ revokedSerialNumbers: ['66'], revokedUnixMs: UNIX_MS, nextUpdateUnixMs: UNIX_MS + 1e9, anchor: anchors[0]! })];
      made.world.input(made[end], { kind: 'revocations' });
      made.world.run(1000);
      match(made[end].of('ike-down')[0]?.reason ?? 'it is still up', /^peer's certificate was revoked/);
    }
  });

  it('refuses a user whom authorize does not want', () => {
    refused(connect({ options: { authorize: () => ({ ok: false, cause: 'no licence' }) } }), /no licence/);
  });

  it('does not show the certificate to a server that is not the responder', () => {
    const other = credential('c2@acme.example');
    const made = connect({ suite: new OtherTlsSuite(({ role, chain }) => ({ chain: role === 'server' ? other.chain : chain })) });
    refused(made, /the EAP server's certificate is not for the identity c1@acme.example/);
    equal(made.controller.of('tls-feed').length, 1);
  });

  it('does not take a success that TLS 1.3 has not announced', () => {
    refused(connect({ suite: new OtherTlsSuite(() => ({ greeting: Uint8Array.of(1) })) }), /the server claims success without having proven itself/);
  });

  it('refuses AUTH that is not made with the key of TLS', () => {
    const exporters = { '1.2': { label: 'other', context: undefined }, '1.3': { label: 'other', context: undefined } };
    refused(connect({ suite: new OtherTlsSuite(({ role, exporters: good }) => ({ exporters: role === 'server' ? exporters : good })) }), /AUTH is not made with the key of EAP/);
  });

  describe('with a post-quantum pre-shared key', () => {
    const ppk = { id: 'ppk-1', secret: utf8('thirty-two octets that both know'), required: true };
    const keyOf = (made: ReturnType<typeof pair>): Uint8Array => made.branch.of('child-up')[0]!.outbound.key;

    it("mixes the key into the children's keys and into AUTH", () => {
      const made = connect({ client: { ppk }, server: { ppk } });
      isUp(made);
      // The same seed draws the same nonces: only the key that was mixed in makes the difference.
      notDeepStrictEqual(keyOf(made), keyOf(connect()));
    });

    it('goes on without the key where both may', () => {
      isUp(connect({ client: { ppk: { ...ppk, required: false } } }));
      isUp(connect({ client: { ppk: { ...ppk, required: false, id: 'ppk-2' } }, server: { ppk: { ...ppk, required: false } } }));
    });

    it('refuses a peer without the key where one of them requires it', () => {
      refused(connect({ server: { ppk } }), /the peer does not use the post-quantum pre-shared key that this profile requires/);
      refused(connect({ client: { ppk }, server: { ppk: { ...ppk, id: 'ppk-2', required: false } } }), /requires a post-quantum pre-shared key that is not known/);
      refused(connect({ client: { ppk }, server: { ppk: { ...ppk, secret: utf8('thirty-two octets of another kind') } } }), /AUTH is not made with the key of EAP/);
    });
  });

  it('offers the next method to a user that wants another one', () => {
    const password = { kind: 'eap', identity: 'bob', password: 'secret' } as const;
    const made = connect({ client: { localAuth: password }, eap: { methods: ['tls', 'mschapv2'] }, options: { lookupEap: () => ({ password: 'secret' }) } });
    // EAP(Nak 26) -->   <-- EAP(Request/MSCHAPv2 challenge)
    isUp(made);
    refused(connect({ client: { localAuth: password } }), /the peer does not use EAP method 13, it wants 26/);
  });

  it('offers no TLS without a certificate of its own', () => {
    const made = classicPair({
      branch: { localAuth: { kind: 'eap', identity: USER, certificate: credential(USER), eapOnly: true }, remoteAuth: { kind: 'certificate', anchors } },
      controller: { remoteAuth: { kind: 'eap', methods: ['tls'], anchors, eapOnly: true } },
    });
    made.world.initiate(made.branch, made.controller, 'to-controller');
    made.world.run(3000);
    match(made.branch.of('connect-failed')[0]?.cause ?? '', /EAP needs a certificate of our own, none is configured/);
  });

  describe('alone (RFC 5998)', () => {
    it('leaves out the certificate in IKE where both profiles allow it', () => {
      const made = connect({ user: { eapOnly: true }, eap: { eapOnly: true } });
      isUp(made);
      const cautious = connect({ user: { eapOnly: true } });
      isUp(cautious);
      const size = ({ world }: typeof made): number => world.packets[3]!.send.bytes.length;
      ok(size(made) + 100 < size(cautious), `${size(made)} and ${size(cautious)} octets`);
    });

    it('shows the certificate before a method that passwords can be guessed from', () => {
      const password = { kind: 'eap', identity: 'bob', password: 'secret' } as const;
      const made = connect({ client: { localAuth: password }, eap: { methods: ['mschapv2'], eapOnly: true }, options: { lookupEap: () => ({ password: 'secret' }) } });
      isUp(made);
    });
  });

  it('forgets a user that takes its time at every step', () => {
    const made = make({ user: { certificate: credential(USER, { length: 20 }) }, both: { retransmission: { initialMs: 100_000, factor: 1, longestMs: 100_000, tries: 20, jitter: 0 } } });
    const { world, branch, controller } = made;
    // Just in time for each step, but not for all of them.
    world.fate = ({ from, send }) => [from === branch && decodeHeader(send.bytes).header.messageId > 1 ? 59_000 : 10];
    world.initiate(branch, controller, 'to-controller');
    world.run(299_000);
    equal(controller.endpoint.snapshot().ikeSas[0]?.state, 'eap', world.story());
    world.run(2_000);
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
    equal(controller.of('tls-close').length, 1);
  });

  it('wipes what TLS exported', () => {
    const exported: Uint8Array[] = [];
    class WatchedSuite extends FakeSuite {
      override openTls(options: TlsOptions): TlsEngine {
        const engine = super.openTls(options);
        const watched = (step: TlsStep): TlsStep => {
          if (step.session !== undefined) exported.push(step.session.exported);
          return step;
        };
        return { step: (bytes, done) => engine.step(bytes, (step) => done(watched(step))), close: () => engine.close() };
      }
    }
    isUp(connect({ suite: new WatchedSuite() }));
    equal(exported.length, 2);
    for (const octets of exported) deepStrictEqual(octets, new Uint8Array(octets.length));
  });

  it('survives loss and repetition of every message', () => {
    const messages = connect().world.packets.length;
    for (let lost = 0; lost < messages; lost++) {
      const made = make({});
      // A copy arrives while TLS is at work on the first one.
      made.world.fate = ({ index }) => (index === lost ? [] : [10, 11, 40]);
      made.world.initiate(made.branch, made.controller, 'to-controller');
      made.world.run(10_000);
      deepStrictEqual([made.branch.of('child-up').length, made.controller.of('child-up').length], [1, 1], `message ${lost} was lost:\n${made.world.story()}`);
      isClosed(made);
    }
  });

  it('ends while TLS is at work, at every moment', () => {
    for (let ms = 1; ms < 140; ms++) {
      const made = make({});
      made.world.initiate(made.branch, made.controller, 'to-controller');
      made.world.run(ms);
      const [sa] = made.branch.endpoint.snapshot().ikeSas;
      made.world.input(made.branch, { kind: 'terminate', ikeSa: sa!.ikeSa, reason: 'the test asked for it' });
      made.world.run(100_000);
      deepStrictEqual([made.branch.endpoint.snapshot().ikeSas, made.controller.endpoint.snapshot().ikeSas], [[], []], `after ${ms} ms`);
      isClosed(made);
    }
  });
});
