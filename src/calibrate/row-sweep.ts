/**
 * Products in SPICE, for any topology: one row with a cell on every tap, the input magnitude swept. The same deck
 * serves to find the bias of full scale, the products, their slopes on threshold and row offset, and the off state.
 */
import { BOLTZMANN_OVER_CHARGE, REFERENCE_TEMP_K } from '../cell/ekv.ts';
import type { Corner } from '../cell/technology.ts';
import { type MultiplierTopology, parameterValues } from '../cell/topology.ts';
import { OnefetError } from '../error.ts';
import { spiceNumber } from '../spice/deck.ts';
import { gainFreeError } from './fit/measures.ts';
import { type CellTestbench, celsius, runDeck } from './testbench.ts';

/** A row at one condition. */
export interface RowCondition {
  readonly corner: Corner;
  readonly tempK: number;
  readonly supplyV: number;
  /** Drain to source line. */
  readonly vdsV: number;
  readonly taps: number;
}

/** Drive of a row: the factors times Ut are volts per e-fold of the input and of the weight. */
export interface RowDrive {
  readonly bias: number;
  readonly dacSlopeFactor: number;
  readonly ladderSlopeFactor: number;
  /** Temperature that converter and ladder are set for; default the condition's own (PTAT). */
  readonly ladderTempK?: number;
  readonly thresholdShiftV?: number;
  readonly rowOffsetV?: number;
  /** Overrides of the topology's parameters. */
  readonly parameters?: Readonly<Record<string, number>>;
  /** [taps - 1] relative deviation of each ladder step, bottom first. */
  readonly stepDeviation?: readonly number[];
}

export type RowSweep =
  | { readonly kind: 'codes'; readonly codes: number }
  | { readonly kind: 'logarithm'; readonly lowest: number; readonly points: number }
  | { readonly kind: 'bias' }
  | { readonly kind: 'off'; readonly startV: number; readonly stopV: number; readonly points: number };

export interface RowCurrents {
  /** [points] the swept quantity. */
  readonly at: readonly number[];
  /** [taps][points] cell current, A; tap 1 first. */
  readonly currentA: readonly Float64Array[];
  /** [points] supply current of the row's driver, A; empty with an ideal one. */
  readonly supplyA: Float64Array;
  /** [points] supply current of the reference that rows share, A; empty with an ideal driver. */
  readonly sharedSupplyA: Float64Array;
}

/** Runs one row. Drain voltages are relative to the source line. */
export async function sweepRow(
  testbench: CellTestbench,
  topology: MultiplierTopology,
  condition: RowCondition,
  drive: RowDrive,
  sweep: RowSweep,
): Promise<RowCurrents> {
  const { taps, tempK } = condition;
  const transistor = topology.driver === 'transistor';
  const { start, stop, step, points, magnitude } = axis(topology, sweep);
  const off = sweep.kind === 'off';
  const ut = BOLTZMANN_OVER_CHARGE * (drive.ladderTempK ?? tempK);
  const currents = Array.from({ length: taps }, (_, i) => `i(vd${i + 1})`);
  const cells: string[] = [];
  const sections: string[] = [];
  for (let m = taps; m >= 1; m--) {
    if (m > 1) {
      const deviation = drive.stepDeviation?.[m - 2] ?? 0;
      sections.push(
        `xsection${m} t${m} t${m - 1} section lnratio=${spiceNumber(Math.log(m / (m - 1)))} rel=${spiceNumber(deviation)}`,
      );
    }
    cells.push(
      `vd${m} d${m} s ${spiceNumber(condition.vdsV)}`,
      `xcell${m} d${m} x ${topology.ladder === 'none' ? 'x' : `t${m}`} s b product dvt=${spiceNumber(drive.thresholdShiftV ?? 0)} fingers=${m}`,
    );
  }
  const { technology } = testbench.process;
  const offset = spiceNumber(drive.rowOffsetV ?? 0);
  const slots: Record<string, string> = {
    temp_c: celsius(tempK),
    sweep_start: spiceNumber(start),
    // Half a step more: the last point must not be lost to rounding.
    sweep_stop: spiceNumber(stop + step / 2),
    sweep_step: spiceNumber(step),
    bias_v: sweep.kind === 'bias' ? 'v(sweep)' : spiceNumber(drive.bias),
    // A current input is in proportion to x by itself: one e-fold per e-fold at any temperature.
    dac_slope_v: spiceNumber(
      topology.input === 'current'
        ? 1
        : drive.dacSlopeFactor * (topology.dac === 'string' ? BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K : ut),
    ),
    ln_magnitude: magnitude,
    on: off ? '0' : '1',
    row_offset_v: off && !transistor ? 'v(sweep)' : offset,
    cells: cells.join('\n'),
    currents: currents.join(' '),
    ...Object.fromEntries(
      Object.entries(parameterValues(topology, { ...testbench.cell.parameters, ...drive.parameters })).map(
        ([k, v]) => [k, spiceNumber(v)],
      ),
    ),
  };
  if (topology.ladder !== 'none') {
    slots.sections = sections.join('\n');
    slots.top = `t${taps}`;
    // A ladder of resistors keeps its size: its PTAT current makes the slope, so the reference temperature stands here.
    const stepV = drive.ladderSlopeFactor * (transistor ? BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K : ut);
    slots.ladder_slope_v = spiceNumber(stepV);
  }
  if (transistor) {
    slots.supply_v = spiceNumber(condition.supplyV);
    if (topology.dac === 'ideal') slots.nominal_supply_v = spiceNumber(technology.supplyV.value);
    slots.vds_v = spiceNumber(condition.vdsV);
    if (topology.pmos) slots.pmos = pmosOf(testbench);
  }
  const [plot] = await runDeck(testbench, {
    file: 'product.cir',
    corner: condition.corner,
    slots,
    outputs: [
      {
        file: 'product.raw',
        plot: 'DC transfer characteristic',
        variables: transistor ? [...currents, 'i(vdd)', 'i(vshared)'] : currents,
        points,
      },
    ],
  });
  return {
    at: Array.from({ length: points }, (_, i) => start + i * step),
    currentA: currents.map((name) => plot.real.get(name)!.map((x) => -x)),
    supplyA: transistor ? plot.real.get('i(vdd)')!.map((x) => -x) : new Float64Array(0),
    sharedSupplyA: transistor ? plot.real.get('i(vshared)')!.map((x) => -x) : new Float64Array(0),
  };
}

