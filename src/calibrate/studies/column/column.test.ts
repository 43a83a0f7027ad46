/**
 * A whole column of 64 cells in SPICE, with mismatch, against what the behavioural tile assumes of it: that bit-line
 * currents are sums of calibrated cells, and that clamp and source resistance act through the first-order laws
 *   dI/I = -(d ln I/dVds) R I_line      and      dI/I = -R I_both / (1.15 Ut).
 */
import { afterAll, expect, test } from 'vitest';
import { loadCalibration } from '../../../cell/calibration.ts';
import { BOLTZMANN_OVER_CHARGE } from '../../../cell/ekv.ts';
import {
  biasPoint,
  cellCurrentA,
  gmOverIPerV,
  offCurrentA,
  outputConductancePerV,
} from '../../../cell/operating-point.ts';
import { cellOf, loadProcess } from '../../../cell/technology.ts';
import { gaussian, streamKey, uniform } from '../../../random.ts';
import { createSpicePool } from '../../../spice/pool.ts';
import { sharedSpiceCache } from '../../../testing/run-folder.ts';
import { calibratedTestbench, cellTestbench } from '../../testbench.ts';
import { IDEAL_WIRING, type LineCurrents, simulateColumns } from './column.ts';

const pool = createSpicePool({ threads: 1, cacheFolder: sharedSpiceCache() });
afterAll(() => pool.close());

const cal = loadCalibration('planar32lp', 't1');
const op = { corner: 'TT' as const, tempK: 300.15, vdsV: 0.4, fullScaleA: 3e-9 };
const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
const OFF_V = -0.1;
const ROWS = 64;
const VECTORS = 6;
const key = streamKey(11);

const loaded = loadProcess('planar32lp');
const testbench = calibratedTestbench(cellTestbench(loaded, 't1', cellOf(loaded, 't1'), { pool }), cal, 't1');

interface ColumnCell {
  /** Bit line of the drain. */
  readonly line: 'plus' | 'minus';
  readonly thresholdShiftV: number;
  /** [vectors] gate voltage for each input vector. */
  readonly vgsV: readonly number[];
}

/** Currents of the two bit lines for each input vector, A. */
async function solveColumn(
  cells: readonly ColumnCell[],
  { clampOhm = 0, sourceOhm = 0 }: { clampOhm?: number; sourceOhm?: number } = {},
): Promise<LineCurrents> {
  const [lines] = await simulateColumns(testbench, {
    corner: op.corner,
    tempK: op.tempK,
    vdsV: op.vdsV,
    supplyV: op.vdsV,
    wiring: { ...IDEAL_WIRING, clamp: { kind: 'resistor', ohm: clampOhm }, sourceOhm },
    columns: [
      {
        // The sign selects the line; the gate voltages hold the taps already.
        weights: Int8Array.from(cells, ({ line }) => (line === 'plus' ? 1 : -1)),
        thresholdShiftV: Float64Array.from(cells, ({ thresholdShiftV }) => thresholdShiftV),
        lnGain: new Float64Array(cells.length),
      },
    ],
    vgsV: (_column, row, vector) => cells[row].vgsV[vector],
    vectors: VECTORS,
  });
  return lines;
}

/** Random taps 1..7 of either sign and random codes 0..63, a third of the rows off. */
function column(sigmaVtV: number): ColumnCell[] {
  return Array.from({ length: ROWS }, (_, i) => {
    const tap = 1 + Math.floor(7 * uniform(key, i));
    return {
      line: uniform(key, 1000 + i) < 0.5 ? 'plus' : 'minus',
      thresholdShiftV: sigmaVtV * gaussian(key, 2000 + i),
      vgsV: Array.from({ length: VECTORS }, (_, k) => {
        const code = Math.max(0, Math.floor(94 * uniform(key, 3000 + i * VECTORS + k)) - 30);
        return code === 0 ? OFF_V : fullScaleVgsV + ladderSlopeV * Math.log((code / 63) * (tap / 7));
      }),
    };
  });
}

