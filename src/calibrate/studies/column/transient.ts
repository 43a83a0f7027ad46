/**
 * Settling and energy of a multiply-accumulate from a transient simulation of one column.
 *
 *   0 - lead            all rows low
 *   lead - lead + T     phase P: rows A at the high gate level
 *   then 2 edges, T     phase N: rows B high, rows A low
 *   then T              all rows low again
 *
 * Lumped: the A (B) cells of the column are one cell of that multiplicity, the gates of a row in all columns another.
 */
import { dirname } from 'node:path';
import { requireDataFile } from '../../../files.ts';
import { spiceNumber } from '../../../spice/deck.ts';
import { type CalibratedTestbench, celsius, runDeck } from '../../testbench.ts';
import { type Clamp, clampSlots } from './column.ts';

export interface MacTransient {
  readonly tempK: number;
  readonly vdsV: number;
  readonly supplyV: number;
  readonly clamp: Clamp;
  /** Source resistance of the ladder's tap. */
  readonly tapOhm: number;
  /** Columns that share a row: gates on one tap. */
  readonly gates: number;
  /** Cells of the column. */
  readonly cells: number;
  /** Cells driven in either phase. */
  readonly driven: number;
  readonly lowVgsV: number;
  readonly highVgsV: number;
  /** Wire per cell, of the row and of the bit line. */
  readonly gateWireF: number;
  readonly lineWireF: number;
  /** Of a phase. */
  readonly phaseS: number;
}

export interface PhaseResult {
  /** Line current at the end of the phase. */
  readonly currentA: number;
  /** From the edge until the current stays within 1 % and 0.1 % of its change. */
  readonly settle1pcS: number;
  readonly settle01pcS: number;
  /** (Charge of the interval - currentA T) over the positive phase's currentA T: what an integrator loses or gains. */
  readonly chargeError: number;
}

export interface MacResult {
  readonly restA: number;
  readonly positive: PhaseResult;
  readonly negative: PhaseResult;
  /** Back to rest. */
  readonly release: PhaseResult;
  /** Largest movement of the bit line in the phases. */
  readonly lineSwingV: number;
  /** Of both phases, J: from the line's supply; from the row sources at their own voltage (one row); the charge they deliver
   * times the supply: what a driver that pulls it from the supply spends on one row. */
  readonly lineJ: number;
  readonly rowDissipatedJ: number;
  readonly rowSupplyJ: number;
}

const LEAD_S = 5e-9;
const EDGE_S = 50e-12;
const STEPS_PER_PHASE = 1500;

/** Simulates the three intervals. Errors: SPICE_*. */
export async function simulateMac(testbench: CalibratedTestbench, at: MacTransient): Promise<MacResult> {
  const edges = [0, 1, 2, 3].map((i) => LEAD_S + i * at.phaseS);
  const { lowVgsV: low, highVgsV: high } = at;
  const pulse = (rise: number, fall: number) =>
    [
      [0, low],
      [rise, low],
      [rise + EDGE_S, high],
      [fall, high],
      [fall + EDGE_S, low],
    ]
      .map(([t, v]) => `${spiceNumber(t)} ${spiceNumber(v)}`)
      .join(' ');
  const stepS = at.phaseS / STEPS_PER_PHASE;
  const variables = ['time', 'i(vsupply)', 'v(line)', 'i(vina)', 'i(vinb)'];
  const [plot] = await runDeck(testbench, {
    folder: 'transient',
    file: 'mac.cir',
    corner: 'TT',
    includeFolders: [dirname(requireDataFile('netlists/column/clamp-resistor.inc', 'clamp'))],
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      clamp: `clamp-${at.clamp.kind}.inc`,
      ...clampSlots(at.clamp, at.vdsV),
      clamp_supply_v: spiceNumber(at.clamp.kind === 'resistor' ? at.vdsV : at.supplyV),
      low_vgs_v: spiceNumber(low),
      drive_a: pulse(edges[0], edges[1]),
      drive_b: pulse(edges[1], edges[2]),
      tap_ohm: spiceNumber(Math.max(at.tapOhm, 1)),
      gates: at.gates,
      gate_wire_f: spiceNumber(at.gates * at.gateWireF),
      line_wire_f: spiceNumber(at.cells * at.lineWireF),
      cells_a: at.driven,
      cells_b: at.driven,
      cells_idle: at.cells - 2 * at.driven,
      step_s: spiceNumber(stepS),
      stop_s: spiceNumber(edges[3]),
    },
    outputs: [
      { file: 'mac.raw', plot: 'Transient Analysis', variables, points: { min: 1000, max: 1_000_000 } },
    ],
    timeoutS: 120,
  });
  const time = plot.real.get('time')!;
  const current = plot.real.get('i(vsupply)')!.map((x) => -x);
  const line = plot.real.get('v(line)')!;
  const before = (t: number) => {
    let i = 0;
    while (i < time.length - 1 && time[i + 1] < t) i++;
    return i;
  };
  const rest = before(edges[0]);
  const ends = [before(edges[1]), before(edges[2]), time.length - 1];
  const phase = (i: number): PhaseResult => {
    const from = i === 0 ? rest : ends[i - 1];
    const final = current[ends[i]];
    // The two phases carry the same current, so a change is measured from rest, not from the phase before.
    const change = i === 2 ? current[ends[1]] - final : final - current[rest];
    const settle = (tolerance: number) => {
      let last = edges[i];
      for (let k = from; k <= ends[i]; k++)
        if (Math.abs(current[k] - final) > tolerance * Math.abs(change)) last = time[k];
      return last - edges[i];
    };
    let charge = 0;
    for (let k = from + 1; k <= ends[i]; k++)
      charge += ((current[k] + current[k - 1]) / 2) * (time[k] - time[k - 1]);
    return {
      currentA: final,
      settle1pcS: settle(0.01),
      settle01pcS: settle(0.001),
      chargeError: (charge / (time[ends[i]] - time[from]) - final) / current[ends[0]],
    };
  };
  const [positive, negative, release] = [0, 1, 2].map(phase);
  // Whatever clamps the line, its current comes from the supply in the end.
  let lineJ = 0;
  for (let k = rest + 1; k <= ends[1]; k++)
    lineJ += at.supplyV * ((current[k] + current[k - 1]) / 2) * (time[k] - time[k - 1]);
  // Row A over its whole cycle, from before its rise until it has settled low again.
  let rowDissipatedJ = 0;
  let rowSupplyJ = 0;
  const row = plot.real.get('i(vina)')!.map((x) => -x);
  const levels = drivenLevel(time, edges[0], edges[1], low, high);
  for (let k = 1; k < time.length; k++) {
    const charge = ((row[k] + row[k - 1]) / 2) * (time[k] - time[k - 1]);
    rowDissipatedJ += charge * ((levels[k] + levels[k - 1]) / 2);
    if (charge > 0) rowSupplyJ += charge * at.supplyV;
  }
  let lineSwingV = 0;
  for (let k = rest; k <= ends[1]; k++) lineSwingV = Math.max(lineSwingV, Math.abs(line[k] - line[rest]));
  return { restA: current[rest], positive, negative, release, lineSwingV, lineJ, rowDissipatedJ, rowSupplyJ };
}

/** Voltage of the row's source at each time. */
function drivenLevel(
  time: Float64Array,
  rise: number,
  fall: number,
  low: number,
  high: number,
): Float64Array {
  const ramp = (t: number, from: number) => Math.min(1, Math.max(0, (t - from) / EDGE_S));
  return time.map((t) => low + (high - low) * (ramp(t, rise) - ramp(t, fall)));
}
