/** Codes that a chip misreads, and counts of codes, in WebAssembly: those of the scalar engine, weight for weight. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HardwiredActivity } from '../fabric/activity.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { type Model, openModel } from '../model/model.ts';
import { runText, withEngine } from '../testing/engines.ts';
import { fixtureModel } from '../testing/models.ts';

let model: Model;
beforeAll(() => {
  model = openModel(fixtureModel('tiny'));
});
afterAll(() => model.close());
const ids = Int32Array.from({ length: 12 }, (_, i) => (i * 131 + 7) % 500);

/** Largest difference of logits over the largest logit. */
function difference(found: readonly Float32Array[], expected: readonly Float32Array[]): number {
  const size = Math.max(...expected.map((row) => Math.max(...row.map(Math.abs))));
  return (
    Math.max(...found.map((row, p) => Math.max(...row.map((x, i) => Math.abs(x - expected[p][i]))))) / size
  );
}

// Tiles of 24 rows: whole ones and a ragged one; a fifth of the cells are misread, so that one in another place shows.
test.each([3, 4, 6])('%i bits: the chip that is misread is the same one', async (bits) => {
  const settings = [`weights.bits=${bits}`, 'tile.rows=24', 'rom.cellArea=0.5', 'input.bits=float'];
  const fabric = loadFabric(loadDesign('mask-rom', settings).design);
  const run = async (engine: 'wasm' | 'scalar', chipSeed: number) =>
    (await runText(engine, { model, fabric, mode: 'chip', chipSeed }, ids)).logits;
  const [expected, found, other] = [await run('scalar', 5), await run('wasm', 5), await run('wasm', 6)];
  expect(difference(found, expected)).toBeLessThan(1e-2);
  expect(difference(other, expected)).toBeGreaterThan(0.2);
});

test.each([3, 4, 6])('%i bits: nonzero weights and signed digits are counted alike', async (bits) => {
  const fabric = loadFabric(loadDesign('hardwired', [`weights.bits=${bits}`, 'tile.rows=24']).design);
  const activity = (name: 'wasm' | 'scalar') =>
    withEngine(name, { model, fabric, mode: 'chip' }, async (engine) => {
      await engine.prefill(ids, 0);
      return engine.activity() as HardwiredActivity[];
    });
  const [expected, found] = [await activity('scalar'), await activity('wasm')];
  // The recoding kernel rounds in single precision: a weight in thousands falls to the other side of a step.
  found.forEach(({ connected, digits, ...rest }, i) => {
    const { connected: sameConnected, digits: sameDigits, ...same } = expected[i];
    expect(rest).toEqual(same);
    expect(Math.abs(connected / sameConnected - 1)).toBeLessThan(2e-3);
    expect(Math.abs(digits / sameDigits - 1)).toBeLessThan(2e-3);
  });
  expect(expected.every(({ connected, digits }) => digits > connected && connected > 0)).toBe(true);
});
