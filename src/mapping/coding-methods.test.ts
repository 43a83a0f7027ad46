import fc from 'fast-check';
import { expect, test } from 'vitest';
import { drawProblem, relativeDifference, secondMoments, total, workspaceOf } from '../testing/mapping.ts';
import { anneal, logisticNoise, temperature } from './anneal.ts';
import { type Coding, objectiveReference } from './coding.ts';
import { descend, descendReference } from './descent.ts';
import { actOrder, DAMPING, gptq, gptqReference, upperFactorReference } from './gptq.ts';
import { factorElements, factorRoom, factorUpper } from './numerics/factor.ts';
import { BLOCK, floats, newNumerics, paddedRows, room } from './numerics/numerics.ts';
import {
  energies,
  loadMoments,
  loadWeights,
  readCoding,
  type Workspace,
  weightEnergies,
  writeCoding,
} from './numerics/workspace.ts';
import { refit, refitReference } from './refit.ts';
import { round, roundReference } from './round.ts';
import { SCALE_RULES, searchScales, searchScalesReference } from './scale-search.ts';

const SHAPES = [
  { outputs: 21, inputs: 70, tileRows: 32, magnitudeMax: 7 },
  { outputs: 16, inputs: 144, tileRows: 64, magnitudeMax: 3 },
  { outputs: 40, inputs: 230, tileRows: 100, magnitudeMax: 31 },
];

/** Share of codes that differ: rounding in f32 may fall to the other side of a half. */
function differing(a: Int8Array, b: Int8Array): number {
  return a.reduce((count, code, i) => count + (code === b[i] ? 0 : 1), 0) / a.length;
}

test.each(SHAPES)('scale search in WebAssembly equals its definition: $inputs inputs', async (shape) => {
  const problem = drawProblem(shape, 1);
  const workspace = await workspaceOf(problem);
  for (const rule of SCALE_RULES) {
    searchScales(workspace, rule);
    const expected = searchScalesReference(problem, rule);
    // Two candidates of equal error may swap: compare the error of what was found.
    const [found, wanted] = [readCoding(workspace).scales, expected].map((scales) =>
      total(objectiveReference({ ...problem, moments: diagonalOf(problem) }, codingOf(problem, scales))),
    );
    expect(relativeDifference([found], [wanted])).toBeLessThan(1e-3);
  }
});

function codingOf(problem: Parameters<typeof roundReference>[0], scales: Float32Array): Coding {
  return { scales, codes: roundReference(problem, scales) };
}

function diagonalOf(problem: { inputs: number; moments: Float32Array }): Float32Array {
  return problem.moments.map((x, i) => (i % (problem.inputs + 1) === 0 ? x : 0));
}

test.each(SHAPES)(
  'rounding, GPTQ, refit and descent equal their definitions: $inputs inputs',
  async (shape) => {
    const problem = drawProblem(shape, 2);
    const workspace = await workspaceOf(problem);
    searchScales(workspace, 'weighted');
    const { scales } = readCoding(workspace);

    round(workspace);
    expect(differing(readCoding(workspace).codes, roundReference(problem, scales))).toBeLessThan(1e-3);

    gptq(workspace);
    const found = readCoding(workspace);
    const expected = { scales, codes: gptqReference(problem, scales) };
    // One code that rounds the other way changes all that follow in its output.
    expect(differing(found.codes, expected.codes)).toBeLessThan(0.05);
    const wanted = total(objectiveReference(problem, expected));
    expect(relativeDifference([total(objectiveReference(problem, found))], [wanted])).toBeLessThan(0.02);

    refit(workspace);
    const refitted = readCoding(workspace);
    expect(relativeDifference(refitted.scales, refitReference(problem, found))).toBeLessThan(1e-3);

    descend(workspace);
    const descended = readCoding(workspace);
    const definition = { scales: refitted.scales, codes: descendReference(problem, refitted) };
    expect(differing(descended.codes, definition.codes)).toBeLessThan(0.02);
    expect(
      relativeDifference(
        [total(objectiveReference(problem, descended))],
        [total(objectiveReference(problem, definition))],
      ),
    ).toBeLessThan(0.01);
  },
);

