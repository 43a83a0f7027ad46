/**
 * The calibration of measured corners: products read off the data, spread of devices, plots.
 */
import { type Calibration, CELL_EQUATION } from '../../cell/calibration.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
  REFERENCE_TEMP_K,
} from '../../cell/ekv.ts';
import type { CellDescription, loadProcess } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { hashSources } from '../../sources.ts';
import { SMALLEST_PRODUCT } from '../fit/corner-fit.ts';
import { EXPONENTIAL_TOLERANCES, exponentialRange, ladderSlopeFactor } from '../fit/measures.ts';
import { productEntry } from '../fit/plot-data.ts';
import { CODES, TAPS } from '../testbench.ts';
import { completeNoise, type MeasuredConstants } from './constants.ts';
import { heldOutTemps, heldOutVds, type MeasuredCorner, nominalVds } from './corner.ts';
import type { MeasuredPoint } from './csv.ts';
import { lnCurrentAt, type MeasuredRow, nearest, rowAt } from './plane.ts';
import { LEAST_DEVICES, listDevices, measureSpread } from './spread.ts';

/** The nearest measured temperature must be this close to 27 C. */
const NOMINAL_TEMP_K = 5.01;

export interface MeasuredParts {
  readonly cellName: string;
  readonly cell: CellDescription;
  readonly process: ReturnType<typeof loadProcess>;
  readonly name: string;
  readonly points: readonly MeasuredPoint[];
  readonly fitted: readonly MeasuredCorner[];
  readonly constants: MeasuredConstants | undefined;
  readonly supplement: Calibration | undefined;
  /** What the data do not show and the moved supplement gives, for people. */
  readonly completed: readonly string[];
  readonly sources: readonly string[];
}

/** The bias that the typical fit gives, on the measured grid. */
interface MeasuredBias {
  /** Measured drain voltage and temperature nearest to the nominal ones. */
  readonly vdsV: number;
  readonly referenceK: number;
  readonly fullScaleVgsV: number;
  readonly ladderSlopeFactorN: number;
  readonly slopeAt: (tempK: number) => number;
}

/** Assembles the calibration. Errors: MEASURED_GRID, MEASURED_RANGE, MEASURED_INCOMPLETE, MEASURED_DEVICES, SOURCE_OUTSIDE. */
export function assembleMeasured(parts: MeasuredParts): Calibration {
  const { cellName, cell, process, name, points, fitted, constants, supplement } = parts;
  const { technology } = process;
  const [{ plane, fit, entry }] = fitted;
  const bias = measuredBias(parts);
  const { vdsV, referenceK, fullScaleVgsV } = bias;
  const currentA = (tempK: number) =>
    ekvCurrentA(atTemperature(fit.coefficients, tempK), fullScaleVgsV, cell.vdsV);
  const nominalRow = rowAt(plane, referenceK, vdsV);
  const multiply = [plane.tempK[0], referenceK, plane.tempK[plane.tempK.length - 1]].map((tempK) =>
    measuredProducts(parts, rowAt(plane, tempK, vdsV), bias.slopeAt(tempK)),
  );
  const mismatch = measuredMismatch(parts, bias);
  const whiteRatioTheory = 1 / Math.tanh(cell.vdsV / (2 * BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K));
  const gateIndex = nominalRow.gateA.flatMap((value, i) => (value === undefined ? [] : [i]));
  return {
    schema: 'onefet.calibration/1',
    process: technology.name,
    cell: cellName,
    topology: cell.topology,
    driver: 'ideal',
    engine: `measured: ${points.length} points of ${name}${supplement === undefined ? '' : `; what it does not show${completedWords(parts)}: ${supplement.engine}, cell ${supplement.cell}`}`,
    sources: hashSources(parts.sources),
    device: { widthM: cell.widthM, lengthM: cell.lengthM, oxideM: technology.oxideM.value },
    nominal: {
      tempK: REFERENCE_TEMP_K,
      vdsV: cell.vdsV,
      fullScaleA: cell.fullScaleA,
      fullScaleVgsV,
      ladderSlopeFactorN: bias.ladderSlopeFactorN,
    },
    validRange: {
      tempK: [plane.tempK[0], plane.tempK[plane.tempK.length - 1]],
      vdsV: [plane.vdsV[0], plane.vdsV[plane.vdsV.length - 1]],
      smallestProduct: Math.max(SMALLEST_PRODUCT, ...fitted.map((corner) => corner.smallestProduct)),
      largestProduct: Math.min(...fitted.map((corner) => corner.largestProduct)),
      offVgsV: [entry.off.vgsV[0], entry.off.vgsV[entry.off.vgsV.length - 1]],
    },
    model: CELL_EQUATION,
    corners: Object.fromEntries(fitted.map((corner) => [corner.corner, corner.entry])),
    mismatch,
    // As the noise: what a sweep at a grounded source does not show is the simulated cell's of the same size.
    ...(supplement?.law === undefined ? {} : { law: supplement.law }),
    ...completeNoise(constants, supplement, { fullScaleA: cell.fullScaleA, whiteRatioTheory }),
    gateLeakageA: {
      vgsV: gateIndex.map((i) => nominalRow.vgsV[i]),
      currentA: gateIndex.map((i) => nominalRow.gateA[i]!),
    },
    temperatureSensitivityPerK: Math.log(currentA(REFERENCE_TEMP_K + 1) / currentA(REFERENCE_TEMP_K - 1)) / 2,
    exponentialRange: EXPONENTIAL_TOLERANCES.map((tolerance) =>
      exponentialRange(nominalRow.vgsV, nominalRow.lnA.map(Math.exp), tolerance, referenceK),
    ),
    multiply: productEntry(multiply, { vdsV, fullScaleA: cell.fullScaleA }, fit.coefficients),
    plots: measuredPlots(fitted[0], vdsV, referenceK),
  };
}

