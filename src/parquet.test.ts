/** Files are read back by hyparquet; what pandas, pyarrow and DuckDB made of such files is in VALIDATION.md. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { expect, test } from 'vitest';
import { fromCsv, toCsv } from './csv.ts';
import { toParquet } from './parquet.ts';

const ROWS = [
  { point: 1, name: 'a,b', kl: 0.1 + 0.2, ok: true, p: null, reason: null, mixed: 4, big: 2 ** 40 },
  { point: 2, name: 'two\nlines', kl: Number.NaN, ok: false, p: null, reason: null, mixed: 'auto', big: -1 },
  { point: 3, name: 'µm', kl: -1e-300, ok: null, p: null, reason: null, mixed: true },
  { point: 4, name: '', kl: 7, p: null, reason: null, mixed: 0.5, big: 0, later: 1.5 },
];

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): ArrayBuffer =>
  buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;

const file = bufferOf(toParquet(ROWS, (name) => name === 'reason'));

test('columns have the types of their values', () => {
  const { schema, num_rows } = parquetMetadata(file);
  expect(num_rows).toBe(4n);
  const types = schema.slice(1).map(({ name, type, converted_type }) => [name, converted_type ?? type]);
  expect(Object.fromEntries(types)).toEqual({
    ...{ point: 'INT64', name: 'UTF8', kl: 'DOUBLE', ok: 'BOOLEAN', p: 'DOUBLE', reason: 'UTF8' },
    ...{ mixed: 'UTF8', big: 'INT64', later: 'DOUBLE' },
  });
});

test('values are those of the rows, and missing ones are null', async () => {
  const read = await parquetReadObjects({ file });
  const missing = { p: null, reason: null };
  expect(read).toEqual([
    { point: 1n, name: 'a,b', kl: 0.1 + 0.2, ok: true, ...missing, mixed: '4', big: 2n ** 40n, later: null },
    { point: 2n, name: 'two\nlines', kl: null, ok: false, ...missing, mixed: 'auto', big: -1n, later: null },
    { point: 3n, name: 'µm', kl: -1e-300, ok: null, ...missing, mixed: 'true', big: null, later: null },
    { point: 4n, name: '', kl: 7, ok: null, ...missing, mixed: '0.5', big: 0n, later: 1.5 },
  ]);
  const asText = read.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value ?? '')])),
  );
  expect(asText).toEqual(fromCsv(toCsv(ROWS)));
});

test('no rows are a file without columns', () => {
  expect(parquetMetadata(bufferOf(toParquet([]))).num_rows).toBe(0n);
});
