/**
 * From measured currents to a calibration: the same equation, fit, held-out checks and file as from SPICE (calibrate.ts).
 */
import { OnefetError } from '../../error.ts';
import { displayPath, readTextFile, sha256, writeFileAtomic } from '../../files.ts';
import { rounded } from '../calibrate.ts';
import {
  type Calibration,
  calibrationPath,
  calibrationSchema,
  loadCalibration,
  sourceKey,
} from '../calibration.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  COEFFICIENT_NAMES,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
  REFERENCE_TEMP_K,
} from '../ekv.ts';
import { SMALLEST_PRODUCT } from '../fit/corner-fit.ts';
import { type CellFit, type CellPoint, fitCell, type Residual, residualOf } from '../fit/fit.ts';
import { exponentialRange, ladderSlopeFactor, productError } from '../fit/measures.ts';
import { multiplyPoints } from '../fit/plot-data.ts';
import { type CellDescription, CORNERS, type Corner, cellOf, loadProcess } from '../technology.ts';
import { completeNoise, type MeasuredConstants, readMeasuredConstants } from './constants.ts';
import { type MeasuredPoint, readMeasuredCsv } from './csv.ts';
import {
  gateRangeOf,
  lnCurrentAt,
  type MeasuredPlane,
  type MeasuredRow,
  nearest,
  noiseOf,
  offTableOf,
  planeOf,
  pointsInside,
  rowAt,
} from './plane.ts';
import { devicesOf, LEAST_DEVICES, spreadOf } from './spread.ts';

export interface CalibrateFromCsvOptions {
  readonly process: string;
  /** Entry of `cells:` in the process's technology.yaml: its size, full-scale current and drain voltage. */
  readonly cell: string;
  /** Below the working folder, so that the calibration can later tell whether it has changed. */
  readonly csvPath: string;
  /** YAML with noise and capacitance (schema onefet.measured-constants/1). */
  readonly constantsPath?: string;
  /** A simulated cell of the same process and size, for what neither the CSV nor the constants give. */
  readonly supplementCell?: string;
}

export interface MeasuredCalibration {
  readonly calibration: Calibration;
  readonly summary: {
    readonly points: number;
    readonly devices: number;
    /** Relative noise of a point; undefined when the grid does not show it. */
    readonly noiseRms: number | undefined;
    readonly corners: Readonly<
      Record<string, { fitted: number; heldOutVds: number; heldOutTemp: number; stride: number }>
    >;
  };
}

const CODES = 63;
const LEVELS = 7;
/** More points than this per corner are thinned evenly: 21 coefficients learn nothing more from them. */
const MAX_FIT_POINTS = 6000;
const MAX_RMS = 0.01;
const MAX_DEVIATION = 0.03;
/** A point of Gaussian noise lies beyond this many sigma once in 2 million. */
const NOISE_SIGMAS = 5;
/** The nearest measured drain voltage and temperature must be this close to the nominal ones. */
const NOMINAL_VDS_V = 0.051;
const NOMINAL_TEMP_K = 5.01;

interface MeasuredCorner {
  readonly corner: Corner;
  readonly plane: MeasuredPlane;
  readonly fit: CellFit;
  readonly entry: Calibration['corners'][Corner] & object;
  readonly smallestProduct: number;
  readonly largestProduct: number;
  readonly noiseRms: number | undefined;
  readonly stride: number;
}

/**
 * Fits a CSV of measured currents. Errors: MEASURED_* (one line, with the line number where there is one),
 * FULL_SCALE_UNREACHED, FIT_RESIDUAL, FIT_UNDETERMINED, CELL_UNKNOWN, SOURCE_OUTSIDE.
 */
