/**
 * Digital arithmetic, in scalar TypeScript: the model as shipped (`buildDigital`), which every result is compared with, and
 * the digital fabric, a chip of multiply-accumulate units beside a ROM that holds the mapped weights.
 *
 * Weights are mapped as for the other fabrics: codes of `weights.bits`, one scale per output and tile of `tile.rows` inputs.
 *   input.bits b       a[k] -> sign k' s / (2^b - 1), k' = round(|a[k]| (2^b - 1) / s), s = max|a| of the tile or token;
 *                      y[n] = sum over tiles  scale[n][t] s_t / (2^b - 1)  sum_k sign k' code[n][k]
 *                      with exact integer sums within a tile and double accumulation over the tiles
 *   input.bits float   y = W a with the mapped weights and the activations as they are: what `recoded` computes
 * Nothing is drawn, so every chip is the same.
 */
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import { requireMemory } from '../memory.ts';
import { encodeInputs, groupScale, inputFormat, newTileInput } from '../tile/input-code.ts';
import { type HardwareWeights, hardwareRow, recodeWeights } from '../tile/weight-code.ts';
import type { MacActivity } from './activity.ts';
import {
  closingShape,
  mappingShape,
  nameShape,
  processShape,
  tensorBits,
  weightsShape,
} from './common-design.ts';
import type { CountedLinear, Fabric, FabricModule } from './fabric.ts';
import type { Linear, LinearName } from './linear.ts';
import { tensorKey } from './placement.ts';

export const digitalDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('digital').describe('What a linear layer is made of.'),
  ...processShape,
  tile: z
    .strictObject({
      rows: z
        .int()
        .min(4)
        .max(4096)
        .default(256)
        .describe(
          'Inputs whose weights share a scale: those that one adder tree or accumulator sums before the scale is applied.',
        ),
    })
    .prefault({}),
  ...weightsShape,
  ...mappingShape,
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
  mac: z
    .strictObject({
      weightsPerUnit: z
        .int()
        .min(1)
        .max(1_048_576)
        .default(1664)
        .describe(
          'Weights of a block that share one multiply-accumulate unit, one a cycle: sets the units of a chip and the time of a block.',
        ),
    })
    .prefault({}),
  head: z
    .enum(['digital', 'mapped'])
    .default('digital')
    .describe(
      "The output head: the model's own weights as in other designs, or mapped like the other layers.",
    ),
  ...closingShape,
});

export type DigitalDesign = z.infer<typeof digitalDesign>;

export const digitalFabric: FabricModule<DigitalDesign> = {
  schema: digitalDesign,
  load: bindDesign,
};

function bindDesign(design: DigitalDesign): Fabric {
  const { bits, scale } = design.input;
  return {
    kind: design.fabric,
    design,
    parts: { design, calibration: undefined },
    cell: undefined,
    wording: {
      loss: 'the coding of the inputs',
      remark:
        'Digital arithmetic on mapped weights has no errors of its own: every chip computes the same, and what it costs is that of multiply-accumulate units beside a ROM.',
    },
    chipsDiffer: false,
    measuresRanges: false,
    errorSources:
      bits === 'float'
        ? []
        : [
            {
              name: INPUT_SOURCE,
              description: `inputs coded in ${bits} bits and a sign, everything else exact`,
              sameOnEveryChip: true,
            },
          ],
    counters: ['tokens', 'macs'] satisfies (keyof MacActivity)[],
    physics: undefined,
    inputCodes: bits === 'float' ? undefined : { bits, scale },
    bytesPerWeight: () => (bits === 'float' ? 4 : 0),
    carries: ({ layer }) => layer >= 0 || design.head === 'mapped',
    mapWeights: (name, outputs, inputs, row) =>
      recodeWeights(outputs, inputs, row, tensorBits(design, name.tensor), design.tile.rows),
    build: (name, weights) =>
      bits === 'float' ? floatLayer(name, weights, design) : codedLayer(name, weights, design),
    readWeights: () => undefined,
    activityOf: (name, outputs, inputs, tokens) => countActivity(design, name, outputs, inputs, tokens),
    clipRate: () => null,
    nominalDesign: () => ({}),
    ranges: () => ({}),
    withoutErrors: () => bindDesign({ ...design, input: { ...design.input, bits: 'float' } }),
    withoutNoise: () => bindDesign(design),
    withOnly(source) {
      if (source === INPUT_SOURCE && bits !== 'float') return bindDesign(design);
      throw new OnefetError(
        'internal',
        'ERROR_SOURCE',
        `this digital fabric has no source of error ${source}`,
      );
    },
    converterRanges: (measured) => measured,
  };
}

