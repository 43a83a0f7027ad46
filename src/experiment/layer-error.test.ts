import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { toJson } from '../files.ts';
import { type Model, openModel } from '../model/model.ts';
import { blockMatrices } from '../model/shape.ts';
import { withEngine } from '../testing/engines.ts';
import { madeJob, smallPlan } from '../testing/jobs.ts';
import { fixtureModel, writeFixture } from '../testing/models.ts';
import { runFolder } from '../testing/run-folder.ts';
import { jobKey, type LayerErrorSums } from './job.ts';
import { layerTokens, openLayerErrors } from './layer-error.ts';
import { layerSnr, lowestSnr } from './layer-snr.ts';
import { planRun } from './plan.ts';
import { executeRun } from './run.ts';
import type { Variant } from './variant.ts';

const folder = runFolder('layer-error');
const ids = Int32Array.from({ length: 41 }, (_, i) => (i * 131 + 7) % 500);
const windows = [{ window: 0, ids, scoreFrom: 20, scoreTo: 40 }];
const fabric = loadFabric(loadDesign('digital', []).design);

/** Models of three blocks: as drawn, and with one matrix of the second block 10 % too large. */
function twoModels(): [Model, Model] {
  const open = (name: string, scale: number): Model => {
    const path = join(folder, `${name}.gguf`);
    writeFixture(path, {
      layers: 3,
      tensors: (tensors) =>
        tensors.map((tensor) =>
          tensor.name === 'blk.1.ffn_up.weight'
            ? {
                ...tensor,
                row(n, out) {
                  tensor.row(n, out);
                  for (let k = 0; k < out.length; k++) out[k] *= scale;
                },
              }
            : tensor,
        ),
    });
    return openModel(path);
  };
  return [open('right', 1), open('wrong', 1.1)];
}

let wasm: LayerErrorSums | undefined;

test.each([
  ['scalar', {}],
  ['wasm', {}],
  ['wasm', { batchTokens: 3 }],
] as const)(
  '%s %j: an error of one matrix is its own, and of all behind it along the stream',
  async (name, tuning) => {
    const [right, wrong] = twoModels();
    const path = join(folder, `${name}.f32`);
    const measure = (model: Model, variant: Variant): Promise<LayerErrorSums | undefined> =>
      withEngine(
        name,
        { model, fabric, mode: 'digital', tuning, threads: name === 'wasm' ? 2 : 1 },
        async (engine) => {
          const job = { key: variant.kind, variant, windows, number: 0, baselineRow: 0 };
          const layers = openLayerErrors(job, path, model.shape)!;
          expect(layers.visitors.from).toBe(20);
          await engine.prefill(ids.subarray(0, 40), 0, undefined, 40, layers.visitors);
          return layers.finish(engine);
        },
      );
    expect(await measure(right, { kind: 'digital' })).toBeUndefined();
    const same = (await measure(right, { kind: 'recoded' }))!;
    expect(same.positions).toBe(20);
    expect([...same.local, ...same.stream].flat().every((error) => error === 0)).toBe(true);
    expect(same.signal.flat().every((energy) => energy > 0)).toBe(true);
    const found = (await measure(wrong, { kind: 'recoded' }))!;
    const changed = blockMatrices(right.shape, 1).findIndex(({ name: { tensor } }) => tensor === 'ffn_up');
    found.local.forEach((own, layer) => {
      own.forEach((error, ordinal) => {
        if (layer !== 1 || ordinal !== changed) expect(error).toBe(0);
      });
    });
    // The same sums to the last bit, however many tokens come at a time.
    if (name === 'wasm') {
      wasm ??= found;
      expect(found).toEqual(wasm);
    }
    // Of weights: int8 in blocks of 32 in WebAssembly.
    expect(found.local[1][changed] / found.signal[1][changed]).toBeCloseTo(0.01, 3);
    found.stream.flat().forEach((error, i) => {
      const place = i - (7 + changed);
      if (place < 0) expect(error).toBe(0);
      else expect(error, `matrix ${i}`).toBeGreaterThan(0);
    });
    right.close();
    wrong.close();
  },
);

