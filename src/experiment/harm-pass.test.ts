/** What the code of each matrix costs: measured, written, and where the cells of a budget go by it. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createEngine, findBackend } from '../engine/create.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { fineMatrix, imageOutputRotation } from '../mapping/fine-codes.ts';
import { createImage, type ImageReader, openImage } from '../mapping/image.ts';
import type { ImageMatrix } from '../mapping/image-matrix.ts';
import { modelSource } from '../mapping/model-source.ts';
import { stageMatrices } from '../mapping/stage-job.ts';
import { STAGES } from '../model/architecture.ts';
import { F16 } from '../model/codecs/f16.ts';
import { type Model, openModel } from '../model/model.ts';
import { onefet } from '../testing/cli.ts';
import { writeFixture } from '../testing/models.ts';
import { harmBytes, harmOperations, measuredBlocks, measureHarm } from './harm-pass.ts';
import { newInputPass } from './input-pass.ts';
import { mapToFile } from './map.ts';
import { type MappingPlan, planMapping } from './mapping-plan.ts';
import { klDivergence, logSoftmax } from './metrics.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-harm-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** In place of the system's folder for passing files. */
const passing = join(folder, 'passing');
const path = join(folder, 'three-blocks.gguf');
let model: Model;
beforeAll(() => {
  mkdirSync(passing);
  vi.stubEnv('TMPDIR', passing);
  writeFixture(path, {
    ...{ dim: 64, ffnDim: 96, layers: 3, heads: 4, kvHeads: 2, codec: F16 },
    fields: { 'llama.context_length': { type: 'u32', value: 256 } },
  });
  model = openModel(path);
});
afterAll(() => {
  vi.unstubAllEnvs();
  model.close();
});

const settings = (method: string, ...more: string[]) => [
  'tile.rows=48',
  'weights.bits=3',
  'mapping.tokens=600',
  `mapping.method=${method}`,
  ...more,
];
const fabricOf = (method: string, ...more: string[]) =>
  loadFabric(loadDesign('digital', settings(method, ...more)).design);
const planOf = (method: string, ...more: string[]): MappingPlan =>
  planMapping(model, fabricOf(method, ...more))!;
const on = (name: 'wasm' | 'scalar' = 'wasm') => ({
  fabric: fabricOf('rotated'),
  threads: 1,
  backend: findBackend(name),
});
const windows = [Int32Array.from({ length: 96 }, (_, i) => (37 * i) % 251)];

async function mapped(method: string): Promise<string> {
  const plan = planOf(method);
  const file = join(folder, `${plan.key}.image`);
  const pass = newInputPass(model, plan.text.windows, on(), on().backend, undefined);
  await mapToFile(model, plan, pass, file, {});
  return file;
}

/** The image with some matrices in the place of its own. */
function changedImage(
  image: ImageReader,
  name: string,
  change: (matrix: ImageMatrix) => ImageMatrix,
): string {
  const file = join(folder, `${name}.image`);
  const writer = createImage(file, image.header);
  for (const vector of image.vectors.keys()) writer.writeVector(vector, image.readVector(vector));
  for (const key of image.matrices.keys()) writer.writeMatrix(change(image.readMatrix(key)));
  writer.finish();
  return file;
}

function fineOf(image: ImageReader, coded: ImageMatrix): ImageMatrix {
  const source = modelSource(model, () => Promise.reject(new Error('none')));
  const layer = Number(coded.name.split('.')[1]);
  const stage = STAGES.find((one) =>
    stageMatrices(model.shape, layer, one).some(({ name }) => `blk.${layer}.${name.tensor}` === coded.name),
  )!;
  const { name } = stageMatrices(model.shape, layer, stage).find(
    (one) => `blk.${layer}.${one.name.tensor}` === coded.name,
  )!;
  const kept = image.vectors.has(`blk.${layer}.${stage}.gain`)
    ? image.readVector(`blk.${layer}.${stage}.gain`)
    : undefined;
  const heads = image.matrices.get(`blk.${layer}.attn_output`)!.rotation;
  const matrix = model.shape.architecture.matrices[name.ordinal];
  return fineMatrix({
    part: coded,
    weights: source.weights(name),
    gain: source.gain(layer, stage)?.map((g, j) => g / kept![j]),
    outputRotation: imageOutputRotation(model.shape, image.header, heads, matrix),
  });
}

/** KL of the whole model on an image, of the windows' second halves. */
async function klOf(file: string): Promise<number> {
  const image = openImage(file);
  const logits = async (mode: 'digital' | 'mapped'): Promise<Float32Array[]> => {
    const engine = await createEngine('wasm', {
      ...{ model, fabric: on().fabric, mode, threads: 1, contextTokens: 96 },
      image: mode === 'mapped' ? image : undefined,
    });
    const rows: Float32Array[] = [];
    const see = (_position: number, row: Float32Array) => {
      const out = new Float32Array(row.length);
      logSoftmax(out, row);
      rows.push(out);
    };
    await engine.prefill(windows[0], 0, see, 48);
    await engine.close();
    return rows;
  };
  const [shipped, own] = [await logits('digital'), await logits('mapped')];
  image.close();
  return shipped.reduce((sum, row, i) => sum + klDivergence(row, own[i]), 0) / shipped.length;
}

test.each(['rotated', 'scaled'])(
  '%s: the weights as shipped in the bases of an image, in six bits, are the model as shipped',
  async (method) => {
    const file = await mapped(method);
    const image = openImage(file);
    const fine = changedImage(image, `fine-${method}`, (matrix) => fineOf(image, matrix));
    image.close();
    expect(await klOf(fine)).toBeLessThan(0.02 * (await klOf(file)));
  },
);

