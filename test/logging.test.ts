// docs/LOGGING.md against the code: every sentence that is logged is documented, and every documented one is logged.
import { deepStrictEqual, ok } from 'node:assert/strict';
import { SENTENCES } from '../firmware/ike/sentences.ts';
import { listFiles, readText } from './source-files.ts';

const CALL = /(?:\.|#)(?:log|debug|info|warning|error)\(\s*(?:'(?:debug|info|warning|error)',\s*|[a-zA-Z]+ \? '[a-z]+' : '[a-z]+',\s*[a-zA-Z]+ \? '([^']+)' : )?'([^']+)'/g;

const sources = listFiles()
  .filter((path) => /^(platform|firmware|provisioning)\/.*\.ts$/.test(path) && !path.startsWith('provisioning/lab/'))
  .map((path) => readText(path) ?? '')
  .join('\n');

const documented = (readText('docs/LOGGING.md') ?? '').split('\n').flatMap((line) => {
  const sentence = /^\| ([^|]+) \|/.exec(line)?.[1]?.trim();
  return sentence === undefined || sentence === 'sentence' ? [] : [sentence];
});

/** Sentences begin with a word and hold a blank; levels and field names do not. */
function logged(): string[] {
  const found = new Set<string>(SENTENCES);
  for (const match of sources.matchAll(CALL)) {
    for (const text of [match[1], match[2]]) if (text !== undefined && /^[A-Za-z].* /.test(text)) found.add(text);
  }
  return [...found];
}

describe('docs/LOGGING.md', () => {
  it('lists every sentence that the code logs', () => {
    ok(logged().length > 60, `only ${logged().length} sentences were found in the code`);
    deepStrictEqual(logged().filter((sentence) => !documented.includes(sentence)), []);
  });

  it('lists nothing that the code does not log', () => {
    const gone = documented.filter((sentence) => !sources.includes(`'${sentence}'`) && !sources.includes(`'${sentence.replace(/^alarm /, '')}'`));
    deepStrictEqual(gone, []);
  });
});
