/** Synthetic models: bytes, statistics, sane activations, refusals. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import { sha256 } from '../files.ts';
import { ARCHITECTURES } from '../model/architecture.ts';
import { forward, newSession } from '../model/forward.ts';
import { openGguf, readRow } from '../model/gguf.ts';
import { writeGguf } from '../model/gguf-writer.ts';
import { buildLayers, openModel } from '../model/model.ts';
import { ropeFactors } from '../model/rope.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { outlierChannels, recipeMetadata, recipeTensors, SYNTH_TYPES } from './recipe.ts';
import { loadWeightStatistics } from './statistics.ts';
import { planSynthesis, synthesise } from './synthesise.ts';

const root = mkdtempSync(join(tmpdir(), 'onefet-synth-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(root, 't'));
});

const statistics = loadWeightStatistics();

describe('bytes', () => {
  test('do not depend on the threads, do depend on the seed', async () => {
    // Matrices of several pieces (8 MB of embeddings), so that threads share them.
    const shape = { ...MODEL_SHAPES.tiny, name: 'wide', vocab: 8192, layers: 1 };
    const digest = async (threads: number, seed: number): Promise<string> => {
      const path = join(folder, 'm.gguf');
      await synthesise({ shape, type: 'F32', seed, path, threads, force: true });
      return sha256(readFileSync(path));
    };
    const one = await digest(1, 5);
    expect(await digest(3, 5)).toBe(one);
    expect(await digest(2, 6)).not.toBe(one);
    const recipe = { shape, type: 'F32', seed: 5, statistics } as const;
    writeGguf(join(folder, 'reference.gguf'), recipeMetadata(recipe), recipeTensors(recipe));
    expect(one).toBe(sha256(readFileSync(join(folder, 'reference.gguf'))));
  });

  test.each(Object.keys(SYNTH_TYPES))('%s: those of the sequential writer', async (type) => {
    const path = join(folder, 'm.gguf');
    const reference = join(folder, 'reference.gguf');
    const result = await synthesise({ shape: 'tiny', type, seed: 3, path, threads: 2 });
    const recipe = { shape: MODEL_SHAPES.tiny, type: result.type, seed: 3, statistics };
    writeGguf(reference, recipeMetadata(recipe), recipeTensors(recipe));
    expect(sha256(readFileSync(path))).toBe(sha256(readFileSync(reference)));
    expect(readdirSync(folder).sort()).toEqual(['m.gguf', 'reference.gguf']);
    const model = openModel(path);
    expect([model.parameterCount, model.file.sizeBytes]).toEqual([result.parameters, result.sizeBytes]);
    expect([model.synthetic, model.fileType]).toEqual([true, type]);
    model.close();
  });

  test('real sizes: 8.03 and 1.24 billion parameters, 4.66 GB in Q4_0', () => {
    const path = join(folder, 'm.gguf');
    const large = planSynthesis({ shape: 'llama-3.1-8b', type: 'Q4_0', path });
    // As published for both models; llama-quantize's Q4_0 file of the 8B is 4.66 GB.
    expect(large.parameters).toBe(8_030_261_248);
    expect(large.sizeBytes / 1e9).toBeCloseTo(4.66, 1);
    expect(planSynthesis({ shape: 'llama-3.2-1b', type: 'F16', path }).parameters).toBe(1_235_814_400);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('contents', () => {
  test('deviation of every matrix, outlier rows, norms, RoPE factors', async () => {
    const path = join(folder, 'm.gguf');
    await synthesise({ shape: 'tiny', type: 'F32', seed: 9, path, threads: 1 });
    const file = openGguf(path);
    const outliers = outlierChannels({ shape: MODEL_SHAPES.tiny, type: 'F32', seed: 9, statistics });
    expect(outliers.size).toBe(1); // 6 per 4096, at least one
    for (const tensor of file.tensors.values()) {
      if (tensor.shape.length === 1) continue;
      const [rows, columns] = tensor.shape;
      const kind = tensor.name.replace(/^blk\.\d+\.|\.weight$/g, '') as keyof typeof statistics.tensors;
      const law = statistics.tensors[kind];
      const out = new Float32Array(columns);
      const writes = kind === 'attn_output' || kind === 'ffn_down';
      let squares = 0;
      let count = 0;
      for (let n = 0; n < rows; n++) {
        readRow(file, tensor, n, out);
        const rowSquares = out.reduce((sum, x) => sum + x * x, 0);
        const expected = law.sigma ** 2 * law.fanIn; // of a row, whatever its length
        if (writes && outliers.has(n)) {
          expect(Math.sqrt(rowSquares / expected)).toBeGreaterThan(0.7 * statistics.outliers.factor);
        } else {
          expect(rowSquares / expected).toBeLessThan(2);
          squares += rowSquares / expected;
          count++;
        }
      }
      // The sample variance of n draws of a kurtosis below 4.5 deviates by sqrt(3.5 / n).
      expect(Math.abs(squares / count - 1)).toBeLessThan(5 * Math.sqrt(3.5 / (count * columns)));
    }
    const gains = new Float32Array(256);
    readRow(file, file.tensors.get('blk.1.ffn_norm.weight')!, 0, gains);
    expect(gains.reduce((a, b) => a + b) / 256).toBeCloseTo(1, 1);
    file.close();
  });

  test('RoPE factors: transformers\u2019 form of the rule', () => {
    for (const shape of [MODEL_SHAPES['llama-3.1-8b'], MODEL_SHAPES['llama-3.2-1b']]) {
      const { factor, originalContextTokens: context } = shape.ropeScaling;
      const factors = ropeFactors(shape, shape.ropeScaling);
      expect(factors.length).toBe(shape.headDim / 2);
      factors.forEach((value, j) => {
        // _compute_llama3_parameters: low_freq_factor 1, high_freq_factor 4.
        const frequency = 1 / 500_000 ** ((2 * j) / shape.headDim);
        const wavelength = (2 * Math.PI) / frequency;
        const smooth = (context / wavelength - 1) / 3;
        const scaled =
          wavelength > context
            ? frequency / factor
            : wavelength < context / 4
              ? frequency
              : ((1 - smooth) * frequency) / factor + smooth * frequency;
        expect(value).toBeCloseTo(frequency / scaled, 5);
      });
      expect([factors[0], factors[factors.length - 1]]).toEqual([1, factor]);
    }
  });

  test('activations stay sane over 32 layers', async () => {
    const path = join(folder, 'm.gguf');
    const shape = { ...MODEL_SHAPES.tiny, name: 'deep', layers: 32, ffnDim: 896 };
    await synthesise({ shape, type: 'F16', path, threads: 2 });
    const model = openModel(path);
    const layers = buildLayers(model, buildDigital);
    const ids = model.tokenizer.encode('The quick brown fox jumps over');
    expect(ids.length).toBe(31); // bytes, behind <|begin_of_text|>
    /** Behind n layers, over all tokens: rms of the residual stream, median and largest magnitude; rms of the logits. */
    const after = (n: number): { rms: number; median: number; largest: number; logits: number } => {
      const session = newSession({ ...model, shape: { ...model.shape, layers: n } }, layers, ids.length);
      const all: number[] = [];
      const logits: number[] = [];
      ids.forEach((id, position) => {
        logits.push(...forward(session, id, { window: 0, position }));
        all.push(...session.buffers.x);
      });
      const rms = (x: number[]): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);
      const magnitudes = all.map(Math.abs).sort((a, b) => a - b);
      return {
        rms: rms(all),
        median: magnitudes[magnitudes.length >> 1],
        largest: magnitudes[magnitudes.length - 1],
        logits: rms(logits),
      };
    };
    const depths = [0, 1, 8, 32];
    const stages = depths.map(after);
    stages.forEach((stage, i) => {
      const numbers = Object.entries(stage).map(([key, value]) => `${key} ${value.toFixed(3)}`);
      console.log(`residual stream behind ${depths[i]} layers: ${numbers.join(', ')}`);
    });
    // Independent contributions of equal size: the stream grows as the root of the depth, 2 from 8 layers to 32.
    expect(stages[3].median / stages[2].median).toBeGreaterThan(1.5);
    expect(stages[3].median / stages[2].median).toBeLessThan(2.7);
    expect(stages[3].rms).toBeLessThan(10);
    // Outlier channels stand out by about their factor.
    const outlierRatio = stages[3].largest / stages[3].median;
    expect(outlierRatio).toBeGreaterThan(20);
    expect(outlierRatio).toBeLessThan(200);
    // The head's sigma makes logits of deviation 2 from activations of rms 1.
    for (const { logits } of stages) expect(Math.abs(logits - 2)).toBeLessThan(0.4);
    model.close();
  });
});

