/**
 * A whole column's behaviour measured in SPICE, and the closed-form model of column-model.ts compared with it:
 * calibration/<process>/<cell>.column.json.
 */
import { requireLaw } from '../../../cell/calibration.ts';
import type { CellLaw } from '../../../cell/cell-law.ts';
import { applyDroop } from '../../../cell/droop.ts';
import { REFERENCE_TEMP_K } from '../../../cell/ekv.ts';
import { gateVoltage, offCurrentA, operatingPoint } from '../../../cell/operating-point.ts';
import { largest, rms, roundDigits } from '../../../numbers.ts';
import { hashSources } from '../../../sources.ts';
import { engineId } from '../../../spice/job.ts';
import { lawTempsK } from '../../measure-law.ts';
import { type CalibratedTestbench, CODES, TAPS } from '../../testbench.ts';
import { calibrationFingerprint, loadStudy, type StudyOptions, withTestbench } from '../study.ts';
import {
  biasClamp,
  type Clamp,
  type Column,
  drawColumn,
  drawInputs,
  IDEAL_WIRING,
  simulateColumns,
  type Wiring,
} from './column.ts';
import {
  differential,
  drive,
  INPUTS,
  measureRandom,
  modelDroop,
  OFF_V,
  RANDOM_WIRING,
  vectorSums,
} from './random.ts';
import { type ColumnStudy, columnStudySchema } from './schema.ts';

export interface ColumnStudyOptions extends StudyOptions {
  /** Cells of a column. Default 64, 256, 1024. */
  readonly rows?: readonly number[];
  /** Random columns that the model is compared with. Default 16. */
  readonly columns?: number;
  /** Rows of a random column. Default 256. */
  readonly randomRows?: number;
  readonly seed?: number;
}

const OFF_LEVELS_V = [-0.1, 0];
/** Transistor of the cascode and op-amp clamps: wide enough that its gate stays below the supply. */
const CLAMP_WIDTHS = 20;
const CLAMP_GAIN = 100;

/** Measures columns of the cell and judges the model. Errors: SPICE_*, OUT_OF_RANGE, CALIBRATION_*. */
export function characteriseColumn(options: ColumnStudyOptions): Promise<ColumnStudy> {
  return withTestbench(options, async (testbench) => {
    const seed = options.seed ?? 1;
    const law = requireLaw(testbench.cal);
    const sizes = await Promise.all(
      (options.rows ?? [64, 256, 1024]).map((rows) => measureSize(testbench, law, rows, seed)),
    );
    const [offLeakage, crossTalk, random] = await Promise.all([
      measureOff(testbench, seed),
      measureCrossTalk(testbench, law, options.randomRows ?? 256, seed),
      measureRandom(testbench, law, options.randomRows ?? 256, options.columns ?? 16, seed),
    ]);
    return columnStudySchema.parse(
      roundDigits(
        {
          schema: 'onefet.column/1',
          process: testbench.cal.process,
          cell: testbench.cal.cell,
          engine: engineId(),
          sources: hashSources(testbench.sources),
          calibrationSha256: calibrationFingerprint(testbench.cal),
          seed,
          law,
          sizes,
          offLeakage,
          crossTalk,
          random,
        },
        6,
      ),
    );
  });
}

/** The shipped or own column study. Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE. */
export function loadColumnStudy(process: string, cell: string): ColumnStudy {
  return loadStudy(columnStudySchema, process, cell, 'column');
}

/** Error after the least-squares gain is removed, relative to the RMS of the reference. */
function gainFree(values: readonly number[], reference: readonly number[]): number {
  const xy = values.reduce((sum, v, i) => sum + v * reference[i], 0);
  const xx = reference.reduce((sum, v) => sum + v * v, 0);
  const gain = xy / xx;
  return rms(values.map((v, i) => v / gain - reference[i])) / rms(reference);
}

