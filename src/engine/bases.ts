/**
 * Between the model's own basis and that in which the matrices of a chip image read and give (src/mapping/plan.ts): norm
 * gains that are folded into the weights, and rotations that nobody undoes at run time.
 */

import { tensorKey } from '../fabric/placement.ts';
import {
  type Rotation,
  type RotationSpec,
  rotateRows,
  rotationOf,
  unrotateRows,
} from '../mapping/hadamard.ts';
import type { DigitalPart } from '../mapping/image-matrix.ts';
import { matricesReading, type Stage } from '../model/architecture.ts';
import type { BlockGains } from '../model/model.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';

/** Both in place, of one token. */
export interface Bases {
  /** x[K] that a stage reads, as the model has it, becomes what the image's matrices read: before what is done online. */
  enter(layer: number, stage: Stage, x: Float32Array): void;
  /** y[N] that a matrix of the image gives becomes what the model's gives. */
  leave(layer: number, ordinal: number, y: Float32Array): void;
}

/** Without an image both are the same. */
export const OWN_BASES: Bases = { enter() {}, leave() {} };

export interface ImageBases {
  readonly shape: ModelShape;
  readonly parts: ReadonlyMap<string, DigitalPart>;
  /** Rotation of the residual stream. */
  readonly residual: RotationSpec | null;
  /** Gains of the norms by block: the model's, and the image's in their place. */
  readonly own: readonly BlockGains[];
  readonly mapped: readonly BlockGains[];
}

export function imageBases({ shape, parts, residual, own, mapped }: ImageBases): Bases {
  const { architecture } = shape;
  const made = new Map<string, Rotation>();
  const rotation = (spec: RotationSpec): Rotation => {
    const key = JSON.stringify([spec.length, spec.repeat, spec.seed]);
    const known = made.get(key) ?? rotationOf(spec);
    made.set(key, known);
    return known;
  };
  /** Of what a stage reads, where it is not made online. */
  const offline = (layer: number, stage: Stage): RotationSpec | undefined => {
    const [first] = matricesReading(architecture, stage);
    const spec = parts.get(tensorKey(blockMatrices(shape, layer)[first].name))!.rotation;
    return spec && !spec.online ? spec : undefined;
  };
  return {
    enter(layer, stage, x) {
      const gain = gainOf(own[layer], stage);
      const other = gainOf(mapped[layer], stage);
      // An input with gain zero has no weight that counts.
      if (gain) for (let j = 0; j < x.length; j++) x[j] = gain[j] === 0 ? 0 : x[j] / gain[j];
      const spec = offline(layer, stage);
      if (spec) rotateRows(x, 1, rotation(spec));
      if (gain && other) for (let j = 0; j < x.length; j++) x[j] *= other[j];
    },
    leave(layer, ordinal, y) {
      const { gives } = architecture.matrices[ordinal];
      if (gives.includes('attention') || gives.includes('feed-forward')) {
        if (residual) unrotateRows(y, 1, rotation(residual));
      } else if (gives.includes('value')) {
        // Each head's values are turned as the heads' mixes are that attention-output reads.
        const heads = offline(layer, 'attention-output');
        if (heads) unrotateRows(y, 1, rotation({ ...heads, repeat: shape.kvHeads }));
      }
    },
  };
}

function gainOf(gains: BlockGains, stage: Stage): Float32Array | undefined {
  if (stage === 'attention-input') return gains.attentionInput;
  return stage === 'feed-forward-input' ? gains.feedForwardInput : undefined;
}
