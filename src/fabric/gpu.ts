/**
 * A GPU: the baseline. It multiplies the weights of the model's file digitally, so that its accuracy is the digital model's,
 * and every token waits for the weights to come from memory. What the machine is stands in the design, as its maker says it;
 * how well it is used and what its energy is are constants of cost (spice/<process>/cost.yaml, `gpu`).
 */
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import { closingShape, mappingShape, nameShape, processShape, weightsShape } from './common-design.ts';
import type { Fabric, FabricModule } from './fabric.ts';

/** Keys that every design has in memory and that a GPU's file does not, with the values that they have there. */
function unsaid<T extends z.ZodType>(shape: T, values: z.input<T>) {
  return z
    .strictObject({})
    .prefault({})
    .transform((): z.output<T> => shape.parse(values) as z.output<T>);
}

const positive = z.number().positive();

export const gpuDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('gpu').describe('What a linear layer is made of.'),
  ...processShape,
  tile: unsaid(z.strictObject({ rows: z.int() }), { rows: 256 }),
  weights: unsaid(weightsShape.weights, {}),
  // The weights are those of the file: nothing is mapped, whatever the default of other fabrics is.
  mapping: unsaid(mappingShape.mapping, { method: 'round' }),
  gpu: z.strictObject({
    batch: z
      .int()
      .min(1)
      .max(65_536)
      .default(1)
      .describe('Users whose tokens are computed together: they share each read of the weights.'),
    weightBits: positive
      .max(32)
      .default(16)
      .describe('Bits of a weight in memory: those of the file that ran, or the cost is of other weights.'),
    bandwidthBytesPerS: positive.describe('Peak bandwidth of the memory, bytes per second.'),
    memoryBytes: positive.describe('Capacity of the memory, bytes.'),
    operationsPerS: positive.describe(
      'Peak rate of dense matrix products in the format that is used, additions and multiplications per second.',
    ),
    boardW: positive.describe('Rated power of the board, W.'),
    dieMm2: positive.describe('Area of its die, mm2.'),
  }),
  ...closingShape,
});

export type GpuDesign = z.infer<typeof gpuDesign>;

export const gpuFabric: FabricModule<GpuDesign> = {
  schema: gpuDesign,
  load: bindDesign,
};

function bindDesign(design: GpuDesign): Fabric {
  const nothing = (what: string) => (): never => {
    throw new OnefetError('internal', 'GPU_LAYER', `a gpu has ${what}`);
  };
  return {
    kind: design.fabric,
    design,
    parts: { design, calibration: undefined },
    cell: undefined,
    circuit: undefined,
    wording: {
      loss: 'nothing',
      remark:
        'A GPU computes the model as its file has it: there is nothing to lose, and what a token costs is the way of the weights from memory.',
    },
    chipsDiffer: false,
    measuresRanges: false,
    errorSources: [],
    counters: [],
    physics: undefined,
    inputCodes: undefined,
    misreads: undefined,
    countsCodes: false,
    bytesPerWeight: () => 0,
    carries: () => false,
    mapWeights: nothing('no weights to map'),
    build: nothing('no layers of its own'),
    readWeights: () => undefined,
    activityOf: () => undefined,
    clipRate: () => null,
    nominalDesign: () => ({}),
    ranges: () => ({}),
    withoutErrors: () => bindDesign(design),
    withoutNoise: () => bindDesign(design),
    withOnly: (source) => nothing(`no source of error ${source}`)(),
    converterRanges: (measured) => measured,
  };
}
