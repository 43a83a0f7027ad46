import { expect, test } from 'vitest';
import { logDomainDesign } from '../fabric/log-domain.ts';
import { gaussian, streamKey } from '../random.ts';
import { drawProblem, relativeDifference, total, workspaceOf } from '../testing/mapping.ts';
import { chipErrors } from './chip-errors.ts';
import { correctChip } from './correct.ts';
import { newRotation } from './hadamard.ts';
import { GPTQ_PLUS, loadInput, mapMatrix, mappedWeights, ROUND } from './map-matrix.ts';
import { allocateBits, expectedHarm, type Sensitivity } from './mixed-bits.ts';
import { momentsFactor, momentsOf } from './moments-factor.ts';
import { type ChipErrors, predictError } from './predict.ts';
import { type InputOptions, prepareInput, prepareWeights } from './prepare.ts';
import { newStatistics } from './statistics.ts';

const PLAIN: InputOptions = { centre: true, loudness: 0, rotation: undefined, principal: 0 };
const IDEAL: ChipErrors = {
  input: { bits: 'float', codes: 'linear', dynamicRange: 63 },
  scale: 'tile',
  adcBits: 'float',
  rangeQuantile: 0.9995,
  cellSigma: 0,
  columnGainSigma: 0,
  offsetLsb: 0,
  whiteVariance: 0,
  samplingVariance: 0,
  lineVariance: 0,
};

async function setting(seed: number, mean = 1) {
  const problem = drawProblem({ outputs: 48, inputs: 120, tileRows: 50, tokens: 500 }, seed);
  const { activations, inputs, tokens } = problem;
  for (let i = 0; i < activations.length; i++) activations[i] += mean * Math.sin(7 * (i % inputs));
  const collector = await newStatistics(inputs);
  collector.add(activations, tokens);
  return { problem, statistics: collector.result(), workspace: await workspaceOf(problem) };
}

// Independent case: outputs over all tokens of the exact weights and of what the mapping says is computed.
test.each([
  { name: 'plain', options: { ...PLAIN, centre: false }, rank: 0 },
  { name: 'centred', options: PLAIN, rank: 0 },
  { name: 'scaled', options: { ...PLAIN, loudness: 0.5 }, rank: 0 },
  { name: 'rotated', options: { ...PLAIN, rotation: newRotation(120, 3) }, rank: 3 },
  { name: 'principal', options: { ...PLAIN, principal: 5 }, rank: 0 },
])('the reported error is that of the outputs: $name', async ({ options, rank }) => {
  const { problem, statistics, workspace } = await setting(1);
  const input = prepareInput(workspace, statistics, options);
  loadInput(workspace, input);
  const { mapped, report } = mapMatrix(workspace, input, problem, 4, { ...GPTQ_PLUS, rank }, true);
  const { weights, outputs, inputs, tokens } = problem;
  // The sample holds every eighth token; take all of them through the same stages.
  const all = prepareInput(workspace, { ...statistics, sample: problem.activations }, options).sample;
  // What the digital branch of the principal part is taken from.
  const before = prepareInput(
    workspace,
    { ...statistics, sample: problem.activations },
    { ...options, principal: 0 },
  ).sample;
  const raw = problem.activations;
  const coded = mappedWeights(mapped);
  let [error, signal] = [0, 0];
  for (let t = 0; t < tokens; t++) {
    const centred = raw.subarray(t * inputs, (t + 1) * inputs).map((x, j) => x - statistics.mean[j]);
    const rows = all.subarray(t * inputs, (t + 1) * inputs);
    const whole = before.subarray(t * inputs, (t + 1) * inputs);
    for (let n = 0; n < outputs; n++) {
      let [exact, varying, chip] = [0, 0, mapped.centre?.addend[n] ?? 0];
      for (let j = 0; j < inputs; j++) {
        exact += weights[n * inputs + j] * raw[t * inputs + j];
        varying += weights[n * inputs + j] * centred[j];
        chip += coded[n * inputs + j] * rows[j];
      }
      for (const [path, x] of [
        [mapped.side, rows],
        [mapped.principal, whole],
      ] as const) {
        if (!path) continue;
        for (let r = 0; r < path.rank; r++) {
          let z = 0;
          for (let j = 0; j < inputs; j++) z += path.down[r * inputs + j] * x[j];
          chip += path.up[n * path.rank + r] * z;
        }
      }
      error += (chip - exact) ** 2;
      signal += varying ** 2;
    }
  }
  const pathSignal = signal / tokens;
  expect(relativeDifference([report.signal], [pathSignal])).toBeLessThan(1e-3);
  expect(relativeDifference([report.error * report.signal], [error / tokens])).toBeLessThan(5e-3);
  expect(report.cells).toBe(outputs * inputs);
  expect(total(report.magnitudes)).toBe(outputs * inputs);
  for (let i = 1; i < report.steps.length; i++) {
    expect(report.steps[i].error).toBeLessThanOrEqual(report.steps[i - 1].error * (1 + 1e-5));
  }
});

