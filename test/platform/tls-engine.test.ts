import { deepStrictEqual, equal, match, notDeepStrictEqual, ok } from 'node:assert/strict';
import { toHex, utf8 } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import { fakeAnchor, fakeCertificate, fakeKeyPair, FakeSuite } from '../../platform/crypto-fake.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { TlsEngine, TlsOptions, TlsSession, TlsStep, TlsVersion } from '../../platform/tls-engine.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr } from '../../platform/x509.ts';
import { UNIX_MS } from '../ike/pair.ts';

type Credential = Pick<TlsOptions, 'chain' | 'privateKey'>;
interface Credentials {
  readonly client: Credential;
  readonly server: Credential;
  readonly anchors: readonly Uint8Array[];
}

const GREETING = Uint8Array.of(0);

function take(engine: TlsEngine, bytes: Uint8Array = new Uint8Array(0)): Promise<TlsStep> {
  return new Promise((resolve) => engine.step(bytes, resolve));
}

async function realCredentials(): Promise<Credentials> {
  const authority = await createAuthority({ commonName: 'Example', unixMs: UNIX_MS, days: 30 });
  const issue = async (email: string, serialNumber: string): Promise<Credential> => {
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: email });
    const names = { emails: [email], uris: [], dnsNames: [], ipAddresses: [] };
    return { chain: [await issueFromCsr(authority, csr, { subject: email, ...names, days: 9, unixMs: UNIX_MS, serialNumber, client: true, server: true })], privateKey };
  };
  return { client: await issue('alice@acme.example', '02'), server: await issue('gateway@acme.example', '03'), anchors: [authority.certificate] };
}

function fakeCredentials(): Promise<Credentials> {
  const issue = (email: string): Credential => {
    const { publicKey, privateKey } = fakeKeyPair(new SeededRandom(email));
    return { chain: [fakeCertificate({ emails: [email], uris: [], publicKey })], privateKey };
  };
  return Promise.resolve({ client: issue('alice@acme.example'), server: issue('gateway@acme.example'), anchors: [fakeAnchor()] });
}

function contract(suite: Suite, make: () => Promise<Credentials>): void {
  let credentials: Credentials;
  let engines: TlsEngine[] = [];

  before(async () => {
    credentials = await make();
  });

  afterEach(() => {
    for (const engine of engines) engine.close();
    engines = [];
  });

  function open(role: TlsOptions['role'], options: Partial<TlsOptions> = {}): TlsEngine {
    const exporters = { '1.2': { label: 'client EAP encryption', context: undefined }, '1.3': { label: 'EXPORTER_EAP_TLS_Key_Material', context: Uint8Array.of(13) } };
    const engine = suite.openTls({ role, ...credentials[role], anchors: credentials.anchors, exporters, exportedBytes: 64, greeting: GREETING, ...options });
    engines.push(engine);
    return engine;
  }

  interface Outcome {
    readonly client: TlsSession | undefined;
    readonly server: TlsSession | undefined;
    readonly received: string;
    readonly flights: number;
  }

  /** Carries flights until neither end has anything to say. */
  async function shake(client: TlsEngine, server: TlsEngine): Promise<Outcome> {
    let [ofClient, ofServer, received, flights] = [undefined as TlsSession | undefined, undefined as TlsSession | undefined, '', 0];
    for (let mine = await take(client); mine.bytes.length > 0; flights++) {
      const theirs = await take(server, mine.bytes);
      mine = await take(client, theirs.bytes);
      ofServer ??= theirs.session;
      ofClient ??= mine.session;
      received += toHex(mine.received);
    }
    return { client: ofClient, server: ofServer, received, flights };
  }

  for (const newestVersion of ['1.2', '1.3'] as const satisfies TlsVersion[]) {
    it(`agrees on ${newestVersion}, keys and certificates in two round trips`, async () => {
      const { client, server, received, flights } = await shake(open('client'), open('server', { newestVersion }));
      equal(flights, 2);
      ok(client !== undefined && server !== undefined);
      deepStrictEqual([client.version, server.version], [newestVersion, newestVersion]);
      deepStrictEqual(client.exported, server.exported);
      equal(client.exported.length, 64);
      deepStrictEqual([client.peerChain[0], server.peerChain[0]], [credentials.server.chain[0], credentials.client.chain[0]]);
      equal(received, newestVersion === '1.3' ? '00' : '');
    });
  }

  it('takes the older version of a client', async () => {
    equal((await shake(open('client', { newestVersion: '1.2' }), open('server'))).server?.version, '1.2');
  });

  it('exports other octets under another label', async () => {
    const exporter = { label: 'EXPORTER-Other', context: undefined };
    const { client, server } = await shake(open('client'), open('server', { exporters: { '1.2': exporter, '1.3': exporter } }));
    notDeepStrictEqual(client?.exported, server?.exported);
  });

  it('names why it cannot go on, again and again', async () => {
    const server = open('server');
    for (let i = 0; i < 2; i++) match((await take(server, utf8('this is not a record of TLS at all'))).failure ?? '', /^TLS fails: [a-z]/);
  });

  it('says an alert for a changed record, which the other end names', async () => {
    const [client, server] = [open('client'), open('server')];
    const { bytes } = await take(server, (await take(client)).bytes);
    const changed = bytes.slice();
    changed[5]! ^= 0x55;
    const { failure, bytes: alert } = await take(client, changed);
    match(failure ?? '', /^TLS fails: /);
    ok(alert.length > 0);
    match((await take(server, alert)).failure ?? '', /^TLS fails: /);
  });
}

describe('platform: TLS on Node', () => {
  contract(new RealSuite(), realCredentials);

  it('names a key that does not belong to the certificate', async () => {
    const { client, server } = await realCredentials();
    const unused = { label: 'x', context: undefined };
    const options = { role: 'server', chain: client.chain, privateKey: server.privateKey, anchors: [], exporters: { '1.2': unused, '1.3': unused }, exportedBytes: 1, greeting: GREETING } as const;
    const { failure } = await take(new RealSuite().openTls(options));
    match(failure ?? '', /^TLS fails: key values mismatch/);
  });
});

describe('platform: TLS of simulations', () => contract(new FakeSuite(), fakeCredentials));
