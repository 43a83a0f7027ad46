/** Numbers for people, against the language data of the JavaScript engine. */
import { expect, test } from 'vitest';
import { grouped } from './format.ts';
import { bits32, streamKey } from './random.ts';

test('thousands are grouped as the English language data have it', () => {
  const key = streamKey(11);
  const drawn = Array.from({ length: 400 }, (_, i) => {
    const magnitude = 10 ** ((bits32(key, 2 * i) % 2300) / 100 - 4);
    const sign = i % 3 === 0 ? -1 : 1;
    return Number(
      (sign * magnitude * (1 + (bits32(key, 2 * i + 1) % 1000) / 1000)).toPrecision(1 + (i % 12)),
    );
  });
  const values = [0, 1, 999, 1000, -1000, 999_999, 1e6, 7_504_658_432, 1234.5, 0.125, ...drawn];
  for (const value of values.filter((one) => Math.abs(one) >= 0.001 || one === 0)) {
    const rounded = Number(value.toFixed(3));
    expect(grouped(value)).toBe(rounded.toLocaleString('en-US'));
  }
});
