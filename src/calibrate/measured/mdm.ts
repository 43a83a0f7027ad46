/**
 * Measured data as IC-CAP writes them (.mdm): blocks BEGIN_DB ... END_DB with the outer sweeps as ICCAP_VAR lines, the inner
 * one and the outputs as columns under a line that starts with #.
 *
 *   ICCAP_VAR VD 0.1
 *   #VG ID
 *   0.05 2.2e-10
 *
 * Names say what a quantity is: VG VD VS VB TEMP, ID and IG, with anything behind (VGS, id.m).
 */
import { OnefetError } from '../../error.ts';

/** A row as text, by column. */
export interface TextRow {
  readonly lineNumber: number;
  readonly cells: Readonly<Record<string, string>>;
}

/** What a name begins with, and the column of a CSV that it is; `ground` must be 0: voltages are against it. */
const ROLES: readonly [RegExp, keyof TextRow['cells'] | 'ground'][] = [
  [/^v_?g/i, 'vgs_v'],
  [/^v_?d/i, 'vds_v'],
  [/^v_?[sb]/i, 'ground'],
  [/^temp/i, 'temp_c'],
  [/^i_?d/i, 'id_a'],
  [/^i_?g/i, 'ig_a'],
];

export const isMdm = (text: string): boolean => /^BEGIN_(HEADER|DB)\s*$/m.test(text.slice(0, 100_000));

/** Gives the rows of all blocks. Errors: MEASURED_HEADER, MEASURED_LINE. */
export function* readMdm(text: string, name: string): Generator<TextRow> {
  let outer: Record<string, string> = {};
  /** Of the file: a temperature that no block repeats. */
  let whole: Record<string, string> = {};
  let columns: string[] | undefined;
  let inBlock = false;
  let lineNumber = 0;
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    lineNumber++;
    const line = text.slice(at, end).trim();
    at = end + 1;
    const words = line.split(/\s+/);
    if (line === '' || line.startsWith('!')) continue;
    if (words[0] === 'BEGIN_DB') [inBlock, outer, columns] = [true, {}, undefined];
    else if (words[0] === 'END_DB') inBlock = false;
    else if (!inBlock) {
      if (/^temp/i.test(words[0]) && words[1]) whole = { temp_c: words[1].replaceAll('"', '') };
    } else if (words[0] === 'ICCAP_VAR' || words[0] === 'USER_VAR')
      assign(outer, words[1], words[2] ?? '', name, lineNumber);
    else if (line.startsWith('#')) columns = line.slice(1).trim().split(/\s+/);
    else {
      if (columns === undefined || words.length !== columns.length) {
        throw new OnefetError(
          'input',
          'MEASURED_LINE',
          `${name}: line ${lineNumber}: ${words.length} values for ${columns?.length ?? 'no'} columns`,
        );
      }
      const cells: Record<string, string> = { ...whole, ...outer };
      columns.forEach((column, i) => {
        assign(cells, column, words[i], name, lineNumber);
      });
      if (cells.temp_c === undefined) {
        throw new OnefetError('input', 'MEASURED_HEADER', `${name}: no temperature`, {
          hint: 'add a line TEMP 27 (in C) in front of the first BEGIN_DB, or ICCAP_VAR TEMP 27 in each block',
        });
      }
      yield { lineNumber, cells };
    }
  }
}

function assign(
  cells: Record<string, string>,
  variable: string,
  value: string,
  name: string,
  lineNumber: number,
): void {
  const role = ROLES.find(([pattern]) => pattern.test(variable))?.[1];
  if (role === 'ground') {
    if (Number(value) === 0) return;
    throw new OnefetError(
      'input',
      'MEASURED_LINE',
      `${name}: line ${lineNumber}: ${variable} is ${value.slice(0, 40)} V`,
      {
        hint: 'leave the blocks out whose source or bulk is not at 0 V: the cell has them grounded',
      },
    );
  }
  if (role !== undefined) cells[role] = value;
}
