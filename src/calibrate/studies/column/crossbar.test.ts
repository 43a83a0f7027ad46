/**
 * Reference case A (docs: reference-cases): exact IR drop of a resistive crossbar, numbers computed outside this project.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { effectiveWireOhm } from '../../../cell/droop.ts';
import { createSpicePool } from '../../../spice/pool.ts';
import { idealCrossbar, solveCrossbar } from './crossbar.ts';

const pool = createSpicePool({ threads: 1 });
afterAll(() => pool.close());

const relative = (got: ArrayLike<number>, want: readonly number[]) =>
  Math.max(...want.map((value, i) => Math.abs(got[i] / value - 1)));

describe('reference case A: exact IR drop of a crossbar', () => {
  const small = {
    resistanceOhm: [
      [345, 903, 755, 257, 646],
      [652, 401, 508, 166, 454],
      [442, 874, 190, 244, 635],
    ],
    wireOhm: 0.5,
    inputV: [1.5, 2.3, 1.7],
  };

  test('3 x 5 cells of 166 to 903 ohm', async () => {
    const exact = [11.5850254e-3, 9.1906416e-3, 15.1156812e-3, 25.8332082e-3, 9.8117929e-3];
    const ideal = [11.7215873e-3, 9.3418705e-3, 15.4616824e-3, 26.6592107e-3, 10.0652261e-3];
    // The reference is given to nine digits: half of its last is 6e-9 at most.
    expect(relative(await solveCrossbar(pool, small), exact)).toBeLessThan(1e-8);
    expect(relative(idealCrossbar(small), ideal)).toBeLessThan(1e-8);
  });

  test.each([
    { n: 16, first: -0.109353, last: -0.228991, mean: -0.186622 },
    { n: 64, first: -1.436039, last: -3.363885, mean: -2.712072 },
  ])('$n x $n cells of 100 kohm, r = 1 ohm', async ({ n, first, last, mean }) => {
    const crossbar = {
      resistanceOhm: Array.from({ length: n }, () => new Array<number>(n).fill(100e3)),
      wireOhm: 1,
      inputV: new Array<number>(n).fill(0.1),
    };
    const ideal = idealCrossbar(crossbar);
    const got = await solveCrossbar(pool, crossbar);
    const percent = Array.from(got, (current, j) => 100 * (current / ideal[j] - 1));
    // Percent with six decimals: half of the last is 5e-7 %, 5e-9 of the current.
    expect(Math.abs(percent[0] - first)).toBeLessThan(6e-7);
    expect(Math.abs(percent[n - 1] - last)).toBeLessThan(6e-7);
    expect(Math.abs(percent.reduce((sum, p) => sum + p, 0) / n - mean)).toBeLessThan(6e-7);
  });

  test.each([
    { n: 16, mean: -0.186622 },
    { n: 64, mean: -2.712072 },
  ])('the column law against it, $n x $n: mean drop of a word and a bit line', ({ n, mean }) => {
    // Either wire drops effectiveWireOhm times the line's current n V / R in the mean; both act on the cell's current.
    const drop = (2 * effectiveWireOhm(1, n) * n) / 100e3;
    const law = 100 * (1 / (1 + drop) - 1);
    // First order in the mean: what is left is the product of the two lines' profiles, of second order in the drop.
    expect(Math.abs(law / mean - 1)).toBeLessThan(0.005);
  });

  test('refuses a cell of zero and rows of different lengths', async () => {
    await expect(
      solveCrossbar(pool, { ...small, resistanceOhm: [[0, 1, 1, 1, 1], ...small.resistanceOhm.slice(1)] }),
    ).rejects.toThrow(/cell 0,0 of 0 ohm/);
    await expect(
      solveCrossbar(pool, { ...small, resistanceOhm: [[1], ...small.resistanceOhm.slice(1)] }),
    ).rejects.toThrow(/row 1 has 5 cells/);
    await expect(solveCrossbar(pool, { ...small, wireOhm: 0 })).rejects.toThrow(/not positive/);
  });
});
