/** Sums of products of inputs, a batch of tokens at a time: statistics.ts and drift.ts. */
import { BLOCK_ROWS, PANEL_COLUMNS } from './kernels/multiply.ts';
import type { Numerics } from './numerics.ts';

/** Rows of the left operand that stay in the second-level cache. */
export const CHUNK = 192;

export interface OuterPlaces {
  /** [rows][rows] */
  readonly sums: number;
  /** [tokens][rows] each; one and the same for the products of an input with itself. */
  readonly left: number;
  readonly right: number;
  /** `right`, packed [tokens rows], and CHUNK rows of `left`. */
  readonly panels: number;
  readonly block: number;
}

/** sums += left^T right; with `upper`, of the upper half alone (whole blocks of it). */
export function addOuterProducts(
  { kernels }: Numerics,
  at: OuterPlaces,
  rows: number,
  tokens: number,
  upper: boolean,
): void {
  const stride = 4 * rows;
  const panelBytes = 4 * tokens * PANEL_COLUMNS;
  for (let p = 0; p < rows / PANEL_COLUMNS; p++) {
    kernels.pack_panel(at.right + 4 * p * PANEL_COLUMNS, at.panels + p * panelBytes, tokens, stride);
  }
  for (let first = 0; first < rows; first += CHUNK) {
    const count = Math.min(CHUNK, rows - first);
    kernels.pack_blocks(at.left + 4 * first, at.block, tokens, stride, count / BLOCK_ROWS);
    for (let column = upper ? first : 0; column < rows; column += PANEL_COLUMNS) {
      const above = Math.ceil((column + PANEL_COLUMNS - first) / BLOCK_ROWS) * BLOCK_ROWS;
      kernels.multiply_add(
        at.block,
        at.panels + (column / PANEL_COLUMNS) * panelBytes,
        at.sums + first * stride + 4 * column,
        (upper ? Math.min(count, above) : count) / BLOCK_ROWS,
        tokens,
        stride,
      );
    }
  }
}
