import { expect, test } from 'vitest';
import { toCsv } from './csv.ts';

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