const completedWords = ({ completed }: MeasuredParts): string =>
  completed.length === 0 ? '' : ` (among it ${completed.join(', ')}, moved to the measured points)`;

function measuredBias({ cell, fitted, name }: MeasuredParts): MeasuredBias {
  const [{ plane, fit, entry }] = fitted;
  const vdsV = nominalVds(plane, cell, name);
  const referenceK = nearest(plane.tempK, REFERENCE_TEMP_K);
  if (Math.abs(referenceK - REFERENCE_TEMP_K) > NOMINAL_TEMP_K) {
    throw new OnefetError('input', 'MEASURED_GRID', `${name}: no temperature within 5 K of 27 C`);
  }
  const at = atTemperature(fit.coefficients, REFERENCE_TEMP_K);
  const k = plane.tempK.indexOf(referenceK);
  const fullScaleVgsV = ekvGateVoltageV(
    at,
    cell.fullScaleA,
    cell.vdsV,
    entry.gate.lowV[k] - 0.02,
    entry.gate.highV[k] + 0.02,
  );
  const n = ladderSlopeFactor((v) => ekvCurrentA(at, v, cell.vdsV), fullScaleVgsV, CODES, TAPS);
  const slopeAt = (tempK: number) => n * BOLTZMANN_OVER_CHARGE * tempK;
  return { vdsV, referenceK, fullScaleVgsV, ladderSlopeFactorN: n, slopeAt };
}

/** The spread of the measured devices, or the supplement's where too few were measured. Error: MEASURED_INCOMPLETE. */
function measuredMismatch(parts: MeasuredParts, bias: MeasuredBias): Calibration['mismatch'] {
  const { cell, points, fitted, name, supplement } = parts;
  const [{ plane, fit, entry }] = fitted;
  const typical = points.filter(({ corner }) => corner === 'TT');
  const devices = listDevices(typical);
  if (devices.length < LEAST_DEVICES) {
    if (supplement !== undefined) return supplement.mismatch;
    throw new OnefetError(
      'input',
      'MEASURED_INCOMPLETE',
      `${name}: mismatch needs a column "device" with at least ${LEAST_DEVICES} devices; there ${devices.length === 1 ? 'is 1' : `are ${devices.length}`}`,
      {
        hint: 'measure more devices, or name a simulated cell of the same size (its mismatch is then assumed)',
      },
    );
  }
  const { vdsV, referenceK, fullScaleVgsV, slopeAt } = bias;
  const row = typical.filter((p) => Math.abs(p.tempK - referenceK) < 0.005 && Math.abs(p.vdsV - vdsV) < 5e-6);
  return measureSpread(row, devices, {
    lowV: entry.gate.lowV[plane.tempK.indexOf(referenceK)],
    fullScaleVgsV,
    ladderSlopeV: slopeAt(REFERENCE_TEMP_K),
    areaM2: cell.widthM * cell.lengthM,
    gmOverIPerV: (vgsV) => {
      const at = atTemperature(fit.coefficients, REFERENCE_TEMP_K);
      const { currentA, perGateV } = ekvDerivatives(at, vgsV, cell.vdsV);
      return perGateV / currentA;
    },
    source: name,
  });
}