async function measureSize(
  testbench: CalibratedTestbench,
  law: CellLaw,
  rows: number,
  seed: number,
): Promise<ColumnStudy['sizes'][number]> {
  const { cal } = testbench;
  const tempK = REFERENCE_TEMP_K;
  const op = operatingPoint(cal, 'TT', tempK);
  const column = drawColumn(seed, rows, rows, 0, 0);
  const inputs = drawInputs(seed + rows, rows, INPUTS);
  const at = {
    corner: 'TT' as const,
    tempK,
    vdsV: op.vdsV,
    supplyV: testbench.process.technology.supplyV.value,
    columns: [column],
    vgsV: drive(column, inputs, gateVoltage(cal, op), OFF_V),
    vectors: 2 * INPUTS + 4,
  };
  const [ideal] = await simulateColumns(testbench, { ...at, wiring: IDEAL_WIRING });
  const dot = inputs.map((x) =>
    x.reduce((sum, code, i) => sum + (code * column.weights[i]) / (CODES * TAPS), 0),
  );
  const reference = differential(vectorSums(ideal), INPUTS);
  const middleA = rms(ideal.plusA.subarray(0, 2 * INPUTS));
  const transistor = { widthM: CLAMP_WIDTHS * testbench.cell.widthM, lengthM: testbench.cell.lengthM };
  const bias = await biasClamp(testbench, { ...at, ...transistor, middleA });
  const withTransistor = { ...transistor, gateV: bias.gateV };
  const resistor = (ohm: number): Clamp => ({ kind: 'resistor', ohm });
  const wirings: Wiring[] = [
    { ...IDEAL_WIRING, clamp: resistor(1e3) },
    { ...IDEAL_WIRING, clamp: resistor(10e3) },
    { ...IDEAL_WIRING, clamp: resistor(100e3) },
    { ...IDEAL_WIRING, clamp: resistor(1e6) },
    { ...IDEAL_WIRING, bitWireOhm: 2 },
    { ...IDEAL_WIRING, bitWireOhm: 20 },
    { ...IDEAL_WIRING, sourceOhm: 100 },
    { ...IDEAL_WIRING, sourceOhm: 1000 },
    { ...IDEAL_WIRING, sourceWireOhm: 2 },
    { ...IDEAL_WIRING, sourceWireOhm: 20 },
    RANDOM_WIRING,
    { ...IDEAL_WIRING, clamp: { kind: 'cascode', ...withTransistor } },
    { ...IDEAL_WIRING, clamp: { kind: 'opamp', ...withTransistor, gain: CLAMP_GAIN } },
  ];
  const cases = await Promise.all(
    wirings.map(async (wiring) => {
      const [line] = await simulateColumns(testbench, { ...at, wiring });
      const droop = modelDroop(law, tempK, wiring, rows, { slopeV: bias.slopeV, middleA });
      const expected = Array.from({ length: at.vectors }, (_, v) => applyDroop(vectorSums(ideal)(v), droop));
      const d = differential(vectorSums(line), INPUTS);
      const dLaw = differential((v) => expected[v], INPUTS);
      const paired = 2 * INPUTS;
      const ratio = (v: number) => line.plusA[v] / ideal.plusA[v] - 1;
      const [even, odd, both, none] = [0, 1, 2, 3].map((i) => line.plusA[paired + i]);
      return {
        clamp: wiring.clamp.kind,
        clampOhm: wiring.clamp.kind === 'resistor' ? wiring.clamp.ohm : 0,
        bitWireOhm: wiring.bitWireOhm,
        sourceWireOhm: wiring.sourceWireOhm,
        sourceOhm: wiring.sourceOhm,
        lineChangeMax: largest(Array.from({ length: paired }, (_, v) => ratio(v))),
        lineLawMax: largest(Array.from({ length: paired }, (_, v) => line.plusA[v] / expected[v].plusA - 1)),
        lineMovesV: largest(Array.from({ length: paired }, (_, v) => line.plusV[v] - op.vdsV)),
        differentialChange: rms(d.map((x, k) => x - reference[k])) / rms(reference),
        differentialNonlinearity: gainFree(d, reference),
        differentialLaw: rms(d.map((x, k) => x - dLaw[k])) / rms(reference),
        superpositionError: (both + none - even - odd) / both,
      };
    }),
  );
  return {
    rows,
    tempK,
    differentialRmsA: rms(reference),
    linePlusRmsA: middleA,
    clampTransistor: { ...transistor, gateV: bias.gateV, slopeV: bias.slopeV, middleA, gain: CLAMP_GAIN },
    dotProductError: gainFree(reference, dot),
    idealSuperposition:
      (ideal.plusA[2 * INPUTS + 2] +
        ideal.plusA[2 * INPUTS + 3] -
        ideal.plusA[2 * INPUTS] -
        ideal.plusA[2 * INPUTS + 1]) /
      ideal.plusA[2 * INPUTS + 2],
    cases,
  };
}

