/**
 * The semantics of the emulation (design.md section 2): with nothing wrong the analog layer is the digital layer on
 * the hardware weights; with only the DAC its dot products are integers; the calibrated response is the table.
 */

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Calibration, loadCalibration } from '../cell/calibration.ts';
import { gaussian, streamKey } from '../random.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import type { ChipInstance } from '../tile/draws.ts';
import { idealDesign } from '../tile/error-sources.ts';
import { encodeInputs, groupScale, newTileInput } from '../tile/input-code.ts';
import { tilePhysics } from '../tile/physics.ts';
import { type HardwareWeights, hardwareRow, recodeWeights } from '../tile/weight-code.ts';
import { buildDigital } from './build-digital.ts';
import type { LinearName } from './linear.ts';
import { type LogDomainDesign, type LogDomainOptions, logDomainLinear } from './log-domain.ts';
import { type RangeRecord, rangeTable } from './ranges.ts';

const NAME: LinearName = { layer: 1, tensor: 'ffn_down', ordinal: 6, count: 7 };
const AT = { window: 3, position: 17 };
const NOMINAL: ChipInstance = { errors: false, seed: 0 };
const OUTPUTS = 24;
const INPUTS = 300; // a full tile of 256 rows and a ragged one of 44

let calibration: Calibration;
let design: LogDomainDesign;
beforeAll(() => {
  design = loadLogDomainDesign('log-domain').design;
  calibration = loadCalibration(design.process, design.cell);
});

function layerOf(bits: number, tileRows: number, seed = 1): HardwareWeights {
  const row = (n: number, out: Float32Array) => {
    for (let k = 0; k < INPUTS; k++) out[k] = 0.1 * gaussian(streamKey(seed), n * INPUTS + k);
  };
  return recodeWeights(OUTPUTS, INPUTS, row, bits, tileRows);
}

const activations = (seed = 7) =>
  Float32Array.from({ length: INPUTS }, (_, k) => gaussian(streamKey(seed), k));

function run(
  hardware: HardwareWeights,
  of: LogDomainDesign,
  chip: ChipInstance,
  a: Float32Array,
  more: Partial<LogDomainOptions> = {},
  at = AT,
): Float32Array {
  const physics = tilePhysics(calibration, of);
  const record: RangeRecord = new Map();
  const options: LogDomainOptions = {
    physics,
    chip,
    cellSums: 'reference',
    blocks: 4,
    ranges: undefined,
    record,
    ...more,
  };
  const layer = logDomainLinear(NAME, hardware, options);
  const y = new Float32Array(OUTPUTS);
  layer.apply(y, a, at);
  return y;
}

function digital(hardware: HardwareWeights, a: Float32Array): Float32Array {
  const layer = buildDigital(NAME, OUTPUTS, INPUTS, (n, out) => hardwareRow(hardware, n, out));
  const y = new Float32Array(OUTPUTS);
  layer.apply(y, a, AT);
  return y;
}

const largest = (values: Float32Array) => values.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
const largestDifference = (p: Float32Array, q: Float32Array) =>
  p.reduce((m, x, i) => Math.max(m, Math.abs(x - q[i])), 0);
const signs = ['integrate', 'two-conversion', 'paired-rows'] as const;

describe('(a) nothing wrong: the digital layer on the hardware weights', () => {
  for (const sign of signs) {
    for (const bits of [3, 4, 6]) {
      for (const cellSums of ['reference', 'baked'] as const) {
        test(`${sign}, ${bits}-bit weights, ${cellSums} sums`, () => {
          const hardware = layerOf(bits, 256);
          const ideal = { ...idealDesign(design), tile: { rows: 256, sign } };
          const a = activations();
          const expected = digital(hardware, a);
          for (const chip of [NOMINAL, { errors: true, seed: 9 }]) {
            // A chip with all sigmas at zero is the nominal chip: zero noise equals digital.
            const y = run(hardware, ideal, chip, a, { cellSums });
            expect(largestDifference(y, expected)).toBeLessThan(1e-5 * largest(expected));
          }
        });
      }
    }
  }

  test('the scaling group does not matter without a DAC', () => {
    const hardware = layerOf(4, 64);
    const a = activations();
    const token: LogDomainDesign = {
      ...idealDesign(design),
      input: { ...idealDesign(design).input, scale: 'token' },
    };
    expect(largestDifference(run(hardware, token, NOMINAL, a), digital(hardware, a))).toBeLessThan(1e-5);
  });
});

