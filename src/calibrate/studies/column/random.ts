/**
 * Random columns solved wholly in SPICE against the column model, and the stimuli that all column studies share.
 */

import { calibratedCorners } from '../../../cell/calibration.ts';
import { type CellLaw, lawConstants } from '../../../cell/cell-law.ts';
import { applyDroop, type Droop, type Sums } from '../../../cell/droop.ts';
import { thermalVoltageV } from '../../../cell/ekv.ts';
import { gateVoltage, operatingPoint, outputConductancePerV } from '../../../cell/operating-point.ts';
import { rms } from '../../../numbers.ts';
import { nameCoordinate, streamKey, uniform } from '../../../random.ts';
import { type CalibratedTestbench, CODES, TAPS } from '../../testbench.ts';
import {
  type Column,
  drawColumn,
  drawInputs,
  type LineCurrents,
  phaseCode,
  simulateColumns,
  type Wiring,
} from './column.ts';
import { cellTables, type MismatchModel, sumCells, wiringDroop } from './column-model.ts';
import type { ColumnStudy } from './schema.ts';

/** Signed inputs per column; each is two vectors, one per phase. */
export const INPUTS = 10;
/** Gate voltage of a row that is off; needs a source line raised by 0.1 V where no rail is negative. */
export const OFF_V = -0.1;
/** Wiring of the random columns. Assumed: 10 kohm clamp, 100 ohm to the source driver, 2 ohm of wire per row. */
export const RANDOM_WIRING: Wiring = {
  clamp: { kind: 'resistor', ohm: 10e3 },
  bitWireOhm: 2,
  sourceWireOhm: 2,
  sourceOhm: 100,
};

/** The model's droop at a temperature. */
export function modelDroop(
  law: CellLaw,
  tempK: number,
  wiring: Wiring,
  rows: number,
  clampAt?: { slopeV: number; middleA: number },
): Droop {
  const { outputConductancePerV: lambdaPerV, sourceSlopeFactor } = lawConstants(law, tempK);
  const sourceSlopeV = sourceSlopeFactor * thermalVoltageV(tempK);
  return wiringDroop(wiring, rows, { lambdaPerV, sourceSlopeV }, clampAt);
}

/** Vectors of one column: two phases of each input, then even rows alone, odd rows alone, all and none at the top code. */
export function drive(
  column: Column,
  inputs: readonly Int16Array[],
  gate: (product: number) => number,
  offV: number,
) {
  const paired = 2 * inputs.length;
  return (_c: number, row: number, vector: number): number => {
    const code =
      vector < paired
        ? phaseCode(inputs[vector >> 1][row], vector & 1)
        : [row % 2 === 0, row % 2 === 1, true, false][vector - paired]
          ? CODES
          : 0;
    return code === 0 ? offV : gate((code * Math.abs(column.weights[row])) / (CODES * TAPS));
  };
}

/** D of each signed input: the differential current of phase 0 minus that of phase 1. */
export function differential(line: (vector: number) => Sums, inputs: number): number[] {
  return Array.from({ length: inputs }, (_, k) => {
    const p = line(2 * k);
    const n = line(2 * k + 1);
    return p.plusA - p.minusA - (n.plusA - n.minusA);
  });
}

/** Line currents as sums by vector. */
export const vectorSums =
  ({ plusA, minusA }: LineCurrents) =>
  (vector: number): Sums => ({
    plusA: plusA[vector],
    minusA: minusA[vector],
  });

const MISMATCH_MODELS: readonly MismatchModel[] = [
  'first-order',
  'first-order-by-tap',
  'second-order',
  'second-order-by-tap',
];

/**
 * Random columns: codes, signs, mismatch, temperature and corner that no fit has seen, with wire, clamp and source
 * resistance. Error of D against SPICE over the RMS of D, per column, for each mismatch model; `tile` is a tile without measured
 * constants: the model with the 27 C threshold gain, gm/I by tap, a source slope factor of 1.15 and no wire.
 */
export async function measureRandom(
  testbench: CalibratedTestbench,
  law: CellLaw,
  rows: number,
  count: number,
  seed: number,
): Promise<ColumnStudy['random']> {
  const { cal } = testbench;
  const key = streamKey(seed, nameCoordinate('random columns'));
  const [lowK, highK] = cal.validRange.tempK;
  const corners = calibratedCorners(cal);
  const columns = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const tempK = lowK + (highK - lowK) * uniform(key, 2 * i);
      const corner = corners[Math.floor(corners.length * uniform(key, 2 * i + 1))];
      const op = operatingPoint(cal, corner, tempK);
      const column = drawColumn(seed + 1, i, rows, cal.mismatch.sigmaVtV, cal.mismatch.sigmaBeta);
      const inputs = drawInputs(streamKey(seed, i).a, rows, INPUTS);
      const [line] = await simulateColumns(testbench, {
        corner,
        tempK,
        vdsV: op.vdsV,
        supplyV: op.vdsV,
        wiring: RANDOM_WIRING,
        columns: [column],
        vgsV: drive(column, inputs, gateVoltage(cal, op), OFF_V),
        vectors: 2 * INPUTS,
      });
      const spice = differential(vectorSums(line), INPUTS);
      const tables = cellTables(cal, op, OFF_V);
      const error = (mismatch: MismatchModel, gain: number, droop: Droop, nominal = false) => {
        const used = nominal
          ? { ...column, thresholdShiftV: new Float64Array(rows), lnGain: new Float64Array(rows) }
          : column;
        const d = differential(
          (v) => applyDroop(sumCells(tables, used, inputs[v >> 1], v & 1, mismatch, gain), droop),
          INPUTS,
        );
        return rms(d.map((x, k) => x - spice[k])) / rms(spice);
      };
      const droop = modelDroop(law, tempK, RANDOM_WIRING, rows);
      const gain = lawConstants(law, tempK).thresholdGain;
      const tileDroop = wiringDroop({ ...RANDOM_WIRING, bitWireOhm: 0, sourceWireOhm: 0 }, rows, {
        lambdaPerV: outputConductancePerV(cal, op, gateVoltage(cal, op)(1)),
        sourceSlopeV: 1.15 * thermalVoltageV(tempK),
      });
      return {
        tempK,
        corner,
        differentialRmsA: rms(spice),
        noMismatch: error('first-order', gain, droop, true),
        tile: error('first-order-by-tap', cal.mismatch.thresholdGain, tileDroop),
        ...Object.fromEntries(MISMATCH_MODELS.map((name) => [name, error(name, gain, droop)])),
      };
    }),
  );
  return {
    rows,
    wiring: { clampOhm: 10e3, bitWireOhm: 2, sourceWireOhm: 2, sourceOhm: 100 },
    columns,
  } as ColumnStudy['random'];
}
