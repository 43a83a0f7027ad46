/** Signal-to-noise ratio of every matrix, of finished jobs: see layer-error.ts. */
import { blockMatrices } from '../model/shape.ts';
import { jobKey, type LayerErrorSums } from './job.ts';
import { addLayerErrors } from './layer-error.ts';
import type { RunPlan } from './plan.ts';
import type { LayerSnr, LowestSnr, MatrixSnr } from './result.ts';
import { type FinishedJobs, finishedJob } from './unit-sums.ts';
import type { Variant } from './variant.ts';

const sumsOf = (finished: FinishedJobs, variant: Variant): LayerErrorSums =>
  finishedJob(finished, jobKey(variant, 0)).layers!;

/** Of several chips, the energies of all of them. */
export function layerSnr({ chipSeeds, inputs }: RunPlan, finished: FinishedJobs): LayerSnr {
  const recoded = sumsOf(finished, { kind: 'recoded' });
  const chips = addLayerErrors(chipSeeds.map((seed) => sumsOf(finished, { kind: 'chip', seed })));
  const { shape } = inputs.model;
  const all = Array.from({ length: shape.layers }, (_, layer) =>
    blockMatrices(shape, layer).map(({ name: { tensor, ordinal } }) => ({
      layer,
      tensor,
      recoded: matrixSnr(recoded, layer, ordinal),
      chips: matrixSnr(chips, layer, ordinal),
    })),
  );
  // Where the digital model gives nothing but zeros there is no ratio.
  const matrices = all.flat().filter(({ layer }, i) => recoded.signal[layer][i % all[0].length] > 0);
  return {
    positions: recoded.positions,
    matrices,
    lowest: { local: lowestSnr(matrices, 'localDb'), stream: lowestSnr(matrices, 'streamDb') },
  };
}

function matrixSnr({ signal, local, stream }: LayerErrorSums, layer: number, ordinal: number): MatrixSnr {
  const db = (error: readonly (readonly number[])[]): number | null =>
    error[layer][ordinal] > 0 ? 10 * Math.log10(signal[layer][ordinal] / error[layer][ordinal]) : null;
  return { localDb: db(local), streamDb: db(stream) };
}

/** Of the chips; null where nothing differs. */
export function lowestSnr(matrices: LayerSnr['matrices'], key: keyof MatrixSnr): LowestSnr | null {
  const seen = matrices.flatMap(({ layer, tensor, chips }) => {
    const snrDb = chips[key];
    return snrDb === null ? [] : [{ layer, tensor, snrDb }];
  });
  if (seen.length === 0) return null;
  const lowest = <T extends { snrDb: number }>(all: readonly T[]): T =>
    all.reduce((a, b) => (b.snrDb < a.snrDb ? b : a));
  const layers = [...Map.groupBy(seen, ({ layer }) => layer)].map(([layer, own]) => {
    const count = matrices.filter((matrix) => matrix.layer === layer).length;
    return {
      layer,
      snrDb: -10 * Math.log10(own.reduce((sum, { snrDb }) => sum + 10 ** (-snrDb / 10), 0) / count),
    };
  });
  return { matrix: lowest(seen), layer: lowest(layers) };
}
