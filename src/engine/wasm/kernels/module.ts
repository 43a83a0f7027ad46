/** The whole set of kernels, and an instance of it on a state memory, a weights memory and a tables memory. */

import { compileKernels } from '../../../emit/compile.ts';
import type { Kernel } from '../../../emit/wat.ts';
import { accumulate, accumulateTiles, convert, convertTiles, type NoiseKind } from './adc.ts';
import {
  type CacheKind,
  cacheStore,
  decodeCache,
  multiply,
  type PRODUCTS_OPERANDS,
  products,
  softmax,
} from './attention.ts';
import { gate, norm, residual, rotate, rotateHalves, scale, softCap } from './between.ts';
import { type GEMV_BLOCKS_OPERANDS, gemmBlocks, gemvBlocks, prepareBlock } from './blocks.ts';
import { batchByteBlocks, prepareByteBlock, singleByteBlocks } from './byte-blocks.ts';
import { cellKernels, type PREPARE_CELLS_OPERANDS } from './cells.ts';
import type { DotKind } from './dot.ts';
import { hashColumns, normals } from './draw.ts';
import {
  type ENCODE_BYTES_OPERANDS,
  type ENCODE_OPERANDS,
  type EncodeKind,
  type EncodeName,
  encode,
  encodeBytes,
  largest,
} from './encode.ts';
import { gemm } from './gemm.ts';
import { type GEMV_OPERANDS, type GemvName, gemv } from './gemv.ts';
import { layRows } from './lay-rows.ts';
import { type PACK_OPERANDS, packBlocks } from './pack-blocks.ts';
import { joinPhases, panel, takeShifts } from './panel.ts';
import { batchBlocks, singleBlocks } from './panel-blocks.ts';
import type { Epilogue, PanelName } from './panel-job.ts';
import { absolute, prepare, type Source, type StoredSource, sumWeights, zeroSums } from './prepare.ts';
import { quantise, transpose } from './quantise.ts';
import { type RECODE_OPERANDS, recode } from './recode.ts';
import { record, watch } from './record.ts';
import { butterflies, butterfliesWithin, mixApart, mixNeighbours } from './rotation.ts';
import { combine, project } from './side-path.ts';
import { touchWeights } from './touch.ts';

const STORED_SOURCES: readonly StoredSource[] = ['bytes', 'codes'];
export const SOURCES: readonly Source[] = [...STORED_SOURCES, 'cells'];
/** Of every source; `blocks` is of digital weights, and `accumulate` of codes that are mapped. */
const EPILOGUES: readonly Exclude<Epilogue, 'blocks'>[] = [
  'accumulate',
  'record',
  'watch',
  ...(['off', 'token', 'column', 'product'] as const).flatMap((noise) =>
    [false, true].map((float) => ({ noise, float })),
  ),
];
/** Weights of a chip have converters; ranges are measured on codes. */
export const epiloguesOf = (source: Source): readonly Exclude<Epilogue, 'blocks'>[] =>
  EPILOGUES.filter((epilogue) =>
    source === 'cells' ? typeof epilogue !== 'string' : source === 'codes' || epilogue !== 'accumulate',
  );
const ENCODE_KINDS: readonly EncodeKind[] = ['table', 'noisy', 'plain'];

export function compileEngine(kind: DotKind): Promise<WebAssembly.Module> {
  const planes = [1, 2] as const;
  const noises: readonly NoiseKind[] = ['off', 'token', 'column', 'product'];
  return compileKernels([
    gemm(kind, false),
    gemm(kind, true),
    absolute(),
    sumWeights(kind),
    joinPhases('differences'),
    joinPhases('sums'),
    takeShifts(),
    touchWeights(),
    accumulate(),
    accumulateTiles(),
    record(),
    watch(),
    hashColumns(kind),
    normals(kind),
    ...noises.flatMap((noise) =>
      [false, true].flatMap((float) => [convert(noise, float), convertTiles(noise, float)]),
    ),
    ...STORED_SOURCES.map((source) => prepare(kind, source)),
    zeroSums(kind),
    prepareBlock(kind),
    gemmBlocks(kind, true),
    gemmBlocks(kind, false),
    prepareByteBlock(kind),
    batchByteBlocks(),
    singleByteBlocks(kind),
    gemvBlocks(kind),
    packBlocks(),
    layRows(),
    batchBlocks(),
    singleBlocks(),
    ...cellKernels(kind),
    ...SOURCES.flatMap((source) => [
      ...planes.flatMap((count) => [gemv(kind, source, count, false), gemv(kind, source, count, true)]),
      ...epiloguesOf(source).flatMap((epilogue) => [
        panel(source, epilogue, true),
        panel(source, epilogue, false),
      ]),
    ]),
    largest(),
    ...ENCODE_KINDS.flatMap((coding) => planes.map((count) => encode(kind, coding, count))),
    encodeBytes(),
    recode(),
    quantise(),
    transpose(),
    norm(),
    rotate(),
    rotateHalves(),
    scale(),
    softCap(),
    gate('silu'),
    gate('gelu'),
    residual(),
    products(),
    decodeCache('f32'),
    decodeCache('f16'),
    decodeCache('i8'),
    cacheStore('f32'),
    cacheStore('f16'),
    cacheStore('i8'),
    softmax(),
    multiply(),
    butterfliesWithin(1),
    butterfliesWithin(2),
    butterflies(),
    mixNeighbours(),
    mixApart(),
    project(),
    combine('add'),
    combine('subtract'),
  ]);
}