test('(b) with the DAC of the design the dot products are exact integers', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(3, 4),
      fc.constantFrom(...signs),
      fc.integer({ min: 2, max: 8 }),
      fc.integer(),
      (bits, sign, dacBits, seed) => {
        const hardware = layerOf(bits, 128, seed);
        const a = activations(seed + 1);
        const quantised: LogDomainDesign = {
          ...idealDesign(design),
          tile: { rows: 128, sign },
          input: { ...design.input, bits: dacBits },
        };
        const y = run(hardware, quantised, NOMINAL, a);
        const top = 2 ** dacBits - 1;
        const expected = new Float64Array(OUTPUTS);
        for (const tile of hardware.tiles) {
          const input = newTileInput(128);
          const scale = groupScale(a, tile.rowStart, tile.rowStart + tile.rows);
          encodeInputs(input, a, tile.rowStart, tile.rows, scale, tilePhysics(calibration, quantised).input);
          for (let n = 0; n < OUTPUTS; n++) {
            let integer = 0;
            for (let j = 0; j < tile.rows; j++)
              integer += input.signs[j] * input.levels[j] * tile.codes[j * OUTPUTS + n];
            expected[n] += integer * (scale / top) * tile.scales[n];
          }
        }
        expect(largestDifference(y, Float32Array.from(expected))).toBeLessThan(
          1e-6 * largest(Float32Array.from(expected)),
        );
      },
    ),
    { numRuns: 20 },
  );
});

test('(c) the calibrated response alone is the table sum within the separable residual', () => {
  const hardware = layerOf(4, 256);
  const a = activations();
  const calibrated: LogDomainDesign = {
    ...idealDesign(design),
    input: design.input,
    response: design.response,
  };
  const physics = tilePhysics(calibration, calibrated);
  const response = physics.responses.get(7)!;
  const expected = new Float64Array(OUTPUTS);
  const bound = new Float64Array(OUTPUTS);
  for (const tile of hardware.tiles) {
    const input = newTileInput(256);
    const scale = groupScale(a, tile.rowStart, tile.rowStart + tile.rows);
    encodeInputs(input, a, tile.rowStart, tile.rows, scale, physics.input);
    for (let n = 0; n < OUTPUTS; n++) {
      let sum = 0;
      let cells = 0;
      for (let j = 0; j < tile.rows; j++) {
        const code = tile.codes[j * OUTPUTS + n];
        if (code === 0 || input.signs[j] === 0) continue;
        const current = response.table[input.levels[j]][Math.abs(code)] - physics.offCurrent;
        sum += input.signs[j] * Math.sign(code) * current;
        cells++;
      }
      const unit = scale * 7 * tile.scales[n];
      expected[n] += sum * unit;
      bound[n] += cells * response.separable.residual * unit;
    }
  }
  const y = run(hardware, calibrated, NOMINAL, a);
  // An off row in one phase leaks in the other with the opposite polarity: it is taken off the driven current above.
  for (let n = 0; n < OUTPUTS; n++)
    expect(Math.abs(y[n] - expected[n])).toBeLessThanOrEqual(bound[n] + 1e-5 * largest(y));
});

test('baked sums agree with the reference within its stated approximation', () => {
  const a = activations();
  for (const sign of signs) {
    const noisy: LogDomainDesign = {
      ...design,
      tile: { rows: 256, sign },
      adc: { ...design.adc, bits: 'float' },
    };
    const hardware = layerOf(4, 256);
    const ranges = { 'blk.1.ffn_down': [[10], [10]] };
    const chip = { errors: true, seed: 5 };
    const reference = run(hardware, noisy, chip, a, { ranges });
    const baked = run(hardware, noisy, chip, a, { ranges, cellSums: 'baked' });
    // Same draws, so the difference is gm/I by tap instead of by level and tap: a few parts in a thousand.
    expect(largestDifference(reference, baked)).toBeLessThan(0.005 * largest(reference));
    expect(largestDifference(reference, baked)).toBeGreaterThan(0);
  }
});

