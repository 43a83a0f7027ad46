/**
 * Annealed descent on the codes: sweeps of descent (descent.ts) whose targets are off by a noise that falls to nothing, so that codes
 * leave the first minimum that they came to. In sweep k of n, for each code in turn,
 *
 *   c_j <- clip(round(t_j + tau (1 - k / n) X)),   t_j = c_j + (e H)_j / (H_jj s),   X logistic
 *
 * which between the two codes next to t_j is Gibbs' choice at the temperature 2 tau (1 - k / n) H_jj s^2 (Kirkpatrick et al. 1983,
 * Science 220). tau in steps of a code. The noise is the same for every matrix, whatever thread maps it.
 */

import { bits32, streamKey } from '../random.ts';
import { descend } from './descent.ts';
import { PANEL_COLUMNS } from './numerics/kernels/multiply.ts';
import { floats } from './numerics/numerics.ts';
import { scalesOf, sumsAddress, tileOfRow, type Workspace } from './numerics/workspace.ts';

/** Of 0.02 to 0.06 what leaves the least error of blocks of SmolLM2-135M at 3 bits, after 8, 16 and 40 sweeps. */
const TAU = 0.03;

const TABLE = 4096;
const SEED = 0x616e6e;

/** Quantiles of the logistic law in an order of chance. */
const LOGISTIC: Float32Array = (() => {
  const values = Float32Array.from({ length: TABLE }, (_, i) => Math.log((i + 0.5) / (TABLE - i - 0.5)));
  const key = streamKey(SEED, 0);
  for (let i = TABLE - 1; i > 0; i--) {
    const j = bits32(key, i) % (i + 1);
    [values[i], values[j]] = [values[j], values[i]];
  }
  return values;
})();

/** X of sweep `sweep`, panel and block of rows that begins with `first`: where in the table its rows [16] begin. */
const startOf = (sweep: number, panel: number, first: number): number =>
  bits32(streamKey(SEED, 1, sweep, panel), first) % TABLE;

/** X of an output and input: the readable definition; blocks of rows begin at multiples of `block`. */
export function logisticNoise(sweep: number, output: number, input: number, block: number): number {
  const first = input - (input % block);
  const [panel, lane] = [Math.floor(output / PANEL_COLUMNS), output % PANEL_COLUMNS];
  return LOGISTIC[(startOf(sweep, panel, first) + (input - first) * PANEL_COLUMNS + lane) % TABLE];
}

/** Share of tau in sweep `sweep` of `sweeps`. */
export const temperature = (sweep: number, sweeps: number): number => TAU * (1 - sweep / sweeps);

/** So many sweeps over the matrix of a workspace; its errors must be formed, and stay so. */
export function anneal(workspace: Workspace, sweeps: number): void {
  const { numerics, at, rows } = workspace;
  const moments = floats(numerics, at.moments, rows * rows);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const tau = temperature(sweep, sweeps);
    // (e H)_j + tau X s H_jj moves the target by tau X.
    descend(workspace, (panel, first, count) => {
      const sums = floats(numerics, sumsAddress(workspace, panel), count * PANEL_COLUMNS);
      const scales = scalesOf(workspace, panel);
      const start = startOf(sweep, panel, first);
      for (let j = 0, i = 0; j < count; j++) {
        const energy = tau * moments[(first + j) * (rows + 1)];
        const tile = tileOfRow(workspace, first + j) * PANEL_COLUMNS;
        for (let n = 0; n < PANEL_COLUMNS; n++, i++) {
          sums[i] += energy * scales[tile + n] * LOGISTIC[(start + i) % TABLE];
        }
      }
    });
  }
}
