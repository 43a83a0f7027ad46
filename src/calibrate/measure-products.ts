/**
 * The simulations behind a product table, and the check of its interpolation on conditions that are no nodes.
 */
import type { z } from 'zod';
import { REFERENCE_TEMP_K } from '../cell/ekv.ts';
import type { cornerTableSchema, ProductTable } from '../cell/product-schema.ts';
import { interpolate } from '../cell/product-table.ts';
import type { Residual } from '../cell/residual.ts';
import { type Corner, SMALLEST_OFF_A } from '../cell/technology.ts';
import type { MultiplierTopology } from '../cell/topology.ts';
import { OnefetError } from '../error.ts';
import { largest, mean, rms } from '../numbers.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import {
  codeMagnitudes,
  findBias,
  productErrorOf,
  type RowCondition,
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
  bench: CellTestbench,
  topology: MultiplierTopology,
  corners: readonly Corner[],
): Promise<ProductTable> {
  const { technology } = bench.process;
  const { cell } = bench;
  const vdsOfSupply = cell.vdsV / technology.supplyV.value;
  const inRange = (c: number) =>
    c + 273.15 >= technology.minTempK.value - 1e-6 && c + 273.15 <= technology.maxTempK.value + 1e-6;
  const tempK = NODE_TEMPS_C.filter(inRange).map((c) => c + 273.15);
  const supplyV = SUPPLY_SHARES.map((share) => share * technology.supplyV.value);
  const condition = (taps: number, corner: Corner, t: number, supply: number): RowCondition => ({
    corner,
    tempK: t,
    supplyV: supply,
    vdsV: vdsOfSupply * supply,
    taps,
  });
  const nominalV = technology.supplyV.value;
  const tuned = await tuneDrive(bench, topology, condition(TAPS, 'TT', REFERENCE_TEMP_K, nominalV), CODES);
  const slopes = { dacSlopeFactor: tuned.dacSlopeFactor, ladderSlopeFactor: tuned.ladderSlopeFactor };
  const logarithm = { kind: 'logarithm', lowest: LOWEST_MAGNITUDE, points: MAGNITUDES } as const;
  const step = -Math.log(LOWEST_MAGNITUDE) / (MAGNITUDES - 1);
  const lnMagnitude = Array.from({ length: MAGNITUDES }, (_, k) => Math.log(LOWEST_MAGNITUDE) + k * step);
  const lnIdeal = (taps: number, m: number, lnX: number) =>
    Math.log(cell.fullScaleA) + lnX + Math.log(m / taps);
  const offLevelV =
    topology.driver === 'transistor'
      ? []
      : Array.from(
          { length: OFF_LEVELS.points },
          (_, k) =>
            OFF_LEVELS.startV + (k * (OFF_LEVELS.stopV - OFF_LEVELS.startV)) / (OFF_LEVELS.points - 1),
        );
  const rowSupplyA: number[] = [];
  const sharedSupplyA: number[] = [];

  const tables = [];
  for (const taps of TABLE_TAPS) {
    const simulate = async (corner: Corner, t: number, supply: number) => {
      const at = condition(taps, corner, t, supply);
      const bias = await findBias(bench, topology, at, slopes);
      const run = await sweepRow(bench, topology, at, { ...slopes, bias }, logarithm);
      const lnDeviation = run.currentA.flatMap((row, i) =>
        Array.from(row, (current, k) =>
          fixed(Math.log(Math.max(current, SMALLEST_OFF_A)) - lnIdeal(taps, i + 1, lnMagnitude[k])),
        ),
      );
      return { bias, lnDeviation, supplyA: run.supplyA.at(-1), sharedA: run.sharedSupplyA.at(-1) };
    };
    const cornerEntries: [Corner, z.infer<typeof cornerTableSchema>][] = [];
    const slopeTables: { threshold: number[]; row: number[] }[] = [];
    for (const corner of corners) {
      bench.signal?.throwIfAborted();
      const nodes = await Promise.all(
        supplyV.map((supply) => Promise.all(tempK.map((t) => simulate(corner, t, supply)))),
      );
      const nominal = nodes[SUPPLY_SHARES.indexOf(1)];
      const off = await Promise.all(
        tempK.map((t, k) =>
          sweepRow(
            bench,
            topology,
            condition(taps, corner, t, nominalV),
            { ...slopes, bias: nominal[k].bias },
            // A transistor driver sets its own off level: the sweep only repeats it.
            { kind: 'off', ...(offLevelV.length > 0 ? OFF_LEVELS : { startV: 0, stopV: 1, points: 2 }) },
          ),
        ),
      );
      cornerEntries.push([
        corner,
        {
          bias: nodes.flatMap((row) => row.map(({ bias }) => bias)),
          lnDeviation: nodes.flatMap((row) => row.flatMap((node) => node.lnDeviation)),
          lnOffA: off.flatMap(({ currentA }) =>
            Array.from({ length: Math.max(1, offLevelV.length) }, (_, level) =>
              currentA.map((row) => fixed(Math.log(Math.max(row[level], SMALLEST_OFF_A)))),
            ).flat(),
          ),
        },
      ]);
      if (corner !== 'TT') continue;
      if (taps === TABLE_TAPS[0] && topology.driver === 'transistor') {
        rowSupplyA.push(...nominal.map(({ supplyA }) => supplyA!));
        sharedSupplyA.push(...nominal.map(({ sharedA }) => sharedA!));
      }
      for (const [k, t] of tempK.entries()) {
        const at = condition(taps, corner, t, nominalV);
        const drive = { ...slopes, bias: nominal[k].bias };
        const slope = async (shift: { thresholdShiftV?: number; rowOffsetV?: number }) => {
          const [up, down] = await Promise.all(
            [1, -1].map((sign) =>
              sweepRow(
                bench,
                topology,
                at,
                {
                  ...drive,
                  ...Object.fromEntries(
                    Object.entries(shift).map(([name, v]) => [name, sign * (v as number)]),
                  ),
                },
                logarithm,
              ),
            ),
          );
          return up.currentA.flatMap((row, i) =>
            Array.from(row, (current, j) =>
              Number((Math.log(current / down.currentA[i][j]) / (2 * SLOPE_STEP_V)).toPrecision(5)),
            ),
          );
        };
        slopeTables.push({
          threshold: (await slope({ thresholdShiftV: SLOPE_STEP_V })).map((v) => -v),
          row: await slope({ rowOffsetV: SLOPE_STEP_V }),
        });
      }
    }
    tables.push({
      taps,
      corners: Object.fromEntries(cornerEntries),
      thresholdSlopePerV: slopeTables.flatMap(({ threshold }) => threshold),
      rowSlopePerV: slopeTables.flatMap(({ row }) => row),
    });
  }

  const table: ProductTable = {
    driver: topology.driver,
    biasQuantity: topology.bias.quantity,
    biasUnit: topology.bias.unit,
    fullScaleA: cell.fullScaleA,
    ...slopes,
    supplyV,
    tempK,
    lnMagnitude,
    offLevelV,
    vdsOfSupply,
    fingersByTap: topology.area.fingersOfTopTap > 1,
    tables,
    heldOut: { temp: NONE, supply: NONE, codes: NONE },
    rowSupplyA,
    sharedSupplyA,
  };
  // Conditions that are not nodes: 63 linear codes, whose magnitudes are no nodes either except the last.
  const check = async (t: number, supply: number): Promise<Residual> => {
    const at = condition(TAPS, 'TT', t, supply);
    const bias = await findBias(bench, topology, at, slopes);
    const run = await sweepRow(bench, topology, at, { ...slopes, bias }, { kind: 'codes', codes: CODES });
    const interpolated = interpolate(table, 'TT', t, supply, codeMagnitudes(CODES), TAPS);
    return residualFrom(
      run.currentA.flatMap((row, i) =>
        Array.from(row, (current, k) => Math.log(interpolated[k][i + 1] / (current / cell.fullScaleA))),
      ),
    );
  };
  const temp = await Promise.all(HELD_OUT_TEMPS_C.filter(inRange).map((c) => check(c + 273.15, nominalV)));
  const supply = await Promise.all(
    HELD_OUT_SUPPLY_SHARES.map((share) => check(REFERENCE_TEMP_K, share * nominalV)),
  );
  const heldOut = {
    temp: pooled(temp),
    supply: pooled(supply),
    codes: await check(REFERENCE_TEMP_K, nominalV),
  };
  for (const [what, { rms, max }] of Object.entries(heldOut)) {
    if (rms <= MAX_RMS && max <= MAX_DEVIATION) continue;
    throw new OnefetError(
      'simulation',
      'TABLE_RESIDUAL',
      `${technology.name}/${bench.device}: interpolation over ${what} deviates by ${(100 * rms).toFixed(2)} % RMS, ${(100 * max).toFixed(2)} % at most (limits ${100 * MAX_RMS} and ${100 * MAX_DEVIATION} %)`,
      { hint: 'the cell changes too fast between the nodes of src/cell/product-table.ts' },
    );
  }
  return { ...table, heldOut };
}

/** Accepted interpolation error of ln I, as for the fitted cell. */
const MAX_RMS = 0.01;
const MAX_DEVIATION = 0.03;
const NONE: Residual = { points: 0, rms: 0, max: 0 };

/** Five decimals of a logarithm: 0.001 % of the current. */
const fixed = (value: number): number => Math.round(value * 1e5) / 1e5;

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
  bench: CellTestbench,
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
        bench,
        topology,
        condition,
        { ...drive, stepDeviation },
        { kind: 'codes', codes: CODES },
      );
      return productErrorOf(run.currentA, codeMagnitudes(CODES));
    }),
  );
  return {
    rms: mean(results.map((result) => result.rms)),
    max: mean(results.map((result) => result.max)),
  };
}
