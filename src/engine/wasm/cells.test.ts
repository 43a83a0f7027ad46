/** A chip's cells are the same however its texts are cut, shared among threads, and whether its weights are kept or made. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadFabric } from '../../fabric/registry.ts';
import { type Model, openModel } from '../../model/model.ts';
import { loadLogDomainDesign } from '../../testing/designs.ts';
import { logitsOf, runText, withEngine } from '../../testing/engines.ts';
import { fixtureModel } from '../../testing/models.ts';
import type { EngineTuning } from '../backend.ts';

const IDS = Int32Array.from({ length: 17 }, (_, i) => 3 + 5 * i);

let model: Model;
beforeAll(() => {
  model = openModel(fixtureModel('tiny'));
});
afterAll(() => model.close());

test.each([
  [],
  ['cell=t1'],
  ['cell=t1', 'mismatch.scale=2', 'tile.rows=40'],
  ['weights.bits=6', 'ladder.columns=16'],
  ['weights.bits=3', 'driver.offsetSigmaV=0.01'],
  ['mismatch.scale=0'],
])('logits of a chip with %j, bit for bit', async (...set) => {
  const fabric = loadFabric(loadLogDomainDesign('log-domain', set).design);
  const { ranges } = await runText('wasm', { model, fabric, mode: 'range' }, IDS);
  const logits = (tuning: EngineTuning, threads: number, prefilled = IDS.length) =>
    withEngine(
      'wasm',
      { model, fabric, mode: 'chip', chipSeed: 3, ranges, tuning, threads },
      async (engine) => {
        const found = await logitsOf(engine, IDS.subarray(0, prefilled), 2);
        for (const id of IDS.subarray(prefilled)) found.push((await engine.decode(id)).slice());
        return found;
      },
    );
  for (const precision of ['fast', 'exact'] as const) {
    const expected = await logits({ precision, cells: 'baked' }, 1);
    expect(await logits({ precision }, 2)).toEqual(expected);
    expect(await logits({ precision, batchTokens: 5 }, 7)).toEqual(expected);
    expect(await logits({ precision }, 1, 13)).toEqual(expected);
    expect(await logits({ precision, cells: 'baked', batchTokens: 1 }, 2)).toEqual(expected);
  }
});
