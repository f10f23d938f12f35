import { deepStrictEqual, equal, match, ok } from 'node:assert/strict';
import type { IkeEndpointOptions, IkeOutput } from '../../firmware/ike/endpoint.ts';
import { ntHash } from '../../firmware/ike/eap/nt-hash.ts';
import type { EapAuth, IkeProfile } from '../../firmware/ike/profile.ts';
import { decodeHeader } from '../../firmware/wire/ike/message.ts';
import { FakeSuite, fakeCertificate, fakeAnchor, fakeKeyPair } from '../../platform/crypto-fake.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { Authority } from '../../platform/x509.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr } from '../../platform/x509.ts';
import { classicPair, pair, UNIX_MS } from './pair.ts';

const USER = 'EXAMPLE\\alice';
const PASSWORD = 'correct horse';

describe('ike: EAP-MSCHAPv2', () => {
  let authority: Authority;
  let stranger: Authority;
  let gateway: Extract<IkeProfile['localAuth'], { kind: 'certificate' }>;

  before(async () => {
    authority = await createAuthority({ commonName: 'Example provider', unixMs: UNIX_MS, days: 3650 });
    stranger = await createAuthority({ commonName: 'Somebody else', unixMs: UNIX_MS, days: 3650 });
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: 'gateway' });
    const names = { emails: ['c1@acme.example'], uris: [], dnsNames: [], ipAddresses: [] };
    const certificate = await issueFromCsr(authority, csr, { subject: 'gateway', ...names, days: 30, unixMs: UNIX_MS, serialNumber: '02', client: true, server: true });
    gateway = { kind: 'certificate', chain: [certificate], privateKey, algorithm: 'ecdsa-sha256' };
  });

  interface Scenario {
    readonly user?: { identity?: string; password?: string };
    readonly client?: Partial<IkeProfile>;
    readonly server?: Partial<IkeProfile>;
    readonly eap?: Partial<EapAuth>;
    readonly options?: Partial<IkeEndpointOptions>;
  }

  function connect({ user, client, server, eap, options }: Scenario = {}): ReturnType<typeof pair> & { failures: string[] } {
    const failures: string[] = [];
    const made = classicPair({
      branch: { localAuth: { kind: 'eap', identity: USER, password: PASSWORD, ...user }, remoteAuth: { kind: 'certificate', anchors: [authority.certificate] }, ...client },
      controller: { localAuth: gateway, remoteAuth: { kind: 'eap', methods: ['mschapv2'], ...eap }, ...server },
      controllerOptions: {
        lookupEap: (_profile, identity) => (identity === USER ? { ntHash: ntHash(PASSWORD) } : undefined),
        onEapFailure: (_profile, identity) => void failures.push(identity),
        ...options,
      },
    });
    made.world.initiate(made.branch, made.controller, 'to-controller');
    made.world.run(3000);
    return { ...made, failures };
  }

  function childrenMatch({ branch, controller }: ReturnType<typeof pair>): void {
    const [mine] = branch.of('child-up');
    const [theirs] = controller.of('child-up');
    ok(mine !== undefined && theirs !== undefined);
    deepStrictEqual({ ...mine.outbound, id: 0 }, { ...theirs.inbound, id: 0 });
    deepStrictEqual({ ...mine.inbound, id: 0 }, { ...theirs.outbound, id: 0 });
  }

  it('brings a user up with five IKE_AUTH exchanges', () => {
    const made = connect({ client: { fragmentBytes: 9000 }, server: { fragmentBytes: 9000 } });
    const { world, branch, controller, failures } = made;
    // IKE_SA_INIT                                 -->   <-- ...
    // IDi, CERTREQ, IDr, SA, TSi, TSr             -->   <-- IDr, CERT, AUTH, EAP(Request/Identity)
    // EAP(Response/Identity)                      -->   <-- EAP(Request/MSCHAPv2 challenge)
    // EAP(Response/MSCHAPv2 response)             -->   <-- EAP(Request/MSCHAPv2 success)
    // EAP(Response/MSCHAPv2 success)              -->   <-- EAP(Success)
    // AUTH                                        -->   <-- AUTH, N(AUTH_LIFETIME), SA, TSi, TSr
    equal(branch.of('ike-up').length, 1, world.story() + JSON.stringify([...branch.of('log'), ...controller.of('log')]));
    deepStrictEqual(world.packets.map(({ send }) => decodeHeader(send.bytes).header.messageId), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
    deepStrictEqual(controller.of('ike-up')[0]?.remoteIdentity, { kind: 'user', value: USER });
    equal(branch.of('ike-up')[0]?.remoteIdentity.value, 'c1@acme.example');
    deepStrictEqual(failures, []);
    childrenMatch(made);
  });

  it('takes a client that gives its address as its identity in IKE, as Windows does', () => {
    const { branch, controller } = connect({ client: { localIdentity: { kind: 'ipv4', value: '192.0.2.1' }, requestConfiguration: true }, options: { authorize: () => ({ ok: true, assignedAddress: '10.9.1.2' }) } });
    deepStrictEqual([branch.of('child-up').length, controller.of('child-up').length], [1, 1]);
    deepStrictEqual(controller.of('ike-up')[0]?.remoteIdentity, { kind: 'user', value: USER });
  });

  it('takes a password where no hash is kept', () => {
    const { branch, controller } = connect({ options: { lookupEap: () => ({ password: PASSWORD }) } });
    deepStrictEqual([branch.of('child-up').length, controller.of('child-up').length], [1, 1]);
  });

  function refused(made: ReturnType<typeof connect>, cause: RegExp): void {
    const { branch, controller } = made;
    match(branch.of('connect-failed')[0]?.cause ?? 'nothing failed', cause);
    deepStrictEqual([branch.of('ike-up').length, controller.of('ike-up').length, branch.of('child-up').length, controller.of('child-up').length], [0, 0, 0, 0]);
    equal(branch.endpoint.snapshot().ikeSas.length, 0);
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
  }

  it('refuses a wrong password, tells both ends and the lock-out', () => {
    const made = connect({ user: { password: 'wrong' } });
    // EAP(Response/MSCHAPv2 response)             -->   <-- EAP(Request/MSCHAPv2 failure, E=691 R=1)
    // EAP(Response/MSCHAPv2 failure)              -->   <-- EAP(Failure), N(AUTHENTICATION_FAILED)
    refused(made, /the user name or the password is wrong \(E=691\)/);
    deepStrictEqual(made.failures, [USER]);
    deepStrictEqual(made.controller.logged('EAP user refused').map(({ user, cause }) => [user, cause]), [[USER, 'the password is wrong']]);
    deepStrictEqual(made.controller.of('peer-refused').map(({ identity, cause }) => [identity, cause]), [[{ kind: 'user', value: USER }, 'the password is wrong']]);
  });

  it('goes on after EAP with MOBIKE', () => {
    const made = connect();
    const { route } = made.world;
    made.world.route = (to) => route(to) ?? { node: made.branch, local: to };
    made.world.input(made.branch, { kind: 'move', ikeSa: made.branch.of('ike-up')[0]!.ikeSa, socket: 'other', nattSocket: undefined, local: { address: '192.0.2.9', port: 500 } });
    made.world.run(1000);
    equal(made.branch.of('ike-down').length, 0);
    equal(made.controller.of('endpoint').at(-1)?.remote.address, '192.0.2.9');
  });

  it('refuses an unknown user with the same words', () => {
    const made = connect({ user: { identity: 'mallory' } });
    refused(made, /the user name or the password is wrong \(E=691\)/);
    deepStrictEqual(made.failures, ['mallory']);
    equal(made.controller.logged('EAP user refused')[0]?.['cause'], 'the user is not known');
  });

  it('refuses a user whom authorize does not want', () => {
    const made = connect({ options: { authorize: ({ identity }) => ({ ok: false, cause: `${identity.value} has no licence` }) } });
    refused(made, /peer refuses: EXAMPLE.alice has no licence/);
  });

  it('gives no password to a server that its anchors do not know', () => {
    const made = connect({ client: { remoteAuth: { kind: 'certificate', anchors: [stranger.certificate] } } });
    // IDi, ..., SA, TSi, TSr                      -->   <-- IDr, CERT, AUTH, EAP(Request/Identity)
    // INFORMATIONAL N(AUTHENTICATION_FAILED)      -->   <-- {}
    refused(made, /certificate leads to no trust anchor/);
    equal(made.controller.logged('IKE SA could not be established').length, 1);
  });

  it('gives no password to a server without a certificate', () => {
    refused(connect({ server: { localAuth: { kind: 'psk', key: new Uint8Array(32) } } }), /EAP needs a certificate of our own/);
  });

  it('refuses EAP where the profile does not offer it', () => {
    refused(connect({ server: { remoteAuth: { kind: 'certificate', anchors: [authority.certificate] } } }), /the peer asks for EAP, which this profile does not offer/);
  });

  it('refuses a peer that does not use EAP where the profile asks for it', () => {
    refused(connect({ client: { localAuth: gateway } }), /the peer must authenticate by EAP/);
  });

  it('hands out addresses of both families, DNS, subnets and domains, and narrows the user to its addresses', () => {
    const settings = { dns: ['10.9.0.53', '2001:db8::53'], subnets: ['10.0.0.0/8', '2001:db8:1::/48'], dnsDomains: ['acme.example'] };
    const { branch, controller } = connect({ client: { requestConfiguration: true }, options: { authorize: () => ({ ok: true, assignedAddress: '10.9.1.2', alsoAssigned: '2001:db8:9::2', settings }) } });
    const [up] = branch.of('ike-up');
    deepStrictEqual([up?.assigned, up?.alsoAssigned, up?.settings], ['10.9.1.2', '2001:db8:9::2', settings]);
    const [child] = controller.of('child-up');
    deepStrictEqual(child?.remoteSelectors.map(({ startAddress, endAddress }) => [startAddress, endAddress]), [['10.9.1.2', '10.9.1.2'], ['2001:db8:9::2', '2001:db8:9::2']]);
  });

  it('has the user come again before its authentication expires, whatever was rekeyed since, and makes before it breaks', () => {
    const { world, branch, controller } = connect({ eap: { lifetimeMs: 1_000_000 }, client: { ikeLifetimeMs: 500_000 } });
    world.run(890_000);
    ok(branch.of('ike-rekeyed').length > 0);
    equal(branch.of('ike-down').length, 0);
    const seen = branch.outputs.length;
    world.run(20_000);
    const order = branch.outputs.slice(seen).map(({ kind }) => kind).filter((kind) => /^(ike|child)-(up|down)$/.test(kind));
    deepStrictEqual(order, ['ike-up', 'child-up', 'child-down', 'ike-down']);
    equal(branch.of('ike-down')[0]?.reason, 'authenticated anew');
    for (const node of [branch, controller]) {
      deepStrictEqual([node.of('ike-up').length, node.of('ike-down').length, node.endpoint.snapshot().ikeSas.length], [2, 1, 1], world.story());
    }
    // The new authentication has a lifetime of its own.
    world.run(850_000);
    equal(branch.of('ike-up').length, 2);
    world.run(60_000);
    equal(branch.of('ike-up').length, 3);
  });

  it('keeps a connection until its authentication expires while the user cannot come again', () => {
    const { world, branch } = connect({ eap: { lifetimeMs: 1_000_000 } });
    world.fate = ({ send }) => (decodeHeader(send.bytes).header.exchange === 34 ? [] : [10]);
    world.run(990_000);
    equal(branch.of('connect-failed').length, 1);
    equal(branch.of('ike-down').length, 0);
    // Whoever is first.
    world.run(11_000);
    match(branch.of('ike-down')[0]?.reason ?? '', /^(its authentication lifetime ended|the peer deleted the IKE SA)$/);
  });

  it('ends a user that does not come again', () => {
    const { world, branch, controller } = connect({ eap: { lifetimeMs: 1_000_000 } });
    world.fate = ({ from }) => (from === branch ? [] : [10]);
    world.run(1_000_000);
    ok(controller.of('ike-down').length > 0);
  });

  it('forgets a user that falls silent in the conversation', () => {
    const made = classicPair({
      branch: { localAuth: { kind: 'eap', identity: USER, password: PASSWORD }, remoteAuth: { kind: 'certificate', anchors: [authority.certificate] } },
      controller: { localAuth: gateway, remoteAuth: { kind: 'eap', methods: ['mschapv2'] } },
    });
    const { world, branch, controller } = made;
    world.fate = ({ from, send }) => (from === branch && decodeHeader(send.bytes).header.messageId > 2 ? [] : [10]);
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(controller.endpoint.snapshot().ikeSas[0]?.state, 'eap');
    world.run(90_000);
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
    equal(controller.logged('IKE SA could not be established')[0]?.['cause'], 'the peer did not go on after an EAP request');
  });

  it('survives loss and repetition of every message', () => {
    for (let lost = 0; lost < 12; lost++) {
      const made = classicPair({
        branch: { localAuth: { kind: 'eap', identity: USER, password: PASSWORD }, remoteAuth: { kind: 'certificate', anchors: [authority.certificate] } },
        controller: { localAuth: gateway, remoteAuth: { kind: 'eap', methods: ['mschapv2'] } },
        controllerOptions: { lookupEap: () => ({ password: PASSWORD }) },
      });
      const { world, branch, controller } = made;
      world.fate = ({ index }) => (index === lost ? [] : [10, 15]);
      world.initiate(branch, controller, 'to-controller');
      world.run(10_000);
      deepStrictEqual([branch.of('child-up').length, controller.of('child-up').length], [1, 1], `message ${lost} was lost:\n${world.story()}`);
    }
  });

  it('never logs the password or its hash', () => {
    const made = connect({ user: { password: 'wrong secret' } });
    const told = JSON.stringify([...made.branch.outputs, ...made.controller.outputs].filter((output: IkeOutput) => output.kind !== 'send'));
    ok(!told.includes('wrong secret') && !told.includes(PASSWORD));
  });

  it('works in simulations', () => {
    const keys = fakeKeyPair(new SeededRandom(7));
    const certificate = fakeCertificate({ emails: ['c1@acme.example'], uris: [], publicKey: keys.publicKey });
    const made = classicPair({
      suite: new FakeSuite(),
      branch: { localAuth: { kind: 'eap', identity: USER, password: PASSWORD }, remoteAuth: { kind: 'certificate', anchors: [fakeAnchor()] } },
      controller: { localAuth: { kind: 'certificate', chain: [certificate], privateKey: keys.privateKey, algorithm: 'ecdsa-sha256' }, remoteAuth: { kind: 'eap', methods: ['mschapv2'] } },
      controllerOptions: { lookupEap: () => ({ password: PASSWORD }) },
    });
    made.world.initiate(made.branch, made.controller, 'to-controller');
    made.world.run(1000);
    childrenMatch(made);
  });
});
