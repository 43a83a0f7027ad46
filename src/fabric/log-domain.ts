/**
 * The log-domain fabric: a linear layer as tiles of one-transistor multipliers (design.md section 2).
 *
 *   y[n] = sum over tiles  s_tile * scale[n][tile] * taps * sum_cell cellWeight * D[cell][n]
 *
 * with D the column's value in units of I_fs: a = s * magnitude, w = scale * code and the ideal cell carries
 * magnitude * code / taps.
 */

import { z } from 'zod';
import type { Calibration } from '../cell/calibration.ts';
import { loadSized, type SizedCell } from '../cell/sized-calibration.ts';
import { OnefetError } from '../error.ts';
import { sha256 } from '../files.ts';
import { newRangeHistogram, type RangeHistogram } from '../tile/adc.ts';
import { bakedSums, referenceSums } from '../tile/cell-sums.ts';
import { cellShape, circuitShape, type TileDesign } from '../tile/design.ts';
import type { TilePlace } from '../tile/draws.ts';
import {
  ERROR_SOURCES,
  type ErrorSource,
  idealDesign,
  onlySource,
  rangeFactor,
  sameOnEveryChip,
  withoutNoise,
} from '../tile/error-sources.ts';
import { encodeInputs, groupScale, newTileInput } from '../tile/input-code.ts';
import { type TilePhysics, tilePhysics } from '../tile/physics.ts';
import { readCells, readSeconds } from '../tile/read-cells.ts';
import { drawStatics } from '../tile/static-errors.ts';
import { createTile, type Tile, type TileCounts } from '../tile/tile.ts';
import { type HardwareWeights, recodeWeights, weightFormat } from '../tile/weight-code.ts';
import type { TileActivity } from './activity.ts';
import {
  closingShape,
  mappingShape,
  nameShape,
  processShape,
  tensorBits,
  weightsShape,
} from './common-design.ts';
import type {
  CellProvenance,
  CountedLinear,
  Fabric,
  FabricModule,
  LayerOptions,
  ReadOptions,
  ReadWeights,
} from './fabric.ts';
import type { LinearName } from './linear.ts';
import { diePosition, tensorKey } from './placement.ts';
import { rangeTable, scaleRanges } from './ranges.ts';

export const logDomainDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('log-domain').default('log-domain').describe('What a linear layer is made of.'),
  ...processShape,
  ...cellShape,
  ...weightsShape,
  ...mappingShape,
  ...circuitShape,
  head: z
    .enum(['digital', 'analog'])
    .default('digital')
    .describe('The output head: digital, or analog like the other layers.'),
  ...closingShape,
});

export type LogDomainDesign = z.infer<typeof logDomainDesign>;

export const logDomainFabric: FabricModule<LogDomainDesign> = {
  schema: logDomainDesign,
  cell: sizedCell,
  load: (design, calibration = loadSized(sizedCell(design))) => bindDesign(design, calibration, 1),
};

function sizedCell({ process, cell, gate }: LogDomainDesign): SizedCell {
  return { process, cell, gate };
}

/** `rangeScale`: what measured full scales are multiplied by. */
function bindDesign(design: LogDomainDesign, calibration: Calibration, rangeScale: number): Fabric {
  const physics = tilePhysics(calibration, design);
  return {
    kind: design.fabric,
    design,
    parts: { design, calibration },
    cell: cellProvenance(calibration, physics),
    circuit: undefined,
    wording: {
      loss: 'the analog part',
      remark: `The log-domain cell is a hypothesis about a chip whose maker says that its arithmetic is fully digital; ${
        calibration.driver === 'ideal'
          ? 'the row driver is ideal in this calibration'
          : 'the row driver is simulated at transistor level'
      }.`,
    },
    chipsDiffer: true,
    measuresRanges: true,
    errorSources: ERROR_SOURCE_NAMES.map((name) => ({
      name,
      description: ERROR_SOURCES[name],
      sameOnEveryChip: sameOnEveryChip(name),
    })),
    counters: TILE_COUNTERS,
    physics,
    inputCodes: undefined,
    misreads: undefined,
    countsCodes: false,
    // Baked cells are 8 bytes, twice while they are made, and their draws 16, for every bank.
    bytesPerWeight: () => 32 * bankCount(design),
    carries: ({ layer }) => layer >= 0 || design.head === 'analog',
    mapWeights: (name, outputs, inputs, row) =>
      recodeWeights(outputs, inputs, row, tensorBits(design, name.tensor), design.tile.rows),
    build: (name, weights, options) => logDomainLinear(name, weights, { ...options, physics }),
    readWeights: (name, weights, options) => readTiles(name, weights, physics, options),
    activityOf: () => undefined,
    clipRate: (activity) => clipRate(activity as readonly TileActivity[]),
    nominalDesign: () => nominalDesign(design),
    ranges: (record) => rangeTable(record, physics),
    withoutErrors: () => bindDesign(idealDesign(design), calibration, 1),
    withoutNoise: () => bindDesign(withoutNoise(design), calibration, rangeScale),
    withOnly(source) {
      const one = errorSource(source);
      return bindDesign(onlySource(design, one), calibration, rangeFactor(design, one));
    },
    converterRanges: (measured) => (rangeScale === 1 ? measured : scaleRanges(measured, rangeScale)),
  };
}

