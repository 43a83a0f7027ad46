/**
 * The result of a calibration, calibration/<process>/<cell>.json: what the behavioural model needs, how good it is,
 * and the data behind the plots. It names the hash of every file that it was made from and is refused when one of
 * them has changed. No date: the same sources give the same file.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { nearestName, OnefetError } from '../error.ts';
import { loadResult } from '../sources.ts';
import { type CellLaw, cellLawSchema } from './cell-law.ts';
import { COEFFICIENT_COUNT, COEFFICIENT_NAMES, REFERENCE_TEMP_K } from './ekv.ts';
import { productTableSchema } from './product-schema.ts';
import { residualSchema } from './residual.ts';
import { CORNERS, checkName } from './technology.ts';

const number = z.number();
const numbers = z.array(number).max(100_000);
const pair = z.tuple([number, number]);

export const cornerSchema = z.strictObject({
  /** In the order of `model.coefficientNames`. */
  coefficients: z.array(number).length(COEFFICIENT_COUNT),
  /** Upper triangle, row by row, of the covariance of the coefficients. */
  covariance: z.array(number).length((COEFFICIENT_COUNT * (COEFFICIENT_COUNT + 1)) / 2),
  /** Deviation of ln I of the points that were fitted, and of rows that the fit never saw. */
  fit: residualSchema,
  heldOutVds: residualSchema,
  heldOutTemp: residualSchema,
  /** Calibrated gate voltages: linear between the temperatures. */
  gate: z.strictObject({ tempK: numbers, lowV: numbers, highV: numbers }),
  /** ln of the off current in A: [tempK][vdsV][vgsV], flattened. */
  off: z.strictObject({ tempK: numbers, vdsV: numbers, vgsV: numbers, lnCurrent: numbers }),
});

export const calibrationSchema = z.strictObject({
  schema: z.literal('onefet.calibration/1'),
  process: z.string(),
  cell: z.string(),
  topology: z.string(),
  /** `ideal`: gate levels come from ideal sources, the row driver's own error is not in the calibration. */
  driver: z.enum(['ideal', 'transistor']),
  engine: z.string(),
  /** Path below the working folder or the package -> SHA-256. */
  sources: z.record(z.string(), z.string()),
  device: z.strictObject({ widthM: number, lengthM: number, oxideM: number }),
  nominal: z.strictObject({
    tempK: number,
    vdsV: number,
    fullScaleA: number,
    fullScaleVgsV: number,
    /** n of the ladder: gate volts per e-fold of current over Ut, least squares over all codes and taps. */
    ladderSlopeFactorN: number,
  }),
  validRange: z.strictObject({
    tempK: pair,
    vdsV: pair,
    /** Gate voltages of ideal products from 1/lowestProduct to highestProduct times fullScaleA; see corners.gate. */
    smallestProduct: number,
    largestProduct: number,
    offVgsV: pair,
  }),
  model: z.strictObject({
    equation: z.string(),
    referenceTempK: number,
    coefficientNames: z.array(z.string()),
  }),
  corners: z.partialRecord(z.enum(CORNERS), cornerSchema),
  mismatch: z.strictObject({
    avtVm: number,
    abetaM: number,
    sigmaVtV: number,
    /** Relative. */
    sigmaBeta: number,
    /** -d ln I / dVt over gm/I at full scale: how much more a threshold shift does than a gate step. */
    thresholdGain: number,
    sources: z.strictObject({ avt: z.string(), abeta: z.string() }),
    monteCarlo: z.strictObject({
      devices: z.int(),
      seed: z.int(),
      /** By gate voltage: ideal product, gm/I, sigma of ln I drawn in SPICE, and sqrt((gm/I sigmaVt)^2 + sigmaBeta^2). */
      product: numbers,
      vgsV: numbers,
      gmOverIPerV: numbers,
      lnSigmaSpice: numbers,
      lnSigmaTheory: numbers,
      /** -d ln I / dVt, regression over the sample. */
      thresholdSlopePerV: numbers,
      /** Distribution of ln(I / median) at full scale. */
      histogram: z.strictObject({ lowerEdge: number, binWidth: number, counts: z.array(z.int()) }),
    }),
  }),
  /** Absent where it was not measured: data from a laboratory without a simulated supplement. */
  law: cellLawSchema.optional(),
  noise: z.strictObject({
    /** S_I / I^2 at 1 Hz, 1/Hz, at full scale. */
    flickerRelativePsdAt1Hz: number,
    /** d ln S / d ln f of the flicker part, with its sign turned. */
    flickerExponent: number,
    /** White S_I of the simulator over 2 q I at full scale; the behavioural model uses coth(Vds / 2 Ut) instead. */
    whiteRatioSpice: number,
    whiteRatioTheory: number,
    currentA: numbers,
    whiteRatioByCurrent: numbers,
    flickerByCurrent: numbers,
  }),
  capacitance: z.strictObject({ gateF: number, drainF: number }),
  gateLeakageA: z.strictObject({ vgsV: numbers, currentA: numbers }),
  /** d ln I / dT at the nominal full-scale gate voltage, 1/K. */
  temperatureSensitivityPerK: number,
  exponentialRange: z.array(
    z.strictObject({ tolerance: number, decades: number, lowA: number, highA: number, slopeFactorN: number }),
  ),
  multiply: z.strictObject({
    codes: z.int(),
    levels: z.int(),
    /** By temperature: [levels][codes] currents over full scale of SPICE; never used in the fit. */
    tempK: numbers,
    spice: z.array(numbers),
    /** The fitted cell at the same gate voltages. */
    fit: z.array(numbers),
    /** Fit against SPICE, ln I. */
    heldOut: z.array(residualSchema),
    /** SPICE against the ideal product, one gain removed: relative error. */
    product: z.array(residualSchema),
  }),
  /**
   * Products of a multiplier that is not one exponentiator at one gate node. Where it is present, everything else here
   * describes one unit transistor of the cell; products come from `productTable` in product-table.ts.
   */
  product: productTableSchema.optional(),
  plots: z.strictObject({
    transfer: z.array(
      z.strictObject({ vdsV: number, vgsV: numbers, spiceA: numbers, fitVgsV: numbers, fitA: numbers }),
    ),
    /** TT: ln(fit / SPICE) against gate voltage, by temperature and drain voltage. */
    residuals: z.array(
      z.strictObject({ tempK: number, vdsV: number, heldOut: z.boolean(), vgsV: numbers, lnRatio: numbers }),
    ),
  }),
});

