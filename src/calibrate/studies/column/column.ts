/**
 * Columns solved wholly in SPICE: cells on two bit lines with wire, clamp and source-line resistance.
 *
 *   clamp - (p,0) - r_b - (p,1) - ... - (p,N)    cell i: drain at its bit line's node i+1, source at source node i+1
 *   ground - R_s - (s,0) - r_s - (s,1) - ... - (s,N)    one source line, shared by all columns of a deck
 *
 * Gate levels are ideal sources; a row without a drain via (tap 0) has no cell.
 */
import type { Corner } from '../../../cell/technology.ts';
import { gaussian, nameCoordinate, streamKey, uniform } from '../../../random.ts';
import { spiceNumber } from '../../../spice/deck.ts';
import { type CalibratedTestbench, CODES, celsius, runDeck, TAPS, wireOhm } from '../../testbench.ts';

/** The cells of one column; arrays are [rows]. */
export interface Column {
  /** Signed weight: its sign selects the bit line, its magnitude the tap, 0 is no cell. */
  readonly weights: Int8Array;
  readonly thresholdShiftV: Float64Array;
  /** ln of the relative current factor. */
  readonly lnGain: Float64Array;
}

/** Circuit between the cells and the ideal bit line. */
export type Clamp =
  | { readonly kind: 'resistor'; readonly ohm: number }
  | { readonly kind: 'cascode'; readonly gateV: number; readonly widthM: number; readonly lengthM: number }
  | {
      readonly kind: 'opamp';
      readonly gateV: number;
      readonly widthM: number;
      readonly lengthM: number;
      /** Open-loop gain. */
      readonly gain: number;
      /** Time constant of its pole; of no effect at rest. Default 1 ns. */
      readonly poleS?: number;
    };

export interface Wiring {
  readonly clamp: Clamp;
  /** Of a bit-line segment between two rows. */
  readonly bitWireOhm: number;
  /** Of a source-line segment between two rows. */
  readonly sourceWireOhm: number;
  /** Between the source line and ground. */
  readonly sourceOhm: number;
}

export const IDEAL_WIRING: Wiring = {
  clamp: { kind: 'resistor', ohm: 0 },
  bitWireOhm: 0,
  sourceWireOhm: 0,
  sourceOhm: 0,
};

/** Currents of the two bit lines of one column, [vectors]. */
export interface LineCurrents {
  readonly plusA: Float64Array;
  readonly minusA: Float64Array;
  /** Voltage of the plus line at its clamp. */
  readonly plusV: Float64Array;
}

export interface ColumnSimulation {
  readonly corner: Corner;
  readonly tempK: number;
  readonly vdsV: number;
  /** Supply above a cascode or op-amp clamp. */
  readonly supplyV: number;
  readonly wiring: Wiring;
  readonly columns: readonly Column[];
  /** [column][row][vector] gate voltage. */
  readonly vgsV: (column: number, row: number, vector: number) => number;
  readonly vectors: number;
}

/** Simulates the columns of one source line. Returns the currents of each. */
export async function simulateColumns(
  testbench: CalibratedTestbench,
  at: ColumnSimulation,
): Promise<LineCurrents[]> {
  const { wiring, columns } = at;
  const { clamp } = wiring;
  const rows = columns[0].weights.length;
  const lines: string[] = [];
  const node = (line: string, row: number, ohm: number) => `${line}_${ohm > 0 ? row : 0}`;
  columns.forEach((column, c) => {
    for (const line of ['plus', 'minus']) {
      const n = `${line[0]}${c}`;
      const supplyV = clamp.kind === 'resistor' ? at.vdsV : at.supplyV;
      lines.push(`v${line}${c} h${n} 0 ${spiceNumber(supplyV)}`, `x${line}${c} ${n}_0 h${n} clamp`);
      if (wiring.bitWireOhm > 0) {
        for (let i = 0; i < rows; i++)
          lines.push(`r${n}_${i} ${n}_${i} ${n}_${i + 1} ${spiceNumber(wiring.bitWireOhm)}`);
      }
    }
    for (let i = 0; i < rows; i++) {
      const weight = column.weights[i];
      if (weight === 0) continue;
      const levels = Array.from({ length: at.vectors }, (_, k) => `${k},${spiceNumber(at.vgsV(c, i, k))}`);
      const drain = node(`${weight > 0 ? 'p' : 'm'}${c}`, i + 1, wiring.bitWireOhm);
      const source = wiring.sourceWireOhm > 0 ? `s${i + 1}` : 's0';
      lines.push(
        at.vectors === 1
          ? `vgate${c}_${i} g${c}_${i} 0 ${spiceNumber(at.vgsV(c, i, 0))}`
          : `bgate${c}_${i} g${c}_${i} 0 v=pwl(v(vector),${levels.join(',')})`,
        `xcell${c}_${i} ${drain} g${c}_${i} ${source} b cell dvt=${spiceNumber(column.thresholdShiftV[i])} gain=${spiceNumber(Math.exp(column.lnGain[i]))}`,
      );
    }
  });
  if (wiring.sourceWireOhm > 0) {
    for (let i = 0; i < rows; i++) lines.push(`rs${i} s${i} s${i + 1} ${spiceNumber(wiring.sourceWireOhm)}`);
  }
  const variables = columns.flatMap((_, c) => [`i(vplus${c})`, `i(vminus${c})`, `v(p${c}_0)`]);
  const [plot] = await runDeck(testbench, {
    folder: 'column',
    file: 'column.cir',
    corner: at.corner,
    slots: {
      temp_c: celsius(at.tempK),
      source_ohm: wireOhm(wiring.sourceOhm),
      clamp: `clamp-${clamp.kind}.inc`,
      ...clampSlots(clamp, at.vdsV),
      last_vector: at.vectors - 1,
      saved: variables.join(' '),
      instances: lines.join('\n'),
    },
    outputs: [{ file: 'column.raw', plot: 'DC transfer characteristic', variables, points: at.vectors }],
    timeoutS: 240,
  });
  return columns.map((_, c) => ({
    plusA: plot.real.get(`i(vplus${c})`)!.map((x) => -x),
    minusA: plot.real.get(`i(vminus${c})`)!.map((x) => -x),
    plusV: plot.real.get(`v(p${c}_0)`)!,
  }));
}

