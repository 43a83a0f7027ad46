/**
 * Reference case A: exact IR drop of a resistive crossbar, numbers computed outside this project, against the simulator
 * (Kirchhoff at every node) and against the droop of a column's wires.
 *
 *   word line i:  source V_i - r - (i,0) - r - (i,1) - ...      cell (i,j): R_ij between the lines' nodes (i,j)
 *   bit line j:   (0,j) - r - (1,j) - ... - (m-1,j) - r - ground, through which I_j flows
 */
import { afterAll, describe, expect, test } from 'vitest';
import { effectiveWireOhm } from '../../../cell/droop.ts';
import { assembleText } from '../../../spice/deck.ts';
import { createSpicePool } from '../../../spice/pool.ts';

const pool = createSpicePool({ threads: 1 });
afterAll(() => pool.close());

const DECK = `* Resistive crossbar with wire resistance: sources at the left of the word lines, bit lines grounded at the bottom
.options reltol=1e-9 abstol=1e-18 vntol=1e-15 gmin=1e-18
{{elements}}
.control
save {{currents}}
op
write crossbar.raw
.endc
.end
`;

interface Crossbar {
  /** [rows][columns] */
  readonly resistanceOhm: readonly (readonly number[])[];
  /** Of one segment; the connection to the source and to ground is a segment too. */
  readonly wireOhm: number;
  /** [rows] */
  readonly inputV: readonly number[];
}

/** [columns] output currents, A. */
async function solveCrossbar({ resistanceOhm, wireOhm, inputV }: Crossbar): Promise<Float64Array> {
  const rows = inputV.length;
  const columns = resistanceOhm[0].length;
  const lines: string[] = [];
  for (let i = 0; i < rows; i++) {
    lines.push(`vin${i} w${i}_0 0 ${inputV[i]}`);
    for (let j = 0; j < columns; j++) {
      lines.push(
        `rw${i}_${j} w${i}_${j} w${i}_${j + 1} ${wireOhm}`,
        `rc${i}_${j} w${i}_${j + 1} b${i}_${j} ${resistanceOhm[i][j]}`,
        `rb${i}_${j} b${i}_${j} b${i + 1}_${j} ${wireOhm}`,
      );
    }
  }
  for (let j = 0; j < columns; j++) lines.push(`vout${j} b${rows}_${j} 0 0`);
  const currents = Array.from({ length: columns }, (_, j) => `i(vout${j})`);
  const deck = assembleText(DECK, 'crossbar.cir', {
    elements: lines.join('\n'),
    currents: currents.join(' '),
  });
  const { plots } = await pool.run({
    label: `crossbar ${rows} x ${columns}`,
    netlist: deck.netlist,
    commands: [],
    outputs: [{ file: 'crossbar.raw', plot: 'Operating Point', variables: currents, points: 1 }],
    timeoutS: 240,
  });
  return Float64Array.from(currents, (name) => plots[0].real.get(name)![0]);
}

/** Currents of the same crossbar without wire resistance, A. */
function idealCrossbar({ resistanceOhm, inputV }: Crossbar): Float64Array {
  const out = new Float64Array(resistanceOhm[0].length);
  resistanceOhm.forEach((row, i) => {
    row.forEach((ohm, j) => {
      out[j] += inputV[i] / ohm;
    });
  });
  return out;
}

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
    expect(relative(await solveCrossbar(small), exact)).toBeLessThan(1e-8);
    expect(relative(idealCrossbar(small), ideal)).toBeLessThan(1e-8);
  });

  test.each([
    { n: 16, first: -0.109353, last: -0.228991, mean: -0.186622 },
    { n: 64, first: -1.436039, last: -3.363885, mean: -2.712072 },
  ])(
    '$n x $n cells of 100 kohm, r = 1 ohm',
    async ({ n, first, last, mean }) => {
      const crossbar = {
        resistanceOhm: Array.from({ length: n }, () => new Array<number>(n).fill(100e3)),
        wireOhm: 1,
        inputV: new Array<number>(n).fill(0.1),
      };
      const ideal = idealCrossbar(crossbar);
      const got = await solveCrossbar(crossbar);
      const percent = Array.from(got, (current, j) => 100 * (current / ideal[j] - 1));
      // Percent with six decimals: half of the last is 5e-7 %, 5e-9 of the current.
      expect(Math.abs(percent[0] - first)).toBeLessThan(6e-7);
      expect(Math.abs(percent[n - 1] - last)).toBeLessThan(6e-7);
      expect(Math.abs(percent.reduce((sum, p) => sum + p, 0) / n - mean)).toBeLessThan(6e-7);
    },
    240_000,
  );

  test.each([
    { n: 16, mean: -0.186622 },
    { n: 64, mean: -2.712072 },
  ])('the column model against it, $n x $n: mean drop of a word and a bit line', ({ n, mean }) => {
    // Either wire drops effectiveWireOhm times the line's current n V / R in the mean; both act on the cell's current.
    const drop = (2 * effectiveWireOhm(1, n) * n) / 100e3;
    const model = 100 * (1 / (1 + drop) - 1);
    // First order in the mean: what is left is the product of the two lines' profiles, of second order in the drop.
    expect(Math.abs(model / mean - 1)).toBeLessThan(0.005);
  });
});
