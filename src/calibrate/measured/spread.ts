/**
 * Mismatch from measured devices: the spread of ln I over gate voltage, split into a threshold part that follows gm/I
 * and a current-factor part that does not,
 *   var(ln I)(Vgs) = (gm/I)^2 sigmaVt^2 + sigmaBeta^2,
 * by non-negative least squares, each variance weighted by its own relative error, which is the same for all.
 */
import type { Calibration } from '../../cell/calibration.ts';
import { OnefetError } from '../../error.ts';
import { deviation, upperMedian } from '../../numbers.ts';
import type { MeasuredPoint } from './csv.ts';

/** Below this a spread is known to worse than 25 %: 1 / sqrt(2 (n - 1)). */
export const LEAST_DEVICES = 10;

export function listDevices(points: readonly MeasuredPoint[]): string[] {
  return [...new Set(points.map(({ device }) => device))].sort();
}

type Mismatch = Calibration['mismatch'];

/**
 * `row`: points of one temperature, drain voltage and corner, of all devices. Gate voltages that not every device has
 * are left out. Error MEASURED_DEVICES when no seven are left.
 */
export function measureSpread(
  row: readonly MeasuredPoint[],
  devices: readonly string[],
  at: {
    lowV: number;
    fullScaleVgsV: number;
    ladderSlopeV: number;
    areaM2: number;
    gmOverIPerV: (vgsV: number) => number;
    source: string;
  },
): Mismatch {
  const byGate = new Map<number, Map<string, number>>();
  for (const { vgsV, device, drainA } of row) {
    if (vgsV < at.lowV - 1e-9 || vgsV > at.fullScaleVgsV + 0.02) continue;
    const key = Math.round(vgsV * 1e5) / 1e5;
    if (!byGate.has(key)) byGate.set(key, new Map());
    byGate.get(key)!.set(device, Math.log(drainA));
  }
  const complete = [...byGate]
    .filter(([, values]) => values.size === devices.length)
    .sort((a, b) => a[0] - b[0]);
  if (complete.length < 7) {
    throw new OnefetError(
      'input',
      'MEASURED_DEVICES',
      `only ${complete.length} gate voltages below full scale were measured on all ${devices.length} devices; 7 are needed`,
      { hint: 'measure every device at the same gate voltages, or leave the device column out' },
    );
  }
  const vgsV = complete.map(([v]) => v);
  const sigma = complete.map(([, values]) => deviation([...values.values()]));
  const gm = vgsV.map(at.gmOverIPerV);
  const { sigmaVtV, sigmaBeta } = split(gm, sigma);
  // Full scale is the gate voltage nearest to it.
  const last = vgsV.reduce(
    (best, v, i) => (Math.abs(v - at.fullScaleVgsV) < Math.abs(vgsV[best] - at.fullScaleVgsV) ? i : best),
    0,
  );
  const ln = [...complete[last][1].values()];
  const middle = upperMedian(ln);
  const theory = gm.map((g) => Math.hypot(g * sigmaVtV, sigmaBeta));
  const bins = 40;
  const lowerEdge = -4 * theory[last];
  const binWidth = (8 * theory[last]) / bins;
  const counts = new Array<number>(bins).fill(0);
  for (const value of ln) {
    const bin = Math.floor((value - middle - lowerEdge) / binWidth);
    counts[Math.min(bins - 1, Math.max(0, bin))]++;
  }
  // Thinned to what the file needs; full scale stays the last entry.
  const shown = Array.from({ length: 7 }, (_, i) => Math.round((i * last) / 6)).filter(
    (v, i, all) => all.indexOf(v) === i,
  );
  const pick = (values: readonly number[]) => shown.map((i) => values[i]);
  const source = `${devices.length} devices of ${at.source} (measured)`;
  return {
    avtVm: sigmaVtV * Math.sqrt(at.areaM2),
    abetaM: sigmaBeta * Math.sqrt(at.areaM2),
    sigmaVtV,
    sigmaBeta,
    // The measured sigma is referred to the gate, so a shift acts as a gate step by definition.
    thresholdGain: 1,
    sources: { avt: source, abeta: source },
    monteCarlo: {
      devices: devices.length,
      seed: 0,
      product: pick(vgsV).map((v) => Math.exp((v - at.fullScaleVgsV) / at.ladderSlopeV)),
      vgsV: pick(vgsV),
      gmOverIPerV: pick(gm),
      lnSigmaSpice: pick(sigma),
      lnSigmaTheory: pick(theory),
      thresholdSlopePerV: pick(gm),
      histogram: { lowerEdge, binWidth, counts },
    },
  };
}

/** Least squares of s^2 = g^2 a + b in relative deviations; a part that comes out negative is set to zero. */
function split(gm: readonly number[], sigma: readonly number[]): { sigmaVtV: number; sigmaBeta: number } {
  const rows = gm.map((g, i) => ({ x: (g * g) / sigma[i] ** 2, y: 1 / sigma[i] ** 2 }));
  const sum = (f: (row: { x: number; y: number }) => number) => rows.reduce((s, r) => s + f(r), 0);
  const xx = sum(({ x }) => x * x);
  const yy = sum(({ y }) => y * y);
  const xy = sum(({ x, y }) => x * y);
  const x1 = sum(({ x }) => x);
  const y1 = sum(({ y }) => y);
  const determinant = xx * yy - xy * xy;
  let a = determinant > 1e-9 * xx * yy ? (x1 * yy - y1 * xy) / determinant : x1 / xx;
  let b = determinant > 1e-9 * xx * yy ? (y1 * xx - x1 * xy) / determinant : 0;
  if (a < 0) [a, b] = [0, y1 / yy];
  else if (b < 0) [a, b] = [x1 / xx, 0];
  return { sigmaVtV: Math.sqrt(a), sigmaBeta: Math.sqrt(b) };
}
