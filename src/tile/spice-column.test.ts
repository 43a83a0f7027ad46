/**
 * The tile that runs use (its kernels, its draws, its droop) against columns of 256 cells solved wholly in SPICE: the same
 * codes, signs, threshold and gain draws, buffer offsets and ladder errors, at temperatures and corners that no fit has
 * seen. The tile knows the column only as sums of single-cell quantities: the fitted equation, the threshold gain, the
 * source slope and the wires' effective resistance. What is left: the fit (0.2 to 0.5 % of a cell), the separable products
 * (up to 0.2 % of full scale per cell), gm/I taken by tap in the baked kernel, and where along a wire a row lies.
 *
 * Over 72 columns of each cell (seeds 1, 7 and 31; no draw was left out), worst / RMS in % of the RMS of D:
 *   planar32lp/t1        reference 0.55 / 0.24   baked 1.23 / 0.37
 *   planar32lp/t1-large  reference 0.50 / 0.24   baked 0.50 / 0.24
 *   planar130/t1         reference 0.73 / 0.33   baked 1.67 / 0.52
 * The baked columns above 1 % are cold (below -20 C), where gm/I differs most between the levels of a row.
 */

import { afterAll, describe, expect, test } from 'vitest';
import {
  biasClamp,
  type Clamp,
  drawColumn,
  drawInputs,
  phaseCode,
  simulateColumns,
} from '../calibrate/studies/column/column.ts';
import { differential, vectorSums } from '../calibrate/studies/column/random.ts';
import { withTestbench } from '../calibrate/studies/study.ts';
import { type CalibratedTestbench, CODES, TAPS } from '../calibrate/testbench.ts';
import { operatingPoint } from '../cell/operating-point.ts';
import type { Corner } from '../cell/technology.ts';
import { rms } from '../numbers.ts';
import { nameCoordinate, streamKey, uniform } from '../random.ts';
import { createSpicePool } from '../spice/pool.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { sharedSpiceCache } from '../testing/run-folder.ts';
import { bakedSums, type CellSums, referenceSums } from './cell-sums.ts';
import type { ChipInstance, TilePlace } from './draws.ts';
import { newTileInput } from './input-code.ts';
import { tilePhysics } from './physics.ts';
import { drawStatics, type TileStatics } from './static-errors.ts';
import { createTile } from './tile.ts';
import { type HardwareWeights, weightFormat } from './weight-code.ts';

const pool = createSpicePool({ threads: 2, cacheFolder: sharedSpiceCache() });
afterAll(() => pool.close());

const ROWS = 256;
const INPUTS = 10;
const COLUMNS = 6;
const SEED = 31;
const NOMINAL: ChipInstance = { errors: false, seed: 0 };
const CHIP: ChipInstance = { errors: true, seed: SEED };

interface Solved {
  readonly at: string;
  /** [inputs] D over I_fs, of SPICE and of the tile with a kernel and the drawn errors of a chip. */
  readonly spice: readonly number[];
  readonly tile: (kernel: typeof referenceSums, chip: ChipInstance) => number[];
}

/** Where a column is solved; by default at a drawn corner and temperature, with the design's resistive clamp. */
interface Where {
  readonly corner: Corner;
  readonly tempK: number;
  readonly settings: readonly string[];
  readonly clamp: Clamp;
  readonly supplyV: number;
}