test('each step is at least as good as the one before', async () => {
  const problem = drawProblem({ outputs: 64, inputs: 240, tileRows: 64 }, 3);
  const workspace = await workspaceOf(problem);
  const error = (): number => total(objectiveReference(problem, readCoding(workspace)));
  const errors: number[] = [];
  for (const rule of ['maximum', 'weighted'] as const) {
    searchScales(workspace, rule);
    round(workspace);
    errors.push(error());
  }
  for (const step of [gptq, refit, descend, refit, descend]) {
    step(workspace);
    errors.push(error());
  }
  for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThanOrEqual(errors[i - 1] * (1 + 1e-6));
  // Strongly correlated inputs: GPTQ is what pays.
  expect(errors[2]).toBeLessThan(0.5 * errors[1]);
  // The objective of the workspace is the same number.
  expect(relativeDifference([total(energies(workspace, workspace.at.errors))], [error()])).toBeLessThan(1e-4);
});

test('annealed descent equals its definition, and leaves less error than descent', async () => {
  const problem = drawProblem({ outputs: 40, inputs: 250, tileRows: 64, magnitudeMax: 3, tokens: 300 }, 8);
  const [plain, annealed] = [await workspaceOf(problem), await workspaceOf(problem)];
  for (const workspace of [plain, annealed]) {
    searchScales(workspace, 'weighted');
    gptq(workspace);
  }
  const start = readCoding(annealed);
  const sweeps = 3;
  let codes = start.codes;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const noise = (n: number, j: number) => temperature(sweep, sweeps) * logisticNoise(sweep, n, j, BLOCK);
    codes = descendReference(problem, { ...start, codes }, noise);
  }
  anneal(annealed, sweeps);
  expect(differing(readCoding(annealed).codes, codes)).toBeLessThan(0.02);
  const errorOf = (workspace: Workspace) => total(objectiveReference(problem, readCoding(workspace)));
  for (let sweep = 0; sweep < 12; sweep++) descend(plain);
  anneal(annealed, 12);
  for (let sweep = 0; sweep < 3; sweep++) descend(annealed);
  expect(errorOf(annealed)).toBeLessThan(0.995 * errorOf(plain));
  // The errors of the workspace are those of its codes.
  expect(
    relativeDifference([total(energies(annealed, annealed.at.errors))], [errorOf(annealed)]),
  ).toBeLessThan(1e-4);
  // The noise is that of a logistic law: no mean, and a variance of pi^2 / 3.
  const drawn = Array.from({ length: 4000 }, (_, i) => logisticNoise(1, i % 80, Math.floor(i / 80), BLOCK));
  expect(Math.abs(drawn.reduce((sum, x) => sum + x, 0) / 4000)).toBeLessThan(0.15);
  expect(drawn.reduce((sum, x) => sum + x * x, 0) / 4000 / (Math.PI ** 2 / 3)).toBeCloseTo(1, 0);
});

test('a ridge: codes of a short text hold better on the text that it is a part of', async () => {
  const shape = { outputs: 24, inputs: 96, tileRows: 64, magnitudeMax: 3 };
  const [part, whole] = [
    drawProblem({ ...shape, tokens: 240 }, 9),
    drawProblem({ ...shape, tokens: 4000 }, 9),
  ];
  const workspace = await workspaceOf(part);
  const errorsWith = (ridge: number) => {
    loadMoments(workspace, part.moments, shape.inputs, ridge);
    loadWeights(workspace, part);
    searchScales(workspace, 'weighted');
    for (const step of [gptq, refit, descend, refit, descend]) step(workspace);
    const coding = readCoding(workspace);
    return [part, whole].map(({ moments }) => total(objectiveReference({ ...part, moments }, coding)));
  };
  const [plain, ridged] = [errorsWith(0), errorsWith(0.03)];
  expect(ridged[0]).toBeGreaterThan(plain[0]);
  expect(ridged[1]).toBeLessThan(0.99 * plain[1]);
  // The workspace's moments are H + ridge mean(diag H) I.
  errorsWith(0.3);
  const mean = total(diagonalOf(part)) / shape.inputs;
  const added = part.moments.map((x, i) => (i % (shape.inputs + 1) === 0 ? x + 0.3 * mean : x));
  const said = weightEnergies(workspace);
  loadMoments(workspace, added, shape.inputs);
  loadWeights(workspace, part);
  expect(relativeDifference(weightEnergies(workspace), said)).toBeLessThan(1e-5);
});

