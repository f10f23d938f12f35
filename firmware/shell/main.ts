#!/usr/bin/env node
// The operator's commands: `selvage show ...`, `selvage request ...`. Text for people, --json for programs.
import { OperationalError, UsageError } from '../../platform/errors.ts';
import { askJson } from '../../platform/unix-socket.ts';
import { COMMANDS } from './commands.ts';
import { matchWords, unknownCommand } from './grammar.ts';

const DEFAULT_SOCKET = '/run/selvage/monitor.sock';

interface Invocation {
  readonly socket: string;
  readonly json: boolean;
  readonly words: readonly string[];
}

function parseArguments(argv: readonly string[]): Invocation {
  let socket = DEFAULT_SOCKET;
  let json = false;
  const words: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--json') json = true;
    else if (word === '--socket') socket = argv[++i] ?? DEFAULT_SOCKET;
    else words.push(...word.split(/\s+/).filter((w) => w !== ''));
  }
  return { socket, json, words };
}

async function run(argv: readonly string[]): Promise<string> {
  const { socket, json, words } = parseArguments(argv);
  if (words.length === 0 || words[0] === 'help') return COMMANDS.map((c) => `${c.pattern}\n    ${c.help}`).join('\n');
  for (const command of COMMANDS) {
    const match = matchWords(command.pattern, words);
    if (match === undefined) continue;
    const parameters = command.prepare?.(match.parameters) ?? match.parameters;
    const data = await askJson(socket, { query: command.query, parameters });
    return json ? JSON.stringify(data, undefined, 2) : command.render(data as never, match.parameters);
  }
  throw unknownCommand(
    COMMANDS.map((c) => c.pattern),
    words,
  );
}

try {
  process.stdout.write(`${await run(process.argv.slice(2))}\n`);
} catch (error) {
  const next = error instanceof OperationalError ? `\nnext: ${error.nextStep}` : '';
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${next}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
