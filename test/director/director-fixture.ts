// A real Director on the loopback interface for the tests of its API and of the agents.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RealSuite } from '../../platform/crypto-real.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock, after } from '../../platform/time.ts';
import type { CancelTimer, Instant } from '../../platform/time.ts';
import { createCsr, generateKeyPair } from '../../platform/x509.ts';
import { DirectorClient } from '../../provisioning/director/client.ts';
import type { DirectorService } from '../../provisioning/director/service.ts';
import { OPERATOR_TOKEN_FILE, createDirectorService } from '../../provisioning/director/service.ts';
import type { DeviceIdentity } from '../../provisioning/ztp/director-tls.ts';
import { csrProof } from '../../provisioning/ztp/enrolment.ts';

export const PROVIDER = 'Provider';
export const suite = new RealSuite();

export const INTERNET_CIRCUIT = { id: 1, name: 'vni-0/0', transport: 'INTERNET', addresses: ['192.0.2.10/24'], gateways: ['192.0.2.1'] };

/** The machine's clock, set forward by a test, or with timers that come too soon. */
export class ShiftedClock extends SystemClock {
  shiftMs = 0;
  hurry = 1;

  override at(when: Instant, run: () => void): CancelTimer {
    return super.at(after(this.now(), (when - this.now()) / this.hurry), run);
  }

  override unixMs(): number {
    return super.unixMs() + this.shiftMs;
  }
}

export interface Fixture {
  readonly directory: string;
  readonly log: MemorySink;
  readonly clock: ShiftedClock;
  director: DirectorService;
  operator: DirectorClient;
  /** A new Director process on the same data and port. */
  restart(): Promise<void>;
  /** The second half of a restart, for tests that want something in between. */
  resume(port: number): Promise<void>;
  client(identity?: DeviceIdentity): DirectorClient;
  close(): Promise<void>;
}

export async function startDirector(): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-director-'));
  const clock = new ShiftedClock();
  const log = new MemorySink();
  const create = (port: number): DirectorService =>
    createDirectorService({
      directory,
      provider: PROVIDER,
      listen: { host: '127.0.0.1', port },
      addresses: ['127.0.0.1'],
      softwareVersion: '0.1.0',
      clock,
      random: new SystemRandom(),
      suite,
      log: new SinkLog([log], () => clock.unixMs()),
      sweepMs: 50,
    });
  const fixture: Fixture = {
    directory,
    log,
    clock,
    director: create(0),
    operator: undefined as unknown as DirectorClient,
    client: (identity) => new DirectorClient({ host: '127.0.0.1', port: fixture.director.port, provider: PROVIDER, anchor: fixture.director.anchor!, ...(identity ? { identity } : {}) }),
    async restart() {
      const { port } = fixture.director;
      await fixture.director.stop();
      await fixture.resume(port);
    },
    async resume(port) {
      fixture.director = create(port);
      await begin();
    },
    async close() {
      await fixture.director.stop();
      rmSync(directory, { recursive: true });
    },
  };
  const begin = async (): Promise<void> => {
    await fixture.director.start();
    const token = readFileSync(join(directory, OPERATOR_TOKEN_FILE), 'utf8').trim();
    fixture.operator = new DirectorClient({ host: '127.0.0.1', port: fixture.director.port, provider: PROVIDER, anchor: fixture.director.anchor!, token });
  };
  await begin();
  return fixture;
}

/** One organisation (Acme), one transport, one Controller and one branch. */
export async function populate({ operator }: Fixture): Promise<void> {
  await operator.createOrganization({ name: 'Acme' });
  await operator.createTransport('INTERNET');
  await operator.createController({ name: 'Controller-1', serial: 'CTRL0001', circuits: [{ ...INTERNET_CIRCUIT, addresses: ['192.0.2.1/24'], gateways: [] }] });
  await operator.createSite({ name: 'Branch-1', serial: 'BOX0001', circuits: [INTERNET_CIRCUIT], tenants: [{ organization: 'Acme', lanPorts: [{ name: 'vni-0/2', addresses: ['10.1.0.1/24'] }] }] });
}

/** Enrols a Controller by hand and returns its identity. */
export async function enrol(fixture: Fixture, name = 'Controller-1'): Promise<DeviceIdentity> {
  const order = await fixture.operator.orderEnrolment(name);
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  const csr = await createCsr({ privateKey, subject: name });
  const answer = await fixture.client().call<{ certificateChain: string[] }>('POST', '/api/v1/enrol', { token: order.token, serial: order.serial, csr: Buffer.from(csr).toString('base64') });
  return { certificateChain: answer.certificateChain.map((der) => Buffer.from(der, 'base64')), privateKey };
}

/** What a staging box sends for its certificate. */
export async function certificateBody(psk: string, serial: string, identity: string): Promise<{ readonly body: Record<string, string>; readonly privateKey: Uint8Array }> {
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  const csr = await createCsr({ privateKey, subject: serial });
  const proof = csrProof(suite, Buffer.from(psk, 'base64'), csr);
  return { privateKey, body: { serial, identity, csr: Buffer.from(csr).toString('base64'), proof: Buffer.from(proof).toString('base64') } };
}

/** Prestages a branch and fetches its certificate as a box would. */
export async function certifyByHand(fixture: Fixture, name = 'Branch-1'): Promise<DeviceIdentity> {
  const record = await fixture.operator.orderPrestaging(name);
  const { body, privateKey } = await certificateBody(record.staging.psk, record.serial, record.staging.localIdentity);
  const answer = await fixture.client().call<{ certificateChain: string[] }>('POST', '/api/v1/devices/certificate', body);
  return { certificateChain: answer.certificateChain.map((der) => Buffer.from(der, 'base64')), privateKey };
}
