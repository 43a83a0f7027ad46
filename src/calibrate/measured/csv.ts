/**
 * Currents that a lab has measured, as a CSV.
 *
 *   vgs_v, vds_v, temp_c, id_a                gate and drain voltage against source and bulk, temperature, drain current
 *   ig_a (optional)                           current into the gate
 *   corner (optional)                         TT FF SS FS SF; all rows are TT without it
 *   device (optional)                         name of the die or instance; repeated points of one bias are averaged in ln I
 *
 * The unit is part of the header, so a file in mV is refused and not misread. Lines that start with # and empty lines
 * are skipped. Columns may stand in any order. The first wrong line ends the reading, with its number.
 */
import { CORNERS, type Corner } from '../../cell/technology.ts';
import { nearestName, OnefetError } from '../../error.ts';
import { displayPath, readTextFile } from '../../files.ts';

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

/** Errors: FILE_UNREADABLE, TEXT_SIZE, MEASURED_TOO_LARGE, MEASURED_HEADER, MEASURED_LINE (with the line number). */
export function readMeasuredCsv(path: string): MeasuredPoint[] {
  return parseMeasuredCsv(
    readTextFile(path, 'measured data', { mostBytes: MAX_CSV_BYTES }),
    displayPath(path),
  );
}

export function parseMeasuredCsv(text: string, name: string): MeasuredPoint[] {
  const points: MeasuredPoint[] = [];
  let columns: string[] | undefined;
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
    const cells = line.split(',').map((cell) => cell.trim());
    if (columns === undefined) {
      columns = header(cells, name, lineNumber);
      continue;
    }
    if (points.length === MAX_CSV_ROWS) {
      throw new OnefetError('input', 'MEASURED_TOO_LARGE', `${name}: more than ${MAX_CSV_ROWS} rows`);
    }
    points.push(row(cells, columns, name, lineNumber));
  }
  if (columns === undefined || points.length === 0) {
    throw new OnefetError('input', 'MEASURED_HEADER', `${name}: no data rows`, {
      hint: `the first line is the header: ${REQUIRED.join(',')}`,
    });
  }
  return points;
}

function header(cells: readonly string[], name: string, lineNumber: number): string[] {
  const columns = cells.map((cell) => cell.toLowerCase().replace(/^"|"$/g, ''));
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

function row(
  cells: readonly string[],
  columns: readonly string[],
  name: string,
  lineNumber: number,
): MeasuredPoint {
  if (cells.length !== columns.length) {
    throw wrongLine(name, lineNumber, `${cells.length} values for ${columns.length} columns`);
  }
  const number = (column: string): number => {
    const text = cells[columns.indexOf(column)];
    const value = text === '' ? Number.NaN : Number(text);
    const [low, high, unit] = BOUNDS[column];
    if (!Number.isFinite(value))
      throw wrongLine(name, lineNumber, `${column} "${text.slice(0, 40)}" is not a number`);
    if (value < low || value > high) {
      throw wrongLine(
        name,
        lineNumber,
        `${column} ${text.slice(0, 40)} is outside ${low} to ${high} ${unit}`,
        column === 'id_a'
          ? 'currents are positive into the drain; leave out points below the resolution of the meter'
          : undefined,
      );
    }
    return value;
  };
  const word = (column: string, fallback: string) =>
    columns.includes(column) ? cells[columns.indexOf(column)].replace(/^"|"$/g, '') : fallback;
  const corner = word('corner', 'TT').toUpperCase();
  if (!(CORNERS as readonly string[]).includes(corner)) {
    throw wrongLine(name, lineNumber, `corner "${corner.slice(0, 40)}" is none of ${CORNERS.join(', ')}`);
  }
  return {
    vgsV: number('vgs_v'),
    vdsV: number('vds_v'),
    tempK: number('temp_c') + 273.15,
    drainA: number('id_a'),
    gateA: columns.includes('ig_a') ? number('ig_a') : undefined,
    corner: corner as Corner,
    device: word('device', ''),
  };
}

function wrongLine(name: string, lineNumber: number, what: string, hint?: string): OnefetError {
  return new OnefetError(
    'input',
    'MEASURED_LINE',
    `${name}: line ${lineNumber}: ${what}`,
    hint === undefined ? {} : { hint },
  );
}
