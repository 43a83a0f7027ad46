/** Tables of the digital part around the tiles of an image's matrices: where they lie in the state memory, and their values. */
import { tensorKey } from '../../../fabric/placement.ts';
import { denseHadamard, type RotationSpec, rotationOf } from '../../../mapping/hadamard.ts';
import type { DigitalPart } from '../../../mapping/image-matrix.ts';
import { type Operation, padded } from './operations.ts';

/** A rotation's steps and tables; addresses. */
export interface PlacedRotation {
  readonly length: number;
  readonly order: number;
  readonly factors: readonly number[];
  /** Sign over the root of the order, [padded length] f32. */
  readonly signs: number;
  /** By dense factor: H and its transpose, [m][m] f32. */
  readonly tables: Readonly<Record<number, readonly [number, number]>>;
}

/** Addresses of one operation's tables; undefined where there is none. */
export interface PlacedDigital {
  /** -mu [padded K]. */
  readonly centre: number | undefined;
  readonly rotation: PlacedRotation | undefined;
  /** A' [rank][padded K]. */
  readonly principal: number | undefined;
  /** A [rank][padded K]. */
  readonly side: number | undefined;
  /** B'^T, then B^T: [principal + side][padded N]. */
  readonly up: number | undefined;
}

export interface DigitalLayout {
  /** By operation; undefined for those that are not in an image. */
  readonly operations: readonly (PlacedDigital | undefined)[];
  readonly residual: PlacedRotation | undefined;
  /** Of each member of a group: z [tokens][productWidth] f32. */
  readonly products: readonly number[];
  readonly productWidth: number;
  /** Per worker: room for one dense factor. */
  readonly scratches: readonly number[];
}

/** What a dense factor needs at most: [DENSE_LIMIT][4] f32. */
const SCRATCH_BYTES = 200 * 16;

export function layOutDigital(
  choice: {
    readonly operations: readonly Operation[];
    readonly residual: RotationSpec | undefined;
    readonly tokens: number;
    readonly threads: number;
  },
  take: (bytes: number, what: string) => number,
): DigitalLayout {
  const { operations, residual, tokens, threads } = choice;
  const takeFloats = (count: number) => (count > 0 ? take(4 * count, 'the digital part') : undefined);
  const rotations = new Map<string, PlacedRotation>();
  const tables: Record<number, readonly [number, number]> = {};
  const placeRotation = (spec: RotationSpec | undefined): PlacedRotation | undefined => {
    if (!spec) return undefined;
    const key = JSON.stringify([spec.length, spec.repeat, spec.seed]);
    const known = rotations.get(key);
    if (known) return known;
    const { length, order, factors } = rotationOf(spec);
    for (const m of factors) if (m !== 2) tables[m] ??= [takeFloats(m * m)!, takeFloats(m * m)!];
    const placed = { length, order, factors, signs: takeFloats(padded(length))!, tables };
    rotations.set(key, placed);
    return placed;
  };
  const place = ({ digital, inputs, outputs }: Operation): PlacedDigital | undefined =>
    digital && {
      centre: digital.first && digital.centre ? takeFloats(padded(inputs)) : undefined,
      rotation: digital.first ? placeRotation(digital.rotation) : undefined,
      principal: digital.first ? takeFloats(digital.principal * padded(inputs)) : undefined,
      side: takeFloats(digital.side * padded(inputs)),
      up: takeFloats((digital.principal + digital.side) * padded(outputs)),
    };
  const ranks = operations.map(({ digital }) => (digital ? digital.principal + digital.side : 0));
  const productWidth = padded(Math.max(...ranks));
  return {
    operations: operations.map(place),
    residual: placeRotation(residual),
    products: [0, 1, 2].map(() => takeFloats(tokens * productWidth) ?? 0),
    productWidth,
    scratches: Array.from({ length: rotations.size > 0 ? threads : 0 }, () =>
      take(SCRATCH_BYTES, 'rotation'),
    ),
  };
}

/** Writes the tables of an image's matrices. */
export function fillDigital(
  f32: Float32Array,
  operations: readonly Operation[],
  layout: DigitalLayout,
  parts: ReadonlyMap<string, DigitalPart>,
  residual: RotationSpec | undefined,
): void {
  const fillRotation = (placed: PlacedRotation | undefined, spec: RotationSpec | undefined): void => {
    if (!placed || !spec) return;
    const { signs, order, factors } = rotationOf(spec);
    f32.set(
      Float32Array.from(signs, (sign) => sign / Math.sqrt(order)),
      placed.signs / 4,
    );
    for (const m of new Set(factors)) {
      if (m === 2) continue;
      const h = denseHadamard(m)!;
      const [plain, transposed] = placed.tables[m];
      f32.set(h, plain / 4);
      for (let a = 0; a < m; a++) for (let b = 0; b < m; b++) f32[transposed / 4 + b * m + a] = h[a * m + b];
    }
  };
  /** M [count][width] to rows of padded width. */
  const fillRows = (at: number | undefined, rows: Float32Array | undefined, width: number): void => {
    if (at === undefined || !rows) return;
    for (let r = 0; r * width < rows.length; r++) {
      f32.set(rows.subarray(r * width, (r + 1) * width), at / 4 + r * padded(width));
    }
  };
  fillRotation(layout.residual, residual);
  operations.forEach(({ name, digital, inputs, outputs }, i) => {
    const placed = layout.operations[i];
    const part = parts.get(tensorKey(name));
    if (!digital || !placed || !part) return;
    fillRotation(placed.rotation, digital.rotation);
    fillRows(
      placed.centre,
      part.centre?.mean.map((x) => -x),
      inputs,
    );
    fillRows(placed.principal, part.principal?.down, inputs);
    fillRows(placed.side, part.side?.down, inputs);
    const ups = [part.principal, part.side].filter((path) => path !== undefined);
    let row = 0;
    for (const { rank, up } of ups) {
      for (let r = 0; r < rank; r++, row++) {
        for (let n = 0; n < outputs; n++) f32[placed.up! / 4 + row * padded(outputs) + n] = up[n * rank + r];
      }
    }
  });
}
