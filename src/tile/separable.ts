/**
 * Separable decomposition of a response table: g[k][m] ~ sum_r u_r[k] v_r[m].
 *
 * The best rank-r approximation in the least-squares sense is the truncated singular value decomposition
 * (Eckart-Young). m has at most a few dozen values, so it comes from the eigenvectors of G^T G: v_r are unit
 * eigenvectors, u_r = G v_r.
 */
import { OnefetError } from '../error.ts';
import { symmetricEigen } from '../small-matrices.ts';

export interface Separable {
  readonly rank: number;
  /** [rank][K] */
  readonly u: readonly Float64Array[];
  /** [rank][M] */
  readonly v: readonly Float64Array[];
  /** max |g - sum|. */
  readonly residual: number;
}

/** The smallest rank whose largest residual is at most `bound` (same unit as the table). */
export function decompose(table: readonly Float64Array[], bound: number): Separable {
  const columns = table[0].length;
  const gram = new Float64Array(columns * columns);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++)
      gram[i * columns + j] = table.reduce((sum, row) => sum + row[i] * row[j], 0);
  }
  const { vectors } = symmetricEigen(gram, columns);
  const u: Float64Array[] = [];
  const v: Float64Array[] = [];
  const left = table.map((row) => Float64Array.from(row));
  for (let r = 0; r < columns; r++) {
    const vector = vectors.subarray(r * columns, (r + 1) * columns);
    const sign = vector.reduce((sum, x) => sum + x, 0) < 0 ? -1 : 1;
    const vr = vector.map((x) => x * sign);
    const ur = Float64Array.from(table, (row) => row.reduce((sum, x, m) => sum + x * vr[m], 0));
    u.push(ur);
    v.push(vr);
    let residual = 0;
    left.forEach((row, k) => {
      for (let m = 0; m < columns; m++) {
        row[m] -= ur[k] * vr[m];
        residual = Math.max(residual, Math.abs(row[m]));
      }
    });
    if (residual <= bound) return { rank: u.length, u, v, residual };
  }
  throw new OnefetError('internal', 'SEPARABLE', `no rank up to ${columns} reaches a residual of ${bound}`);
}
