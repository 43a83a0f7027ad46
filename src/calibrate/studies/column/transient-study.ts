/**
 * Settling and energy of a multiply-accumulate at several loads: calibration/<process>/<cell>.transient.json.
 */
import { z } from 'zod';
import { REFERENCE_TEMP_K, thermalVoltageV } from '../../../cell/ekv.ts';
import { gateVoltage, operatingPoint } from '../../../cell/operating-point.ts';
import { roundDigits } from '../../../numbers.ts';
import { hashSources } from '../../../sources.ts';
import { engineId } from '../../../spice/job.ts';
import type { CalibratedTestbench } from '../../testbench.ts';
import { calibrationFingerprint, loadStudy, type StudyOptions, withTestbench } from '../study.ts';
import { biasClamp, type Clamp } from './column.ts';
import { type MacTransient, simulateMac } from './transient.ts';

const number = z.number();
const phase = z.strictObject({
  currentA: number,
  settle1pcS: number,
  settle01pcS: number,
  chargeError: number,
});

const transientSchema = z.strictObject({
  schema: z.literal('onefet.transient/1'),
  process: z.string(),
  cell: z.string(),
  engine: z.string(),
  sources: z.record(z.string(), z.string()),
  calibrationSha256: z.string(),
  tempK: number,
  supplyV: number,
  /** Assumed: wire per cell of a row and of a bit line; a ladder's current times the source resistance of its taps. */
  assumed: z.strictObject({ gateWireF: number, lineWireF: number, ladderTapV: number }),
  cases: z.array(
    z.strictObject({
      clamp: z.enum(['resistor', 'cascode', 'opamp']),
      tapOhm: number,
      gates: z.int(),
      cells: z.int(),
      driven: z.int(),
      /** Of the driven rows before, as an ideal product; absent when they come from the off level. */
      fromProduct: number.optional(),
      phaseS: number,
      restA: number,
      positive: phase,
      negative: phase,
      release: phase,
      lineSwingV: number,
      /** 1 % settling by R C of the row alone, rowSettling. */
      rowLawS: number,
      /** One multiply-accumulate (both phases, each as long as it takes to settle to 1 %), J per cell of the column. */
      energy: z.strictObject({
        cellJ: number,
        /** Charge of the row's gates from the supply, once up and down. */
        gateJ: number,
        /** Static current of the row's ladder, shared by its gates. */
        ladderJ: number,
        totalJ: number,
      }),
    }),
  ),
});

export type TransientStudy = z.infer<typeof transientSchema>;

/** Assumed: 0.1 fF of wire per cell (0.2 um pitch at 0.5 fF/um); a ladder of 1 uA has taps of 36 kohm. */
const GATE_WIRE_F = 0.1e-15;
const LINE_WIRE_F = 0.1e-15;
const LADDER_TAP_V = 36e-3;
/** Full scale over e^2: a change of code rather than a row that comes from off. */
const FROM_PRODUCT = 0.135;
const OFF_V = -0.1;
const CLAMP_WIDTHS = 5;
const CLAMP_GAIN = 100;

/** Errors: SPICE_*, CALIBRATION_*. */
export function characteriseTransient(options: StudyOptions): Promise<TransientStudy> {
  return withTestbench(options, async (testbench) => {
    const { cal } = testbench;
    const supplyV = testbench.process.technology.supplyV.value;
    const op = operatingPoint(cal, 'TT', REFERENCE_TEMP_K);
    const transistor = { widthM: CLAMP_WIDTHS * testbench.cell.widthM, lengthM: testbench.cell.lengthM };
    const clamps = async (middleA: number): Promise<Clamp[]> => {
      const { gateV } = await biasClamp(testbench, {
        corner: 'TT',
        tempK: op.tempK,
        vdsV: op.vdsV,
        supplyV,
        ...transistor,
        middleA,
      });
      const device = { ...transistor, gateV };
      return [
        { kind: 'resistor', ohm: 1 },
        { kind: 'cascode', ...device },
        { kind: 'opamp', ...device, gain: CLAMP_GAIN, poleS: 1e-9 },
      ];
    };
    const loads = [
      { tapOhm: 36e3, gates: 256, cells: 256 },
      { tapOhm: 36e3, gates: 4096, cells: 256 },
      { tapOhm: 3.6e3, gates: 4096, cells: 256 },
      { tapOhm: 3.6e3, gates: 4096, cells: 1024 },
    ];
    const cases = await Promise.all(
      loads.flatMap((load) =>
        [FROM_PRODUCT, undefined].map(async (fromProduct) => {
          const driven = load.cells / 4;
          const all = await clamps(driven * op.fullScaleA);
          return Promise.all(
            all.map((clamp) => measureCase(testbench, { ...load, driven, clamp, fromProduct, supplyV })),
          );
        }),
      ),
    );
    return transientSchema.parse(
      roundDigits(
        {
          schema: 'onefet.transient/1',
          process: cal.process,
          cell: cal.cell,
          engine: engineId(),
          sources: hashSources(testbench.sources),
          calibrationSha256: calibrationFingerprint(cal),
          tempK: op.tempK,
          supplyV,
          assumed: { gateWireF: GATE_WIRE_F, lineWireF: LINE_WIRE_F, ladderTapV: LADDER_TAP_V },
          cases: cases.flat(),
        },
        6,
      ),
    );
  });
}

/** Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE. */
export function loadTransientStudy(process: string, cell: string): TransientStudy {
  return loadStudy(transientSchema, process, cell, 'transient');
}

/**
 * Time from the edge until a column's current stays within 1 % of its change, s: 64 of 256 cells at the typical corner and
 * 27 C change their code, each row a tap of 36 kohm with 256 gates, the line held by an ideal clamp.
 */
export async function settlingTimeS(testbench: CalibratedTestbench): Promise<number> {
  const { positive } = await measureCase(testbench, {
    ...{ tapOhm: 36e3, gates: 256, cells: 256, driven: 64, fromProduct: FROM_PRODUCT },
    clamp: { kind: 'resistor', ohm: 1 },
    supplyV: testbench.process.technology.supplyV.value,
  });
  return positive.settle1pcS;
}

async function measureCase(
  testbench: CalibratedTestbench,
  at: {
    tapOhm: number;
    gates: number;
    cells: number;
    driven: number;
    clamp: Clamp;
    fromProduct: number | undefined;
    supplyV: number;
  },
): Promise<TransientStudy['cases'][number]> {
  const { cal } = testbench;
  const op = operatingPoint(cal, 'TT', REFERENCE_TEMP_K);
  const gate = gateVoltage(cal, op);
  const highVgsV = gate(1);
  const lowVgsV = at.fromProduct === undefined ? OFF_V : gate(at.fromProduct);
  const slopeV = cal.nominal.ladderSlopeFactorN * thermalVoltageV(op.tempK);
  const rowTau = at.tapOhm * at.gates * (cal.capacitance.gateF + GATE_WIRE_F);
  const lineTau = (at.cells * (cal.capacitance.drainF + LINE_WIRE_F) * slopeV) / (at.driven * op.fullScaleA);
  // Long enough that what is left at the end is far below 0.1 %.
  const phaseS = Math.max(100e-9, 14 * rowTau + 14 * lineTau);
  const mac: MacTransient = {
    tempK: op.tempK,
    vdsV: op.vdsV,
    supplyV: at.supplyV,
    clamp: at.clamp,
    tapOhm: at.tapOhm,
    gates: at.gates,
    cells: at.cells,
    driven: at.driven,
    lowVgsV,
    highVgsV,
    gateWireF: GATE_WIRE_F,
    lineWireF: LINE_WIRE_F,
    phaseS,
  };
  const result = await simulateMac(testbench, mac);
  const { positive, negative } = result;
  const time = positive.settle1pcS + negative.settle1pcS;
  const cellJ =
    (at.supplyV * (positive.currentA * positive.settle1pcS + negative.currentA * negative.settle1pcS)) /
    at.cells;
  const gateJ = result.rowSupplyJ / at.gates;
  const ladderJ = ((LADDER_TAP_V / at.tapOhm) * at.supplyV * time) / at.gates;
  return {
    clamp: at.clamp.kind,
    tapOhm: at.tapOhm,
    gates: at.gates,
    cells: at.cells,
    driven: at.driven,
    ...(at.fromProduct === undefined ? {} : { fromProduct: at.fromProduct }),
    phaseS,
    restA: result.restA,
    positive,
    negative,
    release: result.release,
    lineSwingV: result.lineSwingV,
    rowLawS: rowSettling(rowTau, highVgsV - lowVgsV, slopeV),
    energy: { cellJ, gateJ, ladderJ, totalJ: cellJ + gateJ + ladderJ },
  };
}

/**
 * A gate that approaches V_high as V_high - dV e^(-t/tau) gives I = I_high exp(-(dV/nUt) e^(-t/tau)): within 1 % of its
 * change once (dV/nUt) e^(-t/tau) = -ln(1 - 0.01 (1 - e^(-dV/nUt))).
 */
export function rowSettling(tauS: number, stepV: number, slopeV: number, tolerance = 0.01): number {
  const steps = stepV / slopeV;
  return tauS * Math.log(steps / -Math.log1p(tolerance * Math.expm1(-steps)));
}
