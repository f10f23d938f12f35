// What a box gets from us, laid out below a root directory.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { architectureOf } from '../../images/architecture.ts';
import { git, type Origin } from '../../images/origin.ts';
import { CODE, IMAGE_FACTS, layOutPayload } from '../../images/payload.ts';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));

describe('the files of a box', () => {
  const root = mkdtempSync(join(tmpdir(), 'selvage-payload-'));
  const code = join(root, CODE);
  let origin: Origin;

  before(function () {
    this.timeout(120_000);
    origin = layOutPayload({ checkout: CHECKOUT, root, architecture: architectureOf(process.arch) });
  });

  after(() => rmSync(root, { recursive: true, force: true }));

  it('say of which commit and for which architecture they are', () => {
    const facts = JSON.parse(readFileSync(join(root, IMAGE_FACTS), 'utf8')) as Record<string, unknown>;
    const head = git(CHECKOUT, 'rev-parse', 'HEAD').trim();
    assert.deepEqual(Object.keys(facts), ['product', 'version', 'commit', 'buildTime', 'architecture']);
    assert.match(String(facts['commit']), new RegExp(`^${head}(?:-modified)?$`));
    assert.equal(facts['buildTime'], Number(git(CHECKOUT, 'log', '-1', '--format=%ct')));
    assert.equal(facts['architecture'], architectureOf(process.arch).machine);
  });

  it('run with their own Node, packages and addon, and with nothing of the checkout', () => {
    const load = "const { requireNative } = await import('./drivers/native/addon.ts'); requireNative(); await import('./provisioning/director/api.ts'); console.log('loaded', process.version)";
    const said = execFileSync(join(code, 'bin/node'), ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', load], { cwd: code, env: { PATH: '' }, encoding: 'utf8' });
    assert.equal(said, `loaded ${process.version}\n`);
    const help = execFileSync(join(code, 'bin/node'), ['--disable-warning=ExperimentalWarning', join(code, 'firmware/shell/main.ts'), 'help'], { encoding: 'utf8' });
    assert.match(help, /^\s*show system/m);
  });

  it('hold no lab, no sources of the addon, no packages of development, and no address of a registry', () => {
    for (const path of ['provisioning/lab', 'provisioning/setup', 'drivers/native/src', 'test', 'node_modules/mocha', 'node_modules/typescript', 'node_modules/.package-lock.json']) {
      assert.equal(existsSync(join(code, path)), false, path);
    }
    assert.equal(readdirSync(join(code, 'node_modules')).some((name) => name.startsWith('node-linux')), false);
  });

  it('bear the time of the commit and modes that do not depend on the builder', () => {
    for (const [path, mode] of [['package.json', 0o644], ['systemd/make-namespaces', 0o755], ['bin/node', 0o755], ['node_modules/fastify', 0o755]] as const) {
      const facts = statSync(join(code, path));
      assert.deepEqual([facts.mode & 0o777, facts.mtimeMs], [mode, origin.buildTime * 1000], path);
    }
  });

  it('name the licence of every package in them', () => {
    const notices = readFileSync(join(root, 'usr/share/doc/selvage/copyright'), 'utf8');
    assert.match(notices, /Apache License/);
    for (const name of ['fastify', '@noble/curves', 'kysely', 'node-linux-', 'typebox']) assert.match(notices, new RegExp(`^${name}[^ ]* \\d[^ ]*: \\S`, 'm'), name);
    assert.match(notices, /OpenSSL/);
  });
});
