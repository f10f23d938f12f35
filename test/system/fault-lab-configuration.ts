// What a box does with a configuration file that it must not accept: it says so in one line and starts nothing.
import { strict as assert } from 'node:assert';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fact, FaultLab } from './fault-lab.ts';

const FIRMWARE = join(import.meta.dirname, '../../firmware/main.ts');
const NODE = 'branch-1';
const STATE = '/var/lib/selvage';
const ENDING_MS = 30_000;
/** Made by a start of the firmware, never by a refusal. */
const DIRECTORIES = ['data', 'log', 'run'];

interface BadFile {
  readonly what: string;
  readonly text: string;
  /** What the line must name: key, value, what is allowed. */
  readonly names: readonly string[];
}

function branchWith(change: object): string {
  const directories = { dataDirectory: `${STATE}/data`, logDirectory: `${STATE}/log`, runDirectory: `${STATE}/run` };
  return JSON.stringify({ role: 'branch', serial: 'LAB-BRANCH-1', ...directories, interfaces: [{ name: 'vni-0/0', device: 'vni-0_0' }], ...change });
}

const BAD_FILES: readonly BadFile[] = [
  { what: 'a file that is no JSON', text: '{"role": "branch",', names: ['not JSON', 'one JSON object'] },
  { what: 'a role that does not exist', text: branchWith({ role: 'hub' }), names: ['role', '"hub"', 'branch, controller or director'] },
  { what: 'an unknown key', text: branchWith({ intefaces: [] }), names: ['intefaces', '[]', 'no such key; known are role, name'] },
  { what: 'a value of the wrong type', text: branchWith({ debug: { exportKeys: 'yes' } }), names: ['debug.exportKeys', '"yes"', 'true or false'] },
  { what: 'an interface name that is none', text: branchWith({ interfaces: [{ name: 'eth0', device: 'eth0' }] }), names: ['interfaces', '"eth0"', '{"name": "vni-0/0"'] },
];

/** What a started appliance would leave in the node. */
function traces(lab: FaultLab): string {
  const node = lab.network.node(NODE);
  const shown = [['ip', 'netns', 'list'], ['ss', '-Hlntuwx'], ['ip', '-o', 'link'], ['ls', '/run', '/run/netns']].map((command) => {
    // Link counters and namespace numbers do not appear in these forms, so that equal text is an equal state.
    return node.run(command);
  });
  return shown.join('\n');
}

/** Starts the firmware with a file that it must refuse, and looks for what it leaves behind. `what` is for messages. */
function refuses(lab: FaultLab, path: string, names: readonly string[], what: string): { readonly stderr: string } {
  const node = lab.network.node(NODE);
  const before = traces(lab);
  const answer = node.attempt([process.execPath, '--disable-warning=ExperimentalWarning', FIRMWARE, '--config', path], ENDING_MS);
  assert.equal(answer.status, 1, `${what}: exit code ${answer.status}, ${answer.stderr}`);
  assert.match(answer.stderr, /^[^\n]+\n$/, `${what}: one line`);
  for (const name of names) assert.ok(answer.stderr.includes(name), `${what}: the line does not name ${name}: ${answer.stderr}`);
  assert.equal(answer.stdout, '');
  assert.equal(traces(lab), before, `${what}: something was started`);
  for (const directory of DIRECTORIES) assert.ok(!existsSync(join(node.directory, 'lib', directory)), `${what}: ${directory} was made`);
  return answer;
}

export const CONFIGURATION_FACTS: readonly Fact[] = [
  {
    name: 'an unknown or malformed configuration is refused in one line that names file, key, value and what is allowed, and nothing is started',
    async prove(lab) {
      const path = `${STATE}/bad.json`;
      for (const { what, text, names } of BAD_FILES) {
        writeFileSync(join(lab.network.node(NODE).directory, 'lib', 'bad.json'), text);
        refuses(lab, path, [path, ...names], what);
      }
      refuses(lab, `${STATE}/absent.json`, [`${STATE}/absent.json`, 'not readable (ENOENT)'], 'a file that does not exist');
    },
  },
  {
    name: 'a prestaging record that is not usable is refused with its file, key and what is allowed, and nothing is started',
    async prove(lab) {
      const directory = join(lab.network.node(NODE).directory, 'lib');
      writeFileSync(join(directory, 'bad.json'), branchWith({ prestaging: `${STATE}/bad-record.json` }));
      writeFileSync(join(directory, 'bad-record.json'), JSON.stringify({ serial: 'LAB-BRANCH-1', provider: 'no such provider!' }));
      const { stderr } = refuses(lab, `${STATE}/bad.json`, [`${STATE}/bad-record.json`], 'a prestaging record that is none');
      assert.match(stderr, /^selvage: the prestaging record \S+bad-record\.json is not usable: prestaging record: \S+ is [^\n]*; allowed: [^\n]*; next: order a new record for the site in Director\n$/);
    },
  },
];
