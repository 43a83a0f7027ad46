/** `onefet sensitivity`: what the code of each matrix of a chip image costs its model, for mapping.sensitivity. */
import { existsSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { stringify } from 'yaml';
import { chooseBackend, requireFreeMemory } from '../engine/create.ts';
import type { EngineChoice } from '../engine/names.ts';
import { interrupted, OnefetError } from '../error.ts';
import { EMBEDDED_CALIBRATION } from '../fabric/common-design.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { displayPath, readTextFile, requireDataFile, sha256, writeFileAtomic } from '../files.ts';
import { mappingRate } from '../mapping/estimate.ts';
import { type ImageReader, openImage } from '../mapping/image.ts';
import { type Model, modelPart, openModel } from '../model/model.ts';
import { type HarmHooks, harmBytes, harmOperations, measuredBlocks, measureHarm } from './harm-pass.ts';
import { givenImage } from './run-mapping.ts';
import { MEASURED_SCHEMA, type MeasuredSensitivity } from './sensitivity.ts';

export interface SensitivityOptions {
  readonly model: string;
  /** A chip image with the bits that every matrix has before cells are added. */
  readonly image: string;
  /** Not the text that is scored; default: that of mapping.text. */
  readonly text?: string | undefined;
  /** Of the text; half of them are scored. */
  readonly tokens: number;
  /** Every so many blocks are measured, beside the first two and the last two. */
  readonly every: number;
  readonly threads: number;
  readonly engine: EngineChoice;
}

/** Tokens of a window: more passages say more than longer ones. */
const WINDOW_TOKENS = 256;

export interface SensitivityDescription {
  readonly model: string;
  readonly image: string;
  readonly tokens: number;
  readonly matrices: number;
  readonly blocks: readonly number[];
  readonly operations: number;
  readonly seconds: number;
  readonly memoryBytes: number;
  readonly freeBytes: number;
}

async function withImage<T>(
  options: SensitivityOptions,
  work: (model: Model, image: ImageReader, windows: Int32Array[], file: string) => Promise<T>,
): Promise<T> {
  const model = openModel(options.model);
  try {
    givenImage(model.sha256(), options.image);
    const image = openImage(options.image);
    try {
      const text = options.text ?? requireDataFile(EMBEDDED_CALIBRATION, 'calibration text');
      return await work(model, image, windowsOf(model, text, options.tokens), displayPath(text));
    } finally {
      image.close();
    }
  } finally {
    model.close();
  }
}

/** Windows spread evenly over the text, each at the end of its share: what an image was made of lies at the text's beginning. */
function windowsOf(model: Model, text: string, tokens: number): Int32Array[] {
  const whole = readTextFile(text, 'text', { mostBytes: 2 ** 28 });
  const { tokenizer, shape } = model;
  // No tokenizer needs sixteen characters for a token of prose: the rest is not read through.
  const ids = tokenizer.encode(whole.slice(0, 64 * tokens));
  const length = Math.min(WINDOW_TOKENS, tokens, shape.contextTokens);
  const count = Math.floor(tokens / length);
  if (ids.length < count * length) {
    throw new OnefetError('input', 'SENSITIVITY_TEXT', `${displayPath(text)} has ${ids.length} tokens`, {
      hint: `give a text of ${count * length} tokens or more, or fewer --tokens`,
    });
  }
  const step = Math.floor(ids.length / count);
  return Array.from({ length: count }, (_, window) => {
    const end = (window + 1) * step;
    const own = ids.slice(end - length, end);
    if (tokenizer.addBos && tokenizer.bosId !== undefined) own[0] = tokenizer.bosId;
    return own;
  });
}

/** The digital design in tiles of an image: exact arithmetic on its weights. */
const exactFabric = (image: ImageReader) =>
  loadFabric(loadDesign('digital', [`tile.rows=${[...image.matrices.values()][0].tileRows}`]).design);

/** The engine of one block, with the head where it is the last. */
function engineOf(model: Model, image: ImageReader, { engine, threads }: SensitivityOptions) {
  const last = modelPart(model, model.shape.layers - 1, 1, true);
  const needs = { model: last, fabric: exactFabric(image), threads, contextTokens: WINDOW_TOKENS };
  return chooseBackend(engine, needs, ['digital', 'mapped']);
}

/** What a measurement takes: operations, seconds at this machine's rate, memory. */
export function describeSensitivity(options: SensitivityOptions): Promise<SensitivityDescription> {
  return withImage(options, async (model, image, windows) => {
    const tokens = windows.reduce((sum, ids) => sum + ids.length, 0);
    const blocks = measuredBlocks(model.shape.layers, options.every);
    const operations = harmOperations(model.shape, blocks, tokens);
    const { threads } = options;
    return {
      model: model.name,
      image: displayPath(options.image),
      tokens,
      matrices: image.matrices.size,
      blocks,
      operations,
      seconds: operations / ((await mappingRate()) * Math.min(threads, availableParallelism())),
      memoryBytes: engineOf(model, image, options).memoryBytes + harmBytes(model.shape, blocks, tokens),
      freeBytes: freemem(),
    };
  });
}

/** Errors: IMAGE_MODEL, IMAGE_FIT, SENSITIVITY_BITS, OUT_EXISTS (usage), SENSITIVITY_TEXT (input). */
export function measureSensitivity(
  options: SensitivityOptions & { readonly out: string },
  hooks: HarmHooks,
): Promise<MeasuredSensitivity> {
  return withImage(options, async (model, image, windows, text) => {
    const { out, threads } = options;
    if (existsSync(out)) {
      throw new OnefetError('usage', 'OUT_EXISTS', `${out} exists already`, {
        hint: 'remove it, or name another file with --out',
      });
    }
    const bits = baseBits(image, options.image);
    const blocks = measuredBlocks(model.shape.layers, options.every);
    const tokens = windows.reduce((sum, own) => sum + own.length, 0);
    const chosen = engineOf(model, image, options);
    const memoryBytes = chosen.memoryBytes + harmBytes(model.shape, blocks, tokens);
    requireFreeMemory({ ...chosen, memoryBytes }, threads);
    const on = { fabric: exactFabric(image), threads, backend: chosen.backend };
    const kl = await measureHarm(model, image, windows, blocks, on, hooks);
    if (hooks.signal?.aborted) throw interrupted();
    const ids = windows.map((own) => new Uint8Array(own.buffer, own.byteOffset, own.byteLength));
    const measured: MeasuredSensitivity = {
      schema: MEASURED_SCHEMA,
      model: { name: model.name, sha256: model.sha256() },
      image: { method: image.header.method.name, sha256: image.sha256 },
      bits,
      text: { name: text, sha256: sha256(...ids), tokens },
      blocks,
      kl: Object.fromEntries(Object.entries(kl).map(([key, x]) => [key, Number(x.toPrecision(4))])),
    };
    const about =
      '# KL in nats per prediction of the model with one matrix coded, less that without: onefet sensitivity.\n';
    writeFileAtomic(out, about + stringify(measured));
    return measured;
  });
}

function baseBits(image: ImageReader, path: string): 3 | 4 {
  const [bits, ...others] = new Set([...image.matrices.values()].map((meta) => meta.bits));
  if (others.length === 0 && bits !== 6) return bits;
  throw new OnefetError(
    'usage',
    'SENSITIVITY_BITS',
    `${displayPath(path)} does not have 3 or 4 bits in every matrix`,
    { hint: 'map the model with weights.bits=3 or 4, without mapping.cellsPerWeight' },
  );
}