test('predictions: each part is there when its cause is, and has the size of a simulation', async () => {
  const { problem, statistics, workspace } = await setting(2);
  const input = prepareInput(workspace, statistics, PLAIN);
  loadInput(workspace, input);
  const { mapped, report } = mapMatrix(workspace, input, problem, 4, ROUND);
  const ideal = predictError(input, mapped, report, IDEAL);
  expect(ideal.coding).toBe(report.error);
  expect(ideal.input).toBeLessThan(1e-12);
  expect(ideal).toMatchObject({ mismatch: 0, converter: 0 });
  expect(ideal.total).toBeCloseTo(report.error, 12);

  // Mismatch: drawn gains of mean 1 on 20 chips, over the second moments.
  const sigma = 0.2;
  const weights = mappedWeights(mapped);
  const { inputs, outputs } = problem;
  let drawn = 0;
  for (let chip = 0; chip < 20; chip++) {
    const key = streamKey(chip, 77);
    for (let n = 0; n < outputs; n++) {
      const off = Float64Array.from(
        { length: inputs },
        (_, j) =>
          weights[n * inputs + j] * (Math.exp(sigma * gaussian(key, n * inputs + j) - sigma ** 2 / 2) - 1),
      );
      for (let i = 0; i < inputs; i++) {
        for (let j = 0; j < inputs; j++) drawn += (off[i] * off[j] * input.moments[i * inputs + j]) / 20;
      }
    }
  }
  const noisy = predictError(input, mapped, report, { ...IDEAL, cellSigma: sigma });
  expect(relativeDifference([noisy.mismatch], [drawn / report.signal])).toBeLessThan(0.1);

  // A bit more halves the step: a quarter of the error.
  const coded = [5, 6].map((bits) =>
    predictError(input, mapped, report, { ...IDEAL, input: { ...IDEAL.input, bits } }),
  );
  expect(coded[0].input / coded[1].input).toBeGreaterThan(3);
  expect(coded[0].input / coded[1].input).toBeLessThan(5.5);
  const converted = [6, 7].map((adcBits) =>
    predictError(input, mapped, report, { ...IDEAL, adcBits, rangeQuantile: 1 }),
  );
  expect(converted[0].converter / converted[1].converter).toBeGreaterThan(3);
  expect(converted[0].converter / converted[1].converter).toBeLessThan(5.5);
});

test('noise of the columns: as much as its variances say, and from the physics of the default design', async () => {
  const { problem, statistics, workspace } = await setting(5);
  const input = prepareInput(workspace, statistics, PLAIN);
  loadInput(workspace, input);
  const { mapped, report } = mapMatrix(workspace, input, problem, 4, GPTQ_PLUS);
  const converter = (chip: Partial<ChipErrors>): number =>
    predictError(input, mapped, report, { ...IDEAL, ...chip }).converter;
  const white = converter({ whiteVariance: 1e-3 });
  expect(white).toBeGreaterThan(0);
  expect(converter({ whiteVariance: 4e-3 })).toBeCloseTo(4 * white, 12);
  const sampling = converter({ samplingVariance: 1e-3 });
  expect(converter({ whiteVariance: 1e-3, samplingVariance: 1e-3 })).toBeCloseTo(white + sampling, 12);
  const gain = converter({ columnGainSigma: 0.01 });
  // Tiles add up to the output: their own energies are at least a share of its.
  expect(gain).toBeGreaterThan(0.2 * 1e-4);
  expect(gain).toBeLessThan(20 * 1e-4);

  const design = logDomainDesign.parse({ name: 'test', fabric: 'log-domain', process: 'p', cell: 'c' });
  const chip = chipErrors({
    design,
    gmOverIPerV: 30,
    sigmaVtV: 0.004,
    sigmaBeta: 0.05,
    lowFrequencyVariance: 0.01,
    tileGainSigma: 0.003,
    gradientGainSigma: 0,
    phaseGainSigma: 0.004,
    whiteVariance: 1e-4,
    samplingVariance: 1e-5,
    lineVariance: 0,
  });
  expect(chip).toMatchObject({ scale: 'tile', adcBits: 8, rangeQuantile: 0.9999, offsetLsb: 0.5 });
  expect(chip.cellSigma).toBeCloseTo(Math.sqrt(0.12 ** 2 + 0.05 ** 2 + 0.01), 12);
  expect(chip.columnGainSigma).toBeCloseTo(Math.sqrt(0.003 ** 2 + 0.004 ** 2 + 0.005 ** 2), 12);
});

