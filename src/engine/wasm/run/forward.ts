/**
 * The forward pass of src/model/forward.ts for a batch of tokens, run by all workers at once: a stage ends when all its
 * items are done. Items are tokens, panels of a layer, or jobs of attention.
 */
import {
  STAGES as BLOCK_STAGES,
  type Stage as BlockStage,
  type HeadNorm,
  matricesReading,
} from '../../../model/architecture.ts';
import { floatBits } from '../../integers.ts';
import { type Batch, type Stages, stage } from '../control.ts';
import { GATES } from '../kernels/between.ts';
import type { WorkerContext } from '../plan/context.ts';
import { padded } from '../plan/operations.ts';
import { attentionJobs, enterCache } from './attention.ts';
import { addPaths } from './digital.ts';
import { encodeRest, encodeToken, panelRunner } from './linear.ts';
import { rotateVector, unrotateVector } from './rotation.ts';
import { inputRows, outputRows, type Rows } from './rows.ts';

/** Stages of the profile. */
export const STAGES = ['encode', 'linear', 'cache', 'attention', 'head'] as const;
type Stage = (typeof STAGES)[number];

/** Adds the time since the last mark to a stage: of the first worker, waiting for the others included. */
function mark({ data, index, clock }: WorkerContext, stageName: Stage | undefined): void {
  if (!data.profile || index !== 0) return;
  const now = performance.now();
  if (stageName) data.profile[STAGES.indexOf(stageName)] += (now - clock.last) / 1e3;
  clock.last = now;
}

interface LayerTarget extends Rows {
  readonly operation: number;
}

/** Returns the operations that read at a stage of a block, and where their outputs go: planOperations lays them out matrix by matrix. */
function stageTargets({ data }: WorkerContext): (layer: number, stage: BlockStage) => LayerTarget[] {
  const { architecture } = data.shape;
  const rows = outputRows(data);
  return (layer, blockStage) =>
    matricesReading(architecture, blockStage).map((ordinal) => ({
      operation: layer * architecture.matrices.length + ordinal,
      ...rows[ordinal],
    }));
}

/**
 * Stages `from` to `to` - 1, four a block, one after the other over a batch. Behind a stage its inputs still stand where
 * they were coded from. What the feed-forward adds to the stream is added at the start of the next block; behind the last
 * block of the model, which also leaves its normed activations in `normed`. A chip image may have the stream rotated in
 * between: it is the model's own before the first stage and behind the last.
 *
 * A stage makes its inputs, multiplies, and makes something of the outputs; `shows` and `begin` part it there.
 */
