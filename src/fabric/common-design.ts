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
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and dashes'),
  description: z.string().default(''),
};

/** Folder below spice/ (and calibration/): where constants of cost and calibrated cells come from. */
export const processShape = { process: z.string() };

/** Mapping of weights onto the hardware. */
export const weightsShape = {
  weights: z
    .strictObject({
      bits: weightBits.default(4),
      /** Bits of single tensors, by GGUF name without block and ".weight"; checked against the model (checkOverrides). */
      overrides: z.record(z.string(), weightBits).default({}),
    })
    .prefault({}),
};

export const closingShape = {
  kvBits: z.union([z.literal(8), z.literal(16)]).default(16),
  /** Provenance of each value: key path -> source and tag. Values without an entry are choices of the design. */
  sources: z.record(z.string(), z.strictObject(provenanceShape)).default({}),
};

const common = z.object({
  ...nameShape,
  fabric: z.string(),
  ...processShape,
  ...weightsShape,
  ...closingShape,
});

export type CommonDesign = z.infer<typeof common> & {
  /** Rows of a tile: the weights of one output and tile share a scale. */
  readonly tile: { readonly rows: number };
};

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
