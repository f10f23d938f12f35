// Fuzzing from the command line: main.ts TARGET [--seconds N] [--seed S] [--case N]. Prints every finding with its seed,
// case and last inputs, then one line of JSON; exit status 0 when there were none. `--case` runs one case again.
import { parseArgs } from 'node:util';
import { UsageError } from '../../platform/errors.ts';
import { after, SystemClock } from '../../platform/time.ts';
import { readCorpus } from './corpus.ts';
import type { FuzzTarget } from './target.ts';
import { runCase } from './target.ts';
import { FUZZ_TARGETS } from './targets.ts';

const MOST_FINDINGS = 10;

interface Arguments {
  readonly target: FuzzTarget;
  readonly seconds: number;
  readonly seed: string;
  readonly only: number | undefined;
}

function readArguments(): Arguments {
  const options = { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' }, case: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const target = FUZZ_TARGETS.find(({ name }) => name === positionals[0]);
  const known = FUZZ_TARGETS.map(({ name, about }) => `\n  ${name}: ${about}`).join('');
  if (target === undefined || positionals.length !== 1) throw new UsageError(`the target is ${positionals.join(' ') || 'missing'}; allowed:${known}`);
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new UsageError(`--seconds is ${values.seconds}; allowed: a number above 0`);
  const only = values.case === undefined ? undefined : Number(values.case);
  if (only !== undefined && !Number.isInteger(only)) throw new UsageError(`--case is ${values.case}; allowed: the number of a case`);
  return { target, seconds, seed: values.seed, only };
}

function main(): number {
  const { target, seconds, seed, only } = readArguments();
  const clock = new SystemClock();
  const corpus = readCorpus(target.name);
  let findings = 0;
  const attempt = (run: () => void): void => {
    try {
      run();
    } catch (error) {
      findings++;
      process.stderr.write(`${(error as Error).stack ?? String(error)}\n\n`);
    }
  };
  for (const { bytes } of corpus) attempt(() => target.replay(bytes));
  const inputs = corpus.map(({ bytes }) => bytes);
  const end = after(clock.now(), seconds * 1000);
  let cases = 0;
  if (only !== undefined) attempt(() => runCase(target, seed, only, inputs));
  else for (; clock.now() < end && findings < MOST_FINDINGS; cases++) attempt(() => runCase(target, seed, cases, inputs));
  if (findings > 0) process.stderr.write(`Understand each finding, repair it, and keep its input in test/fuzz/corpus/${target.name}\n`);
  process.stdout.write(`${JSON.stringify({ target: target.name, seed, cases: only === undefined ? cases : 1, corpus: corpus.length, findings })}\n`);
  return findings === 0 ? 0 : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true ? 2 : 1;
}
