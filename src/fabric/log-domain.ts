/**
 * The log-domain fabric: a linear layer as tiles of one-transistor multipliers (design.md section 2).
 *
 *   y[n] = sum over tiles  s_tile * scale[n][tile] * taps * sum_cell cellWeight * D[cell][n]
 *
 * with D the column's value in units of I_fs: a = s * magnitude, w = scale * code and the ideal cell carries
 * magnitude * code / taps.
 */

import { OnefetError } from '../error.ts';
import { newRangeHistogram, type RangeHistogram } from '../tile/adc.ts';
import { bakedSums, referenceSums } from '../tile/cell-sums.ts';
import type { ChipInstance, TilePlace } from '../tile/draws.ts';
import { encodeInputs, groupScale, newTileInput } from '../tile/input-code.ts';
import type { TilePhysics } from '../tile/physics.ts';
import { drawStatics } from '../tile/static-errors.ts';
import { createTile, type TileCounts } from '../tile/tile.ts';
import type { HardwareWeights } from '../tile/weight-code.ts';
import type { LayerActivity } from './activity.ts';
import type { Linear, LinearName } from './linear.ts';
import { diePosition, tensorKey } from './placement.ts';
import type { RangeRecord, RangeTable } from './ranges.ts';

/** `reference` is the definition, cell by cell; `baked` is tested against it and some thirty times faster. */
export type TileKernel = 'reference' | 'baked';

export interface LogDomainOptions {
  readonly physics: TilePhysics;
  readonly chip: ChipInstance;
  readonly kernel: TileKernel;
  /** Transformer blocks of the model: where on the die a tile lies. */
  readonly blocks: number;
  /** Converter ranges; undefined while they are being measured. */
  readonly ranges: RangeTable | undefined;
  /** Filled while ranges are measured. */
  readonly record?: RangeRecord;
}

export interface AnalogLinear extends Linear {
  readonly activity: LayerActivity;
}

/** Sets the activity sums of a layer back to zero. */
export function resetActivity(activity: LayerActivity): void {
  activity.tokens = 0;
  activity.sumCurrentA = 0;
  activity.sumActiveRows = 0;
  activity.dacConversions = 0;
  activity.adcConversions = 0;
  activity.adcClipped = 0;
}

export function logDomainLinear(
  name: LinearName,
  hardware: HardwareWeights,
  options: LogDomainOptions,
): AnalogLinear {
  const { physics, chip, ranges, record } = options;
  const { design } = physics;
  const { format, outputs, inputs, columns } = hardware;
  const response = physics.responses.get(format.taps)!;
  const cells = format.cellWeights.length;
  const key = tensorKey(name);
  const fullScales = ranges?.[key];
  if (ranges && fullScales?.length !== hardware.tiles.length) {
    throw new OnefetError('internal', 'RANGES', `no converter ranges for ${key}`);
  }
  let recorders: RangeHistogram[][] | undefined;
  if (!ranges && record) {
    recorders = hardware.tiles.map(() => Array.from({ length: cells }, newRangeHistogram));
    record.set(key, recorders);
  }
  const banks = design.tile.sign === 'paired-rows' ? 2 : 1;
  const makeSums = options.kernel === 'reference' ? referenceSums : bakedSums;
  const tiles = hardware.tiles.map((tile, index) => {
    const place: TilePlace = {
      layer: name.layer,
      tensor: name.ordinal,
      tile: index,
      ...diePosition(name, index, hardware.tiles.length, options.blocks),
    };
    const statics = drawStatics(physics, chip, place, tile, hardware, banks);
    const sums = makeSums(physics, response, tile, columns, statics);
    return createTile({
      physics,
      response,
      hardware,
      tile,
      place,
      chip,
      // The baked kernel has the cells' draws in its weights: let go of the arrays.
      statics: options.kernel === 'baked' ? { ...statics, vtV: [], beta: [] } : statics,
      sums,
      fullScales: fullScales?.[index],
      ...(recorders ? { recorders: recorders[index] } : {}),
    });
  });
  const connected = hardware.tiles.reduce(
    (sum, tile) => sum + tile.codes.reduce((n, code) => n + (code ? 1 : 0), 0),
    0,
  );
  const activity: LayerActivity = {
    layer: name.layer,
    tensor: name.tensor,
    outputs,
    inputs,
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
          throw new OnefetError('internal', 'NOT_FINITE', `activations of ${key} are not finite`);
        }
        encodeInputs(input, a, rowStart, rows, scale, physics.input);
        tile.run(value, input, at, counts);
        const unit = scale * format.taps;
        for (let c = 0; c < cells; c++) {
          const weight = unit * format.cellWeights[c];
          for (let n = 0; n < outputs; n++) sum[n] += weight * scales[n] * value[c * outputs + n];
        }
      }
      for (let n = 0; n < outputs; n++) y[n] = sum[n];
      activity.tokens++;
      activity.sumCurrentA += counts.currentA;
      activity.sumActiveRows += counts.activeRows;
      activity.dacConversions += inputs;
      activity.adcConversions += counts.conversions;
      activity.adcClipped += counts.clipped;
    },
  };
}
