/**
 * What a chip computes of one mapped matrix, in exact arithmetic: the readable definition of what an engine must do at run
 * time around its tiles.
 *
 *   1  a <- a Q                     where the matrix's rotation is `online` (hadamard.ts)
 *   2  x = a - mu                   where it is centred: K subtractions before the row drivers
 *   3  z = A' x,  x <- x - A'^T z   the principal part, digital
 *   4  y = W^ x                     the tiles: x is what row drivers code, W^ what cells hold
 *   5  y += W mu                    the digital addend, once per output behind the sum over tiles
 *   6  y += B (A x) + B' z          side path and principal part, digital
 *
 * The input a is the norm's output with the image's gain (plan.ts) in place of the model's, or what o and down read.
 */
import { type Rotation, rotateRows, rotationOf } from './hadamard.ts';
import type { DigitalPart, ImageMatrix } from './image-matrix.ts';
import { mappedWeights } from './map-matrix.ts';

/** y[N] = what the chip computes of a[K], with ideal tiles. */
export type MappedLinear = (y: Float32Array, a: Float32Array) => void;

/** `weights` [N][K] in the rows' basis: W^ unless a test puts others in their place. */
export function mappedLinear(matrix: ImageMatrix, weights = mappedWeights(matrix)): MappedLinear {
  const around = aroundTiles(matrix);
  return (y, a) => around(y, a, (sums, x) => sums.set(times(weights, x)));
}

/** Steps 1 to 3 and 5 to 6 around whatever computes y[N] = W^ x[K]. */
export function aroundTiles(
  part: DigitalPart,
): (y: Float32Array, a: Float32Array, tiles: (y: Float32Array, x: Float32Array) => void) => void {
  const { outputs, inputs, centre, side, principal } = part;
  const rotation: Rotation | undefined = part.rotation?.online ? rotationOf(part.rotation) : undefined;
  const x = new Float32Array(inputs);
  return (y, a, tiles) => {
    x.set(a);
    if (rotation) rotateRows(x, 1, rotation);
    if (centre) for (let j = 0; j < inputs; j++) x[j] -= centre.mean[j];
    const z = principal && times(principal.down, x);
    if (principal && z) {
      for (let r = 0; r < z.length; r++) {
        for (let j = 0; j < inputs; j++) x[j] -= principal.down[r * inputs + j] * z[r];
      }
    }
    tiles(y, x);
    const added = [side && times(side.up, times(side.down, x)), principal && z && times(principal.up, z)];
    for (let n = 0; n < outputs; n++) {
      let sum = y[n] + (centre ? centre.addend[n] : 0);
      for (const values of added) if (values) sum += values[n];
      y[n] = sum;
    }
  };
}

/** M x for M [rows][x.length]. */
function times(matrix: Float32Array, x: ArrayLike<number>): Float64Array {
  const columns = x.length;
  return Float64Array.from({ length: matrix.length / columns }, (_, n) => {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += matrix[n * columns + j] * x[j];
    return sum;
  });
}