export function calibrateFromCsv(options: CalibrateFromCsvOptions): MeasuredCalibration {
  const process = loadProcess(options.process);
  const cell = cellOf(process, options.cell);
  const points = readMeasuredCsv(options.csvPath);
  const name = displayPath(options.csvPath);
  const constants =
    options.constantsPath === undefined ? undefined : readMeasuredConstants(options.constantsPath);
  const supplement = supplementOf(options, cell);
  const corners = CORNERS.filter((corner) => points.some((point) => point.corner === corner));
  if (corners[0] !== 'TT') {
    throw new OnefetError('input', 'MEASURED_GRID', `${name}: no row of corner TT`, {
      hint: 'the other corners are fitted from it; leave the column out if there is one wafer only',
    });
  }
  const fitted: MeasuredCorner[] = [];
  for (const corner of corners) {
    const own = points.filter((point) => point.corner === corner);
    fitted.push(fitMeasured(`${name} ${corner}`, corner, own, cell, fitted[0]?.fit.coefficients));
  }
  const sources = [
    process.path,
    options.csvPath,
    ...(options.constantsPath === undefined ? [] : [options.constantsPath]),
  ];
  if (options.supplementCell !== undefined)
    sources.push(calibrationPath(options.process, options.supplementCell));
  const calibration = assemble({
    options,
    cell,
    process,
    name,
    points,
    fitted,
    constants,
    supplement,
    sources,
  });
  return {
    calibration: calibrationSchema.parse(rounded(calibration)),
    summary: {
      points: points.length,
      devices: devicesOf(points).length,
      noiseRms: fitted[0].noiseRms,
      corners: Object.fromEntries(
        fitted.map(({ corner, entry, stride }) => [
          corner,
          {
            fitted: entry.fit.points,
            heldOutVds: entry.heldOutVds.points,
            heldOutTemp: entry.heldOutTemp.points,
            stride,
          },
        ]),
      ),
    },
  };
}

/** Fits and writes calibration/<process>/<cell>.json below the working folder. */
export function calibrateFromCsvToFile(
  options: CalibrateFromCsvOptions,
): MeasuredCalibration & { path: string } {
  if (options.supplementCell === options.cell) {
    throw new OnefetError(
      'usage',
      'MEASURED_SUPPLEMENT',
      `the calibration of ${options.cell} would replace its own supplement`,
      {
        hint: 'give the measured cell an entry of its own in technology.yaml',
      },
    );
  }
  const result = calibrateFromCsv(options);
  const path = calibrationPath(options.process, options.cell);
  writeFileAtomic(path, `${JSON.stringify(result.calibration)}\n`);
  return { ...result, path };
}

function supplementOf(options: CalibrateFromCsvOptions, cell: CellDescription): Calibration | undefined {
  if (options.supplementCell === undefined) return undefined;
  const supplement = loadCalibration(options.process, options.supplementCell);
  const { widthM, lengthM } = supplement.device;
  if (widthM !== cell.widthM || lengthM !== cell.lengthM) {
    throw new OnefetError(
      'input',
      'MEASURED_SUPPLEMENT',
      `${options.supplementCell} is ${widthM * 1e6}/${lengthM * 1e6} um, ${options.cell} is ${cell.widthM * 1e6}/${cell.lengthM * 1e6} um`,
      { hint: 'noise, capacitance and mismatch depend on the size: name a cell of the same size' },
    );
  }
  return supplement;
}

