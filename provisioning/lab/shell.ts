// Enters a node of the running lab from outside: first the lab's namespaces, then the node's.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../platform/errors.ts';
import { runningLab } from './enclosure.ts';

const NODE_NAME = /^[A-Za-z0-9._-]+$/;

/** The second step runs inside the lab, where the node's process ids mean something. */
const ENTER_NODE = 'pid=$(cat "$1/$2/pid") && shift 2 && exec nsenter -t "$pid" --mount --net --uts --wd=/ -- "$@"';

/** Runs a command (a shell when there is none) in a node; resolves with its exit code. Throws UsageError. */
export async function enterNode(name: string | undefined, command: readonly string[]): Promise<number> {
  const lab = runningLab();
  if (lab === undefined) throw new UsageError('No lab runs; start one with "npm run lab"');
  const directory = runDirectoryOf(lab);
  const nodes = nodeNames(directory);
  if (name === undefined || !NODE_NAME.test(name) || !nodes.includes(name)) {
    throw new UsageError(`There is no node ${name ?? '(none named)'}; nodes are ${nodes.join(', ')}`);
  }
  const shell = command.length > 0 ? command : ['bash', '--norc', '-i'];
  const args = ['-t', String(lab), '--mount', '--pid', '--net', '--', 'sh', '-c', ENTER_NODE, 'enter', directory, name, ...shell];
  const child = spawn('nsenter', args, { stdio: 'inherit', env: { ...process.env, PS1: `${name}# ` } });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

function runDirectoryOf(lab: number): string {
  const variables = readFileSync(`/proc/${lab}/environ`, 'utf8').split('\0');
  return variables.find((variable) => variable.startsWith('SELVAGE_LAB_DIRECTORY='))!.split('=')[1]!;
}

function nodeNames(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && readdirSync(join(directory, entry.name)).includes('pid'))
    .map((entry) => entry.name);
}
