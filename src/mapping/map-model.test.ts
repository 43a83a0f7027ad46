import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { ARCHITECTURES, matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { forward, newSession } from '../model/forward.ts';
import { buildLayers, type Model, type ModelLayers, openModel } from '../model/model.ts';
import { blockMatrices, modelShape } from '../model/shape.ts';
import { bits32, gaussian, streamKey } from '../random.ts';
import { relativeDifference } from '../testing/mapping.ts';
import { fixtureModel } from '../testing/models.ts';
import { mappedLinear } from './apply.ts';
import { estimateMapping } from './estimate.ts';
import { scaleWeightColumns } from './fold.ts';
import { rotateColumns, rotateRows, rotationOf, unrotateRows } from './hadamard.ts';
import { createImage, type ImageReader, openImage } from './image.ts';
import type { ImageHeader } from './image-format.ts';
import type { ImageMatrix } from './image-matrix.ts';
import { gainKey, mapModel, shareStages } from './map-model.ts';
import { chooseMethod, METHODS, probedBlocks } from './method.ts';
import { listenToModel, modelSource } from './model-source.ts';
import { newWorkspace, type Workspace } from './numerics/workspace.ts';
import {
  allowedRotations,
  type MappingMethod,
  outputRotation,
  requireAllowed,
  residualRotation,
  stageInput,
} from './plan.ts';
import type { ChipErrors } from './predict.ts';
import { prepareInput, prepareWeights } from './prepare.ts';
import { type MatrixLine, matrixLine, summarise } from './report.ts';
import type { MappingSource } from './stage-job.ts';

const TILE_ROWS = 96;
const TOKENS = 60;
const folder = mkdtempSync(join(tmpdir(), 'onefet-mapping-'));
afterAll(() => rmSync(folder, { recursive: true }));

let model: Model;
let source: MappingSource;
let digital: Float32Array[];
let workspace: Workspace;
const text = (t: number): number => bits32(streamKey(11), t) % 1024;

function logitsOf(layers: ModelLayers, tokens: number): Float32Array[] {
  const session = newSession(model, layers, tokens);
  return Array.from({ length: tokens }, (_, t) =>
    forward(session, text(t), { window: 0, position: t }).slice(),
  );
}

beforeAll(async () => {
  model = openModel(fixtureModel('small'));
  const { listening, statistics } = await listenToModel(model, buildDigital);
  digital = logitsOf(buildLayers(model, listening), TOKENS);
  source = modelSource(model, statistics);
  workspace = await newWorkspace({ outputs: 320, inputs: 320, tileRows: TILE_ROWS });
});
afterAll(() => model.close());

const NAME = 'a'.repeat(64);
const headerOf = (method: MappingMethod): ImageHeader => ({
  model: { name: 'small', sha256: NAME },
  design: { name: 'test', sha256: NAME },
  text: { name: 'random', sha256: NAME, tokens: TOKENS },
  method: { name: method.name, settings: {}, reasons: [] },
  residual: residualRotation(model.shape, method),
});

async function mapToImage(
  method: MappingMethod,
  bits: 3 | 4 | 6,
  threads = 1,
  from = source,
): Promise<ImageReader> {
  const own = from === source ? '' : '-adapted';
  const path = join(folder, `${method.name}-${bits}-${method.coding.rank}-${threads}${own}.image`);
  const writer = createImage(path, headerOf(method));
  await mapModel(
    from,
    {
      has: (name) => writer.resumed.has(name),
      vector: (name, values) => writer.writeVector(name, values),
      matrix: (matrix) => writer.writeMatrix(matrix),
    },
    { method, tileRows: TILE_ROWS, bits: () => bits, threads },
  );
  writer.finish();
  return openImage(path);
}

/** The model's layers as an image says; `weightsOf` puts other weights in the place of the codes. */
function mappedLayers(image: ImageReader, weightsOf?: (name: LinearName) => Float32Array): ModelLayers {
  const rotation = image.header.residual && rotationOf(image.header.residual);
  const plain = buildLayers(model, (name, outputs, inputs, row) => {
    if (name.layer < 0) return buildDigital(name, outputs, inputs, row);
    const apply = mappedLinear(image.readMatrix(tensorKey(name)), weightsOf?.(name));
    return { outputs, inputs, apply: (y, a) => apply(y, a) };
  });
  const head = plain.output;
  return {
    ...plain,
    embedding(id, out) {
      plain.embedding(id, out);
      if (rotation) rotateRows(out, 1, rotation);
    },
    blocks: plain.blocks.map((block, layer) => ({
      ...block,
      norms: {
        attentionInput: image.readVector(gainKey(layer, 'attention-input')),
        feedForwardInput: image.readVector(gainKey(layer, 'feed-forward-input')),
      },
    })),
    // The head reads the stream as it was before the rotation.
    outputNorm: new Float32Array(model.shape.dim).fill(1),
    output: {
      ...head,
      apply(y, a, at) {
        const x = a.slice();
        if (rotation) unrotateRows(x, 1, rotation);
        for (let j = 0; j < x.length; j++) x[j] *= plain.outputNorm[j];
        head.apply(y, x, at);
      },
    },
  };
}

/** What the codes of a method stand for: the exact weights in the rows' basis. */
function exactWeights(method: MappingMethod, name: LinearName): Float32Array {
  const { shape } = model;
  const stage = STAGES.find((s) => matricesReading(shape.architecture, s).includes(name.ordinal))!;
  const weights = source.weights(name);
  const gain = source.gain(name.layer, stage);
  const statistics = source.statistics(name.layer, stage) as ReturnType<typeof prepareInput>['statistics'];
  const outputs = weights.length / statistics.inputs;
  if (gain) scaleWeightColumns(weights, outputs, gain);
  const rotation = outputRotation(shape, method, shape.architecture.matrices[name.ordinal]);
  if (rotation) rotateColumns(weights, statistics.inputs, rotationOf(rotation));
  const input = prepareInput(workspace, statistics, stageInput(shape, method, stage).input);
  return prepareWeights(workspace, input, weights, outputs).weights;
}

const everything: MappingMethod = {
  ...METHODS.rotated,
  name: 'everything',
  principal: 4,
  coding: { ...METHODS.rotated.coding, rank: 3 },
};

// Independent case: the model as shipped.
test.each([
  METHODS.round,
  METHODS.centred,
  METHODS.scaled,
  METHODS.rotated,
  { ...everything, coding: METHODS.rotated.coding },
])('with exact weights in place of codes, an image computes the model: $name', async (method) => {
  const image = await mapToImage(method, 4);
  const found = logitsOf(
    mappedLayers(image, (name) => exactWeights(method, name)),
    20,
  );
  expect(Math.max(...found.map((logits, t) => relativeDifference(logits, digital[t])))).toBeLessThan(1e-4);
  expect(image.matrices.size).toBe(14);
  image.close();
});

test.each([METHODS.round, METHODS.scaled, { ...everything, coding: METHODS.rotated.coding }])(
  'adapters lie beside the tiles, in their basis: $name',
  async (method) => {
    // Independent case: the model with W + B A in the place of W.
    const adapter = ({ layer, tensor }: LinearName) => {
      if (!['attn_q', 'attn_v', 'attn_output', 'ffn_down'].includes(tensor) || layer !== 1) return undefined;
      const { outputs, inputs } = blockMatrices(model.shape, layer).find(
        ({ name }) => name.tensor === tensor,
      )!;
      const [b, a] = [streamKey(21, outputs, inputs), streamKey(22, outputs, inputs)];
      return {
        rank: 3,
        up: Float32Array.from({ length: outputs * 3 }, (_, i) => gaussian(b, i) / 8),
        down: Float32Array.from({ length: 3 * inputs }, (_, i) => gaussian(a, i) / 8),
      };
    };
    const merged = buildLayers(model, (name, outputs, inputs, row) => {
      const path = name.layer < 0 ? undefined : adapter(name);
      return buildDigital(name, outputs, inputs, (n, out) => {
        row(n, out);
        for (let r = 0; path && r < path.rank; r++) {
          for (let j = 0; j < inputs; j++) out[j] += path.up[n * path.rank + r] * path.down[r * inputs + j];
        }
      });
    });
    const expected = logitsOf(merged, 20);
    expect(relativeDifference(expected[19], digital[19])).toBeGreaterThan(0.02);
    const image = await mapToImage(method, 4, 1, { ...source, adapter });
    const found = logitsOf(
      mappedLayers(image, (name) => exactWeights(method, name)),
      20,
    );
    expect(Math.max(...found.map((logits, t) => relativeDifference(logits, expected[t])))).toBeLessThan(1e-4);
    expect(image.matrices.get('blk.1.attn_q')).toMatchObject({ side: 3 });
    expect(image.matrices.get('blk.0.attn_q')).toMatchObject({ side: 0 });
    image.close();
  },
);

test('better methods are nearer to the model', async () => {
  const distances: number[] = [];
  for (const [method, bits] of [
    [METHODS.round, 3],
    [METHODS.round, 4],
    [METHODS.centred, 4],
    [everything, 4],
    [METHODS.rotated, 6],
  ] as const) {
    const image = await mapToImage(method, bits);
    const found = logitsOf(mappedLayers(image), 40);
    let [error, signal] = [0, 0];
    found.forEach((logits, t) => {
      logits.forEach((x, v) => {
        error += (x - digital[t][v]) ** 2;
        signal += digital[t][v] ** 2;
      });
    });
    distances.push(error / signal);
    image.close();
  }
  for (let i = 1; i < distances.length; i++) expect(distances[i]).toBeLessThan(distances[i - 1]);
  expect(distances[4]).toBeLessThan(2e-3);
});

test('a run that was stopped goes on with what is missing, and progress reaches its end', async () => {
  const done = new Map<string, ImageMatrix>();
  const vectors = new Set<string>();
  const sink = {
    has: (name: string) => done.has(name) || vectors.has(name),
    vector: (name: string) => void vectors.add(name),
    matrix: (matrix: ImageMatrix) => void done.set(matrix.name, matrix),
  };
  const controller = new AbortController();
  const progress: number[] = [];
  const options = {
    method: METHODS.scaled,
    tileRows: TILE_ROWS,
    bits: () => 4 as const,
    onProgress: (at: number, total: number) => {
      progress.push(at / total);
      if (progress.length === 3) controller.abort();
    },
  };
  await expect(mapModel(source, sink, { ...options, signal: controller.signal })).rejects.toThrow();
  expect(done.size).toBe(6);
  const first = done.get('blk.0.attn_q');
  await mapModel(source, sink, options);
  expect(done.size).toBe(14);
  expect(vectors.size).toBe(4);
  expect(done.get('blk.0.attn_q')).toBe(first);
  expect(progress.at(-1)).toBeCloseTo(1, 12);
  expect([...progress].sort((a, b) => a - b)).toEqual(progress);
});

test('the report: cells, digital numbers and errors by tensor', async () => {
  const lines: MatrixLine[] = [];
  await mapModel(
    source,
    {
      has: () => false,
      vector: () => undefined,
      matrix: (matrix, report) => void lines.push(matrixLine(matrix.name, matrix, report)),
    },
    {
      method: METHODS.centred,
      tileRows: TILE_ROWS,
      bits: ({ tensor }) => (tensor === 'attn_k' || tensor === 'attn_v' ? 6 : 4),
      everyStep: true,
    },
  );
  const summary = summarise(lines);
  const [q, k] = lines;
  expect(q).toMatchObject({ name: 'blk.0.attn_q', bits: 4, weights: 128 * 128, cells: 128 * 128 });
  expect(k).toMatchObject({ name: 'blk.0.attn_k', bits: 6, weights: 64 * 128, cells: 2 * 64 * 128 });
  expect(q.digitalNumbers).toBe(128 * 2 + 128 + 128); // scales of two tiles, mean, addend
  expect(q.steps.map(({ step }) => step)).toEqual([
    'scales',
    'gptq',
    'refit',
    ...['descent', 'refit', 'descent', 'refit'],
  ]);
  expect(k.error).toBeLessThan(0.2 * q.error);
  expect(q.zeroShare).toBeGreaterThan(0);
  // Of 172,032 weights a block, 16,384 are k and v.
  expect(summary.cellsPerWeight).toBeCloseTo(1 + 16_384 / 172_032, 12);
  expect(Object.keys(summary.errorByTensor)).toHaveLength(7);
});

test('threads share the stages, and change no byte of the image', async () => {
  const method = { ...METHODS.scaled, coding: { ...METHODS.scaled.coding, rank: 2 } };
  const [alone, together] = [await mapToImage(method, 4), await mapToImage(method, 4, 2)];
  expect(readFileSync(together.path)).toEqual(readFileSync(alone.path));
  alone.close();
  together.close();
  expect(shareStages(model.shape, 9)).toHaveLength(4);
  expect(shareStages(model.shape, 2).flat()).toHaveLength(4);
});

test('what a mapping of Llama 3.1 8B will take', () => {
  const shape = modelShape({
    ...model.shape,
    dim: 4096,
    ffnDim: 14_336,
    layers: 32,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
  });
  const { operations, memoryBytes } = estimateMapping(shape, METHODS.centred, 256, 12_288, 2);
  // 11 passes over K^2 N = 1.5e12 per block, 1.0e14 of statistics, 0.3e14 of factors.
  expect(operations / 1e14).toBeGreaterThan(6);
  expect(operations / 1e14).toBeLessThan(7.5);
  // Beside it: the sums of one block, 1 GB, the streams and an engine of one block.
  expect(memoryBytes).toBeLessThan(6e9);
});

test('rotations that an architecture does not allow are refused', () => {
  const { shape } = model;
  expect(allowedRotations(shape)).toEqual({ residual: true, heads: true, hidden: true });
  const biased = modelShape({ ...shape, biases: ['attn_v', 'ffn_down'] });
  expect(allowedRotations(biased)).toEqual({ residual: false, heads: false, hidden: true });
  expect(() => requireAllowed(biased, METHODS.rotated)).toThrow('does not allow a rotation of its residual');
  requireAllowed(biased, METHODS.scaled);
  // Nothing in front of olmo2's matrices could divide the scales out.
  const behind = modelShape({ ...shape, architecture: ARCHITECTURES.get('olmo2')! });
  expect(allowedRotations(behind).residual).toBe(false);
  expect(() => requireAllowed(behind, METHODS.scaled)).toThrowError(
    expect.objectContaining({ kind: 'usage', code: 'MAPPING_SCALES' }),
  );
  requireAllowed(behind, METHODS.centred);
});

test('auto rotates where cells match well, and does not where they do not', async () => {
  // Inputs with a few loud elements whose weights are small, as real models have.
  const shape = modelShape({ ...model.shape, layers: 1 });
  const statistics = (_: number, stage: Stage) => {
    const inputs = stage === 'feed-forward-hidden' ? shape.ffnDim : shape.dim;
    const [noise, loud] = [streamKey(3, inputs), streamKey(4, inputs)];
    const rms = Float32Array.from({ length: inputs }, (_, j) => Math.exp(1.2 * gaussian(loud, j)));
    const moments = new Float32Array(inputs * inputs);
    for (let j = 0; j < inputs; j++) moments[j * inputs + j] = rms[j] ** 2;
    const sample = Float32Array.from({ length: 64 * inputs }, (_, i) => rms[i % inputs] * gaussian(noise, i));
    return { inputs, tokens: 64, mean: new Float32Array(inputs), moments, sample };
  };
  const drawn: MappingSource = {
    ...source,
    shape,
    statistics,
    weights(name) {
      const weights = source.weights(name);
      const { inputs, moments } = statistics(
        0,
        name.tensor === 'ffn_down' ? 'feed-forward-hidden' : 'attention-input',
      );
      return weights.map((w, i) => w / Math.sqrt(moments[(i % inputs) * (inputs + 1)]));
    },
  };
  const chip: ChipErrors = {
    input: { bits: 6, codes: 'linear', dynamicRange: 63 },
    scale: 'tile',
    adcBits: 8,
    rangeQuantile: 0.9995,
    cellSigma: 0,
    columnGainSigma: 0.005,
    offsetLsb: 0.3,
    whiteVariance: 1e-4,
    samplingVariance: 1e-5,
    lineVariance: 0,
  };
  const costs = (attention: number, feedForward: number): Record<Stage, number> => ({
    'attention-input': attention,
    'feed-forward-input': feedForward,
    'attention-output': 1,
    'feed-forward-hidden': 1,
  });
  const options = { tileRows: TILE_ROWS, principal: 0, bits: () => 4 as const, klPerError: costs(7, 15) };
  const matched = await chooseMethod(drawn, chip, options);
  expect(matched.method).toMatchObject({ name: 'auto', centre: true, rotate: { hidden: true } });
  expect(matched.reasons).toHaveLength(3);
  expect(matched.reasons[2]).toMatch(/^hidden: rotated online .* against centred/);
  expect(matched.trials.filter(({ chosen }) => chosen)).toHaveLength(3);
  for (const { error } of matched.trials) {
    expect(error.total).toBeCloseTo(error.coding + error.input + error.mismatch + error.converter, 10);
  }
  // The mean of query, key and value and that of gate and up, and 3 x 7 of the one with 2 x 15 of the other.
  const [attention, feedForward] = await Promise.all(
    [costs(1, 0), costs(0, 1)].map(async (klPerError) => {
      const { trials } = await chooseMethod(drawn, chip, { ...options, klPerError });
      return trials[0].error.total;
    }),
  );
  expect(Math.abs(attention / feedForward - 1)).toBeGreaterThan(1e-3);
  expect(matched.trials[0].error.total).toBeCloseTo((21 * attention + 30 * feedForward) / 51, 10);
  const mismatched = await chooseMethod(drawn, { ...chip, cellSigma: 0.5 }, options);
  expect(mismatched.method.rotate).toEqual({ residual: false, heads: false, hidden: false });
  expect(probedBlocks(30)).toEqual([10, 15, 20]);
  expect(probedBlocks(1)).toEqual([0]);
});
