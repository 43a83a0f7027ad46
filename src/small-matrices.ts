/** Dense linear algebra of small matrices in double precision, row-major. */

/** x of A x = b for a symmetric positive definite A [n][n] (Cholesky); undefined where it is not. */
export function solveSymmetric(a: Float64Array, b: Float64Array): Float64Array | undefined {
  const n = b.length;
  const l = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = a[i * n + j];
      for (let k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
      if (i > j) l[i * n + j] = sum / l[j * n + j];
      else if (sum > 0) l[j * n + j] = Math.sqrt(sum);
      else return undefined;
    }
  }
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= l[i * n + k] * x[k];
    x[i] /= l[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= l[k * n + i] * x[k];
    x[i] /= l[i * n + i];
  }
  return x;
}

export interface Eigen {
  /** Falling. */
  readonly values: Float64Array;
  /** [n][n], eigenvector k is row k. */
  readonly vectors: Float64Array;
}

const MOST_SWEEPS = 60;

/** Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations (Golub & Van Loan 2013, section 8.5). */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): Eigen {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(n * n);
  let norm = 0;
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  for (const x of a) norm += x * x;
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += 2 * a[i * n + j] ** 2;
    if (off <= 1e-28 * norm) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotatePair(a, v, n, p, q);
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j] - a[i * n + i]);
  const vectors = new Float64Array(n * n);
  order.forEach((from, to) => {
    vectors.set(v.subarray(from * n, (from + 1) * n), to * n);
  });
  return { values: Float64Array.from(order, (i) => a[i * n + i]), vectors };
}

/** One rotation that makes a[p][q] zero; rows of v turn along. */
function rotatePair(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const x = a[k * n + p];
    const y = a[k * n + q];
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
  for (let k = 0; k < n; k++) {
    const x = a[p * n + k];
    const y = a[q * n + k];
    a[p * n + k] = c * x - s * y;
    a[q * n + k] = s * x + c * y;
    const vx = v[p * n + k];
    const vy = v[q * n + k];
    v[p * n + k] = c * vx - s * vy;
    v[q * n + k] = s * vx + c * vy;
  }
}

/** Makes the rows of x [count][length] orthonormal in place (modified Gram-Schmidt, twice); dependent rows become zero. */
function orthonormalise(x: Float64Array, count: number, length: number): void {
  for (let i = 0; i < count; i++) {
    const row = x.subarray(i * length, (i + 1) * length);
    const before = Math.sqrt(dot(row, row));
    for (let pass = 0; pass < 2; pass++) {
      for (let k = 0; k < i; k++) {
        const other = x.subarray(k * length, (k + 1) * length);
        const projection = dot(row, other);
        for (let j = 0; j < length; j++) row[j] -= projection * other[j];
      }
    }
    const norm = Math.sqrt(dot(row, row));
    const scale = norm > 1e-12 * before ? 1 / norm : 0;
    for (let j = 0; j < length; j++) row[j] *= scale;
  }
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += a[j] * b[j];
  return sum;
}

/**
 * The `rank` largest eigenvalues and their vectors of a symmetric positive semidefinite operator on vectors of `length`,
 * by subspace iteration with some vectors to spare (Halko et al. 2011, arXiv:0909.4061): `apply(x, y, count)` writes
 * y = A x for `count` rows.
 */
export function largestEigen(
  apply: (x: Float64Array, y: Float64Array, count: number) => void,
  length: number,
  rank: number,
  start: (i: number) => number,
  iterations = 12,
): Eigen {
  const count = Math.min(length, rank + Math.max(8, rank >> 1));
  let x = Float64Array.from({ length: count * length }, (_, i) => start(i));
  let y = new Float64Array(count * length);
  for (let i = 0; i < iterations; i++) {
    orthonormalise(x, count, length);
    apply(x, y, count);
    [x, y] = [y, x];
  }
  orthonormalise(x, count, length);
  apply(x, y, count);
  // Rayleigh-Ritz: the small matrix x A x^T.
  const small = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < count; k++) {
      small[i * count + k] = dot(
        x.subarray(i * length, (i + 1) * length),
        y.subarray(k * length, (k + 1) * length),
      );
    }
  }
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < i; k++) {
      const mean = (small[i * count + k] + small[k * count + i]) / 2;
      small[i * count + k] = mean;
      small[k * count + i] = mean;
    }
  }
  const ritz = symmetricEigen(small, count);
  const vectors = new Float64Array(rank * length);
  for (let r = 0; r < rank; r++) {
    for (let i = 0; i < count; i++) {
      const share = ritz.vectors[r * count + i];
      for (let j = 0; j < length; j++) vectors[r * length + j] += share * x[i * length + j];
    }
  }
  return { values: ritz.values.slice(0, rank), vectors };
}