test('GPTQ of uncorrelated inputs is rounding', async () => {
  const drawn = drawProblem({ outputs: 16, inputs: 100, tileRows: 50 }, 4);
  const problem = { ...drawn, moments: diagonalOf(drawn) };
  const workspace = await workspaceOf(problem);
  searchScales(workspace, 'weighted');
  const { scales } = readCoding(workspace);
  gptq(workspace);
  expect(readCoding(workspace).codes).toEqual(roundReference(problem, scales));
  expect(gptqReference(problem, scales)).toEqual(roundReference(problem, scales));
});

test('the factor V of the damped, ordered moments is upper, and V V^T is them', () => {
  const problem = drawProblem({ outputs: 1, inputs: 40 }, 5);
  const { inputs, moments } = problem;
  const order = actOrder(Float64Array.from({ length: inputs }, (_, j) => moments[j * (inputs + 1)]));
  const v = upperFactorReference(moments, order, 0.01);
  let mean = 0;
  for (let j = 0; j < inputs; j++) mean += moments[j * (inputs + 1)] / inputs;
  for (let i = 0; i < inputs; i++) {
    for (let j = 0; j < inputs; j++) {
      let sum = 0;
      for (let k = 0; k < inputs; k++) sum += v[i * inputs + k] * v[j * inputs + k];
      const expected = moments[order[i] * inputs + order[j]] + (i === j ? 0.01 * mean : 0);
      expect(Math.abs(sum - expected)).toBeLessThan(1e-9 * mean * inputs);
      if (j < i) expect(v[i * inputs + j]).toBe(0);
    }
  }
});

test('the blocked factor in WebAssembly: V V^T is the matrix, whatever its size', async () => {
  for (const inputs of [40, 96, 230, 300]) {
    const { moments } = drawProblem({ outputs: 1, inputs }, 7);
    const rows = paddedRows(inputs);
    const numerics = await newNumerics(4 * (rows * rows + factorElements(rows)) + 4096);
    const at = room(numerics, rows * rows, 'the test');
    const square = floats(numerics, at, rows * rows);
    for (let i = 0; i < rows; i++) square[i * rows + i] = 1;
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < inputs; j++) square[i * rows + j] = moments[i * inputs + j];
      square[i * rows + i] += 0.05;
    }
    const expected = square.slice();
    const scratch = factorRoom(numerics, rows);
    factorUpper(numerics, at, rows, scratch);
    const product = new Float64Array(rows * rows);
    for (let i = 0; i < rows; i++) {
      for (let j = i; j < rows; j++) {
        for (let k = j; k < rows; k++) product[i * rows + j] += square[i * rows + k] * square[j * rows + k];
        product[j * rows + i] = product[i * rows + j];
      }
    }
    expect(relativeDifference(product, expected)).toBeLessThan(2e-6);
    square.set(expected);
    square[0] = -1;
    expect(() => factorUpper(numerics, at, rows, scratch)).toThrow('not positive definite');
  }
});