const TILE_COUNTERS = [
  'tokens',
  'sumCurrentA',
  'sumActiveRows',
  'dacConversions',
  'adcConversions',
  'adcClipped',
] as const satisfies readonly (keyof TileActivity)[];

/**
 * The design as the range pass sees it: on the nominal chip with open converters nothing is drawn or rounded, so that what
 * is only drawn, converted or written about does not matter. (The spread of the cells does: it is their mean gain.)
 */
function nominalDesign(design: LogDomainDesign): object {
  const { name: _name, description: _description, sources: _sources, noise: _noise, ...rest } = design;
  const { offsetSigmaV: _offset, resistorSigma: _resistor, noiseV: _noiseV, ...driver } = design.driver;
  const { rangeQuantile, swingV } = design.adc;
  return { ...rest, driver, adc: { rangeQuantile, swingV } };
}

const ERROR_SOURCE_NAMES = Object.keys(ERROR_SOURCES) as ErrorSource[];

function errorSource(name: string): ErrorSource {
  if (Object.hasOwn(ERROR_SOURCES, name)) return name as ErrorSource;
  throw new OnefetError('internal', 'ERROR_SOURCE', `log-domain has no source of error ${name}`);
}

function clipRate(activity: readonly TileActivity[]): number {
  const conversions = activity.reduce((sum, layer) => sum + layer.adcConversions, 0);
  const clipped = activity.reduce((sum, layer) => sum + layer.adcClipped, 0);
  return conversions > 0 ? clipped / conversions : 0;
}

/** Sets of cells: with paired rows a weight has one for either sign of the input. */
const bankCount = (design: TileDesign): 1 | 2 => (design.tile.sign === 'paired-rows' ? 2 : 1);

function cellProvenance(calibration: Calibration, { responses }: TilePhysics): CellProvenance {
  const { process, cell, driver, engine } = calibration;
  return {
    process,
    cell,
    sha256: calibrationHash(calibration),
    driver,
    engine,
    response: (weightBits) => responses.get(weightFormat(weightBits).taps)!.separable,
  };
}

/** By calibration: one is bound to many designs. */
const hashes = new WeakMap<Calibration, string>();

function calibrationHash(calibration: Calibration): string {
  const hash = hashes.get(calibration) ?? sha256(JSON.stringify(calibration));
  hashes.set(calibration, hash);
  return hash;
}

export interface LogDomainOptions extends LayerOptions {
  readonly physics: TilePhysics;
}

/** One layer of one chip. Errors: RANGES (internal) where `ranges` lack it, NOT_FINITE (internal) for its inputs. */
export function logDomainLinear(
  name: LinearName,
  hardware: HardwareWeights,
  options: LogDomainOptions,
): CountedLinear<TileActivity> {
  const { physics } = options;
  const { design } = physics;
  const { format, outputs, inputs, columns } = hardware;
  const tiles = buildTiles(name, hardware, options);
  const activity = newActivity(name, hardware, design);
  const input = newTileInput(design.tile.rows);
  const value = new Float64Array(columns);
  const sum = new Float64Array(outputs);
  return {
    outputs,
    inputs,
    activity,
    apply(y, a, at) {
      const tokenScale = design.input.scale === 'token' ? groupScale(a, 0, inputs) : 0;
      const counts: TileCounts = { currentA: 0, activeRows: 0, conversions: 0, clipped: 0 };
      sum.fill(0);
      for (const tile of tiles) {
        const { rowStart, rows, scales } = tile.weights;
        const scale = tokenScale || groupScale(a, rowStart, rowStart + rows);
        if (!Number.isFinite(scale)) {
          throw new OnefetError('internal', 'NOT_FINITE', `activations of ${tensorKey(name)} are not finite`);
        }
        encodeInputs(input, a, rowStart, rows, scale, physics.input);
        tile.run(value, input, at, counts);
        const unit = scale * format.taps;
        for (const [c, cellWeight] of format.cellWeights.entries()) {
          const weight = unit * cellWeight;
          for (let n = 0; n < outputs; n++) sum[n] += weight * scales[n] * value[c * outputs + n];
        }
      }
      y.set(sum);
      activity.tokens++;
      activity.sumCurrentA += counts.currentA;
      activity.sumActiveRows += counts.activeRows;
      activity.dacConversions += inputs;
      activity.adcConversions += counts.conversions;
      activity.adcClipped += counts.clipped;
    },
  };
}

