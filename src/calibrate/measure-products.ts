/**
 * The simulations behind a product table, and the check of its interpolation on conditions that are no nodes.
 */
import { REFERENCE_TEMP_K } from '../cell/ekv.ts';
import type { CornerTable, ProductTable } from '../cell/product-schema.ts';
import { interpolate } from '../cell/product-table.ts';
import type { Residual } from '../cell/residual.ts';
import { type Corner, SMALLEST_OFF_A, temperatureRangeK, temperaturesInside } from '../cell/technology.ts';
import type { MultiplierTopology } from '../cell/topology.ts';
import { OnefetError } from '../error.ts';
import { largest, mean, rms } from '../numbers.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import {
  codeMagnitudes,
  findBias,
  productError,
  type RowCondition,
  type RowDrive,
  sweepRow,
  tuneDrive,
} from './row-sweep.ts';
import { type CellTestbench, CODES, TAPS } from './testbench.ts';

/** Nodes in temperature, C, and conditions between them that are only for the check. */
const NODE_TEMPS_C = [-40, 0, 27, 60, 85, 105, 125];
const HELD_OUT_TEMPS_C = [-20, 45, 75, 95, 115];
const SUPPLY_SHARES = [0.9, 1, 1.1];
const HELD_OUT_SUPPLY_SHARES = [0.95, 1.05];
/** Smallest magnitude: one step of a 10-bit code. */
const LOWEST_MAGNITUDE = 1 / 1023;
const MAGNITUDES = 17;
const OFF_LEVELS = { startV: -0.3, stopV: 0.1, points: 9 };
const TABLE_TAPS = [TAPS, 3];
const SLOPE_STEP_V = 1e-3;

/** Runs that `calibrateTable` makes, for progress. */
export function tableRuns(corners: number, temps: number): number {
  return TABLE_TAPS.length * (corners * temps * (2 * SUPPLY_SHARES.length + 1) + 2 * temps) + 40;
}

/** Simulates the table of one cell. Errors: SPICE_*, FULL_SCALE_UNREACHED, TABLE_RESIDUAL. */
export async function calibrateTable(
  testbench: CellTestbench,
  topology: MultiplierTopology,
  corners: readonly Corner[],
): Promise<ProductTable> {
  const plan = await planTable(testbench, topology);
  const tables: ProductTable['tables'] = [];
  let supplyCurrents: Pick<ProductTable, 'rowSupplyA' | 'sharedSupplyA'> = {
    rowSupplyA: [],
    sharedSupplyA: [],
  };
  for (const taps of TABLE_TAPS) {
    const { table, nominal } = await tableOfTaps(plan, taps, corners);
    tables.push(table);
    if (taps === TAPS && topology.driver === 'transistor') {
      supplyCurrents = {
        rowSupplyA: nominal.map(({ supplyA }) => supplyA!),
        sharedSupplyA: nominal.map(({ sharedA }) => sharedA!),
      };
    }
  }
  const table: ProductTable = {
    driver: topology.driver,
    biasQuantity: topology.bias.quantity,
    biasUnit: topology.bias.unit,
    fullScaleA: testbench.cell.fullScaleA,
    ...plan.slopes,
    supplyV: plan.supplyV,
    tempK: plan.tempK,
    lnMagnitude: plan.lnMagnitude,
    offLevelV: plan.offLevelV,
    vdsOfSupply: plan.vdsOfSupply,
    fingersByTap: topology.area.fingersOfTopTap > 1,
    tables,
    heldOut: { temp: NONE, supply: NONE, codes: NONE },
    ...supplyCurrents,
  };
  return { ...table, heldOut: await checkTable(plan, table) };
}

/** The nodes of a cell's table, and how its row is driven at all of them. */
interface TablePlan {
  readonly testbench: CellTestbench;
  readonly topology: MultiplierTopology;
  readonly nominalV: number;
  /** Drain voltage over supply: the bit line follows the supply. */
  readonly vdsOfSupply: number;
  readonly tempK: number[];
  readonly supplyV: number[];
  readonly lnMagnitude: number[];
  /** Empty where the driver itself sets the level. */
  readonly offLevelV: number[];
  readonly slopes: { readonly dacSlopeFactor: number; readonly ladderSlopeFactor: number };
}

const LOGARITHM = { kind: 'logarithm', lowest: LOWEST_MAGNITUDE, points: MAGNITUDES } as const;

async function planTable(testbench: CellTestbench, topology: MultiplierTopology): Promise<TablePlan> {
  const nominalV = testbench.process.technology.supplyV.value;
  const step = -Math.log(LOWEST_MAGNITUDE) / (MAGNITUDES - 1);
  const { startV, stopV, points } = OFF_LEVELS;
  const plan = {
    testbench,
    topology,
    nominalV,
    vdsOfSupply: testbench.cell.vdsV / nominalV,
    tempK: temperaturesInside(temperatureRangeK(testbench.process), NODE_TEMPS_C),
    supplyV: SUPPLY_SHARES.map((share) => share * nominalV),
    lnMagnitude: Array.from({ length: MAGNITUDES }, (_, k) => Math.log(LOWEST_MAGNITUDE) + k * step),
    offLevelV:
      topology.driver === 'transistor'
        ? []
        : Array.from({ length: points }, (_, k) => startV + (k * (stopV - startV)) / (points - 1)),
  };
  const typical = conditionAt(plan, TAPS, 'TT', REFERENCE_TEMP_K, nominalV);
  const { dacSlopeFactor, ladderSlopeFactor } = await tuneDrive(testbench, topology, typical, CODES);
  return { ...plan, slopes: { dacSlopeFactor, ladderSlopeFactor } };
}

