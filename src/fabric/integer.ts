/**
 * Fabrics that multiply the codes of inputs by the codes of weights in exact integer arithmetic. They differ in how a
 * weight is held and multiplied, which is a matter of cost, and in how well its code is read.
 *
 *   input.bits b       a[k] -> sign k' s / (2^b - 1), k' = round(|a[k]| (2^b - 1) / s), s = max|a| of the tile or token;
 *                      y[n] = sum over tiles  scale[n][t] s_t / (2^b - 1)  sum_k sign k' code[n][k]
 *                      with exact integer sums within a tile and double accumulation over the tiles
 *   input.bits float   y = W a with the mapped weights and the activations as they are: what `recoded` computes
 */
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import { type CodeReads, readWeights } from '../tile/code-reads.ts';
import { encodeInputs, groupScale, inputFormat, newTileInput } from '../tile/input-code.ts';
import {
  countMagnitudes,
  type HardwareWeights,
  hardwareRow,
  recodeWeights,
  type WeightTile,
} from '../tile/weight-code.ts';
import type { LayerActivity } from './activity.ts';
import { buildDigital } from './build-digital.ts';
import { type CommonDesign, tensorBits } from './common-design.ts';
import type {
  CircuitProvenance,
  CodedMatrix,
  CountedLinear,
  ErrorSource,
  Fabric,
  FabricWording,
  LayerOptions,
} from './fabric.ts';
import type { LinearName } from './linear.ts';
import { tensorKey } from './placement.ts';

/** Keys of a design of integer arithmetic, beside those of every design. */
export const integerShape = {
  tile: z
    .strictObject({
      rows: z
        .int()
        .min(4)
        .max(4096)
        .default(256)
        .describe(
          'Inputs whose weights share a scale: their products are summed before the scale is applied.',
        ),
    })
    .prefault({}),
  input: z
    .strictObject({
      bits: z
        .union([z.int().min(2).max(10), z.literal('float')])
        .default(7)
        .describe('Magnitude bits, beside the sign; float: real-valued, priced as 16-bit integers.'),
      scale: z
        .enum(['tile', 'token'])
        .default('token')
        .describe('Scaling group: the rows of one tile and token, or the whole token.'),
    })
    .prefault({}),
  head: z
    .enum(['digital', 'mapped'])
    .default('digital')
    .describe(
      "The output head: the model's own weights as in other designs, or mapped like the other layers.",
    ),
};

export interface IntegerDesign extends CommonDesign {
  readonly input: { readonly bits: number | 'float'; readonly scale: 'tile' | 'token' };
  readonly head: 'digital' | 'mapped';
}

/** A matrix on a fabric of integer arithmetic, as its activity needs it. */
export interface MatrixCounts {
  readonly outputs: number;
  readonly inputs: number;
  /** Tiles along K. */
  readonly tiles: number;
  /** Weights by the magnitude of their code; empty unless `countsCodes`. */
  readonly magnitudes: ArrayLike<number>;
}

/** What a fabric of integer arithmetic adds to it. */
export interface IntegerKind<D extends IntegerDesign> {
  readonly wording: FabricWording;
  readonly circuit?: CircuitProvenance | undefined;
  /** How its chips read their codes, and as which source of error; undefined: as the masks have them. */
  readonly misreads?: { readonly source: ErrorSource; readonly how: CodeReads } | undefined;
  /** The design with perfect reading. */
  readonly withoutMisreads?: (design: D) => D;
  readonly counters: readonly string[];
  readonly countsCodes: boolean;
  /** What a layer of it has to add to the counts that every layer has. */
  activity(matrix: MatrixCounts, tokens: number): object;
  /** The hardware's own way to a tile's sums in scalar TypeScript; undefined: one multiplication for each weight. */
  readonly sumTile?: TileSum;
}

/**
 * Adds a tile's integer sums to column[columns]: x[rows] are signed input levels, codes [rows][columns] signed magnitudes of
 * cells. What is added to the columns of a weight's cells, times their weights, must be sum_k x[k] code[n][k].
 */
export type TileSum = (
  x: Float64Array,
  weights: HardwareWeights,
  tile: WeightTile,
  column: Float64Array,
) => void;