/** Column `index` of a cell, in SPICE and in the tile. */
async function solve(testbench: CalibratedTestbench, index: number, where?: Where): Promise<Solved> {
  const { cal } = testbench;
  const key = streamKey(SEED, nameCoordinate('tile column'), index);
  const [lowK, highK] = cal.validRange.tempK;
  const corners = Object.keys(cal.corners) as Corner[];
  const tempK = where?.tempK ?? lowK + (highK - lowK) * uniform(key, 0);
  const corner = where?.corner ?? corners[Math.floor(corners.length * uniform(key, 1))];
  const op = operatingPoint(cal, corner, tempK);
  const { design } = loadLogDomainDesign('log-domain', [
    // SPICE has settled columns, resistors for clamps and this offset.
    'column.clamp=resistance',
    'timing.settleTimeS=1e-4',
    'driver.offsetSigmaV=0.5e-3',
    `process=${cal.process}`,
    `cell=${cal.cell}`,
    `corner=${corner}`,
    `tempK=${tempK}`,
    `vdsV=${op.vdsV}`,
    'adc.bits=float',
    ...(where?.settings ?? []),
  ]);
  const physics = tilePhysics(cal, design);
  const { weights } = drawColumn(SEED, index, ROWS, 0, 0);
  const tile = { rowStart: 0, rows: ROWS, codes: weights, scales: new Float32Array([1]) };
  const hardware: HardwareWeights = {
    format: weightFormat(4),
    outputs: 1,
    inputs: ROWS,
    columns: 1,
    tiles: [tile],
    codingSnrDb: 0,
    zeroShare: 0,
  };
  const place: TilePlace = { layer: index, tensor: 0, tile: 0, dieX: 0.5, dieY: 0.5 };
  const draws = (chip: ChipInstance): TileStatics => ({
    ...drawStatics(physics, chip, place, tile, hardware, 1),
    // The replica's offset is a gain of the whole tile; SPICE has the gate level that the calibration gives.
    gain: 1,
  });
  const statics = draws(CHIP);
  const inputs = drawInputs(streamKey(SEED, index).a, ROWS, INPUTS);
  const [[{ rowOffsetV, tapErrorV }]] = statics.rowErrors;
  const { column, driver } = design;
  const [line] = await simulateColumns(testbench, {
    corner,
    tempK,
    vdsV: op.vdsV,
    supplyV: where?.supplyV ?? op.vdsV,
    wiring: {
      clamp: where?.clamp ?? { kind: 'resistor', ohm: column.clampOhm },
      bitWireOhm: column.bitWireOhm,
      sourceWireOhm: column.sourceWireOhm,
      sourceOhm: column.sourceOhm,
    },
    columns: [
      {
        weights,
        thresholdShiftV: Float64Array.from(statics.vtV[0], (v) => v / physics.thresholdGain),
        lnGain: Float64Array.from(statics.beta[0]),
      },
    ],
    vgsV: (_c, row, vector) => {
      const code = phaseCode(inputs[vector >> 1][row], vector & 1);
      if (code === 0) return driver.offVgsV;
      const tap = Math.abs(weights[row]);
      const ideal = physics.fullScaleVgsV + physics.ladderSlopeV * Math.log((code * tap) / (CODES * TAPS));
      return ideal + rowOffsetV[row] + tapErrorV[tap][row];
    },
    vectors: 2 * INPUTS,
  });
  const response = physics.responses.get(TAPS)!;
  return {
    at: `${corner} ${(tempK - 273.15).toFixed(0)} C`,
    spice: differential(vectorSums(line), INPUTS).map((d) => d / design.fullScaleA),
    tile: (kernel, chip) => {
      const of = draws(chip);
      const sums: CellSums = kernel(physics, response, tile, 1, of);
      // The statics are drawn above; nothing else is to be.
      const parts = { physics, response, hardware, tile, place, chip: NOMINAL, statics: of, sums };
      const { run } = createTile({ ...parts, fullScales: [1] });
      const input = newTileInput(ROWS);
      const value = new Float64Array(1);
      const counts = { currentA: 0, activeRows: 0, conversions: 0, clipped: 0 };
      return inputs.map((x, k) => {
        x.forEach((signed, j) => {
          input.levels[j] = Math.abs(signed);
          input.signs[j] = Math.sign(signed);
          input.magnitudes[j] = Math.abs(signed) / CODES;
        });
        run(value, input, { window: 0, position: k }, counts);
        return value[0];
      });
    },
  };
}

