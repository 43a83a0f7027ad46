/**
 * Currents that a lab has measured, as a CSV.
 *
 *   vgs_v, vds_v, temp_c, id_a                gate and drain voltage against source and bulk, temperature, drain current
 *   ig_a (optional)                           current into the gate
 *   corner (optional)                         TT FF SS FS SF; all rows are TT without it
 *   device (optional)                         name of the die or instance; repeated points of one bias are averaged in ln I
 *
 * The unit is part of the header, so a file in mV is refused and not misread. Lines that start with # and empty lines
 * are skipped. Columns may stand in any order, between commas, semicolons or tabs (then with decimal commas too), in quotes
 * or not. Rows that say nothing (no drain voltage, no current above the meter's floor, its mark of an overflow) are counted
 * and left out; the first line that is wrong ends the reading, with its number. Files of IC-CAP: mdm.ts.
 */
import { CORNERS, type Corner } from '../../cell/technology.ts';
import { nearestName, OnefetError } from '../../error.ts';
import { displayPath, readTextFile } from '../../files.ts';
import { isMdm, readMdm, type TextRow } from './mdm.ts';

export interface MeasuredPoint {
  readonly vgsV: number;
  readonly vdsV: number;
  readonly tempK: number;
  readonly drainA: number;
  readonly gateA: number | undefined;
  readonly corner: Corner;
  readonly device: string;
}

const REQUIRED = ['vgs_v', 'vds_v', 'temp_c', 'id_a'] as const;
const OPTIONAL = ['ig_a', 'corner', 'device'] as const;
const KNOWN: readonly string[] = [...REQUIRED, ...OPTIONAL];

const MAX_CSV_BYTES = 64 * 2 ** 20;
const MAX_CSV_ROWS = 1_000_000;
const MAX_LINE_CHARS = 1000;

/** Limits of a quantity; beyond it the file is in other units or of another device. */
const BOUNDS: Readonly<Record<string, readonly [number, number, string]>> = {
  vgs_v: [-10, 10, 'V'],
  vds_v: [1e-4, 10, 'V'],
  temp_c: [-200, 300, 'C'],
  id_a: [1e-18, 1, 'A'],
  ig_a: [-1, 1, 'A'],
};

/** What was read, and what was not and why: a lab's file is taken as far as it goes. */
export interface MeasuredData {
  readonly points: readonly MeasuredPoint[];
  /** Rows by the reason for which they say nothing. */
  readonly skipped: readonly { readonly reason: string; readonly rows: number }[];
  /** Largest current that was read with the wrong sign, A: the floor of the meter; 0: none was. */
  readonly floorA: number;
}

/** Reads a CSV, or a file of IC-CAP. Errors: FILE_UNREADABLE, TEXT_SIZE, MEASURED_TOO_LARGE, MEASURED_HEADER, MEASURED_LINE (with the line number). */
export function readMeasuredCsv(path: string): MeasuredData {
  return parseMeasuredCsv(
    readTextFile(path, 'measured data', { mostBytes: MAX_CSV_BYTES }),
    displayPath(path),
  );
}

export function parseMeasuredCsv(text: string, name: string): MeasuredData {
  const points: MeasuredPoint[] = [];
  const skipped = new Map<string, number>();
  let floorA = 0;
  let rows = 0;
  for (const row of isMdm(text) ? readMdm(text, name) : readRows(text, name)) {
    if (rows++ === MAX_CSV_ROWS) {
      throw new OnefetError('input', 'MEASURED_TOO_LARGE', `${name}: more than ${MAX_CSV_ROWS} rows`);
    }
    const point = parsePoint(row, name);
    if (typeof point === 'string') {
      skipped.set(point, (skipped.get(point) ?? 0) + 1);
      if (point === AT_FLOOR) floorA = Math.max(floorA, -Number(row.cells.id_a.replace(',', '.')));
    } else points.push(point);
  }
  if (points.length === 0) {
    const left = [...skipped].map(([reason, count]) => `; ${count} skipped: ${reason}`).join('');
    throw new OnefetError('input', 'MEASURED_HEADER', `${name}: no data rows${left}`, {
      hint: `the first line is the header: ${REQUIRED.join(',')}`,
    });
  }
  return { points, skipped: [...skipped].map(([reason, count]) => ({ reason, rows: count })), floorA };
}