test('as many tokens as 64 MB hold: seven of Llama 3.1 8B, 32 at most, scored ones', () => {
  const { shape } = planRun({ model: fixtureModel('tiny'), contextTokens: 64, maxWindows: 1 }).inputs.model;
  expect(layerTokens(shape, { window: 0, ids, scoreFrom: 10, scoreTo: 63 })).toBe(32);
  expect(layerTokens(shape, { window: 0, ids, scoreFrom: 10, scoreTo: 15 })).toBe(5);
  const large = { ...shape, layers: 32, dim: 4096, ffnDim: 14336, queryDim: 4096, kvDim: 1024 };
  expect(layerTokens(large, { window: 0, ids, scoreFrom: 10, scoreTo: 63 })).toBe(7);
});

test('energies of chips add up; what gives nothing has no ratio; the worst layer is that of the most error', () => {
  const plan = smallPlan(folder);
  const jobs = [...plan.digitalJobs, ...plan.dependentJobs].map((job) => madeJob(plan, job, 1, 0.1));
  const finished = new Map(jobs.map((job) => [job.key, job]));
  const [first, second] = plan.chipSeeds.map((seed) => jobKey({ kind: 'chip', seed }, 0));
  const layers = finished.get(second)!.layers!;
  const signal = [layers.signal[0].with(2, 0)];
  for (const key of [jobKey({ kind: 'recoded' }, 0), first]) {
    finished.set(key, { ...finished.get(key)!, layers: { ...layers, signal } });
  }
  finished.set(second, {
    ...finished.get(second)!,
    layers: { ...layers, signal, local: [layers.local[0].map(() => 19)] },
  });
  const { matrices, lowest } = layerSnr(plan, finished);
  expect(matrices.map(({ tensor }) => tensor)).toEqual([
    'attn_q',
    'attn_k',
    'attn_output',
    'ffn_gate',
    'ffn_up',
    'ffn_down',
  ]);
  expect(matrices[0].recoded.localDb).toBeCloseTo(20, 9);
  expect(matrices[0].chips.localDb).toBeCloseTo(10, 9);
  expect(lowest.stream!.matrix).toMatchObject({ layer: 0, tensor: 'ffn_down' });
  const chips = (localDb: number | null) => ({ localDb, streamDb: null });
  const of = (layer: number, tensor: string, db: number | null) => ({
    ...{ layer, tensor, recoded: chips(null), chips: chips(db) },
  });
  const some = [of(0, 'a', 10), of(0, 'b', null), of(1, 'a', 11), of(1, 'b', 11)];
  // Layer 0: (0.1 + 0) / 2, layer 1: 0.079.
  expect(lowestSnr(some, 'localDb')).toEqual({
    matrix: { layer: 0, tensor: 'a', snrDb: 10 },
    layer: { layer: 1, snrDb: expect.closeTo(11, 9) },
  });
  expect(lowestSnr(some, 'streamDb')).toBeNull();
});

test('a run without any error says so, and has no number that is none', async () => {
  const result = await executeRun(
    planRun({
      ...{ model: fixtureModel('tiny'), design: 'gpu', contextTokens: 32, maxWindows: 1, chips: 1 },
      ...{ text: 'experiments/texts/stories.txt', threads: 1, out: join(folder, 'exact') },
    }),
    { cacheFolder: join(folder, 'cache') },
  );
  expect(result.layerSnr.matrices.length).toBe(7);
  for (const { recoded, chips } of result.layerSnr.matrices) {
    expect([recoded, chips]).toEqual(Array(2).fill({ localDb: null, streamDb: null }));
  }
  expect(result.layerSnr.lowest).toEqual({ local: null, stream: null });
  expect(() => toJson(result, 'the result')).not.toThrow();
});
