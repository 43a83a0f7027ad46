/** One tile and panel of a chip: codes to the effective weights of its cells, in the weights memory. */

import { gaussian } from '../../../random.ts';
import { cellKey, DRAW } from '../../../tile/draws.ts';
import type { RowErrors } from '../../../tile/ladder.ts';
import { BYTE_TOP, SMALL_WEIGHT } from '../../integers.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { countQuads, type Operation } from '../plan/operations.ts';
import { tilePlace } from '../plan/tile-place.ts';

export interface TileStrip {
  readonly codes: Int8Array;
  readonly rows: number;
  readonly cell: number;
  readonly tile: number;
  /** First physical column. */
  readonly column: number;
  /** Where it goes in the weights memory. */
  readonly at: number;
}

/**
 * The kernel `bake` where columns pair up as in Box-Muller's pairs of draws, else the same in scalar code. `errors` are
 * those of the ladder that feeds the panel.
 */
export function bakeTile(
  context: WorkerContext,
  operation: Operation,
  strip: TileStrip,
  errors: RowErrors,
): void {
  const { data, bytes, f32, i32, kernels, physics, index, codings } = context;
  const { rank, taps, cells, outputs } = operation;
  const { rows, at, tile } = strip;
  const base = data.layout.loads[index];
  const padded = 4 * countQuads(rows);
  const [codes, baked, tapTable, table, keys] = (['codes', 'baked', 'taps', 'table', 'keys'] as const).map(
    (part) => base + LOAD_PARTS[part],
  );
  const coding = codings.get(taps)!;
  const response = physics!.responses.get(taps)!;
  bytes.fill(0, codes, codes + padded * PANEL_COLUMNS);
  for (let j = 0; j < rows; j++) {
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      bytes[codes + j * PANEL_COLUMNS + n] =
        strip.codes[j * PANEL_COLUMNS * cells + strip.cell * PANEL_COLUMNS + n];
    }
  }
  // src/tile/cell-sums.ts has ln I = ((b e + c) e + a) e + share dBeta + logMean, e = rowShare error - share dVt; here in
  // g = e / share + logMean / (a share). The last is exact as a tap of several transistors has neither c nor b.
  const varied = data.chip.errors;
  const { share, logMean } = physics!.spreads.get(taps)!;
  const sigmaVtV = varied ? physics!.sigmaVtV : 0;
  const slopes = response.gmOverIByTap.map((slope, m) => slope * share[m]);
  const curves = response.curvatureByTap.map((curve, m) => curve * share[m] ** 2);
  const bends = response.bendByTap.map((bend, m) => bend * share[m] ** 3);
  const betas = share.map((s) => (varied ? s * physics!.sigmaBeta : 0));
  const shifts = logMean.map((log, m) => (varied && m > 0 ? log / slopes[m] : 0));
  f32.fill(0, table / 4, table / 4 + 8 * (4 + rank));
  [slopes, curves, betas, bends, ...coding.weights].forEach((values, i) => {
    f32.set(values, table / 4 + 8 * i);
  });
  f32.fill(0, tapTable / 4, tapTable / 4 + padded * 8);
  for (let j = 0; j < rows; j++) {
    for (let m = 1; m <= taps; m++) {
      const errorV = response.rowShareByTap[m] * (errors.tapErrorV[m][j] + errors.rowOffsetV[j]);
      f32[tapTable / 4 + j * 8 + m] = errorV / share[m] + shifts[m];
    }
  }
  const place = tilePlace(operation, tile, data.shape.layers);
  const [vt, beta] = ([DRAW.vt, DRAW.beta] as const).map((use) => cellKey(use, data.chip, place, 0));
  const columns = outputs * cells;
  const first = tile * operation.rows * columns + strip.column;
  const most = operation.small ? SMALL_WEIGHT : BYTE_TOP;
  if (columns % 2 === 0) {
    i32.set([vt.a | 0, vt.b | 0, beta.a | 0, beta.b | 0], keys / 4);
    f32.set([sigmaVtV, most], keys / 4 + 4);
    kernels[operation.memory].bake(
      codes,
      PANEL_COLUMNS,
      baked,
      padded * PANEL_COLUMNS,
      rank,
      padded,
      first,
      columns,
      keys,
      keys + 16,
      table,
      tapTable,
    );
  } else {
    const out = new Int8Array(bytes.buffer);
    for (let j = 0; j < padded; j++) {
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        const code = (bytes[codes + j * PANEL_COLUMNS + n] << 24) >> 24;
        const tap = Math.abs(code);
        const cell = first + j * columns + n;
        const gateV = f32[tapTable / 4 + j * 8 + tap] - sigmaVtV * gaussian(vt, cell);
        const slope = slopes[tap] + (curves[tap] + bends[tap] * gateV) * gateV;
        const gain = Math.exp(slope * gateV + betas[tap] * gaussian(beta, cell));
        for (let r = 0; r < rank; r++) {
          const value = Math.round(Math.sign(code) * coding.weights[r][tap] * gain);
          out[baked + r * padded * PANEL_COLUMNS + j * PANEL_COLUMNS + n] = Math.max(
            -128,
            Math.min(127, value),
          );
        }
      }
    }
  }
  for (let r = 0; r < rank; r++) {
    const quads = padded / 4;
    kernels[operation.memory].transpose(
      baked + r * padded * PANEL_COLUMNS,
      at + r * quads * QUAD_BYTES.bytes,
      quads,
    );
  }
}