export type Calibration = z.infer<typeof calibrationSchema>;

/** The equation whose coefficients the corners hold. */
export const CELL_EQUATION: Calibration['model'] = {
  equation: 'Is [F(vp/Ut) - F((vp - s Vds)/Ut)] (1 + lambda Vds) + junction + drain edge; src/cell/ekv.ts',
  referenceTempK: REFERENCE_TEMP_K,
  coefficientNames: [...COEFFICIENT_NAMES],
};
export type CornerCalibration = z.infer<typeof cornerSchema>;

export function calibrationPath(process: string, cell: string): string {
  return join('calibration', process, `${cell}.json`);
}

/**
 * Finds, validates and re-hashes calibration/<process>/<cell>.json (working folder first).
 * Errors: FILE_MISSING, CALIBRATION_INVALID, CALIBRATION_STALE.
 */
export function loadCalibration(process: string, cell: string): Calibration {
  checkName(process, 'process');
  checkName(cell, 'cell');
  return loadResult({
    relative: calibrationPath(process, cell),
    kind: 'calibration',
    name: `${process}/${cell}`,
    schema: calibrationSchema,
    code: 'CALIBRATION',
    hint: `run: onefet calibrate --process ${process} --cell ${cell}`,
    changed: ({ model }) =>
      model.coefficientNames.join() === COEFFICIENT_NAMES.join()
        ? undefined
        : 'it was made with another cell equation',
  });
}

/** Significant digits of a calibration's numbers by key: coefficients keep 12, plotted deviations 3, all else 6. */
export const calibrationDigits = (key: string): number =>
  key === 'coefficients' ? 12 : key === 'lnRatio' ? 3 : 6;

/** Lists the corners that were calibrated, TT first. */
export const calibratedCorners = ({ corners }: Calibration): (typeof CORNERS)[number][] =>
  CORNERS.filter((corner) => corners[corner] !== undefined);

/** One corner, or an error that says which there are. */
export function cornerOf(calibration: Calibration, corner: string): CornerCalibration {
  const found = calibration.corners[corner as (typeof CORNERS)[number]];
  if (found !== undefined) return found;
  const known = Object.keys(calibration.corners);
  const nearest = nearestName(corner, known);
  throw new OnefetError(
    'usage',
    'CORNER_UNKNOWN',
    `${calibration.process}/${calibration.cell}: no corner ${corner}`,
    {
      hint: nearest ? `did you mean ${nearest}?` : `calibrated corners are ${known.join(', ')}`,
    },
  );
}

/** The law of single cells, or an error that says how to get it. Error: NO_CELL_LAW. */
export function requireLaw(cal: Calibration): CellLaw {
  if (cal.law !== undefined) return cal.law;
  throw new OnefetError(
    'input',
    'NO_CELL_LAW',
    `${cal.process}/${cal.cell}: the calibration does not say how the cell answers to its source line`,
    {
      hint: `a simulated cell is calibrated again by: onefet calibrate --process ${cal.process} --cell ${cal.cell}; a measured one takes it from its simulated supplement, or the design gives bias.sourceSlopeFactor as a number (1 to 1.2)`,
    },
  );
}
