/**
 * Keys of every design, whatever its fabric: name, process, how the weights are mapped, where the output head is
 * computed. A fabric's own schema has these keys too (`commonShape`), so that the rest of the program reads a design without
 * knowing its fabric.
 */
import { z } from 'zod';
import { nearestName, OnefetError } from '../error.ts';
import { provenanceShape } from '../provenance.ts';

const weightBits = z.union([z.literal(3), z.literal(4), z.literal(6)]);

/** Keys at the top of a design file. `fabric` says what a linear layer becomes; each fabric's schema has its own word. */
export const nameShape = {
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and dashes')
    .describe('Name of the design, with which folders of its runs begin.'),
  description: z.string().default('').describe('One line for people.'),
};

/** Folder below spice/ (and calibration/): where constants of cost and calibrated cells come from. */
export const processShape = {
  process: z.string().describe('Process: a folder below spice/ and calibration/.'),
  costs: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and dashes')
    .default('cost')
    .describe('Constants of cost: a file spice/<process>/<costs>.yaml.'),
};

/** Mapping of weights onto the hardware. */
export const weightsShape = {
  weights: z
    .strictObject({
      bits: weightBits.default(4).describe('Bits of a weight with its sign; six take two cells.'),
      overrides: z
        .record(z.string(), weightBits)
        .default({})
        .describe(
          'Bits of single tensors, by GGUF name without block and ".weight"; checked against the model (checkOverrides).',
        ),
    })
    .prefault({}),
};

/** Written by the embedded model: of its own kind. */
export const EMBEDDED_CALIBRATION = 'experiments/texts/calibration.txt';

/**
 * How trained weights become codes (src/mapping). `round` needs no text and no image: each weight is rounded under a clip
 * search of its own tile. Every other method takes statistics of the inputs from a calibration text.
 */
export const mappingShape = {
  mapping: z
    .strictObject({
      method: z
        .enum(['round', 'centred', 'scaled', 'rotated', 'auto'])
        .default('auto')
        .describe(
          "round; centred: rows code what differs from the inputs' mean, GPTQ on the codes; scaled: and loudness scales in the norms' gains; rotated: and Hadamard rotations; auto: for each kind of input what predicts the smallest error of the whole chip.",
        ),
      principal: z
        .int()
        .min(0)
        .max(256)
        .default(0)
        .describe('Rank of the part of the inputs that the digital side computes, 0 to 256.'),
      side: z
        .int()
        .min(0)
        .max(256)
        .default(0)
        .describe('Rank of the side path in SRAM that makes up for what the codes leave, 0 to 256.'),
      cellsPerWeight: z
        .number()
        .min(1)
        .max(2)
        .nullable()
        .default(null)
        .describe(
          'Cells per weight that may be spent, 1 to 2: matrices of 6 bits (two cells) while it lasts, small ones first.',
        ),
      anneal: z
        .int()
        .min(0)
        .max(64)
        .default(0)
        .describe(
          'Sweeps of annealed descent on the codes, 0 to 64: 8 leave 2 to 5 % less error, and take as long as the rest of the codes.',
        ),
      ridge: z
        .number()
        .min(0)
        .max(100)
        .default(0)
        .describe(
          "What is added to the diagonal of the inputs' second moments before codes are chosen, in inputs / tokens of its mean: codes hold better on other texts than that of the statistics. 0: none.",
        ),
      sensitivity: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe(
          'What each matrix costs the model, as `onefet sensitivity` measured it: where the cells of cellsPerWeight go. null: by what a matrix reads, the same for every block (experiments/sensitivity.yaml).',
        ),
      follow: z
        .boolean()
        .default(false)
        .describe(
          'Map block by block on what the blocks that are mapped give, each matrix aimed at the outputs of the model as shipped: less loss for several passes over the text in place of one.',
        ),
      text: z
        .string()
        .min(1)
        .default(EMBEDDED_CALIBRATION)
        .describe(
          'Text that the statistics are taken over, disjoint from what is scored: a file, or one that comes with onefet.',
        ),
      tokens: z
        .int()
        .min(64)
        .max(2 ** 20)
        .default(12_288)
        .describe('Tokens of the text that are used, 64 to 2^20.'),
      seed: z
        .int()
        .min(0)
        .max(2 ** 31)
        .default(1)
        .describe("Seed of the rotations' signs."),
      correction: z
        .strictObject({
          source: z
            .enum(['none', 'reading'])
            .default('none')
            .describe(
              'Per-chip correction: none; reading: the chip is read cell by cell through its own converters, and the digital scales of its columns and a side path are fitted to what was read.',
            ),
          rank: z
            .int()
            .min(0)
            .max(256)
            .default(16)
            .describe("Rank of a chip's own side path, in place of mapping.side, 0 to 256."),
          reads: z
            .int()
            .min(1)
            .max(1024)
            .default(4)
            .describe('Conversions that are averaged to read a cell, 1 to 1024.'),
        })
        .prefault({}),
    })
    .refine(({ method, principal, side, cellsPerWeight, correction, follow, anneal, ridge }) => {
      return (
        method !== 'round' ||
        (principal === 0 &&
          side === 0 &&
          cellsPerWeight === null &&
          correction.source === 'none' &&
          !follow &&
          anneal === 0 &&
          ridge === 0)
      );
    }, 'method round takes no principal, side, cellsPerWeight, correction, follow, anneal or ridge: choose another method')
    .prefault({}),
};

export const closingShape = {
  kvBits: z
    .union([z.literal(8), z.literal(16)])
    .default(16)
    .describe('Bits of a number in the key-value cache.'),
  sources: z
    .record(z.string(), z.strictObject(provenanceShape))
    .default({})
    .describe(
      'Provenance of each value: key path -> source and tag. Values without an entry are choices of the design.',
    ),
};

const common = z.object({
  ...nameShape,
  fabric: z.string(),
  ...processShape,
  ...weightsShape,
  ...mappingShape,
  ...closingShape,
});

export type CommonDesign = z.infer<typeof common> & {
  /** Rows of a tile: the weights of one output and tile share a scale. */
  readonly tile: { readonly rows: number };
};

/** The correction that a design asks for; undefined for none. */
export function wantedCorrection({
  mapping,
}: CommonDesign): CommonDesign['mapping']['correction'] | undefined {
  return mapping.correction.source === 'none' ? undefined : mapping.correction;
}

/** Bits of a tensor's weights. */
export function tensorBits({ weights }: CommonDesign, tensor: string): number {
  return weights.overrides[tensor] ?? weights.bits;
}

/** Throws OnefetError('usage', 'DESIGN_TENSOR') for bits of a tensor that the model does not have. */
export function checkOverrides(design: CommonDesign, tensors: readonly string[]): void {
  for (const tensor of Object.keys(design.weights.overrides)) {
    if (tensors.includes(tensor)) continue;
    const nearest = nearestName(tensor, tensors);
    throw new OnefetError(
      'usage',
      'DESIGN_TENSOR',
      `design ${design.name}: weights.overrides names ${JSON.stringify(tensor)}, a matrix that the model does not have`,
      { hint: nearest ? `did you mean ${nearest}?` : `its matrices are ${tensors.join(', ')}` },
    );
  }
}
