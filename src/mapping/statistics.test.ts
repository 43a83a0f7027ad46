import { expect, test } from 'vitest';
import { symmetricEigen } from '../small-matrices.ts';
import { drawProblem, relativeDifference, secondMoments, total, workspaceOf } from '../testing/mapping.ts';
import { centreAddend, meanShare } from './centre.ts';
import { quadraticForm } from './coding.ts';
import { loudnessScales, scaleStatistics, scaleWeightColumns } from './fold.ts';
import { lowRank, lowRankReference, readErrors, type SidePath } from './low-rank.ts';
import { energies } from './numerics/workspace.ts';
import { principalPart, principalPath, withoutPrincipal } from './principal.ts';
import { round } from './round.ts';
import { searchScales } from './scale-search.ts';
import { momentsAboutZero, newStatistics } from './statistics.ts';

test('means and second moments, in batches of any size', async () => {
  const { activations, tokens, inputs, moments } = drawProblem({ outputs: 1, inputs: 77, tokens: 600 }, 1);
  // A loud constant: 30 times the rest.
  for (let t = 0; t < tokens; t++) activations[t * inputs + 5] += 100;
  const collector = await newStatistics(inputs);
  for (let first = 0, size = 1; first < tokens; first += size, size = 1 + ((7 * size + 3) % 300)) {
    const count = Math.min(size, tokens - first);
    collector.add(activations.subarray(first * inputs, (first + count) * inputs), count);
  }
  const found = collector.result();
  expect(found.tokens).toBe(tokens);
  const mean = Float64Array.from({ length: inputs }, (_, j) => {
    let sum = 0;
    for (let t = 0; t < tokens; t++) sum += activations[t * inputs + j];
    return sum / tokens;
  });
  expect(relativeDifference(found.mean, mean)).toBeLessThan(1e-6);
  const centred = activations.map((x, i) => x - mean[i % inputs]);
  expect(relativeDifference(found.moments, secondMoments(centred, tokens, inputs))).toBeLessThan(1e-5);
  expect(
    relativeDifference(momentsAboutZero(found), secondMoments(activations, tokens, inputs)),
  ).toBeLessThan(1e-6);
  expect(found.sample.length / inputs).toBeGreaterThanOrEqual(64);
  expect(found.sample.subarray(inputs, 2 * inputs)).toEqual(
    activations.subarray(8 * inputs, 9 * inputs), // every eighth of 600
  );
  expect(moments.length).toBe(inputs * inputs);
  expect(meanShare(found)).toBeGreaterThan(0.8);
  await expect(newStatistics(3).then((empty) => empty.result())).rejects.toThrow('no inputs');
});

const statisticsOf = (problem: { inputs: number; moments: Float32Array; tokens: number }) => ({
  inputs: problem.inputs,
  tokens: problem.tokens,
  mean: Float32Array.from({ length: problem.inputs }, (_, j) => Math.sin(j)),
  moments: problem.moments,
  sample: new Float32Array(0),
});

test('centring and loudness scales leave the exact outputs alone', () => {
  const problem = drawProblem({ outputs: 9, inputs: 50 }, 2);
  const { weights, outputs, inputs, activations } = problem;
  const statistics = statisticsOf(problem);
  const addend = centreAddend(weights, outputs, statistics.mean);
  const factors = loudnessScales(statistics, 0.5);
  expect(total(factors.map(Math.log))).toBeCloseTo(0, 4);
  const scaled = weights.slice();
  scaleWeightColumns(scaled, outputs, factors);
  const a = activations.subarray(0, inputs);
  for (let n = 0; n < outputs; n++) {
    let exact = 0;
    let coded = addend[n];
    for (let j = 0; j < inputs; j++) {
      exact += weights[n * inputs + j] * a[j];
      coded += scaled[n * inputs + j] * ((a[j] - statistics.mean[j]) / factors[j]);
    }
    expect(coded).toBeCloseTo(exact, 3);
  }
  const after = scaleStatistics(statistics, factors);
  // Loudness to the power 1 - p.
  const spread = (m: Float32Array): number => {
    const logs = Array.from({ length: inputs }, (_, j) => Math.log(m[j * inputs + j]));
    return Math.max(...logs) - Math.min(...logs);
  };
  expect(spread(after.moments)).toBeCloseTo(0.5 * spread(statistics.moments), 2);
  // The objective of given errors is the same in both scalings.
  const error = Float64Array.from({ length: inputs }, (_, j) => Math.cos(j));
  const scaledError = error.map((x, j) => x * factors[j]);
  expect(
    relativeDifference(
      [quadraticForm(after.moments, scaledError)],
      [quadraticForm(statistics.moments, error)],
    ),
  ).toBeLessThan(1e-5);
});

