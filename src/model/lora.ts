/**
 * LoRA adapters in llama.cpp's GGUF format (Hu et al. 2021, arXiv:2106.09685): a matrix W [N][K] of a block computes
 *
 *   y = W x + s B (A x),   A [r][K] (`<tensor>.lora_a`), B [N][r] (`<tensor>.lora_b`)
 *   s = scale alpha / r, or scale alone where the file's alpha is 0
 *
 * as llama.cpp has it (llama-adapter.h, get_scale; `adapter.lora.alpha`). On a chip the masks hold W, and B and A lie in SRAM
 * beside the tiles; the digital model is W + s B A (merge.ts).
 */
import { OnefetError } from '../error.ts';
import { displayPath, sha256 } from '../files.ts';
import type { AdapterChoice } from './adapter-choice.ts';
import { openGguf, readRow } from './gguf.ts';
import type { GgufFile, GgufTensor } from './gguf-file.ts';
import { blockMatrices, type ModelShape, sourceTensor } from './shape.ts';

/** s B [N][r] and A [r][K] of one matrix. */
export interface AdapterPart {
  readonly rank: number;
  readonly up: Float32Array;
  readonly down: Float32Array;
}

export interface Adapter extends AdapterChoice {
  readonly sha256: string;
  /** By the model's tensor, such as blk.0.attn_q.weight. */
  readonly ranks: ReadonlyMap<string, number>;
  /** The part of one of those tensors. */
  read(tensor: string): AdapterPart;
  close(): void;
}

/** Largest rank: adapters in use have 4 to 256. */
const MOST_RANK = 1024;

/**
 * Opens an adapter of a model. Errors are OnefetError('input', 'GGUF_...') of the file, and 'LORA_...': LORA_TYPE (no LoRA
 * adapter), LORA_MODEL (of another architecture), LORA_ALPHA, LORA_TENSOR (a tensor that is not one of a block's matrices,
 * without its other half, or of another shape).
 */
export function openAdapter({ path, scale }: AdapterChoice, shape: ModelShape): Adapter {
  const file = openGguf(path);
  try {
    const alpha = checkKind(file, shape);
    const ranks = readRanks(file, shape);
    return {
      path,
      scale,
      sha256: digestOf(file),
      ranks,
      read(tensor) {
        const rank = ranks.get(tensor)!;
        const [down, up] = ['a', 'b'].map((half) => readTensor(file, `${tensor}.lora_${half}`));
        const factor = alpha === 0 ? scale : (scale * alpha) / rank;
        return { rank, down, up: up.map((x) => factor * x) };
      },
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

function fail(file: GgufFile, code: string, what: string, hint?: string): never {
  throw new OnefetError(
    'input',
    code,
    `${displayPath(file.path)}: ${what}`,
    hint === undefined ? {} : { hint },
  );
}

/** Returns alpha. */
function checkKind(file: GgufFile, { architecture }: ModelShape): number {
  const { metadata } = file;
  const said = (key: string): string => JSON.stringify(metadata.get(key) ?? null);
  if (metadata.get('general.type') !== 'adapter' || metadata.get('adapter.type') !== 'lora') {
    const types = `general.type ${said('general.type')}, adapter.type ${said('adapter.type')}`;
    fail(
      file,
      'LORA_TYPE',
      `is no LoRA adapter: ${types}`,
      "llama.cpp's convert_lora_to_gguf.py writes them",
    );
  }
  if (metadata.get('general.architecture') !== architecture.name) {
    const own = said('general.architecture');
    fail(file, 'LORA_MODEL', `is an adapter of architecture ${own}, the model is ${architecture.name}`);
  }
  for (const key of metadata.keys()) {
    if (key.startsWith('adapter.') && key !== 'adapter.type' && key !== 'adapter.lora.alpha') {
      fail(file, 'LORA_TYPE', `${key} is not supported: it changes when or how the adapter acts`);
    }
  }
  const alpha = metadata.get('adapter.lora.alpha');
  if (typeof alpha !== 'number' || !Number.isFinite(alpha)) {
    fail(file, 'LORA_ALPHA', `adapter.lora.alpha is ${said('adapter.lora.alpha')}, not a number`);
  }
  return alpha;
}

function readRanks(file: GgufFile, shape: ModelShape): Map<string, number> {
  const matrices = new Map(
    Array.from({ length: shape.layers }, (_, layer) => blockMatrices(shape, layer))
      .flat()
      .map(({ name, outputs, inputs }) => [sourceTensor(name, shape), { outputs, inputs }]),
  );
  const ranks = new Map<string, number>();
  for (const name of file.tensors.keys()) {
    const [, tensor, half] = /^(.*)\.lora_([ab])$/.exec(name) ?? [];
    const matrix = tensor === undefined ? undefined : matrices.get(tensor);
    if (tensor === undefined || matrix === undefined) {
      fail(
        file,
        'LORA_TENSOR',
        `${name} does not belong to a matrix of one of the model's ${shape.layers} blocks`,
        'adapters of embeddings, heads and norms are not supported',
      );
    }
    const [a, b] = ['a', 'b'].map((x) => file.tensors.get(`${tensor}.lora_${x}`));
    if (!a || !b)
      fail(file, 'LORA_TENSOR', `${name} stands without ${tensor}.lora_${half === 'a' ? 'b' : 'a'}`);
    const rank = a.shape[0];
    const shown = (t: GgufTensor): string => t.shape.join(' x ');
    const fits = (t: GgufTensor, rows: number, columns: number): boolean =>
      t.shape.length === 2 && t.shape[0] === rows && t.shape[1] === columns;
    if (!fits(a, rank, matrix.inputs) || !fits(b, matrix.outputs, rank)) {
      fail(
        file,
        'LORA_TENSOR',
        `${tensor} is ${matrix.outputs} x ${matrix.inputs}; its adapter has B ${shown(b)} and A ${shown(a)}`,
        'the adapter belongs to another model',
      );
    }
    if (rank > MOST_RANK)
      fail(file, 'LORA_TENSOR', `${tensor} has rank ${rank}; at most ${MOST_RANK} are taken`);
    ranks.set(tensor, rank);
  }
  if (ranks.size === 0) fail(file, 'LORA_TENSOR', 'has no tensors');
  return ranks;
}

function readTensor(file: GgufFile, name: string): Float32Array {
  const tensor = file.tensors.get(name)!;
  const [rows, columns] = tensor.shape;
  const values = new Float32Array(rows * columns);
  for (let n = 0; n < rows; n++) readRow(file, tensor, n, values.subarray(n * columns, (n + 1) * columns));
  return values;
}

function digestOf(file: GgufFile): string {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < file.sizeBytes; at += 2 ** 24) {
    const part = new Uint8Array(Math.min(2 ** 24, file.sizeBytes - at));
    file.read(at, part);
    parts.push(new TextEncoder().encode(sha256(part)));
  }
  return sha256(Buffer.concat(parts));
}

/** The part of all adapters together: ranks add up. */
export function joinParts(parts: readonly AdapterPart[], outputs: number, inputs: number): AdapterPart {
  const rank = parts.reduce((sum, part) => sum + part.rank, 0);
  const [up, down] = [new Float32Array(outputs * rank), new Float32Array(rank * inputs)];
  let first = 0;
  for (const part of parts) {
    down.set(part.down, first * inputs);
    for (let n = 0; n < outputs; n++) {
      up.set(part.up.subarray(n * part.rank, (n + 1) * part.rank), n * rank + first);
    }
    first += part.rank;
  }
  return { rank, up, down };
}
