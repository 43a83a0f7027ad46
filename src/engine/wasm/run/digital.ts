/** What a worker does of the digital part around the tiles of an image's matrices, for one token (src/mapping/apply.ts). */
import type { WorkerContext } from '../plan/context.ts';
import { padded } from '../plan/operations.ts';
import { rotateVector } from './rotation.ts';

/** z of a token, for the member of a group of operations. */
const productsAt = ({ data: { layout } }: WorkerContext, member: number, token: number): number =>
  layout.digital.products[member] + token * layout.digital.productWidth * 4;

/**
 * Steps 1 to 3 for the operations of a group that read `a` [padded K], in place: rotation, mean, principal part; and the
 * inner products of their side paths.
 */
export function prepareInputs(
  context: WorkerContext,
  group: readonly number[],
  token: number,
  a: number,
): void {
  const { data, f32, kernels } = context;
  const { operations, layout } = data;
  const { digital, inputs } = operations[group[0]];
  const first = layout.digital.operations[group[0]];
  if (!digital || !first) return;
  const wasm = kernels[0];
  const vectors = padded(inputs) / 4;
  if (first.rotation) rotateVector(wasm, first.rotation, a, layout.digital.scratches[context.index]);
  if (first.centre !== undefined) wasm.residual(a, first.centre, vectors);
  const { principal } = digital;
  const shared = productsAt(context, 0, token);
  if (first.principal !== undefined) {
    wasm.project(shared, first.principal, a, principal, vectors);
    wasm.combine_subtract(a, first.principal, shared, principal, vectors);
  }
  group.forEach((index, member) => {
    const z = productsAt(context, member, token);
    if (member > 0) f32.copyWithin(z / 4, shared / 4, shared / 4 + principal);
    const { side } = layout.digital.operations[index]!;
    if (side !== undefined)
      wasm.project(z + 4 * principal, side, a, operations[index].digital!.side, vectors);
  });
}

/** Step 6: y [padded N] += B' z + B (A x). */
export function addPaths(
  context: WorkerContext,
  index: number,
  member: number,
  token: number,
  y: number,
): void {
  const { data, kernels } = context;
  const { digital, outputs } = data.operations[index];
  const up = data.layout.digital.operations[index]?.up;
  if (!digital || up === undefined) return;
  const rank = digital.principal + digital.side;
  kernels[0].combine_add(y, up, productsAt(context, member, token), rank, padded(outputs) / 4);
}