export function runLayers(context: WorkerContext, { batch, from, to, begin, shows }: Stages): void {
  const { data, crew, kernels, f32 } = context;
  const { shape, layout } = data;
  const wasm = kernels[0];
  const { architecture, scales, normEpsilon, headDim } = shape;
  const width = padded(shape.dim);
  const epsilon = floatBits(normEpsilon);
  const row = {
    x: (t: number) => layout.x + t * width * 4,
    normed: (t: number) => layout.normed + t * width * 4,
    delta: (t: number) => layout.delta + t * width * 4,
    q: (t: number) => layout.q + t * layout.widths.q * 4,
    k: (t: number) => layout.k + t * layout.widths.k * 4,
    gate: (t: number) => layout.gate + t * layout.widths.gate * 4,
    up: (t: number) => layout.up + t * layout.widths.up * 4,
    attended: (t: number) => layout.attended + t * padded(shape.queryDim) * 4,
  };
  const tokens = (visit: (token: number) => void) => stage(crew, batch.count, visit);
  const norm = (to: number, from: number, gain: number, elements: number) =>
    wasm.norm(to, from, gain, padded(elements) / 4, elements, epsilon);
  /** What the matrices at the input of a half read: x, normed where the architecture does so. */
  const enterHalf = (t: number, gain: number | undefined) => {
    if (gain !== undefined) norm(row.normed(t), row.x(t), gain, shape.dim);
    else f32.copyWithin(row.normed(t) / 4, row.x(t) / 4, row.x(t) / 4 + width);
  };
  const addDelta = (t: number) => wasm.residual(row.x(t), row.delta(t), width / 4);
  /** What is added behind the operations' tiles: bias and addend, and an image's paths of low rank. */
  const addRest = (targets: readonly LayerTarget[], t: number) => {
    targets.forEach(({ operation, at, width }, member) => {
      const y = at + t * width * 4;
      const bias = layout.biases[operation];
      if (bias !== undefined) wasm.residual(y, bias, width / 4);
      addPaths(context, operation, member, t, y);
    });
  };
  const { residual } = layout.digital;
  const mixing = layout.digital.scratches[context.index];
  /** Makes `delta`, whose rest has been added, what is added to the stream: normed and scaled. */
  const finishDelta = (t: number, gain: number | undefined) => {
    if (gain !== undefined) norm(row.delta(t), row.delta(t), gain, shape.dim);
    if (scales?.residual !== undefined) wasm.scale(row.delta(t), width / 4, floatBits(scales.residual));
  };
  const hasRest = (targets: readonly LayerTarget[]) =>
    targets.some((o) => layout.biases[o.operation] !== undefined || layout.digital.operations[o.operation]);
  const normHeads = (at: number, gain: number | undefined, form: HeadNorm | undefined, elements: number) => {
    if (gain === undefined) return;
    const each = form?.over === 'head' ? headDim : elements;
    // Heads lie beside each other without padding.
    for (let from = at; from < at + elements * 4; from += each * 4) {
      wasm.norm(from, from, gain, each / 4, each, epsilon);
    }
  };
  const targetsOf = stageTargets(context);
  const inputs = inputRows(data);
  const inputOf = (blockStage: BlockStage, t: number) =>
    inputs[blockStage].at + t * inputs[blockStage].width * 4;
  /** Makes what a stage reads of what the one before it left; `before`: operations there whose rest is to be added. */
  const enter: Readonly<
    Record<BlockStage, (layer: number, t: number, before: readonly LayerTarget[]) => void>
  > = {
    'attention-input'(layer, t) {
      if (layer > 0) addDelta(t);
      else if (residual) rotateVector(wasm, residual, row.x(t), mixing);
      enterHalf(t, layout.norms[layer].attentionInput);
    },
    'attention-output'() {},
    'feed-forward-input'(layer, t, before) {
      const { attentionOutput, feedForwardInput } = layout.norms[layer];
      addRest(before, t);
      finishDelta(t, attentionOutput);
      addDelta(t);
      enterHalf(t, feedForwardInput);
    },
    'feed-forward-hidden'(_layer, t, before) {
      addRest(before, t);
      wasm[GATES[architecture.activation]](row.gate(t), row.up(t), padded(shape.ffnDim) / 4);
    },
  };
  /** Makes of a stage's outputs what is made before the next begins. */
  const leave: Readonly<Record<BlockStage, (layer: number, rested: boolean) => void>> = {
    'attention-input'(layer, rested) {
      const { query, key } = layout.norms[layer];
      const targets = targetsOf(layer, 'attention-input');
      tokens((t) => {
        if (!rested) addRest(targets, t);
        normHeads(row.q(t), query, architecture.norms.query, shape.queryDim);
        normHeads(row.k(t), key, architecture.norms.key, shape.kvDim);
        enterCache(context, batch, layer, t);
      });
      mark(context, 'cache');
      const { count, run } = attentionJobs(context, batch, layer);
      stage(crew, count, run);
      mark(context, 'attention');
    },
    'attention-output'() {},
    'feed-forward-input'() {},
    'feed-forward-hidden'(layer, rested) {
      // Whoever looks at the stream between two blocks finds all of what is added in `delta`.
      const { feedForwardOutput } = layout.norms[layer];
      const targets = targetsOf(layer, 'feed-forward-hidden');
      const isRested = rested || !hasRest(targets);
      if (isRested && feedForwardOutput === undefined && scales?.residual === undefined) return;
      tokens((t) => {
        if (!isRested) addRest(targets, t);
        finishDelta(t, feedForwardOutput);
      });
      mark(context, 'linear');
    },
  };
  const layerOf = (step: number) => Math.floor(step / BLOCK_STAGES.length);
  const stageOf = (step: number) => BLOCK_STAGES[step % BLOCK_STAGES.length];
  mark(context, undefined);
  if (begin === 'shown') leave[stageOf(from - 1)](layerOf(from - 1), true);
  let before = begin === 'behind' && from > 0 ? targetsOf(layerOf(from - 1), stageOf(from - 1)) : [];
  for (let step = from; step < to; step++) {
    const [layer, blockStage] = [layerOf(step), stageOf(step)];
    const targets = targetsOf(layer, blockStage);
    const operations = targets.map(({ operation }) => operation);
    const isGiven = begin === 'given' && step === from;
    tokens((t) => {
      if (!isGiven) enter[blockStage](layer, t, before);
      encodeToken(context, operations, batch, t, inputOf(blockStage, t));
    });
    before = targets;
    mark(context, 'encode');
    multiply(context, batch, targets);
    addRefinement(context, batch, targets, (t) => inputOf(blockStage, t));
    mark(context, 'linear');
    if (shows && step === to - 1) {
      if (hasRest(targets)) tokens((t) => addRest(targets, t));
      return;
    }
    leave[blockStage](layer, false);
  }
  if (to < shape.layers * BLOCK_STAGES.length) return;
  tokens((t) => {
    addDelta(t);
    if (residual) unrotateVector(wasm, residual, row.x(t), mixing);
    norm(row.normed(t), row.x(t), layout.outputNorm, shape.dim);
  });
}