interface Errors {
  readonly at: string;
  /** RMS error of D over its RMS. */
  readonly reference: number;
  readonly baked: number;
  /** The reference kernel without the drawn errors: what they amount to. */
  readonly nominal: number;
}

async function columnErrors(testbench: CalibratedTestbench, index: number): Promise<Errors> {
  const { at, spice, tile } = await solve(testbench, index);
  const error = (d: readonly number[]) => rms(d.map((x, k) => x - spice[k])) / rms(spice);
  return {
    at,
    reference: error(tile(referenceSums, CHIP)),
    baked: error(tile(bakedSums, CHIP)),
    nominal: error(tile(referenceSums, NOMINAL)),
  };
}

describe.each([
  // planar130's gm/I falls faster with current: by tap alone its worst column is the closed form's 1.06 %.
  { process: 'planar32lp', cell: 't1', reference: 0.01, baked: 0.01, mismatch: 0.1 },
  { process: 'planar32lp', cell: 't1-large', reference: 0.01, baked: 0.01, mismatch: 0.05 },
  { process: 'planar130', cell: 't1', reference: 0.01, baked: 0.013, mismatch: 0.1 },
])('$process/$cell', ({ process, cell, reference, baked, mismatch }) => {
  test('256 random cells: D of the tile is that of SPICE within a hundredth of its RMS', async () => {
    const columns = await withTestbench({ process, cell, pool }, (testbench) =>
      Promise.all(Array.from({ length: COLUMNS }, (_, index) => columnErrors(testbench, index))),
    );
    for (const errors of columns) {
      // The draws are what D is made of: without them the tile is off by tens of percent.
      expect(errors.nominal, errors.at).toBeGreaterThan(mismatch);
      expect(errors.reference, errors.at).toBeLessThan(reference);
      expect(errors.baked, errors.at).toBeLessThan(baked);
    }
  });
});

test('a cascode clamp changes D of the tile as it does in SPICE', async () => {
  const change = await withTestbench({ process: 'planar32lp', cell: 't1', pool }, async (testbench) => {
    const tempK = 300.15;
    const supplyV = testbench.process.technology.supplyV.value;
    // A typical bit line of the design: what its clamps rest at.
    const middleA = 29.8e-9;
    // As in the column study: twenty widths, so that the gate stays below the supply.
    const transistor = { widthM: 20 * testbench.cell.widthM, lengthM: testbench.cell.lengthM };
    const at = { corner: 'TT' as const, tempK, vdsV: testbench.cal.nominal.vdsV, supplyV };
    const { gateV } = await biasClamp(testbench, { ...at, ...transistor, middleA });
    const [held, cascode] = await Promise.all([
      solve(testbench, 0, { ...at, settings: ['column.clampOhm=0'], clamp: { kind: 'resistor', ohm: 0 } }),
      solve(testbench, 0, {
        ...at,
        settings: ['column.clamp=cascode', `column.cascodeMiddleA=${middleA}`],
        clamp: { kind: 'cascode', gateV, ...transistor },
      }),
    ]);
    const difference = (of: (solved: Solved) => readonly number[]) =>
      of(cascode).map((d, k) => (d - of(held)[k]) / rms(held.spice));
    return {
      spice: difference(({ spice }) => spice),
      tile: difference(({ tile }) => tile(referenceSums, CHIP)),
    };
  });
  expect(rms(change.spice)).toBeGreaterThan(0.001);
  // The tile's lambda is that of full scale and its slope m Ut that of the cell, not of the clamp's wider transistor:
  // its change is 1.02 times that of SPICE (0.91 times at 3 nA), and what a factor does not explain is a twentieth.
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, k) => sum + x * b[k], 0);
  const factor = dot(change.tile, change.spice) / dot(change.spice, change.spice);
  expect(Math.abs(factor - 1)).toBeLessThan(0.05);
  const rest = rms(change.tile.map((x, k) => x - factor * change.spice[k]));
  expect(rest / rms(change.spice)).toBeLessThan(0.1);
});
