/** A rotation of src/mapping/hadamard.ts of one vector, step by step with the kernels of kernels/rotation.ts. */
import type { Kernels } from '../kernels/module.ts';
import type { PlacedRotation } from '../plan/digital-tables.ts';
import { padded } from '../plan/operations.ts';

/** x <- x Q for x [padded length] in the state memory, in place; `scratch` has room for [order][4] of a dense factor. */
export function rotateVector(wasm: Kernels, rotation: PlacedRotation, x: number, scratch: number): void {
  wasm.multiply(x, rotation.signs, padded(rotation.length) / 4);
  transform(wasm, rotation, x, false, scratch);
}

/** x <- x Q^T, the inverse. */
export function unrotateVector(wasm: Kernels, rotation: PlacedRotation, x: number, scratch: number): void {
  transform(wasm, rotation, x, true, scratch);
  wasm.multiply(x, rotation.signs, padded(rotation.length) / 4);
}

/** Factor by factor, the fastest first; without signs and scale. */
function transform(
  wasm: Kernels,
  { length, factors, tables }: PlacedRotation,
  x: number,
  inverse: boolean,
  scratch: number,
): void {
  let stride = 1;
  for (const m of factors.toReversed()) {
    const groups = length / (m * stride);
    if (m === 2 && stride === 1) wasm.butterflies_1(x, padded(length) / 4);
    else if (m === 2 && stride === 2) wasm.butterflies_2(x, padded(length) / 4);
    else if (m === 2) wasm.butterflies(x, stride / 4, groups);
    else {
      const [plain, transposed] = inverse ? tables[m].toReversed() : tables[m];
      if (stride === 1) wasm.mix_neighbours(x, plain, scratch, m, groups);
      else wasm.mix_apart(x, transposed, scratch, m, stride / 4, groups);
    }
    stride *= m;
  }
}
