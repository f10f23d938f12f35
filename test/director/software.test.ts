// Software packages that Director keeps: what it takes, what it hands out, and what it does not believe.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { architectureOf } from '../../images/architecture.ts';
import { makeBundle } from '../../images/bundle.ts';
import { updateAuthority } from '../../images/update-authority.ts';
import { SeededRandom } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import { directorTls } from '../../provisioning/ztp/director-tls.ts';
import { PROVIDER, certifyByHand, populate, startDirector } from './director-fixture.ts';
import type { Fixture } from './director-fixture.ts';
import { packageOf } from './package-fixture.ts';

describe("Director's software packages", () => {
  let fixture: Fixture;
  let scratch: string;

  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'selvage-packages-'));
    fixture = await startDirector();
    await populate(fixture);
  });

  afterEach(async () => {
    await fixture.close();
    rmSync(scratch, { recursive: true });
  });

  const stored = (): string[] => readdirSync(join(fixture.directory, 'software'));

  it('take the bundle that npm run bundle makes, and know its version and architecture from its signed manifest', async () => {
    const authority = updateAuthority(join(scratch, 'authority'));
    writeFileSync(join(scratch, 'slot'), new SeededRandom(1).bytes(300_000));
    const file = join(scratch, 'selvage.raucb');
    makeBundle({ architecture: architectureOf('aarch64'), version: '1.2.0', slot: join(scratch, 'slot'), signer: authority }, file);
    const { compatible, version, bytes, sha256 } = await fixture.operator.uploadSoftware(file);
    assert.deepEqual([compatible, version, bytes], ['selvage-aarch64', '1.2.0', readFileSync(file).length]);
    assert.deepEqual(stored(), [`${sha256}.raucb`]);
    assert.ok(readFileSync(join(fixture.directory, 'software', stored()[0]!)).equals(readFileSync(file)));
  });

  it('are listed after a restart, taken twice without a trace, and gone when they are deleted', async () => {
    const made = packageOf(scratch, '1.1.0');
    await fixture.operator.uploadSoftware(made.file);
    assert.equal((await fixture.operator.uploadSoftware(made.file)).sha256, made.sha256);
    // What an upload that was cut off by the end of Director left.
    writeFileSync(join(fixture.directory, 'software', '.upload-dead'), 'half');
    await fixture.restart();
    assert.deepEqual((await fixture.operator.software()).map(({ sha256, bytes }) => [sha256, bytes]), [[made.sha256, made.bytes]]);
    assert.deepEqual(stored(), [`${made.sha256}.raucb`]);
    await fixture.operator.deleteSoftware(made.sha256);
    assert.deepEqual([await fixture.operator.software(), stored()], [[], []]);
    await assert.rejects(fixture.operator.deleteSoftware(made.sha256), /there is no software package/);
  });

  it('refuse what is no bundle, what is cut off, what another build calls the same, and leave nothing of it', async () => {
    const made = packageOf(scratch, '1.1.0');
    await fixture.operator.uploadSoftware(made.file);
    const before = stored();
    const plain = packageOf(scratch, '1.2.0', { detached: true });
    await assert.rejects(fixture.operator.uploadSoftware(plain.file), /the bundle has the plain format/);
    writeFileSync(plain.file, new SeededRandom(2).bytes(5000));
    await assert.rejects(fixture.operator.uploadSoftware(plain.file), /this is no update bundle: its end claims a signature of \d+ octets/);
    truncateSync(made.file, made.bytes - 100);
    await assert.rejects(fixture.operator.uploadSoftware(made.file), /this is no update bundle/);
    const twin = packageOf(scratch, '1.1.0', { bytes: 100_000 });
    await assert.rejects(fixture.operator.uploadSoftware(twin.file), /there is another package of 1\.1\.0 for selvage-x86_64/);
    assert.deepEqual(stored(), before);
    await assert.rejects(fixture.client().uploadSoftware(twin.file), /needs the operator token/);
  });

  /** Sends the beginning of a body; resolves with the status, or with why the connection ended. */
  function begin(method: string, path: string, length: number): Promise<unknown> {
    const { port, anchor } = fixture.director;
    const headers = { authorization: `Bearer ${readFileSync(join(fixture.directory, 'operator.token'), 'utf8').trim()}`, 'content-type': 'application/json', 'content-length': length };
    return new Promise((resolve) => {
      const request = httpsRequest({ host: '127.0.0.1', port, method, path, headers, ...directorTls(anchor!, PROVIDER, undefined) }, (response) => resolve(response.statusCode));
      request.on('error', (error) => resolve(error.message));
      request.write('first octets');
    });
  }

  it('refuse one that is too large before its octets come', async () => {
    assert.equal(await begin('PUT', '/api/v1/software/x', 2 * 1024 ** 3), 413);
  });

  it('drop who stands still in the middle, an upload after a minute and any other body after 15 s', async () => {
    fixture.clock.hurry = 100;
    assert.equal(await begin('POST', '/api/v1/upgrades', 5000), 'socket hang up');
    assert.equal(await begin('PUT', '/api/v1/software/x', 5000), 'socket hang up');
    for (let tries = 0; tries < 100 && stored().length > 0; tries++) await sleep(20);
    assert.deepEqual([stored(), fixture.log.records.filter(({ level }) => level === 'error')], [[], []]);
  });

  it('are handed out in parts to devices only', async () => {
    const made = packageOf(scratch, '1.1.0');
    const whole = readFileSync(made.file);
    await fixture.operator.uploadSoftware(made.file);
    const identity = await certifyByHand(fixture);
    const { port, anchor } = fixture.director;
    const ask = (range: string | undefined, device = true): Promise<{ status: number | undefined; range: unknown; body: Buffer }> =>
      new Promise((resolve, reject) => {
        const options = { host: '127.0.0.1', port, path: `/api/v1/devices/self/software/${made.sha256}`, headers: range === undefined ? {} : { range }, ...directorTls(anchor!, PROVIDER, device ? identity : undefined) };
        const request = httpsRequest(options, (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('end', () => resolve({ status: response.statusCode, range: response.headers['content-range'], body: Buffer.concat(parts) }));
        });
        request.on('error', reject);
        request.end();
      });
    const part = await ask('bytes=100000-100999');
    assert.deepEqual([part.status, part.range], [206, `bytes 100000-100999/${made.bytes}`]);
    assert.ok(part.body.equals(whole.subarray(100_000, 101_000)));
    const end = await ask(`bytes=${made.bytes - 10}-${made.bytes + 1000}`);
    assert.deepEqual([end.range, end.body.length], [`bytes ${made.bytes - 10}-${made.bytes - 1}/${made.bytes}`, 10]);
    assert.ok((await ask(undefined)).body.equals(whole));
    assert.equal((await ask(`bytes=${made.bytes}-`)).status, 416);
    assert.equal((await ask('bytes=0-9', false)).status, 401);
  });
});
