/** Which kernel runs a model on a design, and the memory that it needs. */

import { freemem } from 'node:os';
import type { Calibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import type { LogDomainDesign as Design } from '../fabric/log-domain.ts';
import { formatSi } from '../format.ts';
import type { LlamaModel } from '../model/model.ts';
import { blockWeights, type ModelShape } from '../model/shape.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { tilePhysics } from '../tile/physics.ts';
import { estimateEngineMemory } from './wasm/plan/plan.ts';

/** `auto` is the fast engine where it can do the design, else the scalar baked kernel. */
export type KernelChoice = 'auto' | 'fast' | TileKernel;

export interface KernelQuestion {
  readonly kernel: KernelChoice;
  readonly shape: ModelShape;
  readonly design: Design;
  readonly calibration: Calibration;
  readonly threads: number;
  readonly contextTokens: number;
}

/** The fast engine if it can do this model and design; its refusals have codes ENGINE_*. */
export function chooseKernel({
  kernel,
  shape,
  design,
  calibration,
  threads,
  contextTokens,
}: KernelQuestion): {
  kernel: TileKernel | 'fast';
  reason?: string;
  memoryBytes?: number;
} {
  const scalar = (chosen: TileKernel, reason?: string) => {
    if (design.kvBits === 8) {
      throw new OnefetError('usage', 'KV_BITS', 'kvBits 8 is emulated by the fast engine only', {
        hint: reason
          ? `set kvBits=16; the fast engine cannot run this: ${reason}`
          : 'use --kernel fast, or kvBits=16',
      });
    }
    return { kernel: chosen, ...(reason === undefined ? {} : { reason }) };
  };
  if (kernel === 'baked' || kernel === 'reference') return scalar(kernel);
  // The fast engine does not watch the common mode: it is taken only where no column can overload its clamps.
  const mostA = tilePhysics(calibration, design).meanGain * design.tile.rows * design.fullScaleA;
  if (mostA > design.column.clampMaxA) {
    const reason = `a tile of ${design.tile.rows} rows could draw ${formatSi(mostA, 'A')}, more than column.clampMaxA: the fast engine does not check that`;
    if (kernel === 'auto') return scalar('baked', reason);
    throw new OnefetError('usage', 'ENGINE_DESIGN', reason, { hint: 'use --kernel baked' });
  }
  try {
    const [digital, chip] = (['digital', 'chip'] as const).map((mode) =>
      estimateEngineMemory(shape, { design, calibration, mode, threads, contextTokens }),
    );
    return { kernel: 'fast', memoryBytes: PROCESS_BYTES + Math.max(digital.bytes, chip.bytes) };
  } catch (error) {
    if (kernel === 'auto' && error instanceof OnefetError && error.code.startsWith('ENGINE_')) {
      return scalar('baked', error.message);
    }
    throw error;
  }
}

/** Node, its compiled code and the worker threads, without weights. */
const PROCESS_BYTES = 250e6;

/**
 * Memory of the scalar engine. Per weight of the linear layers and thread: 1 byte of codes, 8 bytes baked (rank 1) and
 * 8 bytes of draws while they are baked, for every bank of cells, and once more for the variant before it until the
 * collector has taken it. The constants are measured on the embedded model: 493 MB against 503 MB with one thread,
 * 736 against 755 with two.
 */
export function scalarMemoryBytes(model: Pick<LlamaModel, 'shape'>, threads: number, banks: number): number {
  const { shape } = model;
  const weights = blockWeights(shape);
  const head = shape.dim * shape.vocab;
  const threadBytes = 165e6;
  return PROCESS_BYTES + threads * (threadBytes + weights * (1 + 32 * banks) + head * 4);
}

export function checkMemory(memoryBytes: number, threads: number): void {
  const free = freemem();
  if (memoryBytes <= free) return;
  const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  throw new OnefetError(
    'usage',
    'MEMORY',
    `this run needs about ${gib(memoryBytes)} GiB with ${threads} threads; ${gib(free)} GiB are free`,
    {
      hint:
        threads > 1
          ? 'use --threads 1, or a smaller model'
          : 'use a smaller model: the scalar engine keeps up to 33 bytes per weight and thread',
    },
  );
}
