// The cache against openssl's responder; its HTTP is ours, over the loopback interface.
import { deepStrictEqual, equal, ok, rejects, throws } from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OcspStatuses } from '../../firmware/services/ocsp-statuses.ts';
import { NodeNetwork } from '../../drivers/portable/sockets.ts';
import { decodeCertificate } from '../../platform/certificate.ts';
import { checkChain } from '../../platform/chain.ts';
import { OperationalError } from '../../platform/errors.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { decodeOcspResponse, encodeOcspRequest, LARGEST_OCSP_BYTES } from '../../platform/ocsp.ts';
import { SeededRandom } from '../../platform/random.ts';
import { SystemClock, instant, sleep } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import { askResponder, readResponder } from '../../provisioning/ztp/ocsp-transport.ts';
import { pair } from '../ike/pair.ts';
import { CA_EXTENSIONS, OpensslAuthority } from '../platform/openssl-authority.ts';
import type { OpensslIssued } from '../platform/openssl-authority.ts';

const HOUR = 3_600_000;
const URL_OF_LEAF = 'http://192.0.2.9/ocsp';
const SERIAL = '1234';
/** openssl goes by the host's clock; this is after everything that it issues here. */
const START = new SystemClock().unixMs() + 600_000;

type Answer = Parameters<OpensslAuthority['ocsp']>[2];

