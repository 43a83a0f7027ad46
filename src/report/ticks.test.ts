/** Ticks of log axes: never fewer than two that can be told apart, never more than asked for. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evenly, evenSi, formatSi } from '../format.ts';
import { logTicks } from './ticks.ts';

test('a fraction of a decade has ticks, and so have fifteen decades', () => {
  const label = (v: number) => formatSi(v, 'A');
  expect(logTicks(2e-9, 3e-9, label).ticktext.length).toBeGreaterThanOrEqual(2);
  expect(logTicks(1e-9, 3e-9, label).ticktext).toEqual(['1 nA', '2 nA', '3 nA']);
  const wide = logTicks(1e-15, 1, label).ticktext;
  expect(wide.length).toBeGreaterThanOrEqual(4);
  expect(wide.length).toBeLessThanOrEqual(7);
});

test('between two and the most, inside the range, ascending, with labels that differ (property)', () => {
  fc.assert(
    fc.property(
      fc.double({ min: -14, max: 9, noNaN: true }),
      fc.double({ min: 0.02, max: 15, noNaN: true }),
      (low, decades) => {
        const { tickvals, ticktext, range } = logTicks(10 ** low, 10 ** (low + decades), (v) =>
          formatSi(v, '', 5),
        );
        expect(tickvals.length).toBeGreaterThanOrEqual(2);
        expect(tickvals.length).toBeLessThanOrEqual(9);
        for (const [i, tick] of tickvals.entries()) {
          expect(Math.log10(tick)).toBeGreaterThanOrEqual(range[0] - 1e-9);
          expect(Math.log10(tick)).toBeLessThanOrEqual(range[1] + 1e-9);
          if (i > 0) expect(tick).toBeGreaterThan(tickvals[i - 1]);
        }
        expect(new Set(ticktext).size).toBe(ticktext.length);
      },
    ),
  );
});

test('numbers side by side have as many decimals', () => {
  expect(evenly([10, 8.376, 13.5], 4)).toEqual(['10.00', '8.38', '13.50']);
  expect(evenly([12264, 9540, 19700])).toEqual(['12,264', '9,540', '19,700']);
  expect(evenSi([3e-9, 4.34e-10], 'A')).toEqual(['3.00 nA', '0.43 nA']);
});

test('numbers at the ends of what there is have ticks, and end', () => {
  for (const [low, high] of [
    [1e-300, 1e300],
    [Number.MIN_VALUE, Number.MAX_VALUE],
    [1, Number.POSITIVE_INFINITY],
    [0, 1],
  ]) {
    const { tickvals, range } = logTicks(low, high, String);
    expect(tickvals.length).toBeLessThanOrEqual(7);
    expect(range.every(Number.isFinite)).toBe(true);
  }
});