test('mismatch is coherent over tokens, noise is not; both follow the seed', () => {
  const hardware = layerOf(4, 256);
  const a = activations();
  const mismatchOnly: LogDomainDesign = { ...idealDesign(design), mismatch: design.mismatch };
  const one = run(hardware, mismatchOnly, { errors: true, seed: 1 }, a);
  const later = run(hardware, mismatchOnly, { errors: true, seed: 1 }, a, {}, { window: 8, position: 1 });
  const other = run(hardware, mismatchOnly, { errors: true, seed: 2 }, a);
  expect(later).toEqual(one);
  expect(largestDifference(one, other)).toBeGreaterThan(0);
  const noiseOnly: LogDomainDesign = { ...idealDesign(design), noise: design.noise };
  const ranges = { 'blk.1.ffn_down': [[10], [10]] };
  const first = run(hardware, noiseOnly, { errors: true, seed: 1 }, a, { ranges });
  const same = run(hardware, noiseOnly, { errors: true, seed: 1 }, a, { ranges });
  const next = run(
    hardware,
    noiseOnly,
    { errors: true, seed: 1 },
    a,
    { ranges },
    { window: 3, position: 18 },
  );
  expect(same).toEqual(first);
  expect(largestDifference(first, next)).toBeGreaterThan(0);
});

test('white noise has the variance of 2qI coth / 2T of the currents that were drawn', () => {
  const hardware = layerOf(4, 256);
  const a = activations();
  const white: LogDomainDesign = {
    ...idealDesign(design),
    noise: { ...idealDesign(design).noise, white: true },
  };
  const physics = tilePhysics(calibration, white);
  const clean = run(hardware, idealDesign(design), NOMINAL, a);
  // Expected variance per output: sum over tiles of (scale unit)^2 * whiteVariance * sum |product|.
  const expected = new Float64Array(OUTPUTS);
  for (const tile of hardware.tiles) {
    const scale = groupScale(a, tile.rowStart, tile.rowStart + tile.rows);
    for (let n = 0; n < OUTPUTS; n++) {
      let current = 0;
      for (let j = 0; j < tile.rows; j++)
        current += (Math.abs(a[tile.rowStart + j]) / scale) * Math.abs(tile.codes[j * OUTPUTS + n] / 7);
      expected[n] += (scale * 7 * tile.scales[n]) ** 2 * physics.whiteVariance * current;
    }
  }
  // Independent check of the coefficient: shot noise of 3 nA over 100 ns is 2 q I / (2 T), so sigma/I = sqrt(q / (I T)).
  const q = 1.602176634e-19;
  const ideal = q / (design.fullScaleA * design.timing.integrationTimeS);
  expect(physics.whiteVariance / ideal).toBeCloseTo(
    1 / Math.tanh(design.vdsV / (2 * physics.thermalVoltageV)),
    9,
  );
  const ranges = { 'blk.1.ffn_down': [[10], [10]] };
  const layer = logDomainLinear(NAME, hardware, {
    physics,
    chip: { errors: true, seed: 3 },
    cellSums: 'baked',
    blocks: 4,
    ranges,
  });
  const y = new Float32Array(OUTPUTS);
  const draws = 2000;
  let ratio = 0;
  for (let t = 0; t < draws; t++) {
    layer.apply(y, a, { window: 0, position: t });
    for (let n = 0; n < OUTPUTS; n++) ratio += (y[n] - clean[n]) ** 2 / expected[n];
  }
  // chi^2 with 48,000 degrees of freedom: five standard errors are 3.2 %.
  expect(Math.abs(ratio / (draws * OUTPUTS) - 1)).toBeLessThan(5 * Math.sqrt(2 / (draws * OUTPUTS)));
});