/** The amplifier's pole is 100 kohm times a capacitance. */
const POLE_OHM = 100e3;

/** Slots of the clamp's include file. */
export function clampSlots(clamp: Clamp, vdsV: number): Record<string, string> {
  // At least one ohm: the rounding of 0.4 V over a milliohm would be 0.1 pA, a LSB of a short column.
  if (clamp.kind === 'resistor') return { clamp_ohm: spiceNumber(Math.max(clamp.ohm, 1)) };
  const transistor = {
    clamp_gate_v: spiceNumber(clamp.gateV),
    clamp_width_m: spiceNumber(clamp.widthM),
    clamp_length_m: spiceNumber(clamp.lengthM),
  };
  return clamp.kind === 'cascode'
    ? transistor
    : {
        ...transistor,
        vds_v: spiceNumber(vdsV),
        clamp_gain: spiceNumber(clamp.gain),
        clamp_pole_f: spiceNumber((clamp.poleS ?? 1e-9) / POLE_OHM),
      };
}

export interface ClampBias {
  /** Gate voltage at which the line rests at vdsV while it carries middleA. */
  readonly gateV: number;
  /** - dV(line) / d ln I around middleA, V. */
  readonly slopeV: number;
}

/** Biases a cascode transistor as a clamp at one current. */
export async function biasClamp(
  testbench: CalibratedTestbench,
  at: {
    corner: Corner;
    tempK: number;
    vdsV: number;
    supplyV: number;
    widthM: number;
    lengthM: number;
    middleA: number;
  },
): Promise<ClampBias> {
  const [plot] = await runDeck(testbench, {
    folder: 'column',
    file: 'clamp-bias.cir',
    corner: at.corner,
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      clamp_supply_v: spiceNumber(at.supplyV),
      clamp_width_m: spiceNumber(at.widthM),
      clamp_length_m: spiceNumber(at.lengthM),
      middle_a: spiceNumber(at.middleA),
    },
    outputs: [
      {
        file: 'clamp.raw',
        plot: 'DC transfer characteristic',
        variables: ['v(gate)', 'v(line)'],
        points: 6,
      },
    ],
  });
  const lineV = plot.real.get('v(line)')!;
  return { gateV: plot.real.get('v(gate)')![0], slopeV: (lineV[2] - lineV[4]) / 2 };
}

/** A random column: weights near normal with sigma 2.6 codes clipped to 7, mismatch by the given sigmas. */
export function drawColumn(
  seed: number,
  index: number,
  rows: number,
  sigmaVtV: number,
  sigmaBeta: number,
): Column {
  const weight = streamKey(seed, nameCoordinate('column weight'), index);
  const vt = streamKey(seed, nameCoordinate('column vt'), index);
  const beta = streamKey(seed, nameCoordinate('column beta'), index);
  return {
    weights: Int8Array.from({ length: rows }, (_, i) =>
      Math.max(-TAPS, Math.min(TAPS, Math.round(2.6 * gaussian(weight, i)))),
    ),
    thresholdShiftV: Float64Array.from({ length: rows }, (_, i) => sigmaVtV * gaussian(vt, i)),
    lnGain: Float64Array.from({ length: rows }, (_, i) => sigmaBeta * gaussian(beta, i)),
  };
}

/** Signed inputs [vectors][rows]: 30 % zero, else 1 + 62 u^2 of either sign: mostly small, as activations are. */
export function drawInputs(seed: number, rows: number, vectors: number): Int16Array[] {
  return Array.from({ length: vectors }, (_, k) => {
    const key = streamKey(seed, nameCoordinate('column input'), k);
    return Int16Array.from({ length: rows }, (_, i) => {
      if (uniform(key, 3 * i) < 0.3) return 0;
      const magnitude = 1 + Math.floor(uniform(key, 3 * i + 1) ** 2 * CODES);
      return uniform(key, 3 * i + 2) < 0.5 ? -magnitude : magnitude;
    });
  });
}

/** Code of a row in a phase: phase 0 drives the positive inputs, phase 1 the negative ones; 0 is off. */
export function phaseCode(input: number, phase: number): number {
  return phase === 0 ? Math.max(0, input) : Math.max(0, -input);
}
