/**
 * The numerics of the mapping stage: compiled kernels on one memory, and the addresses in it.
 *
 * Matrices live in two layouts, both f32:
 *   square  [rows][rows] row-major, rows padded to a multiple of 48, with ones on the diagonal of the padding
 *   panels  [outputs / 16][rows][16]: a weight matrix by 16 outputs, its rows being the inputs of the tiles
 */
import { type Arena, allocate, newArena } from '../../emit/arena.ts';
import { compileKernels } from '../../emit/compile.ts';
import { CONSTANTS_END, writeConstants } from '../../emit/constants.ts';
import { BLOCK_ROWS, multiply, multiplyPeak, PANEL_COLUMNS } from './kernels/multiply.ts';
import { packBlocks, packPanel, packRows } from './kernels/pack.ts';
import {
  accumulatePanel,
  butterflies,
  difference,
  dotRows,
  moveRows,
  project,
  residual,
} from './kernels/panels.ts';
import { sweep } from './kernels/sweep.ts';

/** Rows of a matrix are padded to a multiple of this: whole blocks of 6 and panels of 16. */
export const ROW_STEP = 48;
/** Rows of a block of GPTQ, of descent and of the factorisation. */
export const BLOCK = 96;
/** Depth of one packed product: 96 rows of it stay in the second-level cache, a panel in the first. */
export const DEPTH = 256;

export interface NumericsKernels {
  readonly multiply_set: Kernel;
  readonly multiply_add: Kernel;
  readonly multiply_subtract: Kernel;
  readonly multiply_peak: Kernel;
  readonly pack_blocks: Kernel;
  readonly pack_panel: Kernel;
  readonly pack_block_rows: Kernel;
  readonly pack_panel_rows: Kernel;
  readonly sweep: Kernel;
  readonly dot_rows: Kernel;
  readonly residual: Kernel;
  readonly difference: Kernel;
  readonly accumulate: Kernel;
  readonly butterflies: Kernel;
  readonly gather: Kernel;
  readonly scatter: Kernel;
  readonly project: Kernel;
}
type Kernel = (...operands: number[]) => void;

export interface Numerics {
  readonly kernels: NumericsKernels;
  readonly arena: Arena;
}

let compiled: Promise<WebAssembly.Module> | undefined;

/** A fresh memory of `bytes` with the kernels on it; the kernels are compiled once per thread. */
export async function newNumerics(bytes: number): Promise<Numerics> {
  compiled ??= compileKernels([
    multiply('set'),
    multiply('add'),
    multiply('subtract'),
    multiplyPeak(),
    packBlocks(),
    packPanel(),
    packRows(BLOCK_ROWS),
    packRows(PANEL_COLUMNS),
    sweep(),
    dotRows(),
    residual(),
    difference(),
    accumulatePanel(),
    butterflies(),
    moveRows('gather'),
    moveRows('scatter'),
    project(),
  ]);
  const module = await compiled;
  const arena = newArena(bytes + CONSTANTS_END, CONSTANTS_END);
  writeConstants(arena.memory);
  // The kernels' other memories are not used here.
  const other = newArena(1).memory;
  const instance = await WebAssembly.instantiate(module, {
    engine: { state: arena.memory, weights: other, tables: other },
  });
  return { kernels: instance.exports as unknown as NumericsKernels, arena };
}

/** `count` elements from byte `address` on. */
export function floats(numerics: Numerics, address: number, count: number): Float32Array {
  return new Float32Array(numerics.arena.memory.buffer, address, count);
}

export function words(numerics: Numerics, address: number, count: number): Int32Array {
  return new Int32Array(numerics.arena.memory.buffer, address, count);
}

/** Fresh zeroed room for `count` elements of 4 bytes. */
export function room(numerics: Numerics, count: number, what: string): number {
  return allocate(numerics.arena, 4 * count, what);
}

export const paddedRows = (rows: number): number => Math.ceil(rows / ROW_STEP) * ROW_STEP;
export const panelCount = (outputs: number): number => Math.ceil(outputs / PANEL_COLUMNS);
