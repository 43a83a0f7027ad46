import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { gaussian, streamKey } from '../random.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { tilePhysics } from '../tile/physics.ts';
import { integerResponse } from './integer-response.ts';
import { INPUT_TOP } from './integers.ts';

const { design } = loadLogDomainDesign('log-domain', []);
const calibration = loadCalibration(design.process, design.cell);

/**
 * Converter codes of a tile's columns from the integers of the kernels against those from the response table: Gaussian
 * activations (the largest of 256 sets the scale), 4-bit codes of Gaussian weights, full scale at 3.3 sigma of D.
 */
function codesThatDiffer(precision: 'fast' | 'exact', fullScaleA: number): number {
  const physics = tilePhysics(calibration, { ...design, fullScaleA });
  const coding = integerResponse(physics, 7, precision === 'fast' ? 1 : 2, false);
  const { table } = physics.responses.get(7)!;
  const [rows, columns] = [256, 400];
  const key = streamKey(11);
  const top = table.length - 1;
  let next = 0;
  const a = Float64Array.from({ length: rows }, () => gaussian(key, next++));
  const scale = a.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  const exact = new Float64Array(columns);
  const integer = new Float64Array(columns);
  for (let c = 0; c < columns; c++) {
    for (const x of a) {
      const level = Math.round((Math.abs(x) / scale) * top);
      const code = Math.max(-7, Math.min(7, Math.round(gaussian(key, next++) * 2.6)));
      const tap = Math.abs(code);
      const sign = Math.sign(x) * Math.sign(code);
      exact[c] += level > 0 && tap > 0 ? sign * (table[level][tap] - physics.offCurrent) : 0;
      for (let r = 0; r < coding.rank; r++) {
        const input = Math.round(coding.table[r * coding.levels + level]);
        integer[c] += sign * input * Math.round(coding.weights[r][tap]) * coding.differenceUnit;
      }
    }
  }
  const sigma = Math.sqrt(exact.reduce((sum, d) => sum + d * d, 0) / columns);
  const lsb = (3.3 * sigma) / 127;
  let differ = 0;
  for (let c = 0; c < columns; c++) {
    const codes = [exact[c], integer[c]].map((d) => Math.round(d / lsb));
    expect(Math.abs(codes[0] - codes[1])).toBeLessThanOrEqual(precision === 'exact' ? 1 : 3);
    if (codes[0] !== codes[1]) differ++;
  }
  return differ / columns;
}

test.each([
  { fullScaleA: 3e-9, most: { exact: 0.2, fast: 0.5 } },
  // The default: the transistor bends more, and more of the columns lie between two codes.
  { fullScaleA: design.fullScaleA, most: { exact: 0.3, fast: 0.5 } },
])(
  'converter codes from integers differ from those of the table by one, in a stated share: $fullScaleA A',
  ({ fullScaleA, most }) => {
    for (const precision of ['exact', 'fast'] as const) {
      const share = codesThatDiffer(precision, fullScaleA);
      console.log(`converter codes that differ by one at ${fullScaleA} A: ${precision} ${share}`);
      expect(share).toBeLessThan(most[precision]);
    }
  },
);

test('an ideal response is exact in integers, six-bit inputs in one plane', () => {
  const ideal = { ...design, response: { ...design.response, model: 'ideal' as const } };
  const coding = integerResponse(tilePhysics(calibration, ideal), 7, 1, false);
  expect(coding.rank).toBe(1);
  expect([...coding.table.subarray(0, coding.levels)]).toEqual(Array.from({ length: 64 }, (_, k) => k));
  const [weights] = coding.weights;
  const unit = weights[7] / 7;
  weights.forEach((w, m) => {
    expect(w).toBeCloseTo(Math.round(w), 9);
    expect(w).toBeCloseTo(unit * m, 9);
  });
  expect(INPUT_TOP[1]).toBe(63);
  // D of one full-scale cell is 1.
  expect(63 * weights[7] * coding.differenceUnit).toBeCloseTo(1, 12);
});
