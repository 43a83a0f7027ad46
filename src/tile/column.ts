/**
 * From the cells' summed currents to the value that the converter sees: correlated gains, the clamp and the source
 * line, and dynamic noise. Everything in units of I_fs; a phase's value is averaged over its integration time.
 *
 *   I+- = gain (s +- d) / 2          gain: tile (static) times source-line and reference noise (per phase, token)
 *   I+- <- droop(I+, I-)             source line, wires and clamp: src/cell/droop.ts
 *   variance = white (I+ + I-) + clamp (I+^2 + I-^2)              drawn per phase and token
 *            + lowFrequency gain^2 q                              drawn per phase, constant over a window
 */

import { applyDroop } from '../cell/droop.ts';
import { gaussian, type TokenPosition } from '../random.ts';
import type { ColumnSums } from './cell-sums.ts';
import { type ChipInstance, type TileNoise, tokenKey, windowKey } from './draws.ts';
import type { TilePhysics } from './physics.ts';

/**
 * One phase of all columns: sums in, value[columns] out (the integrated differential current). Returns the
 * current of all bit lines of the tile, in I_fs: what the array drew from the supply in this phase.
 */
export function phaseValue(
  value: Float64Array,
  sums: ColumnSums,
  physics: TilePhysics,
  tileGain: number,
  chip: ChipInstance,
  noise: TileNoise,
  at: TokenPosition,
  phase: number,
  lowFrequency: Float64Array,
): number {
  const { d, s, q } = sums;
  const columns = d.length;
  const phaseLog = chip.errors
    ? physics.phaseGainSigma * gaussian(tokenKey(noise.phaseKey, at), 2 * phase)
    : 0;
  const gain = tileGain * Math.exp(phaseLog);
  const dynamic = tokenKey(noise.conversionKey, at);
  let total = 0;
  for (let c = 0; c < columns; c++) {
    const ideal = { plusA: (gain * (s[c] + d[c])) / 2, minusA: (gain * (s[c] - d[c])) / 2 };
    const { plusA: plus, minusA: minus } = applyDroop(ideal, physics.droop);
    total += plus + minus;
    let result = plus - minus;
    if (chip.errors) {
      const variance =
        physics.whiteVariance * (plus + minus) + physics.clampVariance * (plus * plus + minus * minus);
      result += Math.sqrt(variance) * gaussian(dynamic, phase * columns + c);
      result += gain * Math.sqrt(physics.lowFrequencyVariance * q[c]) * lowFrequency[phase * columns + c];
    }
    value[c] = result;
  }
  return total;
}

/** The slow noise of a window: [phases * columns] standard normal draws. */
export function drawLowFrequency(
  out: Float64Array,
  chip: ChipInstance,
  noise: TileNoise,
  window: number,
): void {
  if (!chip.errors) return;
  const key = windowKey(noise.lowFrequencyKey, window);
  for (let i = 0; i < out.length; i++) out[i] = gaussian(key, i);
}