/** Products read off the measured nominal row: its ln I interpolated at the gate voltage of every code and tap. */
function measuredProducts({ cell, fitted, name }: MeasuredParts, row: MeasuredRow, ladderSlopeV: number) {
  const at = atTemperature(fitted[0].fit.coefficients, row.tempK);
  const fullScaleVgsV = ekvGateVoltageV(
    at,
    cell.fullScaleA,
    row.vdsV,
    row.vgsV[0],
    row.vgsV[row.vgsV.length - 1],
  );
  const drainA = new Float64Array(CODES * TAPS);
  for (let i = 0; i < drainA.length; i++) {
    const product = ((Math.floor(i / CODES) + 1) * ((i % CODES) + 1)) / (CODES * TAPS);
    const vgsV = fullScaleVgsV + ladderSlopeV * Math.log(product);
    const ln = lnCurrentAt(row, vgsV);
    if (ln === undefined) {
      throw new OnefetError(
        'input',
        'MEASURED_RANGE',
        `${name}: the product 1/${Math.round(1 / product)} lies at Vgs ${Number(vgsV.toFixed(4)) || 0} V, measured from ${row.vgsV[0]} to ${row.vgsV[row.vgsV.length - 1]} V at ${(row.tempK - 273.15).toFixed(1)} C`,
        { hint: 'measure over more gate voltages' },
      );
    }
    drainA[i] = Math.exp(ln);
  }
  return { tempK: row.tempK, codes: CODES, levels: TAPS, fullScaleVgsV, ladderSlopeV, drainA };
}

/** Points that a plot needs at most per row. */
const PLOT_POINTS = 120;

function measuredPlots(
  { plane, fit, entry }: MeasuredCorner,
  nominalV: number,
  referenceK: number,
): Calibration['plots'] {
  const temps = heldOutTemps(plane);
  const drains = heldOutVds(plane, nominalV);
  const rows = plane.rows.filter((row) => plane.vdsV.includes(row.vdsV));
  const indices = (row: MeasuredRow, inside: boolean) => {
    const k = plane.tempK.indexOf(row.tempK);
    const all = row.vgsV.flatMap((v, i) =>
      !inside || (v >= entry.gate.lowV[k] && v <= entry.gate.highV[k]) ? [i] : [],
    );
    const stride = Math.max(1, Math.ceil(all.length / PLOT_POINTS));
    return all.filter((_, i) => i % stride === 0);
  };
  return {
    transfer: rows
      .filter((row) => row.tempK === referenceK)
      .map((row) => {
        const at = atTemperature(fit.coefficients, row.tempK);
        const shown = indices(row, false);
        const k = plane.tempK.indexOf(row.tempK);
        const fitted = shown.filter(
          (i) => row.vgsV[i] >= entry.gate.lowV[k] && row.vgsV[i] <= entry.gate.highV[k],
        );
        return {
          vdsV: row.vdsV,
          vgsV: shown.map((i) => row.vgsV[i]),
          spiceA: shown.map((i) => Math.exp(row.lnA[i])),
          fitVgsV: fitted.map((i) => row.vgsV[i]),
          fitA: fitted.map((i) => ekvCurrentA(at, row.vgsV[i], row.vdsV)),
        };
      }),
    residuals: rows.map((row) => {
      const at = atTemperature(fit.coefficients, row.tempK);
      const shown = indices(row, true);
      return {
        tempK: row.tempK,
        vdsV: row.vdsV,
        heldOut: temps.includes(row.tempK) || drains.includes(row.vdsV),
        vgsV: shown.map((i) => row.vgsV[i]),
        lnRatio: shown.map((i) => Math.log(ekvCurrentA(at, row.vgsV[i], row.vdsV)) - row.lnA[i]),
      };
    }),
  };
}
