/**
 * Least-squares fit of the cell equation to simulated or measured currents, in ln I.
 */
import { levenbergMarquardt } from 'ml-levenberg-marquardt';
import { atTemperature, COEFFICIENT_COUNT, EKV_PARAMETERS, ekvCurrentA } from '../../cell/ekv.ts';
import type { Residual } from '../../cell/residual.ts';
import { OnefetError } from '../../error.ts';

export interface CellPoint {
  readonly vgsV: number;
  readonly vdsV: number;
  readonly tempK: number;
  readonly currentA: number;
}

export interface CellFit {
  /** [COEFFICIENT_COUNT] */
  readonly coefficients: number[];
  /** [COEFFICIENT_COUNT][COEFFICIENT_COUNT] s^2 (J^T J)^-1, s^2 the residual variance of ln I. */
  readonly covariance: number[][];
  readonly residual: Residual;
  readonly iterations: number;
}

const STARTS = EKV_PARAMETERS.flatMap(({ start }) => [...start] as number[]);
const SCALES = EKV_PARAMETERS.flatMap(({ scale }) => [...scale] as number[]);
/**
 * Weight of a pseudo-observation "unknown = 0" for each unknown: with a residual of 0.3 % it is a prior of ten scale
 * units. It keeps a leakage that the points do not show near its start and leaves what they determine alone.
 */
const PRIOR = 3e-4;
/** Step of the central differences in scaled unknowns. */
const STEP = 1e-5;

const unscale = (unknowns: ArrayLike<number>): number[] =>
  STARTS.map((start, i) => start + SCALES[i] * unknowns[i]);

/** ln of the fitted current at every point, for one coefficient vector. */
function predictor(points: readonly CellPoint[]): (coefficients: ArrayLike<number>) => (i: number) => number {
  const temperatures = [...new Set(points.map(({ tempK }) => tempK))];
  const index = points.map(({ tempK }) => temperatures.indexOf(tempK));
  return (coefficients) => {
    const at = temperatures.map((tempK) => atTemperature(coefficients, tempK));
    return (i) => Math.log(ekvCurrentA(at[index[i]], points[i].vgsV, points[i].vdsV));
  };
}

/** Fits all coefficients to all points at once. `start` continues from an earlier fit, e.g. of another corner. */
export function fitCell(
  points: readonly CellPoint[],
  start?: readonly number[],
  maxIterations = 200,
): CellFit {
  if (points.length <= COEFFICIENT_COUNT) {
    throw new OnefetError(
      'simulation',
      'FIT_POINTS',
      `${points.length} points cannot fit ${COEFFICIENT_COUNT} coefficients`,
    );
  }
  const y = points.map(({ currentA }, i) => {
    if (!(currentA > 0)) {
      throw new OnefetError('simulation', 'FIT_CURRENT', `point ${i}: current ${currentA} A is not positive`);
    }
    return Math.log(currentA);
  });
  const predict = predictor(points);
  // Indices beyond the points are the pseudo-observations of the prior.
  const x = Array.from({ length: points.length + COEFFICIENT_COUNT }, (_, i) => i);
  y.push(...new Array<number>(COEFFICIENT_COUNT).fill(0));
  const initial =
    start === undefined
      ? new Array<number>(COEFFICIENT_COUNT).fill(0)
      : start.map((c, i) => (c - STARTS[i]) / SCALES[i]);
  let unknowns = initial;
  let iterations = 0;
  let sum = Number.POSITIVE_INFINITY;
  const jacobianFunction = (values: number[]) => {
    const rows = jacobian(predict, values, points.length);
    return (i: number) =>
      i < points.length
        ? rows.map((row) => row[i])
        : rows.map((_, k) => (k === i - points.length ? PRIOR : 0));
  };
  // The library's damping has no memory of a rejected step; short rounds from the best point so far make it descend.
  for (let damping = 1; iterations < maxIterations; ) {
    const result = levenbergMarquardt(
      { x, y },
      (values) => {
        const at = predict(unscale(values));
        return (i) => (i < points.length ? at(i) : PRIOR * values[i - points.length]);
      },
      {
        initialValues: unknowns,
        damping,
        dampingStepUp: 4,
        dampingStepDown: 4,
        jacobianFunction,
        maxIterations: 10,
        errorTolerance: 1e-12,
      },
    );
    iterations += result.iterations;
    const improved = sum - result.parameterError;
    if (Number.isFinite(result.parameterError) && result.parameterError < sum) {
      unknowns = result.parameterValues;
      sum = result.parameterError;
      damping = Math.max(damping / 16, 1e-6);
    } else damping *= 64;
    if (damping > 1e6 || (improved >= 0 && improved < 1e-7 * sum)) break;
  }
  const coefficients = unscale(unknowns);
  const residual = fitResidual(points, coefficients);
  const rows = jacobian(predict, unknowns, points.length);
  const normal = rows.map((a, k) =>
    rows.map((b, l) => a.reduce((s, value, i) => s + value * b[i], k === l ? PRIOR ** 2 : 0)),
  );
  const variance = sum / (points.length - COEFFICIENT_COUNT);
  const inverse = invertSymmetric(normal);
  return {
    coefficients,
    covariance: inverse.map((row, i) => row.map((value, j) => value * variance * SCALES[i] * SCALES[j])),
    residual,
    iterations,
  };
}

/** [COEFFICIENT_COUNT][points] d ln I / d unknown, central differences. */
function jacobian(
  predict: ReturnType<typeof predictor>,
  unknowns: readonly number[],
  count: number,
): Float64Array[] {
  return unknowns.map((value, k) => {
    const shifted = [...unknowns];
    shifted[k] = value + STEP;
    const above = predict(unscale(shifted));
    shifted[k] = value - STEP;
    const below = predict(unscale(shifted));
    return Float64Array.from({ length: count }, (_, i) => (above(i) - below(i)) / (2 * STEP));
  });
}

export function fitResidual(points: readonly CellPoint[], coefficients: ArrayLike<number>): Residual {
  const at = predictor(points)(coefficients);
  let squares = 0;
  let max = 0;
  points.forEach(({ currentA }, i) => {
    const deviation = Math.abs(at(i) - Math.log(currentA));
    squares += deviation * deviation;
    max = Math.max(max, deviation);
  });
  return { points: points.length, rms: Math.sqrt(squares / Math.max(1, points.length)), max };
}

/** Inverse of a symmetric positive definite matrix by Gauss-Jordan with pivoting on its unit-diagonal form. */
function invertSymmetric(matrix: readonly (readonly number[])[]): number[][] {
  const n = matrix.length;
  const norm = matrix.map((row, i) => Math.sqrt(row[i]) || 1);
  const a = matrix.map((row, i) => [
    ...row.map((value, j) => value / (norm[i] * norm[j])),
    ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)),
  ]);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i][k]) > Math.abs(a[pivot][k])) pivot = i;
    [a[k], a[pivot]] = [a[pivot], a[k]];
    const scale = a[k][k];
    if (!(Math.abs(scale) > 1e-14)) {
      throw new OnefetError(
        'simulation',
        'FIT_UNDETERMINED',
        'the points do not determine all parameters of the cell',
        {
          hint: 'sweep a wider range of gate voltage, drain voltage and temperature',
        },
      );
    }
    for (let j = 0; j < 2 * n; j++) a[k][j] /= scale;
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = a[i][k];
      if (factor !== 0) for (let j = 0; j < 2 * n; j++) a[i][j] -= factor * a[k][j];
    }
  }
  return a.map((row, i) => row.slice(n).map((value, j) => value / (norm[i] * norm[j])));
}
