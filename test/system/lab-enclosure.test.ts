// What surrounds the lab: the way in for a browser, and the end of everything with its first process.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../../platform/time.ts';
import { enclose } from '../../provisioning/lab/enclosure.ts';

const PROBE = join(import.meta.dirname, 'lab-relay-probe.ts');

/** What a server on the machine's loopback says before it closes; '' when nobody is behind it yet. */
function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('data', (bytes) => (said += bytes.toString('utf8')));
    socket.on('error', () => {});
    socket.once('close', () => resolve(said));
  });
}

async function appears(path: string): Promise<boolean> {
  for (let tries = 0; tries < 1000 && !existsSync(path); tries++) await sleep(10);
  return existsSync(path);
}

/** Processes of the machine that work in a directory or name it in their arguments. */
function processesNaming(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });
}

describe("the lab's enclosure", function () {
  this.timeout(60_000);
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'selvage-enclosure-'));
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('carries a connection from the machine to a server inside', async () => {
    const [ready, done] = [join(directory, 'ready'), join(directory, 'done')];
    const ended = enclose(PROBE, [ready, done], { keepOnFailure: false, announce: false, relayPort: 0 });
    assert.ok(await appears(ready));
    const port = Number(readFileSync(ready, 'utf8'));
    let said = '';
    for (let tries = 0; tries < 500 && said === ''; tries++) {
      said = await ask(port);
      if (said === '') await sleep(20);
    }
    writeFileSync(done, '');
    assert.equal(said, 'inside\n');
    assert.equal(await ended, 0);
  });

  it('leaves no process when the process outside is killed', async () => {
    const ready = join(directory, 'ready');
    const enclosure = new URL('../../provisioning/lab/enclosure.ts', import.meta.url).href;
    const options = JSON.stringify({ keepOnFailure: false, announce: false, relayPort: 0 });
    const script = `import { enclose } from '${enclosure}'; await enclose('${PROBE}', ['${ready}', '${directory}/never'], ${options});`;
    const outside = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    assert.ok(await appears(ready));
    assert.ok(processesNaming(directory).length >= 2);
    outside.kill('SIGKILL');
    for (let tries = 0; tries < 500 && processesNaming(directory).length > 0; tries++) await sleep(20);
    assert.deepEqual(processesNaming(directory), []);
  });
});