describe('refusals and interruption', () => {
  const refuse = (options: Partial<Parameters<typeof synthesise>[0]>) =>
    expect(synthesise({ shape: 'tiny', path: join(folder, 'm.gguf'), threads: 1, ...options })).rejects;

  test('names and numbers', async () => {
    await refuse({ shape: 'llama-3.1-8B' }).toMatchObject({
      kind: 'usage',
      code: 'SYNTH_SHAPE',
      hint: 'did you mean llama-3.1-8b?',
    });
    await refuse({ type: 'q4_k' }).toMatchObject({ code: 'SYNTH_TYPE', hint: 'did you mean Q4_K?' });
    await refuse({ type: 'toString' }).toMatchObject({ code: 'SYNTH_TYPE' });
    for (const seed of [-1, 0.5, 2 ** 53]) await refuse({ seed }).toMatchObject({ code: 'SYNTH_SEED' });
    for (const threads of [0, 1.5]) await refuse({ threads }).toMatchObject({ code: 'SYNTH_THREADS' });
    const shape = { ...MODEL_SHAPES.tiny, name: 'odd', dim: 288 };
    await refuse({ shape, type: 'Q4_K' }).toMatchObject({
      code: 'SYNTH_SHAPE',
      message: expect.stringMatching(/token_embd.*288.*Q4_K/),
    });
    await refuse({ shape: { ...shape, vocab: 300 } }).toMatchObject({ code: 'SYNTH_SHAPE' });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('an existing file, unless forced; a folder always', async () => {
    const path = join(folder, 'm.gguf');
    writeFileSync(path, 'precious');
    await refuse({}).toMatchObject({ kind: 'usage', code: 'SYNTH_EXISTS' });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    await synthesise({ shape: 'tiny', path, threads: 1, force: true });
    openModel(path).close();
    mkdirSync(join(folder, 'taken'));
    await refuse({ path: join(folder, 'taken'), force: true }).toMatchObject({ code: 'SYNTH_EXISTS' });
  });

  test('a disk without room, before anything is written', async () => {
    // Some 6 TB.
    const shape = {
      ...MODEL_SHAPES['llama-3.1-8b'],
      name: 'huge',
      dim: 2 ** 16,
      ffnDim: 2 ** 18,
      layers: 24,
    };
    await refuse({ shape, type: 'F32' }).toMatchObject({
      kind: 'input',
      code: 'SYNTH_DISK',
      message: expect.stringMatching(/needs \d+.*GB.*free/),
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a folder that cannot be made', async () => {
    writeFileSync(join(folder, 'file'), '');
    await refuse({ path: join(folder, 'file', 'm.gguf') }).toMatchObject({
      kind: 'input',
      code: 'FILE_UNWRITABLE',
    });
  });

  test('progress, and an abort that leaves the old file and nothing else', async () => {
    const path = join(folder, 'm.gguf');
    writeFileSync(path, 'old');
    const seen: number[] = [];
    const result = await synthesise({
      shape: 'small',
      type: 'F32',
      path: join(folder, 'other.gguf'),
      threads: 2,
      onProgress: (done) => seen.push(done),
    });
    expect(seen.length).toBeGreaterThan(10);
    expect(seen.every((done, i) => i === 0 || done > seen[i - 1])).toBe(true);
    expect(seen[seen.length - 1]).toBe(result.sizeBytes);

    const controller = new AbortController();
    const aborted = synthesise({
      shape: 'small',
      type: 'F32',
      path,
      threads: 2,
      force: true,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(aborted).rejects.toMatchObject({ kind: 'interrupted', code: 'INTERRUPTED' });
    expect(readdirSync(folder).sort()).toEqual(['m.gguf', 'other.gguf']);
    expect(readFileSync(path, 'utf8')).toBe('old');
    await refuse({ signal: controller.signal, force: true }).toMatchObject({ code: 'INTERRUPTED' });
  });
});

test.each(['qwen3', 'phi3', 'olmo2', 'mistral3'])('a made-up %s opens with its shape', async (name) => {
  const { ropeScaling: _, ...tiny } = MODEL_SHAPES.tiny;
  const shape = { ...tiny, name, architecture: ARCHITECTURES.get(name)! };
  const path = join(folder, `${name}.gguf`);
  await synthesise({ shape, type: 'Q8_0', path, threads: 1 });
  const model = openModel(path);
  model.close();
  const { architecture, headDim, ffnDim, kvDim } = model.shape;
  expect([architecture, headDim, ffnDim, kvDim]).toEqual([
    shape.architecture,
    tiny.headDim,
    tiny.ffnDim,
    tiny.kvDim,
  ]);
});
