// `npm run interop`: every case of the matrix, first over a good path and then over a bad one, a line for each, the
// matrix of them, and how many passed.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { between, matrixOf, withMatrix } from './matrix.ts';
import { caseName, casesOf } from './row.ts';
import type { Case } from './row.ts';
import { prepareReleases, runCases } from './runner.ts';
import type { Result } from './runner.ts';
import { ROWS } from './table.ts';

const DOCUMENT = fileURLToPath(new URL('../../docs/STANDARDS.md', import.meta.url));
const AT_ONCE = 4;
const USAGE = `npm run interop -- [WORD...] [--lossy | --direct] [--write] [--at-once N]
  WORD        only the cases whose name has every such word, e.g. "rekey", "initiator", "strongSwan 6.1"
  --lossy     only over the path that loses, repeats and reorders; --direct: only over the good one
  --write     put what has been run into the matrix of docs/STANDARDS.md
  --at-once   so many cases at the same time (${AT_ONCE})
`;

function chosenCases(words: readonly string[], { lossy, direct }: { readonly lossy: boolean; readonly direct: boolean }): Case[] {
  const paths = [false, true].filter((bad) => (bad ? !direct : !lossy));
  const wanted = words.map((word) => word.toLowerCase());
  return paths.flatMap((bad) => casesOf(ROWS, bad)).filter((which) => wanted.every((word) => caseName(which).toLowerCase().includes(word)));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(args: readonly string[]): Promise<number> {
  const options = { lossy: { type: 'boolean', default: false }, direct: { type: 'boolean', default: false }, write: { type: 'boolean', default: false }, 'at-once': { type: 'string', default: String(AT_ONCE) } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const cases = chosenCases(positionals, values);
  const atOnce = Number(values['at-once']);
  if (cases.length === 0 || !Number.isInteger(atOnce) || atOnce < 1) {
    say(cases.length === 0 ? 'no case has such a name' : '--at-once needs a number from 1');
    say(USAGE);
    return 2;
  }
  prepareReleases(cases, say);
  const results: Result[] = [];
  await runCases(cases, atOnce, (result) => {
    results.push(result);
    say(`${result.failure === undefined ? 'ok    ' : 'FAILED'} ${caseName(result.case)} (${(result.durationMs / 1000).toFixed(1)} s) [${results.length}/${cases.length}]`);
    if (result.failure !== undefined) say(result.failure.stack ?? result.failure.message);
  });
  const shown = ROWS.filter((row) => cases.some((which) => which.row === row));
  say(`\n${matrixOf(shown, results)}\n`);
  if (values.write) {
    const document = readFileSync(DOCUMENT, 'utf8');
    writeFileSync(DOCUMENT, withMatrix(document, matrixOf(ROWS, results, between(document))));
  }
  const failed = results.filter(({ failure }) => failure !== undefined);
  for (const result of failed) say(`failed: ${caseName(result.case)}`);
  say(`${results.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