function axis(topology: MultiplierTopology, sweep: RowSweep) {
  switch (sweep.kind) {
    case 'codes':
      return {
        start: 1,
        stop: sweep.codes,
        step: 1,
        points: sweep.codes,
        magnitude: `ln(v(sweep)/${sweep.codes})`,
      };
    case 'logarithm': {
      const start = Math.log(sweep.lowest);
      const step = -start / (sweep.points - 1);
      return { start, stop: 0, step, points: sweep.points, magnitude: 'v(sweep)' };
    }
    case 'bias': {
      const { startV: start, stopV, stepV: step } = topology.bias;
      const points = Math.floor((stopV - start) / step + 1e-6) + 1;
      return { start, stop: start + (points - 1) * step, step, points, magnitude: '0' };
    }
    case 'off': {
      const { startV: start, stopV: stop, points } = sweep;
      return { start, stop, step: (stop - start) / (points - 1), points, magnitude: '0' };
    }
  }
}

function pmosOf(testbench: CellTestbench): string {
  const { pmos } = testbench.process.technology;
  if (pmos !== undefined) return pmos;
  throw new OnefetError(
    'input',
    'TECHNOLOGY_INVALID',
    `${testbench.process.path}: topology ${testbench.cell.topology} needs the name of the PMOS model`,
    { hint: 'add a line "pmos: <model name>"' },
  );
}

/**
 * The bias at which the top tap carries the cell's full-scale current at full input: what a replica would settle at.
 * The bias sweep is inverted by a cubic through the four points around the crossing.
 */
export async function findBias(
  testbench: CellTestbench,
  topology: MultiplierTopology,
  condition: RowCondition,
  drive: Omit<RowDrive, 'bias'>,
): Promise<number> {
  const target = Math.log(testbench.cell.fullScaleA);
  const { at, currentA } = await sweepRow(
    testbench,
    topology,
    condition,
    { ...drive, bias: 0 },
    { kind: 'bias' },
  );
  const ln = Array.from(currentA[condition.taps - 1], (x) => Math.log(x));
  const sign = topology.biasFalls ? -1 : 1;
  // The crossing nearest to the end of high current: leakage may cross it a second time.
  let k = sign > 0 ? ln.length - 1 : 1;
  while (k >= 1 && k < ln.length) {
    const a = ln[k - 1] - target;
    const b = ln[k] - target;
    if (Number.isFinite(a) && Number.isFinite(b) && a * sign <= 0 && b * sign > 0) break;
    k -= sign;
  }
  if (k < 1 || k >= ln.length) {
    throw new OnefetError(
      'simulation',
      'FULL_SCALE_UNREACHED',
      `${testbench.process.technology.name}/${testbench.device}: no ${topology.bias.quantity} between ${at[0]} and ${at[at.length - 1].toFixed(3)} ${topology.bias.unit} carries ${testbench.cell.fullScaleA} A at ${condition.tempK.toFixed(2)} K, ${condition.corner}, supply ${condition.supplyV} V`,
      { hint: 'change fullScaleA of the cell in technology.yaml, or the range of the bias in topology.yaml' },
    );
  }
  const first = Math.min(Math.max(0, k - 2), ln.length - 4);
  const near = [0, 1, 2, 3].map((i) => first + i).filter((i) => Number.isFinite(ln[i]));
  const bias = near.reduce((sum, i) => {
    const weight = near.reduce(
      (product, j) => (j === i ? product : (product * (target - ln[j])) / (ln[i] - ln[j])),
      1,
    );
    return sum + weight * at[i];
  }, 0);
  if (topology.biasFalls && bias + condition.vdsV > condition.supplyV) {
    throw new OnefetError(
      'simulation',
      'HEADROOM',
      `${testbench.process.technology.name}/${testbench.device}: bit line at ${(bias + condition.vdsV).toFixed(3)} V above the supply of ${condition.supplyV.toFixed(3)} V at ${condition.tempK.toFixed(2)} K, ${condition.corner}`,
      { hint: 'lower vdsV of the cell or the full scale of the converter' },
    );
  }
  return bias;
}

