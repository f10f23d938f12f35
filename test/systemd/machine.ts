// A machine that boots, answers questions and goes: systemd as first process of new namespaces (boot-machine.sh).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BOOT = fileURLToPath(new URL('boot-machine.sh', import.meta.url));

/** Installs the checkout as docs/OPERATIONS.md says, with the Node that runs the tests. */
export const INSTALL_CHECKOUT = `
code=usr/lib/selvage
mkdir -p $code/bin $code/node_modules
for part in firmware drivers platform provisioning systemd package.json; do cp -a "${ROOT}$part" $code/; done
mount --bind "${ROOT}node_modules" $code/node_modules
cp "${process.execPath}" $code/bin/node
cp $code/systemd/*.service $code/systemd/*.path etc/systemd/system/
for kind in sysusers tmpfiles; do
  mkdir -p etc/$kind.d
  cp $code/systemd/selvage.$kind.conf etc/$kind.d/selvage.conf
done
cp $code/systemd/selvage.logrotate etc/logrotate.d/selvage
chown 0:0 etc/logrotate.d/selvage
`;

/** \`say\` states a fact, \`await\` waits for a command to succeed, \`main\` is a unit's process. */
const PROLOGUE = `
say() { echo "$1=$2"; }
await() { for i in $(seq 300); do if sh -c "$1" >/dev/null 2>&1; then return 0; fi; sleep 0.05; done; say never "$1"; return 1; }
main() { systemctl show -P MainPID "$1"; }
`;

const EPILOGUE = `
journalctl --no-pager >/probe/journal
say ended yes
`;

export interface MachineOptions {
  /** Root of the Debian system that it runs; by default this machine's own. */
  readonly lower?: string;
  /** Run in the new root before the boot. */
  readonly prepare: string;
  /** Texts by path; those below \`etc/\` become files of the machine, the rest lies in /probe. */
  readonly files: Readonly<Record<string, string>>;
  readonly probe: string;
  readonly timeoutMs?: number;
}

/** What the probe said, by name. Asserts that it came to its end and that nothing it waited for stayed away. */
export function bootMachine({ lower = '/', prepare, files, probe, timeoutMs = 50_000 }: MachineOptions): ReadonlyMap<string, string> {
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-boot-'));
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(scratch, path)), { recursive: true });
    writeFileSync(join(scratch, path), text, { mode: 0o600 });
  };
  const read = (name: string): string => (existsSync(join(scratch, name)) ? readFileSync(join(scratch, name), 'utf8') : '');
  try {
    mkdirSync(join(scratch, 'etc'));
    for (const [path, text] of Object.entries(files)) put(path, text);
    put('prepare', prepare);
    put('probe', PROLOGUE + probe + EPILOGUE);
    const { stderr } = spawnSync('unshare', ['--mount', '--', 'sh', BOOT, lower, scratch], { encoding: 'utf8', timeout: timeoutMs, killSignal: 'SIGKILL' });
    const said = read('out').split('\n').filter((line) => line.includes('='));
    const facts = new Map(said.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
    assert.ok(facts.has('ended') && !facts.has('never'), `${stderr}\n${read('out')}\n${read('errors')}\n${read('journal').slice(-4000)}`);
    return facts;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
