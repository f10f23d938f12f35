// A branch and a Controller against a real Director over real HTTPS on the loopback interface. Only the tunnels are
// played: the roles' hooks say that they are up.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DeviceConfiguration, PrestagingRecord, SiteDirectory } from '../../firmware/configuration.ts';
import type { Alarms } from '../../platform/alarms.ts';
import { decodeCrl } from '../../platform/crl.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import type { MemorySink } from '../../platform/log.ts';
import { MemoryStore } from '../../platform/store.ts';
import { FlooredClock } from '../../platform/time-floor.ts';
import { SystemClock } from '../../platform/time.ts';
import { certificateFacts } from '../../platform/x509.ts';
import { decodeActivationLink } from '../../provisioning/ztp/activation-link.ts';
import { createZtpAgent } from '../../provisioning/ztp/agent.ts';
import type { PostStagingStatus, ZtpAgent } from '../../provisioning/ztp/agent.ts';
import { createControllerAgent } from '../../provisioning/ztp/controller-agent.ts';
import type { ControllerAgent } from '../../provisioning/ztp/controller-agent.ts';
import type { DirectorDirective } from '../../provisioning/ztp/controller-messages.ts';
import type { DeviceIdentity } from '../../provisioning/ztp/director-tls.ts';
import { networkTransport } from '../../provisioning/ztp/director-transport.ts';
import { PROVIDER, populate, startDirector } from '../director/director-fixture.ts';
import type { Fixture } from '../director/director-fixture.ts';
import { packageOf } from '../director/package-fixture.ts';
import { host, until } from './agent-host.ts';

const UP: PostStagingStatus = { controlTunnels: 'up', bgp: 'up', detail: '' };