const INPUT_SOURCE = 'input';

function countActivity(
  { tile: { rows } }: DigitalDesign,
  { layer, tensor }: LinearName,
  outputs: number,
  inputs: number,
  tokens: number,
): MacActivity {
  const tiles = Math.ceil(inputs / rows);
  return { layer, tensor, outputs, inputs, tiles, tileRows: rows, tokens, macs: tokens * outputs * inputs };
}

function floatLayer(name: LinearName, weights: HardwareWeights, design: DigitalDesign): CountedLinear {
  const { outputs, inputs } = weights;
  const exact = buildDigital(name, outputs, inputs, (n, out) => hardwareRow(weights, n, out));
  const activity = countActivity(design, name, outputs, inputs, 0);
  return {
    outputs,
    inputs,
    activity,
    apply(y, a, at) {
      exact.apply(y, a, at);
      activity.tokens++;
      activity.macs += outputs * inputs;
    },
  };
}

function codedLayer(name: LinearName, weights: HardwareWeights, design: DigitalDesign): CountedLinear {
  const { outputs, inputs, columns, format } = weights;
  const codes = inputFormat({ bits: design.input.bits, codes: 'linear', dynamicRange: 1 });
  const top = codes.magnitudes.length - 1;
  const input = newTileInput(design.tile.rows);
  const column = new Float64Array(columns);
  const sum = new Float64Array(outputs);
  const activity = countActivity(design, name, outputs, inputs, 0);
  return {
    outputs,
    inputs,
    activity,
    apply(y, a) {
      const tokenScale = design.input.scale === 'token' ? groupScale(a, 0, inputs) : 0;
      sum.fill(0);
      for (const { rowStart, rows, codes: cells, scales } of weights.tiles) {
        const scale = tokenScale || groupScale(a, rowStart, rowStart + rows);
        if (!Number.isFinite(scale)) {
          throw new OnefetError('internal', 'NOT_FINITE', `activations of ${tensorKey(name)} are not finite`);
        }
        encodeInputs(input, a, rowStart, rows, scale, codes);
        column.fill(0);
        for (let j = 0; j < rows; j++) {
          const x = input.signs[j] * input.levels[j];
          if (x === 0) continue;
          const from = j * columns;
          for (let c = 0; c < columns; c++) column[c] += x * cells[from + c];
        }
        for (const [c, cellWeight] of format.cellWeights.entries()) {
          const unit = (scale / top) * cellWeight;
          for (let n = 0; n < outputs; n++) sum[n] += unit * scales[n] * column[c * outputs + n];
        }
      }
      y.set(sum);
      activity.tokens++;
      activity.macs += outputs * inputs;
    },
  };
}

/**
 * Float32 weights W[N][K], double accumulation, float32 result. `at` is not used: nothing is drawn. Throws
 * OnefetError('usage', 'MEMORY') when the matrix does not fit beside what is allocated already.
 */
export function buildDigital(
  name: LinearName,
  outputs: number,
  inputs: number,
  row: (n: number, out: Float32Array) => void,
): Linear {
  requireMemory(
    4 * outputs * inputs,
    `the digital reference's float32 ${name.tensor}${name.layer < 0 ? '' : ` of layer ${name.layer}`}`,
    'the reference holds the model in float32: use the wasm engine or a smaller model',
  );
  const weights = new Float32Array(outputs * inputs); // [N][K]
  for (let n = 0; n < outputs; n++) row(n, weights.subarray(n * inputs, (n + 1) * inputs));
  return {
    outputs,
    inputs,
    apply(y, a) {
      for (let n = 0; n < outputs; n++) y[n] = dot(weights, n * inputs, a, inputs);
    },
  };
}

/** sum_k w[from + k] a[k]; four partial sums, so that additions need not wait for each other. */
function dot(w: Float32Array, from: number, a: Float32Array, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  const whole = count & ~3;
  for (let k = 0; k < whole; k += 4) {
    s0 += w[from + k] * a[k];
    s1 += w[from + k + 1] * a[k + 1];
    s2 += w[from + k + 2] * a[k + 2];
    s3 += w[from + k + 3] * a[k + 3];
  }
  for (let k = whole; k < count; k++) s0 += w[from + k] * a[k];
  return s0 + s1 + (s2 + s3);
}