/** Logits of `count` tokens from token `first` of the batch on, to the rows of `logits`. */
export function runHead(context: WorkerContext, batch: Batch, first: number): void {
  const { data, crew, kernels } = context;
  const { shape, layout } = data;
  const head = data.operations.length - 1;
  const width = padded(shape.dim);
  mark(context, undefined);
  stage(crew, batch.count, (t) =>
    encodeToken(context, [head], batch, t, layout.normed + (first + t) * width * 4),
  );
  const vocab = padded(shape.vocab);
  const target = { operation: head, at: layout.logits, width: vocab };
  multiply(context, batch, [target]);
  addRefinement(context, batch, [target], (t) => layout.normed + (first + t) * width * 4);
  const factor = shape.scales?.logits;
  const cap = shape.softCaps?.logits;
  if (factor !== undefined || cap !== undefined) {
    stage(crew, batch.count, (t) => {
      const at = layout.logits + t * vocab * 4;
      if (cap === undefined) kernels[0].scale(at, vocab / 4, floatBits(factor ?? 1));
      else kernels[0].soft_cap(at, vocab / 4, floatBits(factor ?? 1), floatBits(cap));
    });
  }
  mark(context, 'head');
}

/** The linear layers of a group over one queue of panels. */
function multiply(context: WorkerContext, batch: Batch, group: readonly LayerTarget[]): void {
  const { data, crew } = context;
  const ends: number[] = [];
  let total = 0;
  for (const { operation } of group) {
    total += data.operations[operation].panels;
    ends.push(total);
  }
  const runners = group.map((target, member) => panelRunner(context, { ...target, member }, batch));
  stage(crew, total, (item) => {
    const member = ends.findIndex((end) => item < end);
    runners[member](item - (member > 0 ? ends[member - 1] : 0));
  });
}

/** The second pass of operations whose inputs, at `inputs(token)`, were coded with something left: added to the first. */
function addRefinement(
  context: WorkerContext,
  batch: Batch,
  group: readonly LayerTarget[],
  inputs: (token: number) => number,
): void {
  const { data, crew, kernels } = context;
  const { operations, layout } = data;
  if (!group.every(({ operation }) => operations[operation].refined)) return;
  const numbers = group.map(({ operation }) => operation);
  stage(crew, batch.count, (t) => encodeRest(context, numbers, batch, t, inputs(t)));
  const seconds = group.map((target, member) => ({ ...target, at: layout.refined[member] }));
  multiply(context, batch, seconds);
  stage(crew, batch.count, (t) => {
    group.forEach(({ operation, at, width }, member) => {
      const row = t * width * 4;
      const vectors = padded(operations[operation].outputs) / 4;
      kernels[0].residual(at + row, seconds[member].at + row, vectors);
    });
  });
}