describe('services/ocsp-statuses', () => {
  let directory: string;
  let openssl: OpensslAuthority;
  let root: OpensslIssued;
  let leaf: OpensslIssued;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
    openssl = new OpensslAuthority(directory);
    root = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS });
    leaf = openssl.issue({ name: 'box', issuer: root, serial: String(0x1234), extensions: [`authorityInfoAccess=OCSP;URI:${URL_OF_LEAF}`] });
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  function statuses(answers: (request: Uint8Array, count: number) => Uint8Array | Promise<Uint8Array>, responder = '') {
    let now = 0;
    const timers = new Map<object, { when: Instant; run: () => void }>();
    const clock = {
      now: () => instant(now),
      unixMs: () => START + now,
      at: (when: Instant, run: () => void) => {
        const key = {};
        timers.set(key, { when, run });
        return () => void timers.delete(key);
      },
    };
    const asked: { url: string; at: number }[] = [];
    const changes: boolean[] = [];
    const sink = new MemorySink();
    const cache = new OcspStatuses({
      site: { clock, random: new SeededRandom(1) },
      log: new SinkLog([sink], () => START).channel('ipsec'),
      responder,
      ask: async (url, request) => (asked.push({ url, at: now }), answers(request, asked.length)),
      changed: (more) => void changes.push(more),
    });
    const advance = async (ms: number): Promise<void> => {
      for (const end = now + ms; ; ) {
        await sleep(0);
        const due = [...timers].filter(([, { when }]) => when <= end).sort(([, a], [, b]) => a.when - b.when)[0];
        if (due === undefined) return void (now = end);
        timers.delete(due[0]);
        now = Math.max(now, due[1].when);
        due[1].run();
      }
    };
    return { cache, asked, changes, timers, advance, causes: () => sink.records.map(({ fields }) => fields['cause']) };
  }

  const answer = (what: Answer) => (request: Uint8Array) => openssl.ocsp(root, request, what);
  const path = (): Uint8Array[] => [leaf.der, root.der];

  it('asks the responder of the certificate, once for each, and lets the chain pass under hard fail then', async () => {
    const { cache, asked, changes, advance } = statuses(answer({ known: [SERIAL], minutes: 1440 }));
    cache.follow(path());
    cache.follow(path());
    await advance(1000);
    deepStrictEqual(asked.map(({ url }) => url), [URL_OF_LEAF]);
    deepStrictEqual(changes, [false]);
    const revocation = { crls: [], ocspResponses: cache.responses(), policy: 'hard' } as const;
    equal(checkChain({ chain: [leaf.der], anchors: [root.der], unixMs: START, revocation }).ok, true);
    // Asked again half-way to the end of the response.
    await advance(8 * HOUR);
    equal(asked.length, 1);
    await advance(8 * HOUR);
    ok(asked.length >= 2);
  });

  it('refuses a peer of unknown state under hard fail, asks, lets it in at the next attempt, and ends its IKE SA when it is revoked', async () => {
    const device = (name: string, serial: number): OpensslIssued =>
      openssl.issue({ name, issuer: root, serial: String(serial), extensions: [`subjectAltName=email:${name}@acme.example`, `authorityInfoAccess=OCSP;URI:${URL_OF_LEAF}`] });
    const [b1, c1] = [device('b1', 0x3333), device('c1', 0x4444)];
    let answered: Answer = { known: ['3333'], minutes: 40 };
    const { cache, advance, changes } = statuses((request) => openssl.ocsp(root, request, answered));
    const credentials = (own: OpensslIssued) => ({
      localAuth: { kind: 'certificate', chain: [own.der], privateKey: own.privateKey, algorithm: 'ecdsa-sha256' } as const,
      remoteAuth: { kind: 'certificate', anchors: [root.der] } as const,
    });
    const revocation = () => ({ crls: [], ocspResponses: cache.responses(), policy: 'hard' }) as const;
    const { world, branch, controller } = pair({ branch: credentials(b1), controller: credentials(c1), both: { unixMs: () => START }, controllerOptions: { revocation } });
    const attempt = (): void => {
      world.initiate(branch, controller, 'to-controller');
      world.run(2000);
    };
    attempt();
    equal(controller.of('peer-refused')[0]?.cause, "peer's certificate cannot be checked: no current CRL or OCSP response of issuer Root (hard fail)");
    for (const { path: seen } of controller.of('certificate-seen')) cache.follow(seen);
    await advance(1000);
    attempt();
    equal(controller.of('ike-up').length, 1, JSON.stringify(controller.of('peer-refused')));
    answered = { revoked: ['3333'] };
    await advance(HOUR);
    ok(changes.includes(true));
    world.input(controller, { kind: 'revocations' });
    equal(controller.of('ike-down')[0]?.reason, "peer's certificate was revoked on 2026-10-01");
  });

  it('asks a configured responder in its place, and nobody for a certificate without one', async () => {
    const configured = statuses(answer({ known: [SERIAL] }), 'http://192.0.2.77/');
    configured.cache.follow(path());
    equal(configured.asked[0]!.url, 'http://192.0.2.77/');
    const plain = statuses(answer({}));
    plain.cache.follow([root.der, root.der]);
    equal(plain.asked.length, 0);
  });

  it('says that a certificate is revoked when it learns it, once', async () => {
    const { cache, changes, advance } = statuses((request, count) => openssl.ocsp(root, request, count === 1 ? { known: [SERIAL], minutes: 40 } : { revoked: [SERIAL], minutes: 600 }));
    cache.follow(path());
    await advance(10 * HOUR);
    equal(changes[0], false);
    deepStrictEqual(changes.filter((more) => more), [true]);
  });

  it('keeps what it has when an answer is of another request, foreign, old, or none, and asks later and later', async () => {
    const stranger = openssl.issue({ name: 'Root', extensions: CA_EXTENSIONS });
    const good = openssl.ocsp(root, encodeOcspRequest(SERIAL, decodeCertificate(root.der), undefined), { known: [SERIAL], minutes: 40 });
    const bad: ((request: Uint8Array) => Uint8Array)[] = [
      () => openssl.ocsp(root, encodeOcspRequest(SERIAL, decodeCertificate(root.der), new Uint8Array(8)), { known: [SERIAL] }),
      () => openssl.ocsp(root, encodeOcspRequest('1235', decodeCertificate(root.der), undefined), { known: ['1235'] }),
      (request) => openssl.ocsp(root, request, { known: [SERIAL], signer: stranger }),
      () => good.subarray(0, 50),
      () => {
        throw new OperationalError('ocsp-unreachable', 'no answer', 'check the route');
      },
    ];
    const { cache, asked, advance, causes } = statuses((request, count) => (count === 1 ? good : (bad[count - 2]?.(request) ?? good)));
    cache.follow(path());
    await advance(2 * HOUR);
    deepStrictEqual(causes().slice(0, 3), ['the response answers another request', 'the response is about another certificate', 'the response is signed neither by the issuer nor by a responder that it has delegated']);
    equal(causes()[4], 'no answer; next: check the route');
    // The one that ended meanwhile is no news either.
    ok(causes().slice(5).every((cause) => cause === 'the response has ended'), `${causes()}`);
    deepStrictEqual(cache.responses(), [good]);
    const pauses = asked.slice(2).map(({ at }, i) => at - asked[i + 1]!.at);
    ok(pauses[3]! > 3 * pauses[0]!, `${pauses}`);
  });

  it('follows at most 1024 certificates and has at most four requests under way', async () => {
    let open = 0;
    let most = 0;
    const { cache, asked, timers } = statuses(async () => {
      most = Math.max(most, ++open);
      await sleep(0);
      open--;
      throw new Error('nobody there');
    });
    // The serial number is two octets of the certificate: changing it makes another certificate, whose signature nobody looks at here.
    const at = Buffer.from(leaf.der).indexOf(Buffer.from([0x02, 0x02, 0x12, 0x34])) + 2;
    for (let serial = 0x1000; serial < 0x1000 + 1100; serial++) {
      const der = leaf.der.slice();
      der.set([serial >> 8, serial & 0xff], at);
      cache.follow([der, root.der]);
    }
    for (let i = 0; i < 300; i++) await sleep(0);
    equal(most, 4);
    ok(asked.length <= 1024 + 4, `${asked.length}`);
    cache.stop();
    equal(timers.size, 0);
  });
});