function* readRows(text: string, name: string): Generator<TextRow> {
  let columns: string[] | undefined;
  let separator = ',';
  let lineNumber = 0;
  // Line by line: splitting 64 MiB at once would hold every line twice.
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    lineNumber++;
    if (end - at > MAX_LINE_CHARS) {
      throw wrongLine(name, lineNumber, `${end - at} characters; at most ${MAX_LINE_CHARS} are read`);
    }
    const line = text.slice(at, end).trim();
    at = end + 1;
    if (line === '' || line.startsWith('#')) continue;
    if (columns === undefined) {
      separator = [';', '\t', ','].find((mark) => line.includes(mark)) ?? ',';
      columns = header(splitCells(line, separator), name, lineNumber);
      continue;
    }
    const cells = line.includes('"')
      ? splitCells(line, separator)
      : line.split(separator).map((cell) => cell.trim());
    if (cells.length !== columns.length) {
      throw wrongLine(name, lineNumber, `${cells.length} values for ${columns.length} columns`);
    }
    yield { lineNumber, cells: Object.fromEntries(columns.map((column, i) => [column, cells[i]])) };
  }
}

/** Cells without their quotes; a separator between quotes is part of a cell. */
function splitCells(line: string, separator: string): string[] {
  const cells = [''];
  let quoted = false;
  for (const char of line) {
    if (char === '"') quoted = !quoted;
    else if (char === separator && !quoted) cells.push('');
    else cells[cells.length - 1] += char;
  }
  return cells.map((cell) => cell.trim());
}

function header(cells: readonly string[], name: string, lineNumber: number): string[] {
  const columns = cells.map((cell) => cell.toLowerCase());
  const wrong = (what: string, hint: string) =>
    new OnefetError('input', 'MEASURED_HEADER', `${name}: line ${lineNumber}: ${what}`, { hint });
  for (const [i, column] of columns.entries()) {
    if (!KNOWN.includes(column)) {
      const nearest = nearestName(column, KNOWN);
      throw wrong(
        `unknown column "${column.slice(0, 40)}"`,
        nearest
          ? `did you mean ${nearest}? The unit is part of the name: V, C and A`
          : `columns are ${KNOWN.join(', ')}`,
      );
    }
    if (columns.indexOf(column) !== i) throw wrong(`column ${column} stands twice`, 'remove one of them');
  }
  const missing = REQUIRED.find((column) => !columns.includes(column));
  if (missing !== undefined) throw wrong(`no column ${missing}`, `required are ${REQUIRED.join(', ')}`);
  return columns;
}

const AT_FLOOR = 'no current into the drain: the floor of the meter';
/** What meters write for an overflow: 9.91E+37 is "not a number" and 9.9E+37 infinity in SCPI. */
const OVERFLOW = 9.8e37;
/** No current flows, or it cannot be told from the meter's noise. */
const LEAST_CURRENT_A = BOUNDS.id_a[0];
const LEAST_DRAIN_V = BOUNDS.vds_v[0];

/** The point of a row, or why it says nothing. */
function parsePoint({ lineNumber, cells }: TextRow, name: string): MeasuredPoint | string {
  const value = (column: string): number => {
    const text = cells[column] ?? '';
    // 0,4 is a number where the comma does not separate.
    const number =
      text === ''
        ? Number.NaN
        : Number(/^[-+]?\d*,\d+(e[-+]?\d+)?$/i.test(text) ? text.replace(',', '.') : text);
    if (!Number.isFinite(number)) {
      throw wrongLine(name, lineNumber, `${column} "${text.slice(0, 40)}" is not a number`);
    }
    return number;
  };
  const bounded = (column: string): number => {
    const number = value(column);
    const [low, high, unit] = BOUNDS[column];
    if (number >= low && number <= high) return number;
    throw wrongLine(
      name,
      lineNumber,
      `${column} ${cells[column].slice(0, 40)} is outside ${low} to ${high} ${unit}`,
    );
  };
  const drainA = value('id_a');
  const vdsV = value('vds_v');
  if (Math.abs(drainA) > OVERFLOW) return 'the meter was out of its range (9.91E+37)';
  if (Math.abs(vdsV) < LEAST_DRAIN_V) return 'no drain voltage';
  if (drainA < LEAST_CURRENT_A) return AT_FLOOR;
  const word = (column: string, fallback: string) => cells[column] ?? fallback;
  const corner = word('corner', 'TT').toUpperCase();
  if (!(CORNERS as readonly string[]).includes(corner)) {
    throw wrongLine(name, lineNumber, `corner "${corner.slice(0, 40)}" is none of ${CORNERS.join(', ')}`);
  }
  return {
    vgsV: bounded('vgs_v'),
    vdsV: bounded('vds_v'),
    tempK: bounded('temp_c') + 273.15,
    drainA: bounded('id_a'),
    gateA: cells.ig_a === undefined || Math.abs(value('ig_a')) > OVERFLOW ? undefined : bounded('ig_a'),
    corner: corner as Corner,
    device: word('device', ''),
  };
}

function wrongLine(name: string, lineNumber: number, what: string): OnefetError {
  return new OnefetError('input', 'MEASURED_LINE', `${name}: line ${lineNumber}: ${what}`);
}