/** Sum of the calibrated cells of one bit line; `gain` is what a threshold shift does to a cell. */
function sumOfCells(
  cells: readonly ColumnCell[],
  line: ColumnCell['line'],
  k: number,
  current: (vgsV: number, thresholdShiftV: number) => number,
): number {
  let sum = 0;
  for (const { vgsV, thresholdShiftV, line: own } of cells) {
    if (own === line)
      sum += vgsV[k] === OFF_V ? offCurrentA(cal, op, OFF_V) : current(vgsV[k], thresholdShiftV);
  }
  return sum;
}
const nominalCell = (vgsV: number) => cellCurrentA(cal, op, vgsV);
/** The tile's kernel: the nominal current times exp(-gain gm/I dVt). */
const kernelCell = (gain: number) => (vgsV: number, dvt: number) =>
  cellCurrentA(cal, op, vgsV) * Math.exp(-gain * gmOverIPerV(cal, op, vgsV) * dvt);

test('nominal cells: the bit-line currents are the sums of the calibrated cells within the fit', async () => {
  const cells = column(0);
  const { plusA, minusA } = await solveColumn(cells);
  for (let k = 0; k < VECTORS; k++) {
    expect(Math.abs(plusA[k] / sumOfCells(cells, 'plus', k, nominalCell) - 1)).toBeLessThan(0.003);
    expect(Math.abs(minusA[k] / sumOfCells(cells, 'minus', k, nominalCell) - 1)).toBeLessThan(0.003);
  }
});

test('sigma(Vt) of 17.7 mV: the first-order gain exp(-gm/I dVt) holds within 2 % of a bit line', async () => {
  const cells = column(cal.mismatch.sigmaVtV);
  const spice = await solveColumn(cells);
  const errors = { none: 0, gate: 0, threshold: 0 };
  for (let k = 0; k < VECTORS; k++) {
    for (const line of ['plus', 'minus'] as const) {
      const current = line === 'plus' ? spice.plusA[k] : spice.minusA[k];
      const error = (cell: (vgsV: number, dvt: number) => number) =>
        Math.abs(current / sumOfCells(cells, line, k, cell) - 1);
      errors.none = Math.max(errors.none, error(nominalCell));
      errors.gate = Math.max(errors.gate, error(kernelCell(1)));
      errors.threshold = Math.max(errors.threshold, error(kernelCell(cal.mismatch.thresholdGain)));
    }
  }
  // The effect itself is not small.
  expect(errors.none).toBeGreaterThan(0.05);
  // A threshold shift acts 4.5 % more than the same step at the gate, through the mobility (see calibrate.test.ts);
  // what is left then is the fall of gm/I towards moderate inversion, seen by cells two sigma fast.
  expect(errors.gate).toBeLessThan(0.02);
  expect(errors.threshold).toBeLessThan(0.02);
});

test('clamp resistance: dI/I = -(d ln I/dVds) R I', async () => {
  const cells = column(0);
  const clampOhm = 200e3;
  const reference = await solveColumn(cells);
  const clamped = await solveColumn(cells, { clampOhm });
  const lambda = outputConductancePerV(cal, op, fullScaleVgsV);
  for (let k = 0; k < VECTORS; k++) {
    const measured = clamped.plusA[k] / reference.plusA[k] - 1;
    const expected = -lambda * clampOhm * clamped.plusA[k];
    // A few tenths of a percent in all; d ln I/dVds changes by some percent between full scale and small currents.
    expect(expected).toBeLessThan(-2e-4);
    expect(measured / expected).toBeGreaterThan(0.85);
    expect(measured / expected).toBeLessThan(1.15);
  }
});

test('source resistance: dI/I = -R (I+ + I-) / (m Ut), m near 1.15 with the bulk held', async () => {
  const cells = column(0);
  const sourceOhm = 2e3;
  const ut = BOLTZMANN_OVER_CHARGE * op.tempK;
  const reference = await solveColumn(cells);
  const raised = await solveColumn(cells, { sourceOhm });
  for (let k = 0; k < VECTORS; k++) {
    const measured = Math.log(raised.plusA[k] / reference.plusA[k]);
    const slopeFactor = (-sourceOhm * (raised.plusA[k] + raised.minusA[k])) / (ut * measured);
    // The prototype's source rail needed 1.15 Ut per e-fold; theory says 1 without the drain's own action.
    expect(slopeFactor).toBeGreaterThan(0.95);
    expect(slopeFactor).toBeLessThan(1.25);
  }
});