describe('ztp/ocsp-transport', () => {
  const site = { clock: new SystemClock(), network: new NodeNetwork() };
  const servers: Server[] = [];

  after(() => servers.forEach((server) => server.close()));

  async function serve(status: number, body: Uint8Array): Promise<{ url: string; seen: { type: string | undefined; body: string }[] }> {
    const seen: { type: string | undefined; body: string }[] = [];
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        seen.push({ type: request.headers['content-type'], body: Buffer.concat(parts).toString('hex') });
        response.writeHead(status, { 'content-type': 'application/ocsp-response' }).end(body);
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ocsp?x=1`, seen };
  }

  it('posts the request and returns the answer', async () => {
    const { url, seen } = await serve(200, Uint8Array.of(0x30, 3, 0x0a, 1, 6));
    const answer = await askResponder(site, undefined, url, Uint8Array.of(1, 2, 3));
    deepStrictEqual(seen, [{ type: 'application/ocsp-request', body: '010203' }]);
    throws(() => decodeOcspResponse(answer), /the responder answers unauthorized/);
  });

  it('gives up an answer of another status, one that is too long, and a responder that is not there', async () => {
    const [refusing, endless] = [await serve(404, new Uint8Array(0)), await serve(200, new Uint8Array(LARGEST_OCSP_BYTES + 1))];
    await rejects(askResponder(site, undefined, refusing.url, Uint8Array.of(1)), /it answers HTTP 404/);
    await rejects(askResponder(site, undefined, endless.url, Uint8Array.of(1)), /longer than 131072 octets/);
    await rejects(askResponder(site, undefined, 'http://127.0.0.1:1/', Uint8Array.of(1)), OperationalError);
  });

  it('goes to addresses over HTTP only', () => {
    deepStrictEqual(readResponder('http://[2001:db8::1]:8080/a'), { address: '2001:db8::1', port: 8080, path: '/a' });
    for (const url of ['http://ocsp.example/', 'https://192.0.2.1/', 'file:///etc/passwd', 'ldap://192.0.2.1', 'nonsense']) {
      throws(() => readResponder(url), /is not http:\/\/ with an address/);
    }
  });
});