test('silent inputs, zero weights and an input that repeats another one', async () => {
  const drawn = drawProblem({ outputs: 18, inputs: 60, tileRows: 30 }, 8);
  const { inputs, tokens } = drawn;
  const activations = drawn.activations.slice();
  const weights = drawn.weights.slice();
  for (let t = 0; t < tokens; t++) {
    activations[t * inputs + 3] = 0;
    activations[t * inputs + 50] = activations[t * inputs + 7];
  }
  weights.fill(0, 5 * inputs, 6 * inputs);
  const problem = { ...drawn, weights, moments: secondMoments(activations, tokens, inputs) };
  const workspace = await workspaceOf(problem);
  let before = Number.POSITIVE_INFINITY;
  for (const step of [(w: Workspace) => searchScales(w, 'weighted'), round, gptq, refit, descend, refit]) {
    step(workspace);
    const coding = readCoding(workspace);
    expect(coding.scales.every((s) => s >= 0 && Number.isFinite(s))).toBe(true);
    expect(coding.codes.subarray(5 * inputs, 6 * inputs).every((code) => code === 0)).toBe(true);
    if (step === round || step === gptq || step === refit || step === descend) {
      const error = total(objectiveReference(problem, coding));
      expect(error).toBeLessThanOrEqual(before * (1 + 1e-6));
      before = error;
    }
  }
});

// Independent case: the published form of GPTQ, with the inverse's Cholesky factor and updated weights.
test('Babai form gives the codes of the published form', () => {
  const problem = drawProblem({ outputs: 6, inputs: 48, tileRows: 16 }, 6);
  const { inputs, outputs, moments, weights, tileRows } = problem;
  const scales = searchScalesReference(problem, 'maximum');
  const order = actOrder(Float64Array.from({ length: inputs }, (_, j) => moments[j * (inputs + 1)]));
  const v = upperFactorReference(moments, order, DAMPING);
  // U = V^-1, upper
  const u = new Float64Array(inputs * inputs);
  for (let k = 0; k < inputs; k++) {
    u[k * inputs + k] = 1 / v[k * inputs + k];
    for (let i = k - 1; i >= 0; i--) {
      let sum = 0;
      for (let m = i + 1; m <= k; m++) sum += v[i * inputs + m] * u[m * inputs + k];
      u[i * inputs + k] = -sum / v[i * inputs + i];
    }
  }
  const codes = new Int8Array(outputs * inputs);
  for (let n = 0; n < outputs; n++) {
    const w = Float64Array.from(order, (j) => weights[n * inputs + j]);
    for (let j = 0; j < inputs; j++) {
      const scale = scales[n * Math.ceil(inputs / tileRows) + Math.floor(order[j] / tileRows)];
      const code = Math.max(-7, Math.min(7, Math.round(w[j] / scale)));
      codes[n * inputs + order[j]] = code;
      const error = (w[j] - scale * code) / u[j * inputs + j];
      for (let k = j + 1; k < inputs; k++) w[k] -= error * u[j * inputs + k];
    }
  }
  expect(gptqReference(problem, scales)).toEqual(codes);
});

test('refit and descent never raise the objective, whatever the codes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        outputs: fc.integer({ min: 1, max: 20 }),
        inputs: fc.integer({ min: 2, max: 130 }),
        tileRows: fc.integer({ min: 8, max: 140 }),
        magnitudeMax: fc.constantFrom(3, 7, 31),
        seed: fc.integer({ min: 1, max: 1e6 }),
      }),
      fc.infiniteStream(fc.integer({ min: -31, max: 31 })),
      async (shape, stream) => {
        const problem = drawProblem({ ...shape, tokens: 2 * shape.inputs }, shape.seed);
        const workspace = await workspaceOf(problem);
        searchScales(workspace, 'maximum');
        const { scales } = readCoding(workspace);
        const limit = shape.magnitudeMax;
        const codes = Int8Array.from({ length: shape.outputs * shape.inputs }, () =>
          Math.max(-limit, Math.min(limit, stream.next().value ?? 0)),
        );
        writeCoding(workspace, { codes, scales });
        expect(readCoding(workspace)).toEqual({ codes, scales });
        let before = objectiveReference(problem, readCoding(workspace));
        for (const step of [refit, descend, refit]) {
          step(workspace);
          const coding = readCoding(workspace);
          const after = objectiveReference(problem, coding);
          after.forEach((error, n) => {
            expect(error).toBeLessThanOrEqual(before[n] * (1 + 1e-4) + 1e-6 * total(before));
          });
          for (const code of coding.codes) expect(Math.abs(code)).toBeLessThanOrEqual(limit);
          before = after;
        }
      },
    ),
    { numRuns: 25 },
  );
});