test('per-cell mismatch is lognormal with sigma gm/I sigma(Vt), and the mean gain is divided out', () => {
  // One row, tap 7, driven at full scale: every column is one cell.
  const columns = 4000;
  const weights = recodeWeights(columns, 4, (_n, out) => out.set([1, 0, 0, 0]), 4, 256);
  // The replica's own mismatch is a gain common to the tile; a huge replica leaves the cells alone.
  const off = idealDesign(design);
  const only: LogDomainDesign = {
    ...off,
    mismatch: design.mismatch,
    bias: { ...off.bias, replicaCells: 1e9 },
  };
  const physics = tilePhysics(calibration, only);
  const layer = logDomainLinear(NAME, weights, {
    physics,
    chip: { errors: true, seed: 4 },
    cellSums: 'reference',
    blocks: 4,
    ranges: undefined,
  });
  const y = new Float32Array(columns);
  layer.apply(y, new Float32Array([1, 0, 0, 0]), AT);
  const sigma = Math.hypot(physics.gmOverIPerV * physics.sigmaVtV, physics.sigmaBeta);
  const logs = [...y].map(Math.log);
  const mean = logs.reduce((s, x) => s + x, 0) / columns;
  const spread = Math.sqrt(logs.reduce((s, x) => s + (x - mean) ** 2, 0) / (columns - 1));
  expect(Math.abs(spread / sigma - 1)).toBeLessThan(5 / Math.sqrt(2 * columns));
  expect(Math.abs(mean + sigma ** 2 / 2)).toBeLessThan((5 * sigma) / Math.sqrt(columns));
});

test('ranges: the recorded quantile bounds the clip rate', () => {
  const hardware = layerOf(4, 256);
  const physics = tilePhysics(calibration, design);
  const record: RangeRecord = new Map();
  const nominal = logDomainLinear(NAME, hardware, {
    physics,
    chip: NOMINAL,
    cellSums: 'baked',
    blocks: 4,
    ranges: undefined,
    record,
  });
  const y = new Float32Array(OUTPUTS);
  const tokens = 400;
  for (let t = 0; t < tokens; t++) nominal.apply(y, activations(100 + t), { window: 0, position: t });
  const ranges = rangeTable(record, physics);
  expect(ranges['blk.1.ffn_down']).toHaveLength(2);
  const still: LogDomainDesign = {
    ...design,
    adc: { ...design.adc, gainSigma: 0, offsetSigmaLsb: 0 },
    mismatch: { ...design.mismatch, scale: 0 },
  };
  const chip = logDomainLinear(NAME, hardware, {
    physics: tilePhysics(calibration, still),
    chip: { errors: true, seed: 1 },
    cellSums: 'baked',
    blocks: 4,
    ranges,
  });
  for (let t = 0; t < tokens; t++) chip.apply(y, activations(100 + t), { window: 0, position: t });
  const rate = chip.activity.adcClipped / chip.activity.adcConversions;
  expect(rate).toBeLessThan(0.004);
  expect(rate).toBeGreaterThan(0);
  expect(chip.activity.adcConversions).toBe(tokens * OUTPUTS * 2);
});

test('a trim takes out gain and offset errors of the converters', () => {
  const hardware = layerOf(4, 256);
  const a = activations();
  const bad: LogDomainDesign = {
    ...idealDesign(design),
    input: design.input,
    adc: { ...design.adc, bits: 12, gainSigma: 0.05, offsetSigmaLsb: 40 },
  };
  const ranges = { 'blk.1.ffn_down': [[40], [20]] };
  const expected = run(hardware, { ...idealDesign(design), input: design.input }, NOMINAL, a);
  const chip = { errors: true, seed: 6 };
  const untrimmed = largestDifference(run(hardware, bad, chip, a, { ranges }), expected);
  const trimmed = largestDifference(
    run(hardware, { ...bad, adc: { ...bad.adc, trimVectors: 64 } }, chip, a, { ranges }),
    expected,
  );
  expect(trimmed).toBeLessThan(untrimmed / 10);
});

test('an overloaded clamp is refused with the tensor, the current and the bound', () => {
  const hardware = layerOf(4, 256);
  const weak: LogDomainDesign = { ...design, column: { ...design.column, clampMaxA: 1e-12 } };
  const physics = tilePhysics(calibration, weak);
  const record: RangeRecord = new Map();
  run(hardware, weak, NOMINAL, activations(), { physics, record });
  expect(() => rangeTable(record, physics)).toThrow(/blk\.1\.ffn_down tile 0 carry .* uA/);
});
