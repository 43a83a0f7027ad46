/**
 * Rotations by Hadamard matrices. H of order n has entries +-1 and H H^T = n I; with random signs d,
 *
 *   Q = diag(d) H / sqrt(n),   a' = a Q,   W' = W Q,   W' a' = W a
 *
 * spreads what is loud in a few inputs over all of them (Ashkboos et al. 2024, QuaRot, arXiv:2404.00456; Tseng et al.
 * 2024, QuIP#, arXiv:2402.04396).
 *
 * Orders: powers of two by Sylvester's doubling, the rest by Paley's constructions (Paley 1933, J. Math. Phys. 12) and
 * Kronecker products (a product of Hadamard matrices is one):
 *   Paley I   q prime, q = 3 mod 4: order q + 1       H = I + S,  S = [[0, 1], [-1, C]],  C_ij = chi(i - j)
 *   Paley II  q prime, q = 1 mod 4: order 2 (q + 1)   H = S x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]],  S = [[0, 1], [1, C]]
 * chi is the quadratic character of q. Orders 12, 20 (I, q = 11, 19) and 28 (II, q = 13) serve 576 = 12 12 4,
 * 1536 = 12 128 and 14336 = 28 512. An order that no product reaches (11008 = 43 256) is rotated in equal blocks of the
 * largest order that divides it.
 *
 * The transform takes n (sum of factors) additions instead of n^2: butterflies for 2, the dense factor otherwise.
 */
import { OnefetError } from '../error.ts';
import { bits32, streamKey } from '../random.ts';

/** Largest order that is built densely; beyond it, products. */
export const DENSE_LIMIT = 200;

export interface Rotation {
  /** Length of the vectors. */
  readonly length: number;
  /** Order of each block; `length` where one block covers all. */
  readonly order: number;
  /** Orders whose Kronecker product is `order`, the last varies fastest. */
  readonly factors: readonly number[];
  /** d [length], +-1. */
  readonly signs: Int8Array;
}

/** [n][n] of +-1 for n = 1, 2 and Paley's orders up to 200, or undefined. */
export function denseHadamard(n: number): Int8Array | undefined {
  const known = dense.get(n);
  if (known !== undefined || dense.has(n)) return known;
  const built = buildDense(n);
  dense.set(n, built);
  return built;
}

const dense = new Map<number, Int8Array | undefined>();

function buildDense(n: number): Int8Array | undefined {
  if (n === 1) return new Int8Array([1]);
  if (n === 2) return new Int8Array([1, 1, 1, -1]);
  if (n % 4 !== 0 || n > DENSE_LIMIT) return undefined;
  if (isPrime(n - 1)) return paleyOne(n - 1); // n - 1 = 3 mod 4
  const q = n / 2 - 1;
  return q % 4 === 1 && isPrime(q) ? paleyTwo(q) : undefined;
}

/** The bordered matrix S [q + 1][q + 1]: first row 1, first column `corner`, inside chi(i - j). */
function bordered(q: number, corner: number): Int8Array {
  const n = q + 1;
  const chi = new Int8Array(q).fill(-1);
  chi[0] = 0;
  for (let x = 1; x < q; x++) chi[(x * x) % q] = 1;
  const s = new Int8Array(n * n);
  for (let i = 1; i < n; i++) {
    s[i] = 1;
    s[i * n] = corner;
    for (let j = 1; j < n; j++) s[i * n + j] = chi[(i - j + q) % q];
  }
  return s;
}

function paleyOne(q: number): Int8Array {
  const n = q + 1;
  const h = bordered(q, -1);
  for (let i = 0; i < n; i++) h[i * n + i] = 1;
  return h;
}

function paleyTwo(q: number): Int8Array {
  const half = q + 1;
  const n = 2 * half;
  const s = bordered(q, 1);
  const h = new Int8Array(n * n);
  for (let i = 0; i < half; i++) {
    for (let j = 0; j < half; j++) {
      const x = s[i * half + j];
      const [a, b, c, d] = i === j ? [1, -1, -1, -1] : [x, x, x, -x];
      h[2 * i * n + 2 * j] = a;
      h[2 * i * n + 2 * j + 1] = b;
      h[(2 * i + 1) * n + 2 * j] = c;
      h[(2 * i + 1) * n + 2 * j + 1] = d;
    }
  }
  return h;
}

function isPrime(q: number): boolean {
  if (q < 2) return false;
  for (let d = 2; d * d <= q; d++) if (q % d === 0) return false;
  return true;
}

/**
 * Orders whose product is n, with the fewest additions; undefined where there are none. Powers of two come first, so that
 * they are the slow factors: their butterflies then run over whole vectors, and the dense factors over neighbours.
 */
export function hadamardFactors(n: number): number[] | undefined {
  if (!Number.isInteger(n) || n < 1) return undefined;
  if ((n & (n - 1)) === 0) return Array<number>(Math.log2(n)).fill(2);
  let best: number[] | undefined;
  for (let m = 4; m <= Math.min(n, DENSE_LIMIT); m += 4) {
    if (n % m !== 0 || (m & (m - 1)) === 0 || denseHadamard(m) === undefined) continue;
    const rest = hadamardFactors(n / m);
    if (rest !== undefined && (best === undefined || additions([...rest, m]) < additions(best))) {
      best = [...rest, m];
    }
  }
  return best;
}

