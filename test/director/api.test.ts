// Director's API over real HTTPS on the loopback interface.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import { OperationalError } from '../../platform/errors.ts';
import { certificateFacts, createCsr, generateKeyPair, readCrl } from '../../platform/x509.ts';
import { documentChecks } from '../../provisioning/ztp/schema.ts';
import { decodeActivationLink } from '../../provisioning/ztp/activation-link.ts';
import { openBundle } from '../../provisioning/ztp/bundle.ts';
import type { DeviceIdentity } from '../../provisioning/ztp/director-tls.ts';
import { PROVIDER, certificateBody, certifyByHand, enrol, populate, startDirector, suite } from './director-fixture.ts';
import type { Fixture } from './director-fixture.ts';

async function refused(promise: Promise<unknown>): Promise<OperationalError> {
  const error: unknown = await promise.then(() => undefined, (reason: unknown) => reason);
  assert.ok(error instanceof OperationalError, `expected a refusal, got ${String(error)}`);
  return error;
}

describe('Director API', () => {
  let fixture: Fixture;

  beforeEach(async () => {
    fixture = await startDirector();
    await populate(fixture);
  });

  afterEach(() => fixture.close());

  it('writes the operator token and the database for the owner only', () => {
    for (const file of ['operator.token', 'director.sqlite']) assert.equal(statSync(join(fixture.directory, file)).mode & 0o777, 0o600);
  });

  it('gives a site two addresses per tenant and identities of its own', async () => {
    const site = await fixture.operator.site('Branch-1');
    assert.equal(site.siteId, 100);
    assert.deepEqual(
      site.tenants.map(({ tenant, identity, encryptedAddress, clearAddress }) => [tenant, identity, encryptedAddress, clearAddress]),
      [
        [1, 'Branch-1@Provider.Provider', '10.0.0.3', '10.0.0.4'],
        [2, 'Branch-1@Acme.Provider', '10.0.0.3', '10.0.0.4'],
      ],
    );
  });

  it('names key, value and what is allowed when a request is wrong', async () => {
    const error = await refused(fixture.operator.call('POST', '/api/v1/organizations', { name: 'no spaces please' }));
    assert.equal(error.code, 'invalid');
    assert.match(error.message, /body: name is "no spaces please"; allowed: 1 to 40 of/);
    const unknown = await refused(fixture.operator.call('POST', '/api/v1/transports', { name: 'MPLS', colour: 'red' }));
    assert.match(unknown.message, /colour is present/);
  });

  it('refuses a serial that another site has', async () => {
    const error = await refused(fixture.operator.createSite({ name: 'Branch-2', serial: 'BOX0001', circuits: [{ id: 1, name: 'vni-0/0', transport: 'INTERNET', addresses: ['192.0.2.11/24'], gateways: [] }], tenants: [] }));
    assert.equal(error.code, 'conflict');
    assert.match(error.message, /serial BOX0001 belongs to site Branch-1/);
  });

  it('refuses a circuit on a transport that does not exist', async () => {
    const error = await refused(fixture.operator.createSite({ name: 'B', serial: 'S', circuits: [{ id: 1, name: 'vni-0/0', transport: 'LTE', addresses: ['192.0.2.11/24'], gateways: [] }], tenants: [] }));
    assert.match(error.message, /transport LTE, which does not exist/);
  });

  it('tells a branch which addresses its network gives, and refuses them where they are configured too, and for a Controller', async () => {
    const circuit = { id: 1, name: 'vni-0/0', transport: 'INTERNET', addresses: [], gateways: [], automatic: ['dhcp', 'slaac'] as const };
    await fixture.operator.createSite({ name: 'Branch-2', serial: 'BOX0002', circuits: [circuit], tenants: [] });
    const { circuits } = (await fixture.operator.orderPrestaging('Branch-2')) as PrestagingRecord;
    assert.deepEqual(circuits, [circuit]);
    const both = await refused(fixture.operator.createSite({ name: 'B', serial: 'S', circuits: [{ ...circuit, gateways: ['192.0.2.1'] }], tenants: [] }));
    assert.equal(both.message, 'circuit 1 has gateways "192.0.2.1"; allowed: no IPv4 address, for "automatic" has dhcp');
    const none = await refused(fixture.operator.createSite({ name: 'B', serial: 'S', circuits: [{ ...circuit, automatic: [] }], tenants: [] }));
    assert.match(none.message, /^circuit 1 has addresses \[\]; allowed: an address such as 192\.0\.2\.10\/24, or "automatic" with dhcp or slaac$/);
    const controller = await refused(fixture.operator.createController({ name: 'Controller-2', serial: 'CTRL0002', circuits: [circuit] }));
    assert.equal(controller.message, 'circuit 1 of a Controller has automatic addresses');
  });

  it('answers operator routes only to the operator token', async () => {
    const branch = await certifyByHand(fixture);
    for (const client of [fixture.client(), fixture.client(branch)]) {
      for (const [method, path] of [['GET', '/api/v1/sites'], ['GET', '/api/v1/tasks'], ['POST', '/api/v1/sites/Branch-1/prestaging'], ['GET', '/vnms/tasks/task/1']] as const) {
        assert.equal((await refused(client.call(method, path))).code, 'unauthorized', `${method} ${path}`);
      }
    }
  });

  it('answers device routes only to a device certificate, each role its own', async () => {
    const branch = await certifyByHand(fixture);
    for (const path of ['/api/v1/devices/self/bundle', '/api/v1/devices/self/software', '/api/v1/controllers/self/directory']) {
      assert.equal((await refused(fixture.client().call('GET', path))).code, 'unauthorized');
      assert.equal((await refused(fixture.operator.call('GET', path))).code, 'unauthorized');
    }
    assert.equal((await refused(fixture.client(branch).call('GET', '/api/v1/controllers/self/directory'))).code, 'forbidden');
  });

  it('gives a branch its own bundle and no other', async () => {
    await fixture.operator.createSite({ name: 'Branch-2', serial: 'BOX0002', circuits: [{ id: 1, name: 'vni-0/0', transport: 'INTERNET', addresses: ['192.0.2.11/24'], gateways: [] }], tenants: [] });
    const second = await certifyByHand(fixture, 'Branch-2');
    const { status, body } = await fixture.client(second).request('GET', '/api/v1/devices/self/bundle');
    assert.equal(status, 200);
    const check = { suite, checks: documentChecks(), anchors: [fixture.director.anchor!], unixMs: fixture.clock.unixMs(), provider: PROVIDER, minimumGeneration: 0 };
    const own = openBundle(body, { ...check, serial: 'BOX0002' });
    assert.ok(own.ok && own.configuration.device.name === 'Branch-2' && own.configuration.tenants[0]!.controllers[0]!.name === 'Controller-1');
    const other = openBundle(body, { ...check, serial: 'BOX0001' });
    assert.ok(!other.ok && other.cause === 'it is for serial BOX0002, the box has BOX0001');
    assert.equal((await fixture.client(second).request('GET', `/api/v1/devices/self/bundle?after=${own.configuration.generation}`)).status, 204);
  });

  it('raises the generation when something changed and only then', async () => {
    const branch = fixture.client(await certifyByHand(fixture));
    const generation = async (): Promise<number> => {
      const { body } = await branch.request('GET', '/api/v1/devices/self/bundle');
      const opened = openBundle(body, { suite, checks: documentChecks(), anchors: [fixture.director.anchor!], unixMs: fixture.clock.unixMs(), provider: PROVIDER, serial: 'BOX0001', minimumGeneration: 0 });
      assert.ok(opened.ok);
      return opened.configuration.generation;
    };
    const first = await generation();
    assert.equal(await generation(), first);
    await fixture.operator.updateSite('Branch-1', { softwareVersion: '0.2.0' });
    assert.ok((await generation()) > first);
  });

  it('says why a certificate is refused: serial, identity, pre-shared key, revocation', async () => {
    const record = await fixture.operator.orderPrestaging('Branch-1');
    const ask = async (psk: string, serial: string, identity: string): Promise<OperationalError> => refused(fixture.client().call('POST', '/api/v1/devices/certificate', (await certificateBody(psk, serial, identity)).body));
    assert.equal((await ask(record.staging.psk, 'BOX9999', record.staging.localIdentity)).message, 'no site has serial BOX9999');
    assert.match((await ask(record.staging.psk, 'BOX0001', 'BOX9@staging.Provider')).message, /BOX9@staging.Provider does not match BOX0001@staging.Provider/);
    assert.equal((await ask(Buffer.alloc(32).toString('base64'), 'BOX0001', record.staging.localIdentity)).code, 'credential-mismatch');
    await fixture.operator.revokeSite('Branch-1');
    assert.equal((await ask(record.staging.psk, 'BOX0001', record.staging.localIdentity)).code, 'revoked');
  });

  it('makes a fresh pre-shared key for every prestaging order and voids the former', async () => {
    const first = await fixture.operator.orderPrestaging('Branch-1');
    const second = await fixture.operator.orderPrestaging('Branch-1');
    assert.notEqual(first.staging.psk, second.staging.psk);
    assert.equal(Buffer.from(second.staging.psk, 'base64').length, 32);
    const { body } = await certificateBody(first.staging.psk, first.serial, first.staging.localIdentity);
    assert.equal((await refused(fixture.client().call('POST', '/api/v1/devices/certificate', body))).code, 'credential-mismatch');
  });

  it('orders a prestaging record as a link that is void after its time, in the directory of Controllers too', async () => {
    const controller = fixture.client(await enrol(fixture));
    const stagingKeys = async (): Promise<string[]> => {
      const { directory } = await controller.call<{ directory: { sites: { staging?: { psk: string } }[] } }>('GET', '/api/v1/controllers/self/directory?after=0&directive=0&configuration=0');
      return directory.sites.flatMap(({ staging }) => (staging === undefined ? [] : [staging.psk]));
    };
    const { link, expiresUnixMs } = await fixture.operator.orderActivation('Branch-1', { lifetimeSeconds: 60 });
    assert.match(link, /^https:\/\/box0001\.setup\/ztp\?d=[A-Za-z0-9_-]+$/);
    const activation = decodeActivationLink(link);
    assert.equal(activation.expiresUnixMs, expiresUnixMs);
    const record = documentChecks().prestaging(activation.document);
    const { body } = await certificateBody(record.staging.psk, record.serial, record.staging.localIdentity);
    fixture.clock.shiftMs = 59_000;
    assert.deepEqual(await stagingKeys(), [record.staging.psk]);
    await fixture.client().call('POST', '/api/v1/devices/certificate', body);
    fixture.clock.shiftMs = 61_000;
    await assert.rejects(fixture.client().call('POST', '/api/v1/devices/certificate', body), /no prestaging record in force/);
    assert.deepEqual(await stagingKeys(), []);
    // A plain order afterwards has no end.
    const lasting = await fixture.operator.orderPrestaging('Branch-1');
    const again = await certificateBody(lasting.staging.psk, lasting.serial, lasting.staging.localIdentity);
    fixture.clock.shiftMs = 3_600_000;
    await fixture.client().call('POST', '/api/v1/devices/certificate', again.body);
  });

  it('accepts an enrolment token once', async () => {
    const order = await fixture.operator.orderEnrolment('Controller-1');
    const { body } = await certificateBody('', order.serial, 'unused');
    const request = { token: order.token, serial: order.serial, csr: body['csr'] };
    await fixture.client().call('POST', '/api/v1/enrol', request);
    assert.match((await refused(fixture.client().call('POST', '/api/v1/enrol', request))).message, /was used before/);
  });

  it('keeps the former certificate of a renewal until the new one is used', async () => {
    const former = await certifyByHand(fixture);
    const software = (identity: DeviceIdentity): Promise<unknown> => fixture.client(identity).call('GET', '/api/v1/devices/self/software');
    const { body, privateKey } = await certificateBody('', 'BOX0001', 'unused');
    const { certificateChain } = await fixture.client(former).call<{ certificateChain: string[] }>('POST', '/api/v1/devices/self/certificate', { csr: body['csr'] });
    await software(former);
    await software({ certificateChain: certificateChain.map((der) => Buffer.from(der, 'base64')), privateKey });
    assert.equal((await refused(software(former))).code, 'revoked');
  });

  it('ends the access of a revoked device at once', async () => {
    const identity = await certifyByHand(fixture);
    await fixture.operator.revokeSite('Branch-1');
    assert.equal((await refused(fixture.client(identity).call('GET', '/api/v1/devices/self/software'))).code, 'revoked');
  });

  it('tells the Controller of a change while its poll waits, with directives', async () => {
    const controller = fixture.client(await enrol(fixture));
    type Poll = { directory: { generation: number; sites: { device: string; state: string; staging?: object }[] } | null; directives: { id: number; tenant: number; reason: number; revokedSite?: number }[]; configurationGeneration: number };
    const poll = (generation: number, directive: number, configuration: number): Promise<Poll> =>
      controller.call('GET', `/api/v1/controllers/self/directory?after=${generation}&directive=${directive}&configuration=${configuration}`);
    const first = await poll(0, 0, 0);
    const waiting = poll(first.directory!.generation, 0, first.configurationGeneration);
    const directive = await fixture.operator.orderRekey(2);
    const second = await waiting;
    assert.equal(second.directory, null);
    assert.deepEqual(second.directives, [directive]);
    const third = poll(first.directory!.generation, directive.id, first.configurationGeneration);
    await fixture.operator.orderPrestaging('Branch-1');
    const branch = (await third).directory!.sites.find((site) => site.device === 'Branch-1')!;
    assert.ok(branch.staging);
    await fixture.operator.revokeSite('Branch-1');
    const last = await poll(first.directory!.generation, directive.id, first.configurationGeneration);
    assert.equal(last.directory!.sites.find((site) => site.device === 'Branch-1')!.state, 'revoked');
    assert.deepEqual(last.directives.map(({ tenant, reason, revokedSite }) => [tenant, reason, revokedSite]), [[1, 4, 100], [2, 4, 100]]);
  });

  it('lists the certificates of a revoked site in its signed revocation list', async () => {
    const { certificateChain } = await certifyByHand(fixture);
    await fixture.operator.revokeSite('Branch-1');
    const { body } = await fixture.client().request('GET', '/api/v1/crl');
    const { revoked } = await readCrl(body, fixture.director.anchor!);
    assert.deepEqual(revoked.map((entry) => entry.serialNumber), [certificateFacts(certificateChain[0]!).serialNumber]);
  });

  it('lists a replaced certificate only when its site is revoked, or when the new one has another key', async () => {
    const listed = async (): Promise<string[]> => (await readCrl((await fixture.client().request('GET', '/api/v1/crl')).body, fixture.director.anchor!)).revoked.map((entry) => entry.serialNumber);
    const renew = async (identity: DeviceIdentity, privateKey: Uint8Array): Promise<DeviceIdentity> => {
      const csr = Buffer.from(await createCsr({ privateKey, subject: 'BOX0001' })).toString('base64');
      const { certificateChain } = await fixture.client(identity).call<{ certificateChain: string[] }>('POST', '/api/v1/devices/self/certificate', { csr });
      const renewed = { certificateChain: certificateChain.map((der) => Buffer.from(der, 'base64')), privateKey };
      await fixture.client(renewed).call('GET', '/api/v1/devices/self/software');
      return renewed;
    };
    const serial = ({ certificateChain }: DeviceIdentity): string => certificateFacts(certificateChain[0]!).serialNumber;
    const first = await certifyByHand(fixture);
    const second = await renew(first, first.privateKey);
    assert.deepEqual(await listed(), []);
    const third = await renew(second, (await generateKeyPair('ecdsa-p256')).privateKey);
    assert.deepEqual(await listed(), [serial(second)]);
    await fixture.operator.revokeSite('Branch-1');
    assert.deepEqual((await listed()).toSorted(), [first, second, third].map(serial).toSorted());
  });

  it('keeps everything over a restart', async () => {
    const identity = await certifyByHand(fixture);
    const before = await fixture.operator.site('Branch-1');
    const anchor = fixture.director.anchor!;
    await fixture.restart();
    assert.deepEqual(fixture.director.anchor, anchor);
    assert.deepEqual(await fixture.operator.site('Branch-1'), before);
    assert.equal((await fixture.client(identity).call<{ version: string }>('GET', '/api/v1/devices/self/software')).version, '0.1.0');
  });

  it('answers unknown routes and broken JSON in the same error form', async () => {
    assert.equal((await refused(fixture.operator.call('GET', '/api/v1/nothing'))).code, 'not-found');
    const { status, body } = await fixture.operator.request('POST', '/api/v1/tasks');
    assert.equal(status, 404);
    assert.ok(!Buffer.from(body).toString().includes('at '));
  });
});