/** The compiled kernels; operands in the order in which each one defines its parameters. */
export type Kernels = Readonly<
  FixedKernels &
    Record<EncodeName, Kernel<typeof ENCODE_OPERANDS>> &
    Record<GemvName, Kernel<typeof GEMV_OPERANDS>> &
    Record<PanelName, (job: number) => void> &
    Record<`decode_${CacheKind}`, (to: number, from: number, stride: number, count: number) => void> &
    Record<
      `cache_${CacheKind}`,
      (to: number, stride: number, from: number, count: number, scale: number) => void
    >
>;

interface FixedKernels {
  gemm_small(x: number, w: number, y: number, blocks: number, quads: number, planes: number): void;
  largest(a: number, quads: number, stats: number): void;
  lay_rows(from: number, stride: number, to: number, rows: number): void;
  zero_codes(src: number, table: number, zero: number, quads: number): void;
  prepare_codes(src: number, w: number, table: number, quads: number): void;
  sum_weights(w: number, out: number, quads: number): void;
  pack_blocks: Kernel<typeof PACK_OPERANDS>;
  encode_bytes: Kernel<typeof ENCODE_BYTES_OPERANDS>;
  recode: Kernel<typeof RECODE_OPERANDS>;
  quantise(w: number, rows: number, top: number, bytes: number, scales: number): void;
  prepare_cells: Kernel<typeof PREPARE_CELLS_OPERANDS>;
  gemv_blocks: Kernel<typeof GEMV_BLOCKS_OPERANDS>;
  transpose(bytes: number, to: number, quads: number): void;
  norm(y: number, x: number, gain: number, vectors: number, count: number, epsilon: number): void;
  rotate(x: number, table: number, vectors: number, heads: number): void;
  rotate_halves(x: number, table: number, vectors: number, heads: number, headBytes: number): void;
  scale(x: number, vectors: number, factor: number): void;
  soft_cap(x: number, vectors: number, factor: number, cap: number): void;
  gate(g: number, u: number, vectors: number): void;
  gate_gelu(g: number, u: number, vectors: number): void;
  residual(x: number, y: number, vectors: number): void;
  softmax(x: number, count: number, scale: number): void;
  products: Kernel<typeof PRODUCTS_OPERANDS>;
  multiply(x: number, scale: number, vectors: number): void;
  butterflies_1(x: number, vectors: number): void;
  butterflies_2(x: number, vectors: number): void;
  butterflies(x: number, vectors: number, groups: number): void;
  mix_neighbours(x: number, h: number, scratch: number, order: number, groups: number): void;
  mix_apart(x: number, h: number, scratch: number, order: number, vectors: number, groups: number): void;
  project(z: number, rows: number, x: number, count: number, vectors: number): void;
  combine_add(y: number, rows: number, z: number, count: number, vectors: number): void;
  combine_subtract(y: number, rows: number, z: number, count: number, vectors: number): void;
}

/** Without `tables`: for kernels that read no table of columns. */
export async function instantiate<K = Kernels>(
  module: WebAssembly.Module,
  state: WebAssembly.Memory,
  weights: WebAssembly.Memory,
  tables: WebAssembly.Memory = weights,
): Promise<K> {
  const { exports } = await WebAssembly.instantiate(module, { engine: { state, weights, tables } });
  return exports as unknown as K;
}
