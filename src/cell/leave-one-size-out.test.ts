/**
 * What it would cost to interpolate a calibration between sizes, by leaving one out: nine sizes of t1 (0.2 to 0.8 um by 0.1 to 0.4 um) that
 * `onefet sweep experiments/cell-size.yaml` calibrated, each of the five that lie between others interpolated from its neighbours, twice and
 * half as wide or long, linear in the logarithms (the gate voltage: in itself). Nothing is interpolated (sized-calibration.ts): this is what
 * the seven seconds of SPICE of a size buy, and experiments/README.md says it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fromCsv } from '../csv.ts';
import { packageRoot } from '../files.ts';

const rows = fromCsv(readFileSync(join(packageRoot, 'experiments/results/cell-size/results.csv'), 'utf8'));
const WIDTHS = [0.2e-6, 0.4e-6, 0.8e-6];
const LENGTHS = [0.1e-6, 0.2e-6, 0.4e-6];
/** Places of the grid that lie between two others, along the width, the length, or both. */
const BETWEEN = [
  [1, 0],
  [1, 2],
  [0, 1],
  [2, 1],
  [1, 1],
];

/** Largest error of a quantity over the five, as a share, or in its own unit where it is not taken as a logarithm. */
function largestError(name: string, logarithm = true): number {
  const at = (w: number, l: number): number => {
    const row = rows.find((one) => Number(one.width_m) === WIDTHS[w] && Number(one.length_m) === LENGTHS[l])!;
    const value = Number(row[name]);
    return logarithm ? Math.log(value) : value;
  };
  const errors = BETWEEN.map(([w, l]) => {
    const means = [
      ...(w === 1 ? [(at(0, l) + at(2, l)) / 2] : []),
      ...(l === 1 ? [(at(w, 0) + at(w, 2)) / 2] : []),
    ];
    const difference = means.reduce((sum, x) => sum + x, 0) / means.length - at(w, l);
    return Math.abs(logarithm ? Math.expm1(difference) : difference);
  });
  return Math.max(...errors);
}

test.each([
  { quantity: 'sigma_current', error: 0.0017 },
  { quantity: 'gm_over_i_per_v', error: 0.002 },
  { quantity: 'ladder_slope_factor', error: 0.0013 },
  { quantity: 'fixed_bias_drift_per_k', error: 0.0065 },
  { quantity: 'white_noise_ratio', error: 0.0063 },
  { quantity: 'flicker_noise_per_hz', error: 0.0114 },
  { quantity: 'drain_capacitance_f', error: 0.0117 },
  { quantity: 'output_conductance_per_v', error: 0.0376 },
  { quantity: 'off_current_a', error: 0.0518 },
  { quantity: 'gate_capacitance_f', error: 0.0569 },
  { quantity: 'settling_1pc_s', error: 0.058 },
])('$quantity would be off by up to $error', ({ quantity, error }) => {
  expect(largestError(quantity)).toBeCloseTo(error, 3);
});

test('the gate voltage of the full-scale current would be off by up to 0.33 mV', () => {
  expect(largestError('full_scale_gate_voltage_v', false) * 1e3).toBeCloseTo(0.33, 2);
});
