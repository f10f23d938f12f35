// Rules about the source text itself. Each failure lists file, line and what to do instead.
import { strict as assert } from 'node:assert';
import { basename } from 'node:path';
import { codeOf, lineOf, listFiles, readText } from './source-files.ts';

/** No file above this; a long file is several concepts. */
const LONGEST_FILE_LINES = 600;
/** Over the product's TypeScript. */
const MEDIAN_FILE_LINES = 150;

const PRODUCT = /^(platform|drivers|firmware|provisioning|images)\//;
const TIME_AND_CHANCE = /^platform\/(time|random)\.ts$/;
/** Runs in the operator's browser, which has no Clock of ours. */
const BROWSER = /^provisioning\/director\/web\//;

interface TextRule {
  readonly fact: string;
  readonly files: RegExp;
  readonly except?: RegExp;
  readonly pattern: RegExp;
  readonly instead: string;
  /** Look at comments and strings too. */
  readonly wholeText?: true;
}

const TEXT_RULES: readonly TextRule[] = [
  {
    fact: 'takes time only from platform/time.ts',
    files: /\.ts$/,
    except: new RegExp(`${TIME_AND_CHANCE.source}|${BROWSER.source}`),
    pattern: /\bDate\s*\.\s*now\b|\bDate\s*\(\s*\)|\bnew\s+Date\b(?!\s*\(\s*[^)\s])|\bperformance\s*\.|(?<!(?<!globalThis)\.)\b(?:setTimeout|setInterval)\b/g,
    instead: 'take a Clock, a TimerTable or sleep() from platform/time.ts',
  },
  {
    fact: 'imports no timers of Node',
    files: /\.ts$/,
    except: TIME_AND_CHANCE,
    pattern: /from 'node:(?:timers|timers\/promises|perf_hooks)'/g,
    instead: 'take a Clock or sleep() from platform/time.ts',
    wholeText: true,
  },
  {
    fact: 'takes chance only from platform/random.ts',
    files: /\.ts$/,
    except: new RegExp(`${TIME_AND_CHANCE.source}|${BROWSER.source}`),
    pattern: /\bMath\s*\.\s*random\b|\b(?:randomBytes|randomFill|randomFillSync|randomInt|randomUUID|getRandomValues)\b/g,
    instead: 'take a Random from platform/random.ts',
  },
  {
    fact: 'exports by name',
    files: /\.(ts|mjs)$/,
    // mocha loads a reporter by its default export.
    except: /^provisioning\/setup\/reporter\.mjs$/,
    pattern: /^export default\b|\bas default\b/gm,
    instead: 'export the name',
  },
  {
    fact: 'has no enum and no namespace',
    files: /\.ts$/,
    pattern: /^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w|^\s*(?:export\s+)?(?:declare\s+)?namespace\s+\w/gm,
    instead: 'use a union of literals, or a table',
  },
  {
    fact: 'has no mutable state at the top of a module',
    files: /\.(ts|mjs)$/,
    pattern: /^(?:export\s+)?(?:let|var)\s|^(?:export\s+)?const\s[^\n]*=\s*new\s+(?:Map|Set|WeakMap|WeakSet)(?:<[^\n]*>)?\(\)/gm,
    instead: 'give the state an owner that is passed around',
  },
  {
    fact: 'leaves no note for later',
    files: /./,
    except: /^package-lock\.json$/,
    pattern: /\b(?:TO[D]O|FIX[M]E|XX[X])\b/g,
    instead: 'do it, or describe the limit as a fact',
    wholeText: true,
  },
  {
    fact: 'runs every test',
    files: /^test\/.*\.ts$/,
    pattern: /\b(?:describe|it|context|specify)\s*\.\s*(?:only|skip)\b|\bx(?:it|describe|context)\s*\(|\bthis\s*\.\s*skip\s*\(/g,
    instead: 'make the test pass, or delete it with what it tested',
  },
  {
    fact: 'names no place of one machine',
    files: /./,
    pattern: /(?<![\w.}])\/(?:work|root|tmp)\/[\w.]|(?<![\w.}])\/home\/[a-z]/g,
    instead: 'compute the path at run time',
    wholeText: true,
  },
  {
    fact: 'names no package registry or mirror',
    files: /./,
    pattern: /registry\.np[m]js|\bnp[m]js\.org|\b(?:deb|security|ftp|snapshot)\.debi[a]n\.org|nodesou[r]ce/g,
    instead: "use the machine's own npm and apt configuration",
    wholeText: true,
  },
  {
    fact: 'records no download address in the lockfile',
    files: /^package-lock\.json$/,
    pattern: /"resolved"/g,
    instead: 'run npm with omit-lockfile-registry-resolved=true',
    wholeText: true,
  },
  {
    fact: 'holds no private key',
    files: /./,
    pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{16}/g,
    instead: 'make the key when the test runs',
    wholeText: true,
  },
];

function violations(rule: TextRule, files: readonly string[]): string[] {
  const found: string[] = [];
  for (const path of files) {
    if (!rule.files.test(path) || rule.except?.test(path)) continue;
    const text = readText(path);
    if (text === undefined) continue;
    const code = rule.wholeText === true ? text : codeOf(text);
    for (const match of code.matchAll(rule.pattern)) {
      found.push(`${path}:${lineOf(code, match.index)} has "${match[0].trim()}": ${rule.instead}`);
    }
  }
  return found;
}

function report(found: readonly string[]): void {
  assert.equal(found.length, 0, `\n${found.join('\n')}`);
}

function lineCount(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}

describe('tidy source', () => {
  const files = listFiles();

  for (const rule of TEXT_RULES) {
    it(rule.fact, () => report(violations(rule, files)));
  }

  it('sees a banned call behind strings, templates, comments and regular expressions', () => {
    const source = 'const a = /["\'`]/; // it\'s\nconst b = `x${"}"} ${{ c: 1 }.c} \\` ${d}`; /* ` */ Math.random();\n"Math.random";';
    assert.deepEqual([...codeOf(source).matchAll(/Math\.random|\bd\b/g)].map((match) => match[0]), ['d', 'Math.random']);
    assert.equal(codeOf(source).split('\n').length, 3);
  });

  it('has no file that is too long', () => {
    const found: string[] = [];
    for (const path of files) {
      if (!/\.(ts|mjs|js|c|cc|cpp|h|lua|css|html)$/.test(path)) continue;
      const lines = lineCount(readText(path) ?? '');
      if (lines > LONGEST_FILE_LINES) found.push(`${path} has ${lines} lines, ${LONGEST_FILE_LINES} are allowed: split it by concept`);
    }
    report(found);
  });

  it('has short files in the middle', () => {
    const lengths = files
      .filter((path) => PRODUCT.test(path) && path.endsWith('.ts'))
      .map((path) => lineCount(readText(path) ?? ''))
      .sort((a, b) => a - b);
    const median = lengths[lengths.length >> 1]!;
    assert.ok(median <= MEDIAN_FILE_LINES, `half of the files have more than ${median} lines, ${MEDIAN_FILE_LINES} are allowed`);
  });

  it('names files in kebab-case after one concept', () => {
    const found: string[] = [];
    for (const path of files) {
      if (!/\.(ts|mjs|js|c|cc|cpp|h|lua)$/.test(path)) continue;
      const stem = basename(path).replace(/(\.test)?\.[a-z]+$/, '');
      if (!/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(stem)) found.push(`${path}: use kebab-case`);
      if (/^(?:utils?|helpers?|common|types?|misc|index)$/.test(stem)) found.push(`${path}: name the concept that is in it`);
    }
    report(found);
  });
});
