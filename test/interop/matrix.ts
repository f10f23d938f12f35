// The matrix as a table: for the terminal, and between two marks in docs/STANDARDS.md.
import { RELEASES, ROLES } from './row.ts';
import type { Case, Role, Row } from './row.ts';
import type { Result } from './runner.ts';

export const BEGIN_MARK = '<!-- written by "npm run interop -- --write" -->';
export const END_MARK = '<!-- end of the matrix -->';
const HEAD = ['scenario', 'path', 'ends', ...[false, true].flatMap((lossy) => ROLES.map((role) => `${role}${lossy ? ', lossy' : ''}`))];
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

export function matrixOf(rows: readonly Row[], results: readonly Result[]): string {
  const table = rows.map((row) => [row.name, row.path, row.ends, ...[false, true].flatMap((lossy) => ROLES.map((role) => cell(row, role, lossy, results)))]);
  const lines = [HEAD, HEAD.map(() => '---'), ...table].map((cells) => `| ${cells.join(' | ')} |`);
  return [`Our role beside strongSwan ${versions(results)}. "Lossy": ten per cent of the packets lost, others repeated and overtaken.`, '', ...lines].join('\n');
}

function versions(results: readonly Result[]): string {
  return RELEASES.map((release) => results.find((result) => result.case.release === release && result.version !== '')?.version ?? release).join(', ');
}

function cell(row: Row, role: Role, lossy: boolean, results: readonly Result[]): string {
  if (!row.roles.includes(role)) return NO_CASE;
  const states = row.counterparts.map((release) => {
    const same = (which: Case): boolean => which.row === row && which.role === role && which.release === release && which.lossy === lossy;
    const result = results.find((candidate) => same(candidate.case));
    if (result === undefined) return NOT_RUN;
    return result.failure === undefined ? release : `${release} FAILS`;
  });
  return states.every((state) => state === NOT_RUN) ? NOT_RUN : states.join(', ');
}
