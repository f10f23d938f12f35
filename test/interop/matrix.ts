// The matrix as a table: for the terminal, and between two marks in docs/STANDARDS.md.
import { RELEASES, ROLES } from './row.ts';
import type { Case, Row } from './row.ts';
import type { Result } from './runner.ts';

export const BEGIN_MARK = '<!-- written by "npm run interop -- --write" -->';
export const END_MARK = '<!-- end of the matrix -->';
const COLUMNS = [false, true].flatMap((lossy) => ROLES.map((role) => ({ role, lossy, name: `${role}${lossy ? ', lossy' : ''}` })));
type Column = (typeof COLUMNS)[number];
const HEAD = ['scenario', 'path', 'ends', ...COLUMNS.map((column) => column.name)];
const NO_CASE = '–';
const NOT_RUN = 'not run';

/** The names of the scenarios that a table lists. */
export function namesIn(markdown: string): string[] {
  const lines = markdown.split('\n').filter((line) => line.startsWith('| '));
  return lines.slice(2).map((line) => line.split(' | ')[0]!.slice(2));
}

/** Where the matrix stands in a document: after the first mark, before the second one. */
function place(document: string): { begin: number; end: number } {
  const begin = document.indexOf(BEGIN_MARK) + BEGIN_MARK.length;
  const end = document.indexOf(END_MARK);
  if (!document.includes(BEGIN_MARK) || end < begin) throw new Error(`the document has no place for the matrix (${BEGIN_MARK})`);
  return { begin, end };
}

/** What stands between the marks of a document. */
export function between(document: string): string {
  const { begin, end } = place(document);
  return document.slice(begin, end);
}

/** The document with another matrix between its marks. */
export function withMatrix(document: string, matrix: string): string {
  const { begin, end } = place(document);
  return `${document.slice(0, begin)}\n${matrix}\n${document.slice(end)}`;
}

/** What a table says of a release: it passed, it failed, or it has not been run. */
type State = 'ok' | 'FAILS' | undefined;

/** A former matrix: states by row, column and release. */
type Former = ReadonlyMap<string, State>;

const key = (row: string, column: string, release: string): string => [row, column, release].join('\n');

function read(markdown: string): Former {
  const lines = markdown.split('\n').filter((line) => line.startsWith('| ')).slice(2);
  const states = new Map<string, State>();
  for (const line of lines) {
    const cells = line.slice(2, -2).split(' | ');
    for (const [i, cell] of cells.entries()) {
      for (const [, release, failed] of cell.matchAll(/(\d+\.\d+)( FAILS)?(?=,|$)/g)) states.set(key(cells[0]!, HEAD[i]!, release!), failed === undefined ? 'ok' : 'FAILS');
    }
  }
  return states;
}

/** The matrix of these results; what they do not tell is taken from a former one. */
export function matrixOf(rows: readonly Row[], results: readonly Result[], former = ''): string {
  const before = read(former);
  const table = rows.map((row) => [row.name, row.path, row.ends, ...COLUMNS.map((column) => cell(row, column, results, before))]);
  const lines = [HEAD, HEAD.map(() => '---'), ...table].map((cells) => `| ${cells.join(' | ')} |`);
  return [`Our role beside strongSwan ${versions(results, former)}. "Lossy": ten per cent of the packets lost, others repeated and overtaken.`, '', ...lines].join('\n');
}

function versions(results: readonly Result[], former: string): string {
  return RELEASES.map((release) => {
    const seen = results.find((result) => result.case.release === release && result.version !== '')?.version;
    return seen ?? new RegExp(`strongSwan [^"]*?(${release.replace('.', '\\.')}\\.\\d+)`).exec(former)?.[1] ?? release;
  }).join(', ');
}

function cell(row: Row, column: Column, results: readonly Result[], before: Former): string {
  if (!row.roles.includes(column.role)) return NO_CASE;
  const states = row.counterparts.map((release) => {
    const same = (which: Case): boolean => which.row === row && which.role === column.role && which.release === release && which.lossy === column.lossy;
    const result = results.find((candidate) => same(candidate.case));
    const state: State = result === undefined ? before.get(key(row.name, column.name, release)) : result.failure === undefined ? 'ok' : 'FAILS';
    return state === undefined ? `${release} ${NOT_RUN}` : state === 'ok' ? release : `${release} ${state}`;
  });
  return states.join(', ');
}
