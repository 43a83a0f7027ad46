/** What the digital part does around the tiles of an image's matrices (src/mapping/apply.ts), as plain data for the workers. */
import type { RotationSpec } from '../../../mapping/hadamard.ts';
import type { MatrixMeta } from '../../../mapping/image-format.ts';
import { matricesReading } from '../../../model/architecture.ts';
import type { ModelShape } from '../../../model/shape.ts';

/** What an image says of one operation. */
export interface DigitalPlan {
  /** It does what is done to the inputs of its stage, for all that read there. */
  readonly first: boolean;
  readonly centre: boolean;
  /** Ranks; 0 is none. */
  readonly side: number;
  readonly principal: number;
  readonly rotation: RotationSpec | undefined;
}

export function planDigital(meta: MatrixMeta, { architecture }: ModelShape, ordinal: number): DigitalPlan {
  const { reads } = architecture.matrices[ordinal];
  const { centre, side, principal, rotation } = meta;
  return {
    first: matricesReading(architecture, reads)[0] === ordinal,
    centre,
    side,
    principal,
    rotation: rotation?.online ? rotation : undefined,
  };
}
