// Benches from the command line: main.ts ike [--handshakes N] [--rounds N] [--sas N]. The last line is JSON.
import { parseArgs } from 'node:util';
import { UsageError } from '../../platform/errors.ts';
import { benchIke } from './ike.ts';

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`--${name} is ${text}; allowed: a whole number above 0`);
  return value;
}

async function main(): Promise<void> {
  const options = { handshakes: { type: 'string', default: '500' }, rounds: { type: 'string', default: '3' }, sas: { type: 'string', default: '10000' } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [name] = positionals;
  if (name !== 'ike' || positionals.length !== 1) throw new UsageError(`the bench is ${positionals.join(' ') || 'missing'}; allowed: ike`);
  const handshakes = positive('handshakes', values.handshakes);
  const summary = await benchIke({ handshakes, rounds: positive('rounds', values.rounds), sas: positive('sas', values.sas) });
  process.stdout.write(`${JSON.stringify({ bench: name, ...summary })}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true ? 2 : 1;
}
