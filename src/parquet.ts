/** Rows as Parquet, for pandas, Polars and DuckDB: the values of the CSV with their types. */
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { CsvValue } from './csv.ts';
import { packageVersion } from './files.ts';

type Present = string | number | boolean;

/**
 * Writes rows of plain data; the columns are those of toCsv. A column of whole numbers is INT64, of numbers DOUBLE, of true and
 * false BOOLEAN, else text (UTF-8), as the CSV has it. null, undefined and a number that is none are null. `texts` says which columns are
 * text where they have no value; other columns without one are DOUBLE.
 */
export function toParquet(
  rows: readonly Readonly<Record<string, CsvValue>>[],
  texts: (name: string) => boolean = () => false,
): Uint8Array {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const columnData = names.map((name) => {
    const values = rows.map((row) => presentOf(row[name]));
    const type = typeOf(values, texts(name));
    return { name, type, data: values.map((value) => (value === null ? null : AS[type](value))) };
  });
  return new Uint8Array(parquetWriteBuffer({ columnData, createdBy: `onefet ${packageVersion()}` }));
}

const presentOf = (value: CsvValue): Present | null =>
  value === undefined || (typeof value === 'number' && !Number.isFinite(value)) ? null : value;

const AS = {
  BOOLEAN: (value: Present) => value,
  INT64: (value: Present) => BigInt(value),
  DOUBLE: (value: Present) => value,
  STRING: (value: Present) => String(value),
};

function typeOf(values: readonly (Present | null)[], text: boolean): keyof typeof AS {
  const present = values.filter((value) => value !== null);
  if (present.length === 0) return text ? 'STRING' : 'DOUBLE';
  if (present.every((value) => typeof value === 'boolean')) return 'BOOLEAN';
  if (!present.every((value) => typeof value === 'number')) return 'STRING';
  return present.every(Number.isSafeInteger) ? 'INT64' : 'DOUBLE';
}