/** Reads all tiles of a layer of one chip: readCells of every cell, joined to weights. */
function readTiles(
  name: LinearName,
  hardware: HardwareWeights,
  physics: TilePhysics,
  { chipSeed, blocks, ranges, reads }: ReadOptions,
): ReadWeights {
  const { format, columns, outputs, inputs } = hardware;
  const { rows } = physics.design.tile;
  const response = physics.responses.get(format.taps)!;
  const chip = { errors: true, seed: chipSeed };
  const fullScales = fullScalesOf(name, hardware, { ranges })!;
  const codes = new Float32Array(outputs * inputs);
  let seconds = 0;
  hardware.tiles.forEach((tile, index) => {
    const place = tilePlaceOf(name, index, hardware.tiles.length, blocks);
    const statics = drawStatics(physics, chip, place, tile, hardware, bankCount(physics.design));
    const sums = bakedSums(physics, response, tile, columns, statics);
    const parts = { physics, response, hardware, tile, place, chip, statics, sums, reads };
    const read = readCells({ ...parts, fullScales: fullScales[index] });
    for (let j = 0; j < tile.rows; j++) {
      for (let n = 0; n < outputs; n++) {
        let code = 0;
        for (const [c, cellWeight] of format.cellWeights.entries())
          code += cellWeight * read[j * columns + c * outputs + n];
        codes[n * inputs + tile.rowStart + j] = format.taps * code;
      }
    }
    seconds = Math.max(seconds, readSeconds(physics, rows, Math.max(...fullScales[index]), reads));
  });
  return { codes, seconds };
}

const tilePlaceOf = (name: LinearName, tile: number, tiles: number, blocks: number): TilePlace => ({
  layer: name.layer,
  tensor: name.ordinal,
  tile,
  ...diePosition(name, tile, tiles, blocks),
});

/** The tiles along K with their static errors; they record into `options.record` while ranges are measured. */
function buildTiles(name: LinearName, hardware: HardwareWeights, options: LogDomainOptions): Tile[] {
  const { physics, chip, cellSums, blocks } = options;
  const { format, columns } = hardware;
  const response = physics.responses.get(format.taps)!;
  const fullScales = fullScalesOf(name, hardware, options);
  const recorders = fullScales ? undefined : openRecorders(name, hardware, options);
  const makeSums = cellSums === 'reference' ? referenceSums : bakedSums;
  return hardware.tiles.map((tile, index) => {
    const place = tilePlaceOf(name, index, hardware.tiles.length, blocks);
    const statics = drawStatics(physics, chip, place, tile, hardware, bankCount(physics.design));
    return createTile({
      physics,
      response,
      hardware,
      tile,
      place,
      chip,
      // Baked sums have the cells' draws in their weights: let go of the arrays.
      statics: cellSums === 'baked' ? { ...statics, vtV: [], beta: [] } : statics,
      sums: makeSums(physics, response, tile, columns, statics),
      fullScales: fullScales?.[index],
      ...(recorders ? { recorders: recorders[index] } : {}),
    });
  });
}

/** [tiles][cells per weight], or undefined while they are measured. */
function fullScalesOf(
  name: LinearName,
  { tiles }: HardwareWeights,
  { ranges }: Pick<LogDomainOptions, 'ranges'>,
): number[][] | undefined {
  if (!ranges) return undefined;
  const key = tensorKey(name);
  const fullScales = ranges[key];
  if (fullScales?.length === tiles.length) return fullScales;
  throw new OnefetError('internal', 'RANGES', `no converter ranges for ${key}`);
}

/** [tiles][cells per weight] */
function openRecorders(
  name: LinearName,
  { tiles, format }: HardwareWeights,
  { record }: LogDomainOptions,
): RangeHistogram[][] | undefined {
  if (!record) return undefined;
  const recorders = tiles.map(() => format.cellWeights.map(newRangeHistogram));
  record.set(tensorKey(name), recorders);
  return recorders;
}

function newActivity(
  name: LinearName,
  { tiles, outputs, inputs, columns, format }: HardwareWeights,
  design: TileDesign,
): TileActivity {
  const banks = bankCount(design);
  const connected = tiles.reduce(
    (sum, tile) => sum + tile.codes.reduce((n, code) => n + (code ? 1 : 0), 0),
    0,
  );
  return {
    layer: name.layer,
    tensor: name.tensor,
    outputs,
    inputs,
    weightBits: format.bits,
    tiles: tiles.length,
    tileRows: design.tile.rows,
    columns,
    cells: inputs * columns * banks,
    connectedCells: connected * banks,
    phases: banks === 2 ? 1 : 2,
    tokens: 0,
    sumCurrentA: 0,
    sumActiveRows: 0,
    dacConversions: 0,
    adcConversions: 0,
    adcClipped: 0,
  };
}
