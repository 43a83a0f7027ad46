/** The whole set of kernels, and an instance of it on a state memory and a weights memory. */

import { compileKernels } from '../../../emit/compile.ts';
import { accumulate, accumulateTiles, convert, convertTiles, type NoiseKind } from './adc.ts';
import { cacheStore, multiply, products, softmax } from './attention.ts';
import { bake, transpose } from './bake.ts';
import { gate, norm, residual, rotate } from './between.ts';
import type { DotKind } from './dot.ts';
import { hashColumns, normals } from './draw.ts';
import { type Coding, encode, encodeBytes, largest } from './encode.ts';
import { gemm } from './gemm.ts';
import { gemv } from './gemv.ts';
import { panel } from './panel.ts';
import type { Epilogue } from './panel-job.ts';
import { absolute, prepare, type Source, zeroSums } from './prepare.ts';
import { quantise } from './quantise.ts';
import { recode } from './recode.ts';
import { record } from './record.ts';

export const SOURCES: readonly Source[] = ['bytes', 'codes'];
export const EPILOGUES: readonly Epilogue[] = [
  'accumulate',
  'record',
  ...(['off', 'token', 'product'] as const).flatMap((noise) =>
    [false, true].map((float) => ({ noise, float })),
  ),
];
const CODINGS: readonly Coding[] = ['table', 'noisy', 'plain'];

export function compileEngine(kind: DotKind): Promise<WebAssembly.Module> {
  const planes = [1, 2] as const;
  const noises: readonly NoiseKind[] = ['off', 'token', 'product'];
  return compileKernels([
    gemm(kind, false),
    gemm(kind, true),
    absolute(),
    accumulate(),
    accumulateTiles(),
    record(),
    hashColumns(kind),
    normals(kind),
    ...noises.flatMap((noise) =>
      [false, true].flatMap((float) => [convert(noise, float), convertTiles(noise, float)]),
    ),
    ...SOURCES.flatMap((source) => [
      prepare(kind, source),
      zeroSums(kind, source),
      ...planes.flatMap((count) => [gemv(kind, source, count, false), gemv(kind, source, count, true)]),
      ...EPILOGUES.flatMap((epilogue) => [panel(source, epilogue, true), panel(source, epilogue, false)]),
    ]),
    largest(),
    ...CODINGS.flatMap((coding) => planes.map((count) => encode(kind, coding, count))),
    encodeBytes(),
    recode(),
    quantise(),
    bake(),
    transpose(),
    norm(),
    rotate(),
    gate(),
    residual(),
    products('f16'),
    products('i8'),
    cacheStore('f16'),
    cacheStore('i8'),
    softmax(),
    multiply(),
  ]);
}

export type Kernels = Record<string, (...operands: number[]) => number>;

export async function instantiate(
  module: WebAssembly.Module,
  state: WebAssembly.Memory,
  weights: WebAssembly.Memory,
): Promise<Kernels> {
  return (await WebAssembly.instantiate(module, { engine: { state, weights } })).exports;
}
