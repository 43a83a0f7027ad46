/** Mapping's view of an opened model, and statistics gathered from any pass over it that takes linear layers. */
import type { LinearBuilder, LinearName } from '../fabric/linear.ts';
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { readRow } from '../model/gguf.ts';
import type { Model } from '../model/model.ts';
import { requireTensor } from '../model/model-tensors.ts';
import { blockMatrices, sourceTensor } from '../model/shape.ts';
import type { MappingSource } from './stage-job.ts';
import { type InputStatistics, newStatistics, type StatisticsCollector } from './statistics.ts';

/** Weights and gains of a model; `statistics` come from elsewhere. */
export function modelSource(model: Model, statistics: MappingSource['statistics']): MappingSource {
  const { file, shape } = model;
  return {
    shape,
    statistics,
    weights(name) {
      const tensor = requireTensor(file, sourceTensor(name, shape));
      const [outputs, inputs] = tensor.shape;
      const weights = new Float32Array(outputs * inputs);
      for (let n = 0; n < outputs; n++) {
        readRow(file, tensor, n, weights.subarray(n * inputs, (n + 1) * inputs));
      }
      return weights;
    },
    gain: (layer, stage) => gainOf(model, layer, stage),
  };
}

function gainOf(model: Model, layer: number, stage: Stage): Float32Array | undefined {
  const { attentionInput, feedForwardInput } = model.shape.architecture.norms;
  const name =
    stage === 'attention-input'
      ? attentionInput
      : stage === 'feed-forward-input'
        ? feedForwardInput
        : undefined;
  if (name === undefined) return undefined;
  const tensor = requireTensor(model.file, `blk.${layer}.${name}.weight`);
  const gain = new Float32Array(tensor.elements);
  readRow(model.file, tensor, 0, gain);
  return gain;
}

export interface ModelStatistics {
  /** Builds what `build` builds, and listens to the inputs of one matrix per block and stage. */
  readonly listening: LinearBuilder;
  statistics(layer: number, stage: Stage): InputStatistics;
}

/**
 * Collectors for all stages of all blocks at once: for models whose second moments fit the memory together (400 MB for
 * 30 blocks of 576 and 1536 inputs). Batches of `batchTokens` tokens are handed on.
 */
export async function listenToModel(
  model: Model,
  build: LinearBuilder,
  batchTokens = 64,
): Promise<ModelStatistics> {
  const { shape } = model;
  const collectors = new Map<string, { collector: StatisticsCollector; batch: Float32Array; held: number }>();
  const key = (layer: number, stage: Stage): string => `${layer} ${stage}`;
  const first = new Map<string, Stage>();
  for (const stage of STAGES) {
    const [place] = matricesReading(shape.architecture, stage);
    first.set(shape.architecture.matrices[place].tensor, stage);
    const { inputs } = blockMatrices(shape, 0)[place];
    for (let layer = 0; layer < shape.layers; layer++) {
      const batch = new Float32Array(batchTokens * inputs);
      collectors.set(key(layer, stage), { collector: await newStatistics(inputs), batch, held: 0 });
    }
  }
  const flush = (entry: { collector: StatisticsCollector; batch: Float32Array; held: number }): void => {
    if (entry.held > 0) entry.collector.add(entry.batch, entry.held);
    entry.held = 0;
  };
  const stageOf = ({ layer, tensor }: LinearName): Stage | undefined =>
    layer < 0 ? undefined : first.get(tensor);
  return {
    listening(name, outputs, inputs, row) {
      const linear = build(name, outputs, inputs, row);
      const stage = stageOf(name);
      if (stage === undefined) return linear;
      const entry = collectors.get(key(name.layer, stage))!;
      const gain = gainOf(model, name.layer, stage);
      return {
        ...linear,
        apply(y, a, at) {
          const into = entry.batch.subarray(entry.held * inputs, (entry.held + 1) * inputs);
          // Before the gain; an input with gain zero has no weight that counts.
          for (let j = 0; j < inputs; j++) into[j] = gain ? (gain[j] === 0 ? 0 : a[j] / gain[j]) : a[j];
          if (++entry.held === batchTokens) flush(entry);
          linear.apply(y, a, at);
        },
      };
    },
    statistics(layer, stage) {
      const entry = collectors.get(key(layer, stage))!;
      flush(entry);
      return entry.collector.result();
    },
  };
}
