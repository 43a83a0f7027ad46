/**
 * Which kernels run: at start-up every variant of the dot product is checked against the scalar reference, the ones that
 * agree bit for bit are timed, and the fastest is taken. A wrong one is never used; when none is right, the engine
 * refuses to start.
 */

import { version, versions } from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import { newArena } from '../../../emit/arena.ts';
import { CONSTANTS_END, writeConstants } from '../../../emit/constants.ts';
import { OnefetError } from '../../../error.ts';
import { DOT_KINDS, type DotKind } from '../kernels/dot.ts';
import { compileEngine, instantiate, type Kernels, SOURCES } from '../kernels/module.ts';
import type { Source } from '../kernels/prepare.ts';
import { checkPaths, checkRotation } from './digital-check.ts';
import { keepKernel, knownKernel } from './known-kernel.ts';
import { checkPacking } from './pack-check.ts';
import { type CaseShape, checkPanels, type Memories } from './panel-check.ts';

const SHAPES: readonly CaseShape[] = [
  { rows: [64, 19], cells: 2, rank: 2, planes: 2, count: 13, small: false },
  { rows: [32, 32], cells: 1, rank: 1, planes: 1, count: 7, small: true },
  { rows: [64, 24], cells: 1, rank: 2, planes: 1, count: 1, small: true },
  { rows: [48], cells: 2, rank: 1, planes: 2, count: 1, small: false },
  { rows: [32, 32, 32], cells: 1, rank: 1, planes: 2, count: 1, small: true, blocks: true },
  { rows: [32, 32], cells: 1, rank: 1, planes: 2, count: 8, small: true, blocks: true },
  { rows: [32, 32, 12], cells: 2, rank: 1, planes: 2, count: 1, small: false, blocks: true },
  { rows: [32, 20], cells: 2, rank: 1, planes: 2, count: 8, small: false, blocks: true },
];

export interface ChosenKernels {
  readonly module: WebAssembly.Module;
  readonly kernel: DotKind;
  /** Why other variants were passed over: `wrong`, `slower`, or that they do not compile. */
  readonly rejected: Readonly<Partial<Record<DotKind, string>>>;
  /** 10^9 multiply-adds a second of each right one, one thread: `gemm_small` for inputs and weights of 7 bits. */
  readonly gmacPerSecond: Readonly<Partial<Record<DotKind, number>>>;
}

export type EngineKernels = Pick<ChosenKernels, 'module' | 'kernel'>;

let chosen: Promise<ChosenKernels> | undefined;
let taken: Promise<EngineKernels> | undefined;
/** The variants that are tried. */
let tried: readonly DotKind[] = DOT_KINDS;

/** From now on only these are tried: those that another processor would take, to measure what it would do. Before any engine. */
export function tryOnly(kinds: readonly DotKind[]): void {
  tried = kinds;
  chosen = undefined;
  taken = undefined;
}

/** All variants are tested and timed, and the fastest of the right ones is taken. Once per process. */
export function chooseKernels(): Promise<ChosenKernels> {
  chosen ??= choose();
  return chosen;
}

/**
 * The kernels that engines run: the variant that was chosen on this machine before, if it passes the self-test now, else by
 * choice. Once per process.
 */
export function engineKernels(): Promise<EngineKernels> {
  taken ??= chosen ?? takeKernels();
  return taken;
}

async function takeKernels(): Promise<EngineKernels> {
  const known = tried === DOT_KINDS ? knownKernel() : undefined;
  const found = known && (await tryKernel(known));
  if (typeof found === 'object') return found;
  const all = await chooseKernels();
  if (tried === DOT_KINDS) keepKernel(all.kernel);
  return all;
}

interface RightKernel extends EngineKernels {
  readonly kernels: Kernels;
}

