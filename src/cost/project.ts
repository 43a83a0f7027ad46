/**
 * From the activity of the model that ran to that of a model of another shape.
 *
 * What is carried over, tensor by tensor (attn_q to attn_q, and so on, weighted over the layers that ran), are
 * averages that do not depend on the size: mean current per cell and phase, share of rows driven, share of cells
 * connected, cells and columns per weight, clip rate. What is not carried over is how activations of the larger
 * model are distributed: its outliers, with per-tile scaling, make fewer rows large, so its current is likely lower.
 */
import { OnefetError } from '../error.ts';
import type { Activity, LayerActivity, TileActivity } from '../fabric/activity.ts';
import { headMatrix, type MatrixShape, modelMatrices } from '../model/shape.ts';
import type { NamedShape } from '../model/shapes.ts';

export function projectActivity(
  activity: Activity<TileActivity>,
  from: NamedShape,
  to: NamedShape,
): Activity<TileActivity> {
  return projectLayers(activity, from, to, projectTensor);
}

/** As projectActivity, of any fabric: `one` gives a layer of the other shape from those of the same tensor that ran. */
export function projectLayers<A extends LayerActivity>(
  activity: Activity<A>,
  from: NamedShape,
  to: NamedShape,
  one: (seen: readonly A[], to: MatrixShape) => A,
): Activity<A> {
  const byTensor = new Map<string, A[]>();
  for (const layer of activity.layers) {
    const list = byTensor.get(layer.tensor) ?? [];
    list.push(layer);
    byTensor.set(layer.tensor, list);
  }
  const layers: A[] = [];
  const head = headMatrix(to).name.tensor;
  for (const matrix of modelMatrices(to)) {
    const { tensor } = matrix.name;
    const seen = byTensor.get(tensor);
    if (seen === undefined) {
      if (tensor === head) continue; // digital
      throw new OnefetError(
        'input',
        'PROJECT_TENSOR',
        `cannot project ${from.name} to ${to.name}: the run has no ${tensor}`,
        { hint: `it has ${[...byTensor.keys()].join(', ') || 'no layer of the fabric at all'}` },
      );
    }
    layers.push(one(ofSameBits(seen, matrix.name.layer, to.layers), matrix));
  }
  return { layers };
}

/**
 * The layers of a tensor whose weights have the bits of the one that stands for block `layer` of `blocks`: where a mapping gave some
 * blocks more bits than others, the same share of the other model's has them.
 */
function ofSameBits<A extends LayerActivity>(
  seen: readonly A[],
  layer: number,
  blocks: number,
): readonly A[] {
  const inOrder = [...seen].sort((a, b) => a.layer - b.layer);
  const { weightBits } = inOrder[Math.max(0, Math.floor((layer * inOrder.length) / blocks))];
  return seen.filter((one) => one.weightBits === weightBits);
}

/** A layer of the other shape that saw one token, without what its fabric counts. */
export function projectedLayer(
  [{ tileRows, weightBits }]: readonly LayerActivity[],
  to: MatrixShape,
): LayerActivity {
  const { name, outputs, inputs } = to;
  return {
    layer: name.layer,
    tensor: name.tensor,
    outputs,
    inputs,
    weightBits,
    tiles: Math.ceil(inputs / tileRows),
    tileRows,
    tokens: 1,
  };
}

/** Weighted over the layers that ran: a count over the weights of all. */
export const perWeight = <A extends LayerActivity>(seen: readonly A[], countOf: (one: A) => number): number =>
  seen.reduce((sum, one) => sum + countOf(one), 0) /
  seen.reduce((sum, one) => sum + one.outputs * one.inputs, 0);

function projectTensor(seen: readonly TileActivity[], to: MatrixShape): TileActivity {
  const first = seen[0];
  for (const one of seen) {
    if (!(one.tokens > 0) || one.tileRows !== first.tileRows || one.phases !== first.phases) {
      throw new OnefetError(
        'input',
        'PROJECT_ACTIVITY',
        `cannot project ${one.tensor}: layers ${first.layer} and ${one.layer} differ in tokens, tile rows or phases`,
      );
    }
  }
  const total = (f: (one: TileActivity) => number) => seen.reduce((sum, one) => sum + f(one), 0);
  const weights = total((one) => one.outputs * one.inputs);
  const outputs = total((one) => one.outputs);
  const cells = to.outputs * to.inputs * (total((one) => one.cells) / weights);
  const columns = Math.round(to.outputs * (total((one) => one.columns) / outputs));
  const tiles = Math.ceil(to.inputs / first.tileRows);
  /** Per-token counts over what they are proportional to. */
  const share = (count: (one: TileActivity) => number, base: (one: TileActivity) => number) =>
    total(count) / total((one) => one.tokens * base(one));
  const conversionsPerColumn = share(
    (one) => one.adcConversions,
    (one) => one.tiles * one.columns,
  );
  const adcConversions = tiles * columns * conversionsPerColumn;
  const converted = total((one) => one.adcConversions);
  return {
    layer: to.name.layer,
    tensor: to.name.tensor,
    outputs: to.outputs,
    inputs: to.inputs,
    weightBits: first.weightBits,
    tiles,
    tileRows: first.tileRows,
    columns,
    cells,
    connectedCells: cells * (total((one) => one.connectedCells) / total((one) => one.cells)),
    phases: first.phases,
    tokens: 1,
    sumCurrentA:
      cells *
      share(
        (one) => one.sumCurrentA,
        (one) => one.cells,
      ),
    sumActiveRows:
      to.inputs *
      share(
        (one) => one.sumActiveRows,
        (one) => one.inputs,
      ),
    dacConversions:
      to.inputs *
      share(
        (one) => one.dacConversions,
        (one) => one.inputs,
      ),
    adcConversions,
    adcClipped: converted > 0 ? (adcConversions * total((one) => one.adcClipped)) / converted : 0,
  };
}