/** Leakage of connected off rows at the off level, against the calibrated off current and the LSB. */
async function measureOff(testbench: CalibratedTestbench, seed: number): Promise<ColumnStudy['offLeakage']> {
  const { cal } = testbench;
  const rows = 256;
  const column = drawColumn(seed, 1, rows, 0, 0);
  const plusCells = column.weights.reduce((sum, w) => sum + (w > 0 ? 1 : 0), 0);
  return Promise.all(
    lawTempsK(cal.validRange.tempK).flatMap((tempK) =>
      OFF_LEVELS_V.map(async (offVgsV) => {
        const op = operatingPoint(cal, 'TT', tempK);
        const [line] = await simulateColumns(testbench, {
          corner: 'TT',
          tempK,
          vdsV: op.vdsV,
          supplyV: op.vdsV,
          wiring: RANDOM_WIRING,
          columns: [column],
          vgsV: () => offVgsV,
          vectors: 1,
        });
        const perCellA = line.plusA[0] / plusCells;
        return {
          tempK,
          offVgsV,
          perCellA,
          lawPerCellA: offCurrentA(cal, op, offVgsV),
          overLsb: perCellA / (op.fullScaleA / (CODES * TAPS)),
        };
      }),
    ),
  );
}

/** A victim column at fixed inputs while a neighbour on the same source line, or its own minus line, goes from off to full. */
async function measureCrossTalk(
  testbench: CalibratedTestbench,
  law: CellLaw,
  rows: number,
  seed: number,
): Promise<ColumnStudy['crossTalk']> {
  const { cal } = testbench;
  const tempK = REFERENCE_TEMP_K;
  const op = operatingPoint(cal, 'TT', tempK);
  const gate = gateVoltage(cal, op);
  const victim = drawColumn(seed, 2, rows, 0, 0);
  const aggressor: Column = { ...victim, weights: new Int8Array(rows).fill(TAPS) };
  const [x] = drawInputs(seed, rows, 1);
  const victimV = (row: number) => {
    const code = Math.abs(x[row]);
    return code === 0 ? OFF_V : gate((code * Math.abs(victim.weights[row])) / (CODES * TAPS));
  };
  const base = { corner: 'TT' as const, tempK, vdsV: op.vdsV, supplyV: op.vdsV, vectors: 2 };
  const wirings = [
    { ...IDEAL_WIRING, sourceOhm: 100 },
    { ...IDEAL_WIRING, sourceOhm: 1000 },
    { ...IDEAL_WIRING, sourceWireOhm: 2 },
    { ...RANDOM_WIRING },
  ];
  return Promise.all(
    wirings.map(async (wiring) => {
      const [[own, other], [pair]] = await Promise.all([
        simulateColumns(testbench, {
          ...base,
          wiring,
          columns: [victim, aggressor],
          vgsV: (c, row, v) => (c === 0 ? victimV(row) : v === 0 ? OFF_V : gate(1)),
        }),
        simulateColumns(testbench, {
          ...base,
          wiring,
          columns: [victim],
          vgsV: (_c, row, v) =>
            victim.weights[row] > 0 ? victimV(row) : v === 0 ? OFF_V : gate(-victim.weights[row] / TAPS),
        }),
      ]);
      const droop = modelDroop(law, tempK, wiring, rows);
      // Line currents carry the clamp already, so only the source line's share of the model is used.
      const expected = (changeA: number) => Math.expm1(-droop.source * changeA);
      return {
        bitWireOhm: wiring.bitWireOhm,
        sourceWireOhm: wiring.sourceWireOhm,
        sourceOhm: wiring.sourceOhm,
        neighbourA: other.plusA[1],
        neighbourChange: own.plusA[1] / own.plusA[0] - 1,
        neighbourLaw: expected(other.plusA[1] - other.plusA[0]),
        pairA: pair.minusA[1],
        pairChange: pair.plusA[1] / pair.plusA[0] - 1,
        pairLaw: expected(pair.minusA[1] - pair.minusA[0]),
      };
    }),
  );
}