/** Makes the fabric of a design; `kindOf` says what is its own, of this design and of changed ones. */
export function integerFabric<D extends IntegerDesign>(
  design: D,
  kindOf: (design: D) => IntegerKind<D>,
): Fabric {
  const kind = kindOf(design);
  const { bits, scale } = design.input;
  const again = (changed: D) => integerFabric(changed, kindOf);
  const perfect = kind.withoutMisreads ?? ((same: D) => same);
  const floating = (of: D): D => ({ ...of, input: { ...of.input, bits: 'float' } });
  const activityOf = (
    { layer, tensor }: LinearName,
    { outputs, inputs, weightBits }: CodedMatrix,
    tokens: number,
    magnitudes: ArrayLike<number> = [],
  ): LayerActivity => {
    const { rows } = design.tile;
    const tiles = Math.ceil(inputs / rows);
    const own = kind.activity({ outputs, inputs, tiles, magnitudes }, tokens);
    return { layer, tensor, outputs, inputs, weightBits, tiles, tileRows: rows, tokens, ...own };
  };
  const inputSource = bits === 'float' ? [] : [inputSourceOf(bits)];
  return {
    kind: design.fabric,
    design,
    parts: { design, calibration: undefined },
    cell: undefined,
    circuit: kind.circuit,
    wording: kind.wording,
    chipsDiffer: kind.misreads !== undefined,
    measuresRanges: false,
    errorSources: [...inputSource, ...(kind.misreads ? [kind.misreads.source] : [])],
    counters: kind.counters,
    physics: undefined,
    inputCodes: bits === 'float' ? undefined : { bits, scale },
    misreads: kind.misreads?.how,
    countsCodes: kind.countsCodes,
    bytesPerWeight: () => (bits === 'float' ? 4 : 0) + (kind.misreads ? 1 : 0),
    carries: ({ layer }) => layer >= 0 || design.head === 'mapped',
    mapWeights: (name, outputs, inputs, row) =>
      recodeWeights(outputs, inputs, row, tensorBits(design, name.tensor), design.tile.rows),
    build: (name, weights, options) => {
      const magnitudes = kind.countsCodes ? countMagnitudes(weights) : [];
      const read = kind.misreads ? readBy(kind.misreads.how, name, weights, options) : weights;
      const matrix = { outputs: weights.outputs, inputs: weights.inputs, weightBits: weights.format.bits };
      const at = (tokens: number) => activityOf(name, matrix, tokens, magnitudes);
      return countedLayer(
        bits === 'float'
          ? floatLayer(name, read)
          : codedLayer(name, read, design, kind.sumTile ?? multiplyTile),
        at,
        kind.counters,
      );
    },
    readWeights: () => undefined,
    activityOf,
    clipRate: () => null,
    nominalDesign: () => ({}),
    ranges: () => ({}),
    withoutErrors: () => again(floating(perfect(design))),
    withoutNoise: () => again(design),
    withOnly(source) {
      if (bits !== 'float' && source === INPUT_SOURCE) return again(perfect(design));
      if (source === kind.misreads?.source.name) return again(floating(design));
      throw new OnefetError(
        'internal',
        'ERROR_SOURCE',
        `this ${design.fabric} fabric has no source of error ${source}`,
      );
    },
    converterRanges: (measured) => measured,
  };
}

const INPUT_SOURCE = 'input';

const inputSourceOf = (bits: number): ErrorSource => ({
  name: INPUT_SOURCE,
  description: `inputs coded in ${bits} bits and a sign, everything else exact`,
  sameOnEveryChip: true,
});

function readBy(
  reads: CodeReads,
  { layer, ordinal }: LinearName,
  weights: HardwareWeights,
  { chip }: LayerOptions,
): HardwareWeights {
  return chip.errors ? readWeights(weights, reads, chip.seed, { layer, tensor: ordinal }) : weights;
}

type Apply = Pick<CountedLinear, 'outputs' | 'inputs' | 'apply'>;

/** `exact` with counters that grow by what one token does. */
function countedLayer(
  exact: Apply,
  activityAt: (tokens: number) => LayerActivity,
  counters: readonly string[],
): CountedLinear {
  const activity = activityAt(0);
  const one = activityAt(1) as unknown as Record<string, number>;
  const counts = activity as unknown as Record<string, number>;
  return {
    ...exact,
    activity,
    apply(y, a, at) {
      exact.apply(y, a, at);
      for (const key of counters) counts[key] += one[key];
    },
  };
}

const floatLayer = (name: LinearName, weights: HardwareWeights): Apply =>
  buildDigital(name, weights.outputs, weights.inputs, (n, out) => hardwareRow(weights, n, out));

/** One product for each weight. */
export const multiplyTile: TileSum = (x, { columns }, { codes }, column) => {
  for (let j = 0; j < x.length; j++) {
    if (x[j] === 0) continue;
    const from = j * columns;
    for (let c = 0; c < columns; c++) column[c] += x[j] * codes[from + c];
  }
};

function codedLayer(
  name: LinearName,
  weights: HardwareWeights,
  design: IntegerDesign,
  sumTile: TileSum,
): Apply {
  const { outputs, inputs, columns, format } = weights;
  const codes = inputFormat({ bits: design.input.bits, codes: 'linear', dynamicRange: 1 });
  const top = codes.magnitudes.length - 1;
  const input = newTileInput(design.tile.rows);
  const x = new Float64Array(design.tile.rows);
  const column = new Float64Array(columns);
  const sum = new Float64Array(outputs);
  return {
    outputs,
    inputs,
    apply(y, a) {
      const tokenScale = design.input.scale === 'token' ? groupScale(a, 0, inputs) : 0;
      sum.fill(0);
      for (const tile of weights.tiles) {
        const { rowStart, rows, scales } = tile;
        const scale = tokenScale || groupScale(a, rowStart, rowStart + rows);
        if (!Number.isFinite(scale)) {
          throw new OnefetError('internal', 'NOT_FINITE', `activations of ${tensorKey(name)} are not finite`);
        }
        encodeInputs(input, a, rowStart, rows, scale, codes);
        for (let j = 0; j < rows; j++) x[j] = input.signs[j] * input.levels[j];
        column.fill(0);
        sumTile(x.subarray(0, rows), weights, tile, column);
        for (const [c, cellWeight] of format.cellWeights.entries()) {
          const unit = (scale / top) * cellWeight;
          for (let n = 0; n < outputs; n++) sum[n] += unit * scales[n] * column[c * outputs + n];
        }
      }
      y.set(sum);
    },
  };
}
