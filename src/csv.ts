/** Rows as CSV (RFC 4180): one line of names, one line a row, numbers with all their digits. */

export type CsvValue = string | number | boolean | null | undefined;

/**
 * Writes rows of plain data; the columns are all names in the order in which they first appear. null and undefined are empty,
 * and so is a number that is none: readers take it as missing.
 */
export function toCsv(rows: readonly Readonly<Record<string, CsvValue>>[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [names, ...rows.map((row) => names.map((name) => row[name]))];
  return lines.map((line) => `${line.map(csvField).join(',')}\n`).join('');
}

function csvField(value: CsvValue): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : '';
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Reads rows that toCsv wrote: every field is text, and one that was empty is the empty text. Quoted fields may hold commas and line ends. */
export function fromCsv(text: string): Record<string, string>[] {
  const rows: string[][] = [[]];
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
    rows.at(-1)!.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end === '\n') rows.push([]);
    if (end === '') break;
  }
  // What follows the last line end is no row.
  if (text.endsWith('\n')) rows.pop();
  const [names = [], ...lines] = rows;
  return lines.map((line) => Object.fromEntries(names.map((name, i) => [name, line[i] ?? ''])));
}