/** A variant, compiled and tested; else what is wrong with it. */
async function tryKernel(kernel: DotKind): Promise<RightKernel | string> {
  // Node 20's baseline compiler gets the relaxed dot product wrong now and then: not even tried there.
  if (kernel !== 'i16' && Number(versions.node.split('.')[0]) < 22)
    return 'not trusted on this version of Node';
  try {
    const module = await compileEngine(kernel);
    const state = newArena(2 ** 22, CONSTANTS_END);
    const weights = newArena(2 ** 20);
    const tables = newArena(2 ** 16);
    writeConstants(state.memory);
    const kernels = await instantiate(module, state.memory, weights.memory, tables.memory);
    // The test keeps the event loop for most of a second where the machine is busy: signals are heard before and after it.
    await turn();
    const wrong = selfTest(kernels, { state, weights, tables });
    await turn();
    return wrong ? `wrong: ${wrong}` : { module, kernel, kernels };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function choose(): Promise<ChosenKernels> {
  const rejected: Partial<Record<DotKind, string>> = {};
  const right: RightKernel[] = [];
  for (const kind of tried) {
    const found = await tryKernel(kind);
    if (typeof found === 'string') rejected[kind] = found;
    else right.push(found);
  }
  // In turns, so that a slow moment of the machine does not decide.
  const speeds: Partial<Record<DotKind, number>> = {};
  for (let round = 0; round < TIMING_ROUNDS; round++) {
    for (const { kernel, kernels } of right) {
      speeds[kernel] = Math.max(speeds[kernel] ?? 0, measureSpeed(kernels));
    }
  }
  right.sort((a, b) => speeds[b.kernel]! - speeds[a.kernel]!);
  if (right.length === 0) {
    throw new OnefetError(
      'internal',
      'ENGINE_SELFTEST',
      `no kernel of the WebAssembly engine passes its self-test on Node ${version}: ${Object.entries(rejected)
        .map(([kind, why]) => `${kind}: ${why}`)
        .join('; ')}`,
      { hint: 'take --engine scalar' },
    );
  }
  const [{ module, kernel }] = right;
  for (const kind of tried) if (kind !== kernel) rejected[kind] ??= 'slower';
  return { module, kernel, rejected, gmacPerSecond: speeds };
}

/** Codes in blocks have one cell and whole blocks; those of bytes any, and of cells of a chip there are none. */
const hasBlocks = (source: Source, { cells, rows }: CaseShape): boolean =>
  source === 'bytes' || (source === 'codes' && cells === 1 && rows.every((count) => count === 32));

/** Undefined, or the first kernel that differs from the reference and how. */
export function selfTest(
  kernels: Kernels,
  memories: Memories,
  shapes: readonly CaseShape[] = SHAPES,
): string | undefined {
  for (const source of SOURCES) {
    for (const [i, shape] of shapes.entries()) {
      if (shape.blocks && !hasBlocks(source, shape)) continue;
      const difference = checkPanels(kernels, memories, shape, source, 1 + i);
      if (difference) return difference;
    }
  }
  const packing = checkPacking(kernels, memories, 3, 1, false);
  if (packing) return packing;
  for (const [length, repeat] of [
    [1536, 1],
    [2 * 144, 1],
    [16, 3],
    [10, 1],
  ]) {
    const difference = checkRotation(kernels, memories.state, length, repeat, 3);
    if (difference) return difference;
  }
  return checkPaths(kernels, memories.state, 100, 5, 4);
}

const TIMING_ROUNDS = 6;

/** GMAC/s of the product for small weights over some milliseconds: a block of 126 tokens, 256 rows. */
function measureSpeed(kernels: Kernels): number {
  const [tokens, rows] = [126, 256];
  const [x, w, y] = [2 ** 16, 2 ** 17, 2 ** 18];
  let best = 0;
  for (let repeat = 0; repeat < 2; repeat++) {
    const started = performance.now();
    for (let i = 0; i < 10; i++) kernels.gemm_small(x, w, y, tokens / 6, rows / 4, 1);
    best = Math.max(best, (10 * tokens * rows * 16) / (performance.now() - started) / 1e6);
  }
  return best;
}