function fitMeasured(
  name: string,
  corner: Corner,
  points: readonly MeasuredPoint[],
  cell: CellDescription,
  start: readonly number[] | undefined,
): MeasuredCorner {
  const plane = planeOf(points, name);
  const vdsV = nominalVds(plane, cell, name);
  const { gate, smallestProduct, largestProduct } = gateRangeOf(plane, cell.fullScaleA, vdsV, name);
  const off = offTableOf(plane, name);
  const temps = heldOutTemps(plane);
  const drains = heldOutVds(plane, vdsV);
  const inTemps = (row: MeasuredRow) => temps.includes(row.tempK);
  const inDrains = (row: MeasuredRow) => drains.includes(row.vdsV);
  const all = pointsInside(plane, gate, (row) => !inTemps(row) && !inDrains(row));
  const stride = Math.max(1, Math.ceil(all.length / MAX_FIT_POINTS));
  const fit = fitCell(
    all.filter((_, i) => i % stride === 0),
    start,
  );
  const residual = (kept: CellPoint[]): Residual => residualOf(kept, fit.coefficients);
  const entry = {
    coefficients: fit.coefficients,
    covariance: fit.covariance.flatMap((row, i) => row.slice(i)),
    fit: fit.residual,
    heldOutVds: residual(pointsInside(plane, gate, (row) => !inTemps(row) && inDrains(row))),
    heldOutTemp: residual(pointsInside(plane, gate, inTemps)),
    gate,
    off,
  };
  const noiseRms = noiseOf(plane, gate);
  for (const [what, value] of Object.entries({
    fit: entry.fit,
    'held-out Vds': entry.heldOutVds,
    'held-out temperature': entry.heldOutTemp,
  })) {
    checkMeasured(`${name} ${what}`, value, noiseRms ?? 0);
  }
  return { corner, plane, fit, entry, smallestProduct, largestProduct, noiseRms, stride };
}

/** The limits of a simulated fit, with room for the noise that the data themselves show. */
function checkMeasured(name: string, { rms, max }: Residual, noise: number): void {
  const [mostRms, most] = [Math.hypot(MAX_RMS, noise), MAX_DEVIATION + NOISE_SIGMAS * noise];
  if (rms <= mostRms && max <= most) return;
  throw new OnefetError(
    'simulation',
    'FIT_RESIDUAL',
    `${name}: the cell equation deviates by ${(100 * rms).toFixed(2)} % RMS, ${(100 * max).toFixed(2)} % at most (limits ${(100 * mostRms).toFixed(2)} and ${(100 * most).toFixed(2)} %, with a noise of ${(100 * noise).toFixed(2)} % in the data)`,
    {
      hint: 'lower fullScaleA so that the cell stays in weak inversion; look for a range change of the meter',
    },
  );
}

function nominalVds(plane: MeasuredPlane, cell: CellDescription, name: string): number {
  const vdsV = nearest(plane.vdsV, cell.vdsV);
  if (Math.abs(vdsV - cell.vdsV) <= NOMINAL_VDS_V && plane.vdsV[0] <= cell.vdsV + 1e-9) return vdsV;
  throw new OnefetError(
    'input',
    'MEASURED_GRID',
    `${name}: no drain voltage near the nominal ${cell.vdsV} V; there are ${plane.vdsV.join(', ')} V`,
    { hint: 'measure at vdsV of the cell, or change vdsV in technology.yaml' },
  );
}

/** Every second inner temperature but the one nearest to 27 C, if three are left for a parabola. */
function heldOutTemps(plane: MeasuredPlane): number[] {
  const reference = nearest(plane.tempK, REFERENCE_TEMP_K);
  const last = plane.tempK.length - 1;
  const held = plane.tempK.filter((t, i) => i > 0 && i < last && i % 2 === 1 && t !== reference);
  return plane.tempK.length - held.length >= 3 ? held : held.slice(0, Math.max(0, plane.tempK.length - 3));
}

/** Every second inner drain voltage but the nominal one, if three are left. */
function heldOutVds(plane: MeasuredPlane, nominalV: number): number[] {
  const last = plane.vdsV.length - 1;
  const held = plane.vdsV.filter((v, j) => j > 0 && j < last && j % 2 === 1 && v !== nominalV);
  return held.slice(0, Math.max(0, plane.vdsV.length - 3));
}

interface Parts {
  readonly options: CalibrateFromCsvOptions;
  readonly cell: CellDescription;
  readonly process: ReturnType<typeof loadProcess>;
  readonly name: string;
  readonly points: readonly MeasuredPoint[];
  readonly fitted: readonly MeasuredCorner[];
  readonly constants: MeasuredConstants | undefined;
  readonly supplement: Calibration | undefined;
  readonly sources: readonly string[];
}

