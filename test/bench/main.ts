// Benches from the command line: main.ts ike [--handshakes N] [--rounds N] [--sas N], main.ts tunnel [--rounds N]
// [--seconds N] [--peers NAME,...] [--only PART,...] [--quick], main.ts rekeys [--rekeys N], main.ts stages, main.ts scale. The last line is JSON.
import { parseArgs } from 'node:util';
import { UsageError } from '../../platform/errors.ts';
import { benchIke } from './ike.ts';
import { benchRekeys } from './rekeys.ts';
import { benchScale } from './scale.ts';
import { benchStages } from './stages.ts';
import { benchTunnel, chosenParts, chosenPeers } from './tunnel.ts';

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`--${name} is ${text}; allowed: a whole number above 0`);
  return value;
}

const OPTIONS = {
  handshakes: { type: 'string', default: '500' },
  rounds: { type: 'string', default: '3' },
  sas: { type: 'string', default: '10000' },
  seconds: { type: 'string', default: '3' },
  peers: { type: 'string', default: '' },
  only: { type: 'string', default: '' },
  rekeys: { type: 'string', default: '100' },
  quick: { type: 'boolean', default: false },
} as const;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const [name] = positionals;
  const rounds = positive('rounds', values.rounds);
  const benches: Readonly<Record<string, () => Promise<Record<string, unknown>>>> = {
    ike: () => benchIke({ handshakes: positive('handshakes', values.handshakes), rounds, sas: positive('sas', values.sas) }),
    rekeys: () => benchRekeys(positive('rekeys', values.rekeys)),
    scale: () => benchScale(),
    stages: () => benchStages(),
    tunnel: () => benchTunnel({
      rounds: values.quick ? 1 : rounds,
      seconds: values.quick ? 2 : positive('seconds', values.seconds),
      peers: chosenPeers(values.quick && values.peers === '' ? 'veth,ours,wireguard-go' : values.peers),
      parts: chosenParts(values.quick && values.only === '' ? 'tcp' : values.only),
    }),
  };
  const bench = positionals.length === 1 && Object.hasOwn(benches, name!) ? benches[name!] : undefined;
  if (bench === undefined) throw new UsageError(`the bench is ${positionals.join(' ') || 'missing'}; allowed: ${Object.keys(benches).join(', ')}`);
  process.stdout.write(`${JSON.stringify({ bench: name, ...(await bench()) })}
`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true ? 2 : 1;
}