test('low rank: the side path removes what the SVD of E L says it can', async () => {
  const problem = drawProblem({ outputs: 30, inputs: 90 }, 3);
  const { outputs, inputs, moments } = problem;
  const workspace = await workspaceOf(problem);
  searchScales(workspace, 'weighted');
  round(workspace);
  const error = readErrors(workspace);
  const before = total(energies(workspace, workspace.at.errors));
  // Independent case: eigenvalues of E H E^T by Jacobi in double precision = squared singular values of E L.
  const gram = new Float64Array(outputs * outputs);
  for (let n = 0; n < outputs; n++) {
    for (let m = 0; m < outputs; m++) {
      for (let i = 0; i < inputs; i++) {
        let sum = 0;
        for (let j = 0; j < inputs; j++) sum += moments[i * inputs + j] * error[m * inputs + j];
        gram[n * outputs + m] += error[n * inputs + i] * sum;
      }
    }
  }
  const exact = symmetricEigen(gram, outputs);
  const left = (path: SidePath): number => {
    let sum = 0;
    for (let n = 0; n < outputs; n++) {
      const rest = Float64Array.from({ length: inputs }, (_, j) => {
        let value = error[n * inputs + j];
        for (let r = 0; r < path.rank; r++) value -= path.up[n * path.rank + r] * path.down[r * inputs + j];
        return value;
      });
      sum += quadraticForm(moments, rest);
    }
    return sum;
  };
  for (const rank of [1, 4, 8]) {
    const { path, removed } = lowRank(workspace, rank);
    const best = total(exact.values) - total(exact.values.subarray(0, rank));
    expect(relativeDifference([left(path)], [best])).toBeLessThan(2e-3);
    expect(relativeDifference([left(lowRankReference(error, moments, outputs, rank))], [best])).toBeLessThan(
      1e-4,
    );
    expect(relativeDifference([total(removed)], [before - best])).toBeLessThan(2e-2);
  }
});

test('principal part: the rows see the rest, and nothing is lost', async () => {
  const problem = drawProblem({ outputs: 7, inputs: 60 }, 4);
  const { weights, outputs, inputs, activations } = problem;
  const statistics = statisticsOf(problem);
  const exact = symmetricEigen(problem.moments, inputs);
  const part = principalPart(await workspaceOf(problem), statistics, 4);
  expect(relativeDifference(part.energies, exact.values.subarray(0, 4))).toBeLessThan(1e-4);
  const rest = withoutPrincipal(statistics, part);
  const trace = (m: Float32Array): number =>
    total(Array.from({ length: inputs }, (_, j) => m[j * inputs + j]));
  expect(relativeDifference([trace(rest.moments)], [total(exact.values.subarray(4))])).toBeLessThan(1e-4);
  const path = principalPath(weights, outputs, part);
  const a = activations.subarray(0, inputs);
  const z = Array.from({ length: 4 }, (_, r) => {
    let sum = 0;
    for (let j = 0; j < inputs; j++) sum += path.down[r * inputs + j] * a[j];
    return sum;
  });
  const reduced = a.map(
    (x, j) => x - z.reduce((sum, share, r) => sum + share * path.down[r * inputs + j], 0),
  );
  for (let n = 0; n < outputs; n++) {
    let [full, split] = [0, 0];
    for (let j = 0; j < inputs; j++) {
      full += weights[n * inputs + j] * a[j];
      split += weights[n * inputs + j] * reduced[j];
    }
    for (let r = 0; r < 4; r++) split += path.up[n * 4 + r] * z[r];
    expect(split).toBeCloseTo(full, 3);
  }
});