const additions = (factors: readonly number[]): number =>
  factors.reduce((sum, m) => sum + (m === 2 ? 1 : m - 1), 0);

/** Additions of one transform of a vector. */
export const rotationAdditions = ({ length, factors }: Pick<Rotation, 'length' | 'factors'>): number =>
  length * additions(factors);

/** The largest order that divides a length, and its factors. */
export function rotationOrder(length: number): Pick<Rotation, 'order' | 'factors'> {
  for (let n = length; n > 1; n--) {
    const factors = length % n === 0 ? hadamardFactors(n) : undefined;
    if (factors !== undefined) return { order: n, factors };
  }
  return { order: 1, factors: [] };
}

/** A rotation of vectors of `length` with signs drawn from `seed`. */
export function newRotation(length: number, seed: number): Rotation {
  if (!Number.isInteger(length) || length < 1 || length > 2 ** 24) {
    throw new OnefetError('internal', 'ROTATION', `no rotation of ${length} elements`);
  }
  const key = streamKey(seed, length);
  const signs = Int8Array.from({ length }, (_, j) => (bits32(key, j) & 1 ? -1 : 1));
  return { length, ...rotationOrder(length), signs };
}

/** The same rotation of each of `count` consecutive vectors: what heads get, so that shared heads agree. */
export function repeatRotation(rotation: Rotation, count: number): Rotation {
  const signs = new Int8Array(rotation.length * count);
  for (let i = 0; i < count; i++) signs.set(rotation.signs, i * rotation.length);
  return { ...rotation, length: rotation.length * count, signs };
}

/** x <- x Q for `rows` rows of x [rows][length], in place. */
export function rotateRows(x: Float32Array, rows: number, rotation: Rotation): void {
  const { length, signs } = rotation;
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * length, (r + 1) * length);
    for (let j = 0; j < length; j++) row[j] *= signs[j];
    transform(row, 1, rotation, false);
  }
}

/** x <- x Q^T, the inverse. */
export function unrotateRows(x: Float32Array, rows: number, rotation: Rotation): void {
  const { length, signs } = rotation;
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * length, (r + 1) * length);
    transform(row, 1, rotation, true);
    for (let j = 0; j < length; j++) row[j] *= signs[j];
  }
}

/** x <- Q^T x for x [length][columns], in place: what writes to a rotated stream. */
export function rotateColumns(x: Float32Array, columns: number, rotation: Rotation): void {
  const { length, signs } = rotation;
  for (let i = 0; i < length; i++) {
    if (signs[i] > 0) continue;
    for (let c = 0; c < columns; c++) x[i * columns + c] = -x[i * columns + c];
  }
  transform(x, columns, rotation, false);
}

/** H <- Q^T H Q for H [length][length]: second moments of rotated inputs. */
export function rotateMoments(moments: Float32Array, rotation: Rotation): void {
  rotateRows(moments, rotation.length, rotation);
  rotateColumns(moments, rotation.length, rotation);
}

/**
 * Along the first index of x [length][width], block by block: y_b = sum_a x_a H[a][b] / sqrt(order), or with H^T. Rows
 * of `width` elements move together, so that columns of a matrix are transformed without a transposition.
 */
function transform(x: Float32Array, width: number, rotation: Rotation, transposed: boolean): void {
  const { length, order, factors } = rotation;
  const scale = 1 / Math.sqrt(order);
  let stride = width;
  for (let f = factors.length - 1; f >= 0; f--) {
    const m = factors[f];
    if (m === 2) butterflies(x, length * width, stride);
    else denseFactor(x, length * width, stride, m, transposed);
    stride *= m;
  }
  for (let i = 0; i < x.length; i++) x[i] *= scale;
}

function butterflies(x: Float32Array, size: number, stride: number): void {
  for (let start = 0; start < size; start += 2 * stride) {
    for (let i = start; i < start + stride; i++) {
      const a = x[i];
      const b = x[i + stride];
      x[i] = a + b;
      x[i + stride] = a - b;
    }
  }
}

function denseFactor(x: Float32Array, size: number, stride: number, m: number, transposed: boolean): void {
  const h = denseHadamard(m)!;
  const values = new Float64Array(m);
  for (let start = 0; start < size; start += m * stride) {
    for (let i = start; i < start + stride; i++) {
      for (let a = 0; a < m; a++) values[a] = x[i + a * stride];
      for (let b = 0; b < m; b++) {
        let sum = 0;
        if (transposed) for (let a = 0; a < m; a++) sum += h[b * m + a] * values[a];
        else for (let a = 0; a < m; a++) sum += h[a * m + b] * values[a];
        x[i + b * stride] = sum;
      }
    }
  }
}

/** A rotation in a file or a design: `repeat` copies of the one of `length` and `seed`. */
export interface RotationSpec {
  readonly length: number;
  readonly repeat: number;
  readonly seed: number;
}

export const rotationOf = (spec: RotationSpec): Rotation =>
  repeatRotation(newRotation(spec.length, spec.seed), spec.repeat);
