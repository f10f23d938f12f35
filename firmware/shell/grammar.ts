// Matches an operator's words against the command table. `<name>` takes one word, `[word]` may be left out, `<name...>`
// takes all that follow.
import { UsageError } from '../../platform/errors.ts';

export interface Match {
  readonly parameters: Readonly<Record<string, string>>;
}

/** The parameters when `words` fit `pattern` as a whole, else undefined. An optional word becomes a parameter of its own name. */
export function matchWords(pattern: string, words: readonly string[]): Match | undefined {
  const parameters: Record<string, string> = {};
  let at = 0;
  for (const part of pattern.split(' ')) {
    const word = words[at];
    if (part.endsWith('...>')) {
      parameters[part.slice(1, -4)] = words.slice(at).join(' ');
      return { parameters };
    }
    if (part.startsWith('<')) {
      if (word === undefined) return undefined;
      parameters[part.slice(1, -1)] = word;
    } else if (part.startsWith('[')) {
      if (word !== part.slice(1, -1)) continue;
      parameters[word] = 'true';
    } else if (word !== part) {
      return undefined;
    }
    at++;
  }
  return at === words.length ? { parameters } : undefined;
}

/** How many words of `pattern` the operator already typed right; for the hint after a wrong command. */
export function sharedWords(pattern: string, words: readonly string[]): number {
  const parts = pattern.split(' ');
  let count = 0;
  while (count < words.length && count < parts.length && (parts[count]!.startsWith('<') || parts[count] === words[count])) count++;
  return count;
}

export function unknownCommand(patterns: readonly string[], words: readonly string[]): UsageError {
  const best = Math.max(...patterns.map((p) => sharedWords(p, words)));
  const near = patterns.filter((p) => sharedWords(p, words) === best).slice(0, 12);
  return new UsageError(`unknown command: ${words.join(' ')}\npossible here:\n  ${near.join('\n  ')}`);
}