const conditionAt = (
  { vdsOfSupply }: Pick<TablePlan, 'vdsOfSupply'>,
  taps: number,
  corner: Corner,
  tempK: number,
  supplyV: number,
): RowCondition => ({ corner, tempK, supplyV, vdsV: vdsOfSupply * supplyV, taps });

/** The row at one corner, temperature and supply, at the bias that a replica finds. */
interface TableNode {
  readonly bias: number;
  /** [tap][magnitude] ln of current over ideal product. */
  readonly lnDeviation: readonly number[];
  /** At full input, of a transistor driver and of what rows share. */
  readonly supplyA: number | undefined;
  readonly sharedA: number | undefined;
}

async function simulateNode(plan: TablePlan, at: RowCondition): Promise<TableNode> {
  const { testbench, topology, slopes, lnMagnitude } = plan;
  const lnIdeal = (m: number, lnX: number) =>
    Math.log(testbench.cell.fullScaleA) + lnX + Math.log(m / at.taps);
  const bias = await findBias(testbench, topology, at, slopes);
  const run = await sweepRow(testbench, topology, at, { ...slopes, bias }, LOGARITHM);
  const lnDeviation = run.currentA.flatMap((row, i) =>
    Array.from(row, (current, k) =>
      fiveDecimals(Math.log(Math.max(current, SMALLEST_OFF_A)) - lnIdeal(i + 1, lnMagnitude[k])),
    ),
  );
  return { bias, lnDeviation, supplyA: run.supplyA.at(-1), sharedA: run.sharedSupplyA.at(-1) };
}

/** The table of rows with `taps` taps, and its nodes [tempK] at TT and the nominal supply. */
async function tableOfTaps(
  plan: TablePlan,
  taps: number,
  corners: readonly Corner[],
): Promise<{ table: ProductTable['tables'][number]; nominal: readonly TableNode[] }> {
  const entries: [Corner, CornerTable][] = [];
  let nominal: readonly TableNode[] = [];
  let slopes = { threshold: [] as number[], row: [] as number[] };
  for (const corner of corners) {
    plan.testbench.signal?.throwIfAborted();
    const nodes = await Promise.all(
      plan.supplyV.map((supply) =>
        Promise.all(plan.tempK.map((t) => simulateNode(plan, conditionAt(plan, taps, corner, t, supply)))),
      ),
    );
    const atNominal = nodes[SUPPLY_SHARES.indexOf(1)];
    entries.push([
      corner,
      {
        bias: nodes.flatMap((row) => row.map(({ bias }) => bias)),
        lnDeviation: nodes.flatMap((row) => row.flatMap((node) => node.lnDeviation)),
        lnOffA: await simulateOff(plan, taps, corner, atNominal),
      },
    ]);
    if (corner !== 'TT') continue;
    nominal = atNominal;
    slopes = await simulateSlopes(plan, taps, nominal);
  }
  return {
    table: {
      taps,
      corners: Object.fromEntries(entries),
      thresholdSlopePerV: slopes.threshold,
      rowSlopePerV: slopes.row,
    },
    nominal,
  };
}

/** [temp][off level][tap] ln of the current of cells whose row is off, at the nominal supply. */
async function simulateOff(
  plan: TablePlan,
  taps: number,
  corner: Corner,
  nominal: readonly TableNode[],
): Promise<number[]> {
  const { testbench, topology, slopes, tempK, nominalV, offLevelV } = plan;
  // A transistor driver sets its own off level: the sweep only repeats it.
  const levels = offLevelV.length > 0 ? OFF_LEVELS : { startV: 0, stopV: 1, points: 2 };
  const off = await Promise.all(
    tempK.map((t, k) =>
      sweepRow(
        testbench,
        topology,
        conditionAt(plan, taps, corner, t, nominalV),
        { ...slopes, bias: nominal[k].bias },
        { kind: 'off', ...levels },
      ),
    ),
  );
  return off.flatMap(({ currentA }) =>
    Array.from({ length: Math.max(1, offLevelV.length) }, (_, level) =>
      currentA.map((row) => fiveDecimals(Math.log(Math.max(row[level], SMALLEST_OFF_A)))),
    ).flat(),
  );
}

