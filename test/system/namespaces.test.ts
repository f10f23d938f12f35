// The namespaces that other tests stand on.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sleep } from '../../platform/time.ts';
import { TestNetwork } from './namespaces.ts';

const MODULE = pathToFileURL(join(import.meta.dirname, 'namespaces.ts')).href;

/** A test run that makes a namespace with a process in it, says so, and then hangs. */
const HANGING_RUN = `
import { TestNetwork } from '${MODULE}';
const network = new TestNetwork();
const name = network.addNamespace('orphan');
const child = network.spawn(name, ['sleep', '600'], { stdio: 'ignore' });
child.once('spawn', () => process.stdout.write(name + ' ' + child.pid + '\\n'));
process.stdin.resume();
`;

describe('namespaces for tests', function () {
  this.timeout(30_000);

  it('carry packets of both families over a veth pair', async () => {
    const network = new TestNetwork();
    try {
      const [a, b] = [network.addNamespace('a'), network.addNamespace('b')];
      network.addVeth({ namespace: a, device: 'wan', addresses: ['192.0.2.1/24', '2001:db8::1/64'] }, { namespace: b, device: 'wan', addresses: ['192.0.2.2/24', '2001:db8::2/64'] });
      assert.match(network.run(a, ['ping', '-c', '1', '-W', '5', '192.0.2.2']), / 0% packet loss/);
      assert.match(network.run(a, ['ping', '-c', '1', '-W', '5', '2001:db8::2']), / 0% packet loss/);
    } finally {
      await network.close();
    }
  });

  it('go away with their processes when the test run is killed', async () => {
    const run = spawn(process.execPath, ['--input-type=module', '-e', HANGING_RUN], { stdio: ['pipe', 'pipe', 'inherit'] });
    const said = await new Promise<string>((resolve) => run.stdout.once('data', (bytes: Buffer) => resolve(bytes.toString('utf8').trim())));
    const [name, pid] = said.split(' ');
    assert.ok(existsSync(`/run/netns/${name}`) && existsSync(`/proc/${pid}`), said);
    run.kill('SIGKILL');
    for (let tries = 0; tries < 1000 && (existsSync(`/run/netns/${name}`) || existsSync(`/proc/${pid}`)); tries++) await sleep(10);
    assert.ok(!existsSync(`/run/netns/${name}`), 'the namespace is still there');
    assert.ok(!existsSync(`/proc/${pid}`), 'the process is still there');
  });
});
