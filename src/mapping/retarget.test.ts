/** Drift and retargeting against their definitions, on inputs that a part of the model before has made a little wrong. */
import { expect, test } from 'vitest';
import { gaussian, streamKey } from '../random.ts';
import { solveSymmetric } from '../small-matrices.ts';
import { drawProblem, relativeDifference } from '../testing/mapping.ts';
import { type InputDrift, newDrift } from './drift.ts';
import { newWorkspace } from './numerics/workspace.ts';
import { retarget } from './retarget.ts';
import { newStatistics } from './statistics.ts';

const problem = drawProblem({ outputs: 21, inputs: 130, tokens: 700 }, 3);
const { outputs, inputs, tokens, weights } = problem;
/** Inputs as shipped, with a loud constant. */
const exact = problem.activations.map((x, i) => x + (i % inputs === 7 ? 50 : 0.5));
/** As the mapped part gives them: what they were leaks into their neighbours, some of it is lost, and noise is added. */
const mapped = exact.map((x, i) => {
  const neighbour = exact[i % inputs === inputs - 1 ? i - 1 : i + 1];
  return 0.9 * x + 0.1 * neighbour + 0.05 * gaussian(streamKey(8), i) + 0.2;
});
const meanOf = (x: Float32Array): Float64Array =>
  Float64Array.from({ length: inputs }, (_, j) => {
    let sum = 0;
    for (let t = 0; t < tokens; t++) sum += x[t * inputs + j];
    return sum / tokens;
  });

async function gathered(): Promise<InputDrift> {
  const collector = await newDrift(inputs);
  for (let first = 0, size = 1; first < tokens; first += size, size = 1 + ((5 * size + 3) % 300)) {
    const count = Math.min(size, tokens - first);
    const part = (x: Float32Array) => x.subarray(first * inputs, (first + count) * inputs);
    collector.add(part(exact), part(mapped), count);
  }
  return collector.result();
}

test('the drift of inputs, in batches of any size', async () => {
  const { mean, drift } = await gathered();
  expect(relativeDifference(mean, meanOf(exact))).toBeLessThan(1e-6);
  const own = meanOf(mapped);
  const expected = new Float64Array(inputs * inputs);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < inputs; i++) {
      const off = (exact[t * inputs + i] - mapped[t * inputs + i]) / tokens;
      for (let j = 0; j < inputs; j++) expected[i * inputs + j] += off * (mapped[t * inputs + j] - own[j]);
    }
  }
  expect(relativeDifference(drift, expected)).toBeLessThan(1e-5);
  await expect(newDrift(3).then((empty) => empty.result())).rejects.toThrow('no inputs');
});

/** E |W~ (x^ - m^) - W (x - m)|^2 over E |W (x - m)|^2. */
function outputError(found: Float32Array): number {
  const [m, own] = [meanOf(exact), meanOf(mapped)];
  let [error, signal] = [0, 0];
  for (let t = 0; t < tokens; t++) {
    for (let n = 0; n < outputs; n++) {
      let [wanted, given] = [0, 0];
      for (let j = 0; j < inputs; j++) {
        wanted += weights[n * inputs + j] * (exact[t * inputs + j] - m[j]);
        given += found[n * inputs + j] * (mapped[t * inputs + j] - own[j]);
      }
      error += (wanted - given) ** 2;
      signal += wanted ** 2;
    }
  }
  return error / signal;
}

test('retargeted weights are the ridge regression of the outputs as shipped on the mapped inputs', async () => {
  const statistics = await newStatistics(inputs);
  statistics.add(mapped, tokens);
  const { moments } = statistics.result();
  const { drift } = await gathered();
  const workspace = await newWorkspace({ outputs, inputs, tileRows: 32 });
  const found = (ridge: number, by = drift): Float32Array[] => {
    // Two matrices that read the same inputs.
    const both = [weights.slice(), weights.map((x) => -2 * x)];
    retarget(
      workspace,
      both.map((own) => ({ weights: own, outputs })),
      moments,
      by,
      ridge,
    );
    return both;
  };
  const ridge = 0.03;
  let mean = 0;
  for (let j = 0; j < inputs; j++) mean += moments[j * (inputs + 1)] / inputs;
  const damped = Float64Array.from(moments, (x, i) => (i % (inputs + 1) === 0 ? x + ridge * mean : x));
  const expected = weights.slice();
  for (let n = 0; n < outputs; n++) {
    const right = Float64Array.from({ length: inputs }, (_, j) => {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += weights[n * inputs + i] * drift[i * inputs + j];
      return sum;
    });
    solveSymmetric(damped, right)!.forEach((x, j) => {
      expected[n * inputs + j] += x;
    });
  }
  const [first, second] = found(ridge);
  expect(relativeDifference(first, expected)).toBeLessThan(1e-4);
  expect(
    relativeDifference(
      second,
      expected.map((x) => -2 * x),
    ),
  ).toBeLessThan(1e-4);
  // The leak is undone, the noise is not: 0.05^2 against the inputs' own variance.
  expect(outputError(weights)).toBeGreaterThan(0.005);
  expect(outputError(found(1e-3)[0])).toBeLessThan(outputError(weights) / 3);
  const [same] = found(ridge, new Float32Array(inputs * inputs));
  expect(same).toEqual(weights);
});