test('large means: rotation lowers the input error and, uncentred, raises that of mismatch', async () => {
  const { problem, statistics, workspace } = await setting(3, 10);
  const chip: ChipErrors = { ...IDEAL, cellSigma: 0.1, input: { ...IDEAL.input, bits: 6 } };
  const predictions = [
    { ...PLAIN, centre: false },
    PLAIN,
    { ...PLAIN, rotation: newRotation(120, 5) },
    { ...PLAIN, centre: false, rotation: newRotation(120, 5) },
  ].map((options) => {
    const input = prepareInput(workspace, statistics, options);
    loadInput(workspace, input);
    const { mapped, report } = mapMatrix(workspace, input, problem, 4, GPTQ_PLUS);
    return predictError(input, mapped, report, chip);
  });
  const [plain, centred, rotated, rotatedPlain] = predictions;
  expect(centred.input).toBeLessThan(plain.input);
  expect(rotated.input).toBeLessThan(centred.input);
  expect(centred.mismatch).toBeLessThan(plain.mismatch);
  expect(rotatedPlain.mismatch).toBeGreaterThan(2 * rotated.mismatch);
});

test('correction: gains and a residual fitted to a chip that was read', async () => {
  const { problem, statistics, workspace } = await setting(4);
  const input = prepareInput(workspace, statistics, PLAIN);
  loadInput(workspace, input);
  const { mapped, report } = mapMatrix(workspace, input, problem, 4, GPTQ_PLUS);
  const chip = (common: number, sigma: number): Float32Array =>
    Float32Array.from(mapped.codes, (code, i) => code * Math.exp(common + sigma * gaussian(streamKey(5), i)));
  // A gain that all cells share is taken out whole.
  const target = {
    ...prepareWeights(workspace, input, problem.weights, problem.outputs),
    moments: input.moments,
  };
  const gain = correctChip(workspace, target, mapped, chip(0.3, 0), 0);
  expect(gain.errors.raw).toBeGreaterThan(5 * report.error);
  expect(gain.errors.gains).toBeLessThan(report.error * 1.001);
  expect(
    relativeDifference(
      gain.scales,
      mapped.scales.map((s) => s * Math.exp(-0.3)),
    ),
  ).toBeLessThan(1e-2);
  const noisy = correctChip(workspace, target, mapped, chip(0, 0.2), 8);
  expect(noisy.errors.gains).toBeLessThan(noisy.errors.raw);
  expect(noisy.errors.side).toBeLessThan(0.8 * noisy.errors.gains);
  expect(noisy.side?.rank).toBe(8);
});

test('the predicted error of a corrected chip is that of chips that were read and corrected', async () => {
  const { problem, statistics, workspace } = await setting(6);
  const input = prepareInput(workspace, statistics, PLAIN);
  loadInput(workspace, input);
  const [sigma, rank] = [0.15, 8];
  const { mapped, report } = mapMatrix(workspace, input, problem, 4, { ...GPTQ_PLUS, rank });
  const target = {
    ...prepareWeights(workspace, input, problem.weights, problem.outputs),
    moments: input.moments,
  };
  const left = momentsFactor(workspace, input.moments, rank).subarray(rank * problem.inputs);
  const { coding, mismatch } = predictError(
    input,
    mapped,
    report,
    { ...IDEAL, cellSigma: sigma, correctionRank: rank },
    left,
  );
  const chips = Array.from({ length: 4 }, (_, chip) => {
    const read = Float32Array.from(
      mapped.codes,
      (code, i) => code * Math.exp(sigma * gaussian(streamKey(chip, 9), i) - sigma ** 2 / 2),
    );
    return correctChip(workspace, target, mapped, read, rank).errors.side / 4;
  }).reduce((sum, error) => sum + error, 0);
  // The prediction gives the rank to coding and mismatch, each to itself: here they share it, 1.6 times as much is left. On
  // matrices of a real model, of many more directions, the two differ by 2 %.
  expect(chips / (coding + mismatch)).toBeGreaterThan(0.8);
  expect(chips / (coding + mismatch)).toBeLessThan(2);
  const uncorrected = predictError(input, mapped, report, { ...IDEAL, cellSigma: sigma }).mismatch;
  expect(mismatch).toBeLessThan(0.8 * uncorrected);
});

