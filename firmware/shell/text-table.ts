// Aligned columns for a terminal.

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string | number | boolean | undefined;
}

/** Lines without trailing blanks; an empty list says so instead of printing a bare heading. */
export function textTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], none: string): string {
  if (rows.length === 0) return none;
  const cells = rows.map((row) => columns.map((column) => String(column.cell(row) ?? '-')));
  const widths = columns.map((column, i) => Math.max(column.title.length, ...cells.map((line) => line[i]!.length)));
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) => text.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  return [line(columns.map((c) => c.title)), line(widths.map((w) => '-'.repeat(w))), ...cells.map(line)].join('\n');
}