/** [temp][tap][magnitude] -d ln I / dVt and d ln I / d(row offset), TT, nominal supply: central differences. */
async function simulateSlopes(
  plan: TablePlan,
  taps: number,
  nominal: readonly TableNode[],
): Promise<{ threshold: number[]; row: number[] }> {
  const { testbench, topology, slopes, tempK, nominalV } = plan;
  const threshold: number[] = [];
  const row: number[] = [];
  for (const [k, t] of tempK.entries()) {
    const at = conditionAt(plan, taps, 'TT', t, nominalV);
    const slope = async (shifted: (stepV: number) => Partial<RowDrive>) => {
      const [up, down] = await Promise.all(
        [SLOPE_STEP_V, -SLOPE_STEP_V].map((stepV) =>
          sweepRow(
            testbench,
            topology,
            at,
            { ...slopes, bias: nominal[k].bias, ...shifted(stepV) },
            LOGARITHM,
          ),
        ),
      );
      return up.currentA.flatMap((line, i) =>
        Array.from(line, (current, j) =>
          Number((Math.log(current / down.currentA[i][j]) / (2 * SLOPE_STEP_V)).toPrecision(5)),
        ),
      );
    };
    threshold.push(...(await slope((stepV) => ({ thresholdShiftV: stepV }))).map((v) => -v));
    row.push(...(await slope((stepV) => ({ rowOffsetV: stepV }))));
  }
  return { threshold, row };
}

/** Compares the table with conditions that are not nodes: 63 linear codes, whose magnitudes are none either except the last. */
async function checkTable(plan: TablePlan, table: ProductTable): Promise<ProductTable['heldOut']> {
  const { testbench, topology, slopes, nominalV } = plan;
  const check = async (tempK: number, supplyV: number): Promise<Residual> => {
    const at = conditionAt(plan, TAPS, 'TT', tempK, supplyV);
    const bias = await findBias(testbench, topology, at, slopes);
    const run = await sweepRow(testbench, topology, at, { ...slopes, bias }, { kind: 'codes', codes: CODES });
    const interpolated = interpolate(table, 'TT', tempK, supplyV, codeMagnitudes(CODES), TAPS);
    return residualFrom(
      run.currentA.flatMap((row, i) =>
        Array.from(row, (current, k) => Math.log(interpolated[k][i + 1] / (current / table.fullScaleA))),
      ),
    );
  };
  const temps = temperaturesInside(temperatureRangeK(testbench.process), HELD_OUT_TEMPS_C);
  const heldOut = {
    temp: pooled(await Promise.all(temps.map((t) => check(t, nominalV)))),
    supply: pooled(
      await Promise.all(HELD_OUT_SUPPLY_SHARES.map((share) => check(REFERENCE_TEMP_K, share * nominalV))),
    ),
    codes: await check(REFERENCE_TEMP_K, nominalV),
  };
  for (const [what, { rms, max }] of Object.entries(heldOut)) {
    if (rms <= MAX_RMS && max <= MAX_DEVIATION) continue;
    throw new OnefetError(
      'simulation',
      'TABLE_RESIDUAL',
      `${testbench.process.technology.name}/${testbench.device}: interpolation over ${what} deviates by ${(100 * rms).toFixed(2)} % RMS, ${(100 * max).toFixed(2)} % at most (limits ${100 * MAX_RMS} and ${100 * MAX_DEVIATION} %)`,
      { hint: 'the cell changes too fast between the nodes of src/calibrate/measure-products.ts' },
    );
  }
  return heldOut;
}

/** Accepted interpolation error of ln I, as for the fitted cell. */
const MAX_RMS = 0.01;
const MAX_DEVIATION = 0.03;
const NONE: Residual = { points: 0, rms: 0, max: 0 };

/** Five decimals of a logarithm: 0.001 % of the current. */
const fiveDecimals = (value: number): number => Math.round(value * 1e5) / 1e5;

function residualFrom(deviations: readonly number[]): Residual {
  return {
    points: deviations.length,
    rms: rms(deviations),
    max: largest(deviations),
  };
}

function pooled(parts: readonly Residual[]): Residual {
  const points = parts.reduce((sum, r) => sum + r.points, 0);
  return {
    points,
    rms: Math.sqrt(parts.reduce((sum, r) => sum + r.rms ** 2 * r.points, 0) / points),
    max: Math.max(...parts.map(({ max }) => max)),
  };
}

/**
 * RMS and largest product error when every ladder step deviates at random: mean over draws. What the matching of the
 * ladder's resistors is worth.
 */
export async function ladderMismatchError(
  testbench: CellTestbench,
  topology: MultiplierTopology,
  condition: RowCondition,
  drive: { bias: number; dacSlopeFactor: number; ladderSlopeFactor: number },
  sigma: number,
  draws: number,
): Promise<{ rms: number; max: number }> {
  const key = streamKey(1, nameCoordinate('ladder-step'));
  const results = await Promise.all(
    Array.from({ length: draws }, async (_, d) => {
      const stepDeviation = Array.from(
        { length: condition.taps - 1 },
        (_v, i) => sigma * gaussian(key, d * condition.taps + i),
      );
      const run = await sweepRow(
        testbench,
        topology,
        condition,
        { ...drive, stepDeviation },
        { kind: 'codes', codes: CODES },
      );
      return productError(run.currentA, codeMagnitudes(CODES));
    }),
  );
  return {
    rms: mean(results.map((result) => result.rms)),
    max: mean(results.map((result) => result.max)),
  };
}