describe('ZTP agents with a real Director', () => {
  let fixture: Fixture;
  const running: { stop(): Promise<void> }[] = [];

  beforeEach(async () => {
    fixture = await startDirector();
    await populate(fixture);
  });

  afterEach(async () => {
    for (const service of running.splice(0)) await service.stop();
    await fixture.close();
  });

  interface Branch {
    readonly agent: ZtpAgent;
    readonly applied: { configuration: DeviceConfiguration; identity: DeviceIdentity }[];
    readonly stagings: PrestagingRecord[];
    readonly revocations: RevocationCheck[];
    readonly vrs: (string | undefined)[];
    readonly log: MemorySink;
  }

  async function branch(record: PrestagingRecord | undefined, store = new MemoryStore(), directorPort = fixture.director.port, clock?: FlooredClock): Promise<Branch> {
    const { site, vrs, log } = host('Branch-1', store, clock ?? new SystemClock());
    const applied: Branch['applied'] = [];
    const stagings: PrestagingRecord[] = [];
    const revocations: RevocationCheck[] = [];
    const agent = createZtpAgent({
      site,
      serial: 'BOX0001',
      record,
      softwareVersion: '0.1.0',
      revocationPolicy: 'soft',
      directorPort,
      hooks: {
        startStaging(given) {
          stagings.push(given);
          agent.stagingUp({ assignedAddress: '172.30.0.1', directorAddresses: ['127.0.0.1'] });
        },
        stopStaging() {},
        async applyConfiguration(configuration, identity) {
          // The configuration names the port that Director would have in the field.
          applied.push({ configuration, identity });
        },
        status: () => ({ controlTunnels: 'down', bgp: 'down', detail: 'connecting' }),
        revocations: (check) => void revocations.push(check),
      },
    });
    running.push(agent);
    await agent.start();
    return { agent, applied, stagings, revocations, vrs, log };
  }

  interface Controller {
    readonly agent: ControllerAgent;
    readonly alarms: Alarms;
    readonly configurations: DeviceConfiguration[];
    readonly identities: DeviceIdentity[];
    readonly directories: SiteDirectory[];
    readonly directives: DirectorDirective[];
    readonly revocations: { readonly check: RevocationCheck; readonly more: boolean }[];
    readonly log: MemorySink;
  }

  async function controller(store = new MemoryStore(), token?: string, clock = new SystemClock()): Promise<Controller> {
    const order = token === undefined ? await fixture.operator.orderEnrolment('Controller-1') : undefined;
    const { site, log } = host('Controller-1', store, clock);
    const found: Omit<Controller, 'agent'> = { alarms: site.alarms, configurations: [], identities: [], directories: [], directives: [], revocations: [], log };
    const agent = createControllerAgent({
      site,
      serial: 'CTRL0001',
      softwareVersion: '0.1.0',
      revocationPolicy: 'hard',
      enrolment: order && { url: `https://127.0.0.1:${fixture.director.port}`, anchorSha256: order.anchorSha256, token: order.token },
      hooks: {
        async applyConfiguration(configuration, identity) {
          found.configurations.push(configuration);
          found.identities.push(identity);
        },
        applyDirectory: (directory) => void found.directories.push(directory),
        orderRekey: (directive) => void found.directives.push(directive),
        revocations: (check, more) => void found.revocations.push({ check, more }),
      },
    });
    running.push(agent);
    await agent.start();
    return { agent, ...found };
  }

  it('answers an order to upgrade a Controller, here that it has no system slots', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'selvage-agent-'));
    try {
      const head = await controller();
      await until('the Controller has its sites', () => head.directories.length > 0);
      await until('Director knows what runs', async () => (await fixture.operator.call<{ runningVersion?: string }>('GET', '/api/v1/sites/Controller-1')).runningVersion === '0.1.0');
      await fixture.operator.uploadSoftware(packageOf(scratch, '1.1.0').file);
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Controller-1'] });
      // News end the poll that waits.
      await fixture.operator.orderRekey(2, { spreadSeconds: 3 });
      await until('the refusal', async () => (await fixture.operator.task(id)).boxes[0]!.cause === 'the box has no system slots');
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });

  it("tells Director of a box's alarms, and that they are over", async () => {
    const head = await controller();
    const alarms = async (): Promise<readonly { site: string; name: string; cause: string }[]> => fixture.operator.call('GET', '/api/v1/alarms');
    await until('the Controller has its sites', () => head.directories.length > 0);
    head.alarms.raise({ name: 'link-down', object: 'vni-0/0', severity: 'major', cause: 'no carrier', nextStep: 'look at the cable' });
    // News end the poll that waits; the next one tells.
    await fixture.operator.orderPrestaging('Branch-1');
    await until('Director knows the alarm', async () => (await alarms()).length === 1);
    const [{ site, name, cause }] = (await alarms()) as [{ site: string; name: string; cause: string }];
    assert.deepEqual([site, name, cause], ['Controller-1', 'link-down', 'no carrier']);
    head.alarms.clear('link-down', 'vni-0/0');
    await fixture.operator.orderPrestaging('Branch-1');
    await until('Director knows that it is over', async () => (await alarms()).length === 0);
  });

  it('onboards a branch: certificate, bundle and software over staging, then post-staging, with the whole Task', async () => {
    const head = await controller();
    await until('the Controller has its sites', () => head.directories.length > 0);
    const record = await fixture.operator.orderPrestaging('Branch-1');
    await until('the Controller knows the staging key', () => head.directories.at(-1)!.sites.some((site) => site.staging?.psk === record.staging.psk));
    head.agent.branchConnect({ serial: record.serial, tenant: 1, stagingIdentity: record.staging.localIdentity, observedEndpoint: { address: '198.51.100.7', port: 500 }, temporaryAddress: '172.30.0.1' });

    const { agent, applied, stagings, vrs } = await branch(record);
    await until('the configuration is applied', () => applied.length === 1);
    assert.equal(stagings.length, 1);
    assert.equal(agent.stage, 'post-staging');
    assert.deepEqual([...new Set(vrs)], ['Provider-Control-VR']);
    const facts = certificateFacts(applied[0]!.identity.certificateChain[0]!);
    assert.deepEqual(facts.uris, ['urn:selvage:Provider:site:100:tenant:1', 'urn:selvage:Provider:site:100:tenant:2']);
    assert.deepEqual(facts.emails, ['Branch-1@Provider.Provider', 'Branch-1@Acme.Provider', 'BOX0001@staging.Provider']);
    assert.equal(applied[0]!.configuration.tenants[1]!.lan!.ports[0]!.name, 'vni-0/2');

    agent.postStaging(UP);
    await until('the Task is completed', async () => (await fixture.operator.tasks())[0]?.status === 'COMPLETED');
    const [task] = await fixture.operator.tasks();
    assert.ok(task!.steps.every((step) => step.state === 'COMPLETED'));
    assert.equal(agent.stage, 'operational');
    assert.equal((await fixture.operator.site('Branch-1')).observedEndpoint, '198.51.100.7:500');
    await until('the staging key is gone from the directory', () => head.directories.at(-1)!.sites.every((site) => site.staging === undefined));
  });

  it('onboards a branch whose clock says 1970, and refuses a Director that the anchor does not vouch for all the same', async () => {
    const real = new SystemClock();
    const wrong = { now: () => real.now(), at: real.at.bind(real), unixMs: () => real.now() };
    const clock = new FlooredClock(wrong, 0);
    const record = await fixture.operator.orderPrestaging('Branch-1');
    const { agent, applied, revocations, log } = await branch(record, new MemoryStore(), fixture.director.port, clock);
    await until('the configuration is applied', () => applied.length === 1);
    assert.equal(agent.stage, 'post-staging');
    await until('the revocation list', () => revocations.at(-1)!.crls.length === 1);
    // The list says what the time is, up to the seconds that it counts in.
    assert.ok(Math.abs(clock.unixMs() - real.unixMs()) < 60_000, `${clock.unixMs() - real.unixMs()}`);
    assert.deepEqual(log.records.filter(({ level }) => level !== 'info').map(({ sentence }) => sentence), []);

    const stranger = await startDirector();
    try {
      await populate(stranger);
      const { site } = host('Branch-2', new MemoryStore(), clock);
      const target = { vr: undefined, localAddress: undefined, remote: { address: '127.0.0.1', port: stranger.director.port } };
      const asked = networkTransport(site).request(target, { anchor: fixture.director.anchor!, provider: PROVIDER, identity: undefined }, { method: 'GET', path: '/api/v1/crl', timeoutMs: 5000 });
      await assert.rejects(asked, /the server's certificate leads to no trust anchor/);
    } finally {
      await stranger.close();
    }
  });

  it('goes straight to post-staging after a restart, with nothing but what it stored', async () => {
    const store = new MemoryStore();
    const first = await branch(await fixture.operator.orderPrestaging('Branch-1'), store);
    await until('the configuration is applied', () => first.applied.length === 1);
    await first.agent.stop();
    const second = await branch(undefined, store);
    assert.equal(second.stagings.length, 0);
    await until('the configuration is applied again', () => second.applied.length === 1);
    assert.deepEqual(second.applied[0]!.configuration, first.applied[0]!.configuration);
    assert.deepEqual(second.applied[0]!.identity, first.applied[0]!.identity);
  });

  it('stages again when it gets a new prestaging record', async () => {
    const store = new MemoryStore();
    const first = await branch(await fixture.operator.orderPrestaging('Branch-1'), store);
    await until('the configuration is applied', () => first.applied.length === 1);
    first.agent.loadPrestaging(await fixture.operator.orderPrestaging('Branch-1'));
    await until('the configuration is applied again', () => first.applied.length === 2);
    assert.equal(first.stagings.length, 2);
    assert.notDeepEqual(first.applied[1]!.identity.certificateChain, first.applied[0]!.identity.certificateChain);
  });

  it('takes a record that somebody brings while it has none, and only one for its own serial number', async () => {
    const { agent, applied } = await branch(undefined);
    assert.equal(agent.stage, 'factory');
    const record = await fixture.operator.orderPrestaging('Branch-1');
    assert.throws(() => agent.requestStaging({ ...record, serial: 'BOX7777' }), /for serial number BOX7777, this box has BOX0001; order a record for BOX0001/);
    assert.throws(() => agent.requestStaging({ ...record, circuits: [] }), /circuits is \[\]; allowed: a list of 1 to 16/);
    assert.throws(() => agent.requestStaging('text'), /prestaging record/);
    assert.equal(agent.stage, 'factory');
    const { serial, ...typed } = record;
    assert.equal(agent.requestStaging(typed).serial, serial);
    await until('the configuration is applied', () => applied.length === 1);
  });

  it('is onboarded by an activation link once it is given one, and by none that has expired', async () => {
    const head = await controller();
    const { agent, applied } = await branch(undefined);
    const { link } = await fixture.operator.orderActivation('Branch-1');
    const { document, expiresUnixMs } = decodeActivationLink(link);
    await until('the Controller knows the staging key', () => head.directories.at(-1)?.sites.some((site) => site.staging !== undefined) ?? false);
    head.agent.branchConnect({ serial: 'BOX0001', tenant: 1, stagingIdentity: 'BOX0001@staging.Provider', observedEndpoint: { address: '198.51.100.7', port: 500 }, temporaryAddress: '172.30.0.1' });
    assert.throws(() => agent.requestStaging(document, fixture.clock.unixMs() - 1), /the activation link expired at .*; order a new one in Director/);
    assert.equal(agent.stage, 'factory');
    agent.requestStaging(document, expiresUnixMs);
    await until('the configuration is applied', () => applied.length === 1);
    agent.postStaging(UP);
    // The key of the link is void now: nobody is onboarded by it again.
    await until('the Task is completed', async () => (await fixture.operator.tasks())[0]?.status === 'COMPLETED');
    const second = await branch(undefined);
    second.agent.requestStaging(document, expiresUnixMs);
    await until('the refusal is logged', () => second.log.records.some((entry) => /no prestaging record in force/.test(String(entry.fields['cause']))));
  });

  it('keeps what it is when another record comes to an onboarded box', async () => {
    const record = await fixture.operator.orderPrestaging('Branch-1');
    const { agent, applied } = await branch(record);
    await until('the configuration is applied', () => applied.length === 1);
    agent.postStaging(UP);
    await until('the box is onboarded', () => agent.stage === 'operational');
    const another = await fixture.operator.orderPrestaging('Branch-1');
    assert.throws(() => agent.requestStaging(another), /onboarded already; a factory reset/);
    // A stick that stays plugged in brings the same record at every boot.
    assert.equal(agent.requestStaging(record).provider, 'Provider');
    assert.equal(agent.stage, 'operational');
  });

  it('sends nothing to a server whose chain lacks the pinned anchor', async () => {
    const record = await fixture.operator.orderPrestaging('Branch-1');
    const { log, agent } = await branch({ ...record, trustAnchorSha256: 'ab'.repeat(32) });
    await until('the refusal is logged', () => log.records.some((entry) => /does not contain the trust anchor/.test(String(entry.fields['cause']))));
    assert.equal(agent.stage, 'certificate');
    assert.deepEqual(await fixture.operator.tasks(), []);
  });

  it('says why Director refuses its certificate', async () => {
    const record = await fixture.operator.orderPrestaging('Branch-1');
    await fixture.operator.orderPrestaging('Branch-1');
    const { agent, log } = await branch(record);
    await until('the refusal is logged', () => log.records.some((entry) => entry.sentence === 'ZTP goes back to staging'));
    assert.equal(agent.stage, 'staging-ike');
    assert.match(agent.status().detail, /not proven with its pre-shared key; next: load the newest prestaging record/);
  });

  it('brings a Controller new sites, configurations and directives while it waits', async () => {
    const head = await controller();
    await until('the first directory', () => head.directories.length > 0);
    await fixture.operator.orderRekey(2, { spreadSeconds: 3 });
    await until('the directive', () => head.directives.length === 1);
    assert.deepEqual([head.directives[0]!.tenant, head.directives[0]!.reason, head.directives[0]!.spreadSeconds], [2, 5, 3]);
    await fixture.operator.createOrganization({ name: 'Beta' });
    await until('the tenant', () => head.configurations.at(-1)!.tenants.length === 3);
    // A tenant that the certificate does not name needs a new certificate, which comes with it.
    assert.ok(certificateFacts(head.identities.at(-1)!.certificateChain[0]!).uris.includes('urn:selvage:Provider:site:1:tenant:3'));
    await fixture.operator.revokeSite('Branch-1');
    await until('the revocation', () => head.directories.at(-1)!.sites.some((site) => site.device === 'Branch-1' && site.state === 'revoked'));
    await until('the rekey after it', () => head.directives.some((directive) => directive.reason === 4));
  });

  it('brings both the revocation list, a Controller again as soon as a site is revoked, and both keep it over a restart', async () => {
    const [headStore, branchStore] = [new MemoryStore(), new MemoryStore()];
    const head = await controller(headStore);
    await until('the Controller has its sites and a list', () => head.directories.length > 0 && head.revocations.some(({ check }) => check.crls.length === 1));
    assert.equal(head.revocations.at(-1)!.check.policy, 'hard');
    const box = await branch(await fixture.operator.orderPrestaging('Branch-1'), branchStore);
    await until('the branch has its configuration and the list', () => box.applied.length === 1 && box.revocations.at(-1)!.crls.length === 1);
    const { serialNumber } = certificateFacts(box.applied[0]!.identity.certificateChain[0]!);
    await fixture.operator.revokeSite('Branch-1');
    const names = (check: RevocationCheck): boolean => check.crls.some((crl) => decodeCrl(crl).revoked.has(serialNumber));
    await until('the revocation', () => head.revocations.some(({ check, more }) => more && names(check)));
    for (const { agent } of [head, box]) await agent.stop();
    const again = await controller(headStore, 'none');
    assert.ok(names(again.revocations[0]!.check));
    assert.equal((await branch(undefined, branchStore)).revocations[0]!.crls.length, 1);
  });

  it('gives up an answer of Director that is longer than it asked for', async () => {
    const { site } = host('Branch-1');
    const target = { vr: undefined, localAddress: undefined, remote: { address: '127.0.0.1', port: fixture.director.port } };
    const trust = { anchor: fixture.director.anchor!, provider: PROVIDER, identity: undefined };
    const ask = (mostBytes: number): Promise<{ status: number }> => networkTransport(site).request(target, trust, { method: 'GET', path: '/api/v1/crl', timeoutMs: 5000, mostBytes });
    await assert.rejects(ask(10), /longer than 10 octets/);
    assert.equal((await ask(10_000)).status, 200);
  });

  it('renews a certificate after two thirds of its life, once a day at the most, and Director says so', async () => {
    const store = new MemoryStore();
    const first = await controller(store);
    await until('the first directory', () => first.directories.length > 0);
    await first.agent.stop();
    // News end the first poll at once.
    await fixture.operator.orderRekey(2, { spreadSeconds: 3 });
    class Ahead extends SystemClock {
      override unixMs(): number {
        return super.unixMs() + 250 * 86_400_000;
      }
    }
    const second = await controller(store, 'none', new Ahead());
    const renewals = (): unknown[] => second.log.records.filter(({ sentence }) => sentence === 'Device certificate renewed').map(({ fields }) => fields['cause']);
    await until('the renewed certificate is in force', () => second.identities.length === 2);
    const serials = second.identities.map(({ certificateChain }) => certificateFacts(certificateChain[0]!).serialNumber);
    assert.notEqual(serials[0], serials[1]);
    assert.deepEqual(fixture.log.records.filter(({ sentence, fields }) => sentence === 'Certificate issued' && fields['renewal'] === true).map(({ fields }) => fields['serialNumber']), [serials[1]]);
    // By its clock the new one is too old as well.
    await fixture.operator.orderRekey(1, { spreadSeconds: 3 });
    await until('the next poll', () => second.directives.length === 2);
    assert.deepEqual(renewals(), ['two thirds of its life are over']);
  });

  it('serves its sites after a restart while Director is away, and sends its reports when Director is back', async () => {
    const store = new MemoryStore();
    const first = await controller(store);
    await until('the first directory', () => first.directories.length > 0);
    const record = await fixture.operator.orderPrestaging('Branch-1');
    await until('the staging key', () => first.directories.at(-1)!.sites.some((site) => site.staging));
    await first.agent.stop();
    const { port } = fixture.director;
    await fixture.director.stop();
    const second = await controller(store, 'none');
    await until('configuration and directory are in force', () => second.configurations.length === 1 && second.directories.length === 1);
    assert.deepEqual(second.directories[0], first.directories.at(-1));
    second.agent.branchFailed({ stage: 'staging', serial: 'BOX7777', identity: record.staging.localIdentity, cause: 'serial BOX7777 does not match BOX0001' });
    await until('the report was tried', () => second.log.records.some((entry) => entry.sentence === 'Report to Director failed'));
    assert.equal(second.agent.status().state, 'up');
    await fixture.resume(port);
    await until('the report arrived', async () => (await fixture.operator.tasks())[0]?.status === 'FAILED');
    assert.match((await fixture.operator.tasks())[0]!.errorMessages[0]!.message, /serial BOX7777 does not match BOX0001/);
  });
});
