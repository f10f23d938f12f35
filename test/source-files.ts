// The files of this checkout as the tests about the source see them: what git tracks and what is new.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Paths relative to the checkout, sorted. */
export function listFiles(): string[] {
  const git = ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const listed = execFileSync('git', git, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 });
  return [...new Set(listed.split('\0'))].filter((path) => path !== '' && existsSync(ROOT + path)).sort();
}

/** The text, or undefined for binary files and for those that went away since they were listed. */
export function readText(path: string): string | undefined {
  if (!existsSync(ROOT + path)) return undefined;
  const bytes = readFileSync(ROOT + path);
  return bytes.includes(0) ? undefined : bytes.toString('utf8');
}

/**
 * The code with comments and the contents of strings blanked, line numbers kept. Expressions inside template strings
 * stay. Regular expressions are recognised by what stands before them.
 */
export function codeOf(source: string): string {
  let out = '';
  let at = 0;
  const templates: number[] = [];
  const blank = (end: number): void => {
    out += source.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  const templateEnd = (from: number): number => {
    const rest = /(?:[^\\`$]|\\[^]|\$(?!\{))*/y;
    rest.lastIndex = from;
    rest.exec(source);
    return rest.lastIndex;
  };
  while (at < source.length) {
    const rest = TOKEN;
    rest.lastIndex = at;
    const token = rest.exec(source)?.[0];
    const char = source[at]!;
    if (token !== undefined && (char !== '/' || token[1] === '/' || token[1] === '*' || startsRegex(out))) {
      blank(at + token.length);
      out = out.slice(0, -1) + (char === '/' ? ' ' : char);
    } else if (char === '`' || (char === '}' && templates.at(-1) === 0)) {
      if (char === '}') templates.pop();
      const end = templateEnd(at + 1);
      blank(Math.min(end + 1, source.length));
      if (source[end] === '$') {
        blank(end + 2);
        templates.push(0);
      }
    } else {
      if (templates.length > 0 && char === '{') templates[templates.length - 1]!++;
      if (templates.length > 0 && char === '}') templates[templates.length - 1]!--;
      out += char;
      at++;
    }
  }
  return out;
}

/** A comment, a quoted string, or what may be a regular expression. */
const TOKEN = /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"|\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;

function startsRegex(before: string): boolean {
  return /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|delete|await))\s*$/.test(before.slice(-40));
}

export function lineOf(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}