function assemble(parts: Parts): Calibration {
  const { options, cell, process, name, points, fitted, constants, supplement } = parts;
  const { technology } = process;
  const [{ plane, fit, entry }] = fitted;
  const vdsV = nominalVds(plane, cell, name);
  const referenceK = nearest(plane.tempK, REFERENCE_TEMP_K);
  if (Math.abs(referenceK - REFERENCE_TEMP_K) > NOMINAL_TEMP_K) {
    throw new OnefetError('input', 'MEASURED_GRID', `${name}: no temperature within 5 K of 27 C`);
  }
  const at = (tempK: number) => atTemperature(fit.coefficients, tempK);
  const currentA = (tempK: number, vgsV: number) => ekvCurrentA(at(tempK), vgsV, cell.vdsV);
  const k = plane.tempK.indexOf(referenceK);
  const fullScaleVgsV = ekvGateVoltageV(
    at(REFERENCE_TEMP_K),
    cell.fullScaleA,
    cell.vdsV,
    entry.gate.lowV[k] - 0.02,
    entry.gate.highV[k] + 0.02,
  );
  const n = ladderSlopeFactor((v) => currentA(REFERENCE_TEMP_K, v), fullScaleVgsV, CODES, LEVELS);
  const slopeAt = (tempK: number) => n * BOLTZMANN_OVER_CHARGE * tempK;
  const nominalRow = rowAt(plane, referenceK, vdsV);
  const multiply = [plane.tempK[0], referenceK, plane.tempK[plane.tempK.length - 1]].map((tempK) =>
    measuredProducts(parts, rowAt(plane, tempK, vdsV), slopeAt(tempK)),
  );
  const gmOverIPerV = (vgsV: number) => {
    const { currentA: i, perGateV } = ekvDerivatives(at(REFERENCE_TEMP_K), vgsV, cell.vdsV);
    return perGateV / i;
  };
  const devices = devicesOf(points.filter(({ corner }) => corner === 'TT'));
  const mismatch =
    devices.length >= LEAST_DEVICES
      ? spreadOf(
          points.filter(
            (p) =>
              p.corner === 'TT' && Math.abs(p.tempK - referenceK) < 0.005 && Math.abs(p.vdsV - vdsV) < 5e-6,
          ),
          devices,
          {
            lowV: entry.gate.lowV[k],
            fullScaleVgsV,
            ladderSlopeV: slopeAt(REFERENCE_TEMP_K),
            areaM2: cell.widthM * cell.lengthM,
            gmOverIPerV,
            source: name,
          },
        )
      : supplement?.mismatch;
  if (mismatch === undefined) {
    throw new OnefetError(
      'input',
      'MEASURED_INCOMPLETE',
      `${name}: mismatch needs a column "device" with at least ${LEAST_DEVICES} devices; there ${devices.length === 1 ? 'is 1' : `are ${devices.length}`}`,
      {
        hint: 'measure more devices, or name a simulated cell of the same size (its mismatch is then assumed)',
      },
    );
  }
  const whiteRatioTheory = 1 / Math.tanh(cell.vdsV / (2 * BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K));
  const gateIndex = nominalRow.gateA.flatMap((value, i) => (value === undefined ? [] : [i]));
  return {
    schema: 'onefet.calibration/1',
    process: technology.name,
    cell: options.cell,
    topology: cell.topology,
    driver: 'ideal',
    engine: `measured: ${points.length} points of ${name}${supplement === undefined ? '' : `; what it does not show: ${supplement.engine}, cell ${supplement.cell}`}`,
    sources: Object.fromEntries(
      [...parts.sources]
        .map((path) => [sourceKey(path), sha256(readTextFile(path, 'calibration source'))] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
    device: { widthM: cell.widthM, lengthM: cell.lengthM, oxideM: technology.oxideM.value },
    nominal: {
      tempK: REFERENCE_TEMP_K,
      vdsV: cell.vdsV,
      fullScaleA: cell.fullScaleA,
      fullScaleVgsV,
      ladderSlopeFactorN: n,
    },
    validRange: {
      tempK: [plane.tempK[0], plane.tempK[plane.tempK.length - 1]],
      vdsV: [plane.vdsV[0], plane.vdsV[plane.vdsV.length - 1]],
      smallestProduct: Math.max(SMALLEST_PRODUCT, ...fitted.map((corner) => corner.smallestProduct)),
      largestProduct: Math.min(...fitted.map((corner) => corner.largestProduct)),
      offVgsV: [entry.off.vgsV[0], entry.off.vgsV[entry.off.vgsV.length - 1]],
    },
    model: {
      equation:
        'Is [F(vp/Ut) - F((vp - s Vds)/Ut)] (1 + lambda Vds) + junction + drain edge; src/cell/ekv.ts',
      referenceTempK: REFERENCE_TEMP_K,
      coefficientNames: [...COEFFICIENT_NAMES],
    },
    corners: Object.fromEntries(fitted.map((corner) => [corner.corner, corner.entry])),
    mismatch,
    // As the noise: what a sweep at a grounded source does not show is the simulated cell's of the same size.
    ...(supplement?.law === undefined ? {} : { law: supplement.law }),
    ...completeNoise(constants, supplement, { fullScaleA: cell.fullScaleA, whiteRatioTheory }),
    gateLeakageA: {
      vgsV: gateIndex.map((i) => nominalRow.vgsV[i]),
      currentA: gateIndex.map((i) => nominalRow.gateA[i]!),
    },
    temperatureSensitivityPerK:
      Math.log(
        currentA(REFERENCE_TEMP_K + 1, fullScaleVgsV) / currentA(REFERENCE_TEMP_K - 1, fullScaleVgsV),
      ) / 2,
    exponentialRange: [0.01, 0.05, 0.1].map((tolerance) =>
      exponentialRange(nominalRow.vgsV, nominalRow.lnA.map(Math.exp), tolerance, referenceK),
    ),
    multiply: {
      codes: CODES,
      levels: LEVELS,
      tempK: multiply.map(({ tempK }) => tempK),
      spice: multiply.map(({ drainA }) => Array.from(drainA, (value) => value / cell.fullScaleA)),
      fit: multiply.map((sweep) =>
        multiplyPoints(sweep, vdsV).map(
          ({ vgsV }) => ekvCurrentA(at(sweep.tempK), vgsV, vdsV) / cell.fullScaleA,
        ),
      ),
      heldOut: multiply.map((sweep) => residualOf(multiplyPoints(sweep, vdsV), fit.coefficients)),
      product: multiply.map(productError),
    },
    plots: measuredPlots(fitted[0], vdsV, referenceK),
  };
}

/** Products read off the measured nominal row: its ln I interpolated at the gate voltage of every code and tap. */
function measuredProducts({ cell, fitted, name }: Parts, row: MeasuredRow, ladderSlopeV: number) {
  const at = atTemperature(fitted[0].fit.coefficients, row.tempK);
  const fullScaleVgsV = ekvGateVoltageV(
    at,
    cell.fullScaleA,
    row.vdsV,
    row.vgsV[0],
    row.vgsV[row.vgsV.length - 1],
  );
  const drainA = new Float64Array(CODES * LEVELS);
  for (let i = 0; i < drainA.length; i++) {
    const product = ((Math.floor(i / CODES) + 1) * ((i % CODES) + 1)) / (CODES * LEVELS);
    const vgsV = fullScaleVgsV + ladderSlopeV * Math.log(product);
    const ln = lnCurrentAt(row, vgsV);
    if (ln === undefined) {
      throw new OnefetError(
        'input',
        'MEASURED_RANGE',
        `${name}: the product 1/${Math.round(1 / product)} lies at Vgs ${vgsV.toFixed(3)} V, measured from ${row.vgsV[0]} to ${row.vgsV[row.vgsV.length - 1]} V at ${(row.tempK - 273.15).toFixed(1)} C`,
        { hint: 'measure over more gate voltages' },
      );
    }
    drainA[i] = Math.exp(ln);
  }
  return { tempK: row.tempK, codes: CODES, levels: LEVELS, fullScaleVgsV, ladderSlopeV, drainA };
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
