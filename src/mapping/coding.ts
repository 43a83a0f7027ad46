/**
 * What is coded, and what a coding is.
 *
 * A matrix W[N][K] becomes integers and one scale per output and tile of R rows of inputs: w[n][j] = s[n][t(j)] c[n][j],
 * t(j) = floor(j / R), |c| <= 3, 7 or 31 (weight-code.ts in src/tile). What a coding costs is the error of the outputs
 * over the inputs that the model really has, with H = E[a a^T]:
 *
 *   objective(n) = E |sum_j (w - s c)_j a_j|^2 = e_n H e_n^T,   e = w - s c
 */

/** One matrix to be coded. */
export interface CodingProblem {
  /** N. */
  readonly outputs: number;
  /** K. */
  readonly inputs: number;
  /** R. */
  readonly tileRows: number;
  /** Largest magnitude of a code. */
  readonly magnitudeMax: number;
  /** W [N][K]. */
  readonly weights: Float32Array;
  /** H [K][K], symmetric. */
  readonly moments: Float32Array;
}

export interface Coding {
  /** c [N][K]. */
  readonly codes: Int8Array;
  /** s [N][tiles]. */
  readonly scales: Float32Array;
}

export const tileCount = (problem: { inputs: number; tileRows: number }): number =>
  Math.ceil(problem.inputs / problem.tileRows);

/** w - s c of output n into out[K]. */
export function codingErrorRow(problem: CodingProblem, coding: Coding, n: number, out: Float64Array): void {
  const { inputs, tileRows, weights } = problem;
  const tiles = tileCount(problem);
  for (let j = 0; j < inputs; j++) {
    const scale = coding.scales[n * tiles + Math.floor(j / tileRows)];
    out[j] = weights[n * inputs + j] - scale * coding.codes[n * inputs + j];
  }
}

/** x H x^T. */
export function quadraticForm(moments: Float32Array, x: ArrayLike<number>): number {
  let total = 0;
  const { length } = x;
  for (let i = 0; i < length; i++) {
    let sum = 0;
    for (let j = 0; j < length; j++) sum += moments[i * length + j] * x[j];
    total += x[i] * sum;
  }
  return total;
}

/** The objective of each output: the readable definition. */
export function objectiveReference(problem: CodingProblem, coding: Coding): Float64Array {
  const error = new Float64Array(problem.inputs);
  return Float64Array.from({ length: problem.outputs }, (_, n) => {
    codingErrorRow(problem, coding, n, error);
    return quadraticForm(problem.moments, error);
  });
}

/** Rounds to the nearest code, ties to even as the kernels do. */
export function nearestCode(x: number, magnitudeMax: number): number {
  const clipped = Math.max(-magnitudeMax, Math.min(magnitudeMax, x));
  const floor = Math.floor(clipped);
  const rest = clipped - floor;
  if (rest === 0.5) return floor + (floor & 1 ? 1 : 0);
  return rest < 0.5 ? floor : floor + 1;
}