/** Relative error of products over all codes and taps: RMS and largest after the best common gain is removed. */
export function productError(currentA: readonly ArrayLike<number>[], magnitudes: readonly number[]) {
  const taps = currentA.length;
  const ratios: number[] = [];
  currentA.forEach((row, i) => {
    for (let k = 0; k < magnitudes.length; k++) ratios.push(row[k] / ((magnitudes[k] * (i + 1)) / taps));
  });
  const { gain: gainA, points, rms, max } = gainFreeError(ratios);
  return { gainA, points, rms, max };
}

/** k / codes for k = 1 .. codes. */
export const codeMagnitudes = (codes: number): number[] =>
  Array.from({ length: codes }, (_, k) => (k + 1) / codes);

/**
 * The two slope factors that minimise the RMS deviation of ln I from ln(product) at the typical corner and reference
 * temperature (Gauss-Newton with slopes from two more runs; the deviation is nearly linear in both), and the bias.
 */
export async function tuneDrive(
  testbench: CellTestbench,
  topology: MultiplierTopology,
  condition: RowCondition,
  codes: number,
): Promise<{ bias: number; dacSlopeFactor: number; ladderSlopeFactor: number }> {
  const magnitudes = codeMagnitudes(codes);
  const hasLadder = topology.ladder !== 'none';
  let factors = [topology.start.dacSlopeFactor, topology.start.ladderSlopeFactor];
  const driveOf = ([dacSlopeFactor, ladderSlopeFactor]: readonly number[]) => ({
    dacSlopeFactor,
    ladderSlopeFactor,
  });
  let bias = await findBias(testbench, topology, condition, driveOf(factors));
  const deviations = async (f: readonly number[]) => {
    const run = await sweepRow(
      testbench,
      topology,
      condition,
      { ...driveOf(f), bias },
      { kind: 'codes', codes },
    );
    return run.currentA.flatMap((row, i) =>
      Array.from(row, (current, k) => Math.log(current / (magnitudes[k] * (i + 1)))),
    );
  };
  const unknowns = [...(topology.input === 'voltage' ? [0] : []), ...(hasLadder ? [1] : [])];
  for (let round = 0; round < 4; round++) {
    const shift = 1e-3;
    const [base, ...shifted] = await Promise.all([
      deviations(factors),
      ...unknowns.map((u) => deviations(factors.map((f, i) => (i === u ? f + shift : f)))),
    ]);
    const columns = [base.map(() => 1), ...shifted.map((y) => y.map((v, i) => (v - base[i]) / shift))];
    const step = await leastSquares(
      columns,
      base.map((v) => -v),
    );
    factors = factors.map((f, i) => {
      const column = unknowns.indexOf(i);
      return column < 0 ? f : f + step[column + 1];
    });
    bias = await findBias(testbench, topology, condition, driveOf(factors));
    if (Math.max(...step.slice(1).map(Math.abs)) < 1e-6) break;
  }
  return { bias, ...driveOf(factors) };
}

/** Solves the normal equations of a few columns. mathjs is loaded here: it takes longer to load than most commands last. */
async function leastSquares(
  columns: readonly (readonly number[])[],
  y: readonly number[],
): Promise<number[]> {
  const { dot, lusolve } = await import('mathjs');
  const product = (a: readonly number[], b: readonly number[]) => dot([...a], [...b]);
  const normal = columns.map((a) => columns.map((b) => product(a, b)));
  const right = columns.map((a) => product(a, y));
  return (lusolve(normal, right) as number[][]).map(([value]) => value);
}