test('harm of single matrices: nothing where the code is that of six bits, most where it is wrong, and about the whole in sum', async () => {
  const file = await mapped('rotated');
  const image = openImage(file);
  const harm = await measureHarm(model, image, windows, [0, 1, 2], on());
  expect(Object.keys(harm)).toEqual([...image.matrices.keys()]);
  expect(Object.values(harm).every((kl) => kl >= 0)).toBe(true);
  const total = Object.values(harm).reduce((sum, kl) => sum + kl, 0);
  expect(total / (await klOf(file))).toBeGreaterThan(0.5);
  expect(total / (await klOf(file))).toBeLessThan(2);
  // Of another engine the same, to what its arithmetic differs by.
  const scalar = await measureHarm(model, image, windows, [0, 1, 2], on('scalar'));
  for (const [key, kl] of Object.entries(harm))
    expect(Math.abs(scalar[key] - kl)).toBeLessThan(0.1 * kl + 1e-4);

  // A block that is left out lies between its neighbours; those are what they were.
  const some = await measureHarm(model, image, windows, [0, 2], on());
  expect(some['blk.2.ffn_up']).toBe(harm['blk.2.ffn_up']);
  expect(some['blk.1.ffn_up']).toBeCloseTo((harm['blk.0.ffn_up'] + harm['blk.2.ffn_up']) / 2, 12);
  expect(measuredBlocks(12, 4)).toEqual([0, 1, 5, 9, 10, 11]);
  expect(measuredBlocks(3, 4)).toEqual([0, 1, 2]);

  const [fine, wrong] = ['blk.1.ffn_down', 'blk.0.attn_output'];
  const changed = changedImage(image, 'changed', (matrix) => {
    if (matrix.name === fine) return fineOf(image, matrix);
    return matrix.name === wrong ? { ...matrix, scales: matrix.scales.map((s) => 3 * s) } : matrix;
  });
  image.close();
  const other = openImage(changed);
  const after = await measureHarm(model, other, windows, [0, 1, 2], on());
  other.close();
  expect(after[fine]).toBe(0);
  expect(after[wrong]).toBeGreaterThan(5 * harm[wrong]);
  for (const key of Object.keys(harm)) if (key !== fine && key !== wrong) expect(after[key]).toBe(harm[key]);
  // Nothing is left of the blocks on the way.
  expect(readdirSync(passing).filter((name) => name.startsWith('onefet-harm-'))).toEqual([]);
});

test('the command writes what a budget of cells then goes by', async () => {
  const image = await mapped('rotated');
  const [file, text] = [join(folder, 'harm.yaml'), join(folder, 'text.txt')];
  writeFileSync(text, 'Once upon a time there was a small cat that sat on a mat and saw a dog. '.repeat(40));
  const flags = ['sensitivity', '--model', path, '--image', image, '--text', text, '--tokens', '128'];
  const dry = JSON.parse((await onefet('.', ...flags, '--dry-run', '--json')).stdout);
  expect(dry).toMatchObject({ tokens: 128, operations: harmOperations(model.shape, [0, 1, 2], 128) });
  expect(dry.memoryBytes).toBeGreaterThan(harmBytes(model.shape, [0, 1, 2], 128));
  const made = JSON.parse((await onefet('.', '--quiet', ...flags, '--out', file, '--json')).stdout);
  expect(Object.keys(made.kl)).toHaveLength(7 * model.shape.layers);
  const again = await onefet('.', ...flags, '--out', file);
  expect(again.stderr).toMatch(/exists already/);

  // Cells for one matrix: that whose code costs most per weight.
  const [dearest] = Object.keys(made.kl).sort(
    (a, b) => made.kl[b] / weightsOf(b) - made.kl[a] / weightsOf(a),
  );
  const all = Object.keys(made.kl).reduce((sum, key) => sum + weightsOf(key), 0);
  const budget = 1 + weightsOf(dearest) / all + 1e-9;
  const plan = planOf('rotated', `mapping.cellsPerWeight=${budget}`, `mapping.sensitivity=${file}`);
  expect([...plan.bits].filter(([, bits]) => bits === 6)).toEqual([[dearest, 6]]);
  // Without a budget the file changes nothing.
  expect(planOf('rotated', `mapping.sensitivity=${file}`).key).toBe(planOf('rotated').key);

  const stranger = join(folder, 'stranger.yaml');
  writeFileSync(stranger, readFileSync(file, 'utf8').replace(/sha256: \w{64}/, `sha256: ${'f'.repeat(64)}`));
  expect(() => planOf('rotated', `mapping.sensitivity=${stranger}`)).toThrowError(
    expect.objectContaining({ kind: 'usage', code: 'SENSITIVITY_MODEL' }),
  );
  writeFileSync(stranger, readFileSync(file, 'utf8').replace('bits: 3', 'bits: 5'));
  expect(() => planOf('rotated', `mapping.sensitivity=${stranger}`)).toThrowError(
    expect.objectContaining({ kind: 'input', code: 'SENSITIVITY' }),
  );
});

const weightsOf = (key: string): number => {
  const layer = Number(key.split('.')[1]);
  const matrix = STAGES.flatMap((stage) => stageMatrices(model.shape, layer, stage)).find(
    ({ name }) => `blk.${layer}.${name.tensor}` === key,
  )!;
  return matrix.outputs * matrix.inputs;
};
