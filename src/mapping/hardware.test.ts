import { expect, test } from 'vitest';
import { drawProblem, relativeDifference, workspaceOf } from '../testing/mapping.ts';
import { hardwareRow, recodeWeights, weightFormat } from '../tile/weight-code.ts';
import { hardwareWeights } from './hardware.ts';
import { loadInput, mapMatrix, mappedWeights, ROUND } from './map-matrix.ts';
import { prepareInput } from './prepare.ts';

// Independent case: the tile's own recoding, which is the method `round` without a stage of its own.
test.each([3, 4, 6] as const)('rounded at %i bits, tiles hold what they always held', async (bits) => {
  const problem = drawProblem({ outputs: 20, inputs: 90, tileRows: 32 }, 9);
  const { weights, outputs, inputs, tileRows, moments, tokens } = problem;
  const workspace = await workspaceOf({ ...problem, magnitudeMax: weightFormat(bits).magnitudeMax });
  const statistics = { inputs, tokens, mean: new Float32Array(inputs), moments, sample: new Float32Array(0) };
  const options = { centre: false, loudness: 0, rotation: undefined, principal: 0 };
  const input = prepareInput(workspace, statistics, options);
  loadInput(workspace, input);
  const { mapped, report } = mapMatrix(workspace, input, problem, bits, ROUND);
  const found = hardwareWeights(mapped, report.error);
  const expected = recodeWeights(
    outputs,
    inputs,
    (n, out) => out.set(weights.subarray(n * inputs, (n + 1) * inputs)),
    bits,
    tileRows,
  );
  const { codingSnrDb, zeroShare, tiles, ...rest } = expected;
  expect(found).toMatchObject(rest);
  expect(found.codingSnrDb).toBeCloseTo(-10 * Math.log10(report.error), 10);
  expect(codingSnrDb).toBeGreaterThan(5);
  expect(found.zeroShare).toBeCloseTo(zeroShare, 2);
  let differing = 0;
  let count = 0;
  for (const [t, tile] of tiles.entries()) {
    expect(found.tiles[t]).toMatchObject({ rowStart: tile.rowStart, rows: tile.rows });
    // The search in f32 may stop at another of two equally good scales.
    tile.codes.forEach((code, i) => {
      if (code !== found.tiles[t].codes[i]) differing++;
      count++;
    });
  }
  expect(differing / count).toBeLessThan(0.02);
  const row = new Float32Array(inputs);
  const all = mappedWeights(mapped);
  for (let n = 0; n < outputs; n++) {
    hardwareRow(found, n, row);
    expect(relativeDifference(row, all.subarray(n * inputs, (n + 1) * inputs))).toBeLessThan(1e-6);
  }
});
