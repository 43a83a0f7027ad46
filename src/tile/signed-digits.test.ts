/** Signed digits and routed products against hand-written cases and plain multiplication. */
import { expect, test } from 'vitest';
import { countDigits, routedAdders, routedProducts, signedDigits } from './signed-digits.ts';

const written = (m: number) =>
  signedDigits(m)
    .reverse()
    .map(({ shift, sign }) => `${sign < 0 ? '-' : '+'}${2 ** shift}`)
    .join('');

test.each([
  [0, ''],
  [1, '+1'],
  [2, '+2'],
  [3, '+4-1'],
  [4, '+4'],
  [5, '+4+1'],
  [6, '+8-2'],
  [7, '+8-1'],
  [11, '+16-4-1'],
  [21, '+16+4+1'],
  [23, '+32-8-1'],
  [27, '+32-4-1'],
  [29, '+32-4+1'],
  [31, '+32-1'],
])('%i by hand', (m, digits) => {
  expect(written(m)).toBe(digits);
});

test('canonical: the value, no two neighbours, and no more digits than any other signed form', () => {
  // Fewest +-powers of two that make each number, by search: breadth first over sums.
  const fewest = new Map<number, number>([[0, 0]]);
  for (let terms = 1; terms <= 4; terms++) {
    for (const [value, known] of [...fewest]) {
      if (known !== terms - 1) continue;
      for (let shift = 0; shift <= 6; shift++) {
        for (const next of [value + 2 ** shift, value - 2 ** shift]) {
          if (!fewest.has(next)) fewest.set(next, terms);
        }
      }
    }
  }
  for (let m = 0; m <= 32; m++) {
    const digits = signedDigits(m);
    expect(digits.reduce((sum, { shift, sign }) => sum + sign * 2 ** shift, 0)).toBe(m);
    digits.forEach(({ shift }, i) => {
      if (i > 0) expect(shift - digits[i - 1].shift).toBeGreaterThan(1);
    });
    expect(digits.length).toBe(fewest.get(m));
  }
});

test('digits of a matrix from its weights by magnitude', () => {
  // 5 zeros, 4 ones, 3 twos, 2 threes, 1 seven: 4 + 3 + 2 x 2 + 2.
  expect(countDigits([5, 4, 3, 2, 0, 0, 0, 1])).toBe(13);
});

test('products of a router are the products, with three adders up to 7 and one up to 3', () => {
  for (const taps of [3, 7, 15]) {
    const products = new Float64Array(taps + 1);
    for (const x of [-127, -5, 0, 1, 96, 1023]) {
      routedProducts(x, products);
      products.forEach((product, m) => {
        expect(product).toBe(m * x + 0); // 0 x -5 is -0
      });
    }
  }
  expect([3, 7, 15].map(routedAdders)).toEqual([1, 3, 7]);
});