test('moments in short: exact on the diagonal, and whole with all directions', async () => {
  const { statistics, workspace } = await setting(7);
  const input = prepareInput(workspace, statistics, PLAIN);
  loadInput(workspace, input);
  const { inputs } = statistics;
  const diagonal = (x: Float32Array) => Float32Array.from({ length: inputs }, (_, j) => x[j * (inputs + 1)]);
  const short = momentsOf(momentsFactor(workspace, input.moments, 10), inputs);
  expect(relativeDifference(diagonal(short), diagonal(input.moments))).toBeLessThan(1e-5);
  expect(relativeDifference(short, input.moments)).toBeGreaterThan(1e-3);
  const whole = momentsOf(momentsFactor(workspace, input.moments, inputs), inputs);
  expect(relativeDifference(whole, input.moments)).toBeLessThan(1e-3);
});

test('harm by stage: k and v before the feed-forward, and that before what writes to the stream', () => {
  const sensitivity: Sensitivity = {
    klPerError: {
      'attention-input': 7,
      'attention-output': 1.9,
      'feed-forward-input': 15,
      'feed-forward-hidden': 3.9,
    },
    errorOver4Bits: { 3: 3.8, 4: 1, 6: 1 / 12 },
  };
  // SmolLM2-135M's weights and errors at 4 bits, rotated.
  const choices = (
    [
      ['v', 'attention-input', 110_592, 0.0069],
      ['k', 'attention-input', 110_592, 0.0043],
      ['up', 'feed-forward-input', 884_736, 0.0075],
      ['gate', 'feed-forward-input', 884_736, 0.0063],
      ['o', 'attention-output', 331_776, 0.0037],
      ['down', 'feed-forward-hidden', 884_736, 0.004],
    ] as const
  ).map(([key, reads, weights, error]) => ({ key, weights, harm: expectedHarm(sensitivity, reads, error) }));
  const sixBits = (cellsPerWeight: number): string =>
    [...allocateBits(choices, { cellsPerWeight }).bits]
      .filter(([, bits]) => bits === 6)
      .map(([key]) => key)
      .join(' ');
  expect(sixBits(1.04)).toBe('v');
  expect(sixBits(1.07)).toBe('v k');
  expect(sixBits(1.35)).toBe('v k up');
  expect(sixBits(1.63)).toBe('v k up gate');
});

test('bits by matrix: the best gains first, and never over the budget', () => {
  const choices = [
    { key: 'k', weights: 10, harm: { 3: 9, 4: 6, 6: 1 } },
    { key: 'gate', weights: 100, harm: { 3: 9, 4: 6, 6: 1 } },
    { key: 'up', weights: 100, harm: { 3: 2, 4: 1.9, 6: 1.8 } },
  ];
  const of = (budget: Parameters<typeof allocateBits>[1]) =>
    Object.fromEntries(allocateBits(choices, budget).bits);
  // 3 and 4 bits are both one cell: 4 is never worse.
  expect(of({ cellsPerWeight: 1 })).toEqual({ k: 4, gate: 4, up: 4 });
  expect(of({ cellsPerWeight: 1.05 })).toEqual({ k: 6, gate: 4, up: 4 });
  expect(of({ cellsPerWeight: 1.6 })).toEqual({ k: 6, gate: 6, up: 4 });
  expect(of({ bitsPerWeight: 4.2 })).toEqual({ k: 6, gate: 4, up: 4 });
  expect(of({ bitsPerWeight: 4.6 })).toEqual({ k: 6, gate: 6, up: 3 });
  expect(of({ bitsPerWeight: 3 })).toEqual({ k: 3, gate: 3, up: 3 });
  expect(() => allocateBits(choices, { bitsPerWeight: 2.9 })).toThrow('below the 3 of the fewest');
  const { spent, harm } = allocateBits(choices, { cellsPerWeight: 1.6 });
  expect(spent).toBeCloseTo(320 / 210, 12);
  expect(harm).toBeCloseTo(1 + 1 + 1.9, 12);
});
