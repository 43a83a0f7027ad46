/** Limits of the machine: products on registers, the chosen kernel's own, and reading memory. */

import { newArena } from '../../../emit/arena.ts';
import { compileKernels } from '../../../emit/compile.ts';
import { CONSTANTS_END, writeConstants } from '../../../emit/constants.ts';
import type { MachineLimits } from '../../backend.ts';
import { type LimitKernels, PEAK_PRODUCTS, peak, STREAM_BYTES, stream } from '../kernels/limits.ts';
import { instantiate } from '../kernels/module.ts';
import { chooseKernels } from './selftest.ts';

export async function measureLimits(): Promise<MachineLimits> {
  const { kernel, rejected, gmacPerSecond } = await chooseKernels();
  const module = await compileKernels([peak(kernel), stream()]);
  const state = newArena(2 ** 16, CONSTANTS_END);
  writeConstants(state.memory);
  const streamBytes = 2 ** 28;
  const weights = newArena(streamBytes);
  // Pages that were never written are all the same page of zeros.
  new Uint8Array(weights.memory.buffer).fill(1);
  const kernels = await instantiate<LimitKernels>(module, state.memory, weights.memory);
  const best = (work: number, run: () => void) => {
    let most = 0;
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      run();
      most = Math.max(most, work / (performance.now() - started) / 1e6);
    }
    return most;
  };
  const rounds = 50_000;
  const peakGmac = best(rounds * PEAK_PRODUCTS, () => kernels.peak(CONSTANTS_END, rounds));
  const streamGbyte = best(streamBytes, () => kernels.stream(0, CONSTANTS_END, streamBytes / STREAM_BYTES));
  return {
    kernel,
    rejected: rejected as Record<string, string>,
    gemmGmacPerSecond: gmacPerSecond as Record<string, number>,
    peakGmacPerSecond: peakGmac,
    gemmShareOfPeak: gmacPerSecond[kernel]! / peakGmac,
    streamGbytePerSecond: streamGbyte,
  };
}
