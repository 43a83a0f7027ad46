import { expect, test } from 'vitest';
import { fromCsv, toCsv } from './csv.ts';

test('quotes what needs it, keeps all digits, and leaves out what is missing', () => {
  const csv = toCsv([
    { name: 'a,b', x: 0.1 + 0.2, ok: true },
    { name: 'say "x"\nagain', x: Number.NaN, later: null },
  ]);
  expect(csv).toBe('name,x,ok,later\n"a,b",0.30000000000000004,true,\n"say ""x""\nagain",,,\n');
});

test('no rows are no columns', () => {
  expect(toCsv([])).toBe('\n');
});

test('what was written is read back as text', () => {
  const rows = [
    { name: 'a,b', x: 0.1 + 0.2, ok: '' },
    { name: 'say "x"\r\nagain', x: -1e-30, ok: 'true' },
    { name: '', x: 0, ok: '' },
  ];
  const text = rows.map((row) => ({ ...row, x: String(row.x) }));
  expect(fromCsv(toCsv(rows))).toEqual(text);
  expect(fromCsv(toCsv(rows).trimEnd())).toEqual(text);
  expect(fromCsv(toCsv([{ only: '' }, { only: 'x' }]))).toEqual([{ only: '' }, { only: 'x' }]);
});
