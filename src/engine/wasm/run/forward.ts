/**
 * The forward pass of src/model/forward.ts for a batch of tokens, run by all workers at once: a stage ends when all its
 * items are done. Items are tokens, panels of a layer, or jobs of attention.
 */
import {
  STAGES as BLOCK_STAGES,
  type Stage as BlockStage,
  type HeadNorm,
  matricesReading,
  type Part,
} from '../../../model/architecture.ts';
import { floatBits } from '../../integers.ts';
import { type Batch, stage } from '../control.ts';
import { GATES } from '../kernels/between.ts';
import type { WorkerContext } from '../plan/context.ts';
import { padded } from '../plan/operations.ts';
import { attentionJobs, enterCache } from './attention.ts';
import { addPaths } from './digital.ts';
import { encodeRest, encodeToken, panelRunner } from './linear.ts';
import { rotateVector, unrotateVector } from './rotation.ts';

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

interface LayerTarget {
  readonly operation: number;
  readonly out: number;
  readonly width: number;
}

/** Returns the operations that read at a stage of a block, and where their outputs go: planOperations lays them out matrix by matrix. */
function stageTargets({ data }: WorkerContext): (layer: number, stage: BlockStage) => LayerTarget[] {
  const { shape, layout } = data;
  const { architecture } = shape;
  const { widths, q, k, v, gate, up, delta } = layout;
  const stream = { out: delta, width: padded(shape.dim) };
  /** Of several parts in one matrix, the first has the row. */
  const rows: Readonly<Record<Part, Omit<LayerTarget, 'operation'>>> = {
    query: { out: q, width: widths.q },
    key: { out: k, width: widths.k },
    value: { out: v, width: widths.v },
    gate: { out: gate, width: widths.gate },
    up: { out: up, width: widths.up },
    attention: stream,
    'feed-forward': stream,
  };
  return (layer, blockStage) =>
    matricesReading(architecture, blockStage).map((ordinal) => {
      const { gives } = architecture.matrices[ordinal];
      return { operation: layer * architecture.matrices.length + ordinal, ...rows[gives[0]] };
    });
}

/**
 * Stages `from` to `to` - 1, four a block, one after the other over a batch. Behind a stage its inputs still stand where
 * they were coded from. What the feed-forward adds to the stream is added at the start of the next block; behind the last
 * block of the model, which also leaves its normed activations in `normed`. A chip image may have the stream rotated in
 * between: it is the model's own before the first stage and behind the last.
 */
export function runLayers(context: WorkerContext, batch: Batch, from: number, to: number): void {
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
    targets.forEach(({ operation, out, width }, member) => {
      const at = out + t * width * 4;
      const bias = layout.biases[operation];
      if (bias !== undefined) wasm.residual(at, bias, width / 4);
      addPaths(context, operation, member, t, at);
    });
  };
  const { residual } = layout.digital;
  const mixing = layout.digital.scratches[context.index];
  /** Makes `delta` what is added to the stream: with its bias, normed and scaled. */
  const finishDelta = (targets: readonly LayerTarget[], t: number, gain: number | undefined) => {
    addRest(targets, t);
    if (gain !== undefined) norm(row.delta(t), row.delta(t), gain, shape.dim);
    if (scales?.residual !== undefined) wasm.scale(row.delta(t), width / 4, floatBits(scales.residual));
  };
  const isFinished = (targets: readonly LayerTarget[], gain: number | undefined) =>
    gain === undefined &&
    scales?.residual === undefined &&
    targets.every((o) => layout.biases[o.operation] === undefined && !layout.digital.operations[o.operation]);
  const normHeads = (at: number, gain: number | undefined, form: HeadNorm | undefined, elements: number) => {
    if (gain === undefined) return;
    const each = form?.over === 'head' ? headDim : elements;
    // Heads lie beside each other without padding.
    for (let from = at; from < at + elements * 4; from += each * 4) {
      wasm.norm(from, from, gain, each / 4, each, epsilon);
    }
  };
  const targetsOf = stageTargets(context);
  const operations = (targets: readonly LayerTarget[]) => targets.map(({ operation }) => operation);
  const multiplyAll = (targets: readonly LayerTarget[], inputs: (token: number) => number) => {
    multiply(context, batch, targets);
    addRefinement(context, batch, targets, inputs);
  };
  const runStage: Readonly<Record<BlockStage, (layer: number, targets: readonly LayerTarget[]) => void>> = {
    'attention-input'(layer, targets) {
      const { attentionInput, query, key } = layout.norms[layer];
      tokens((t) => {
        if (layer > 0) addDelta(t);
        else if (residual) rotateVector(wasm, residual, row.x(t), mixing);
        enterHalf(t, attentionInput);
        encodeToken(context, operations(targets), batch, t, row.normed(t));
      });
      mark(context, 'encode');
      multiplyAll(targets, row.normed);
      mark(context, 'linear');
      tokens((t) => {
        addRest(targets, t);
        normHeads(row.q(t), query, architecture.norms.query, shape.queryDim);
        normHeads(row.k(t), key, architecture.norms.key, shape.kvDim);
        enterCache(context, batch, layer, t);
      });
      mark(context, 'cache');
      const { count, run } = attentionJobs(context, batch, layer);
      stage(crew, count, run);
      mark(context, 'attention');
    },
    'attention-output'(_layer, targets) {
      tokens((t) => encodeToken(context, operations(targets), batch, t, row.attended(t)));
      mark(context, 'encode');
      multiplyAll(targets, row.attended);
      mark(context, 'linear');
    },
    'feed-forward-input'(layer, targets) {
      const { attentionOutput, feedForwardInput } = layout.norms[layer];
      const attention = targetsOf(layer, 'attention-output');
      tokens((t) => {
        finishDelta(attention, t, attentionOutput);
        addDelta(t);
        enterHalf(t, feedForwardInput);
        encodeToken(context, operations(targets), batch, t, row.normed(t));
      });
      mark(context, 'encode');
      multiplyAll(targets, row.normed);
      mark(context, 'linear');
    },
    'feed-forward-hidden'(layer, targets) {
      const gates = targetsOf(layer, 'feed-forward-input');
      const gate = wasm[GATES[architecture.activation]];
      tokens((t) => {
        addRest(gates, t);
        gate(row.gate(t), row.up(t), padded(shape.ffnDim) / 4);
        encodeToken(context, operations(targets), batch, t, row.gate(t));
      });
      mark(context, 'encode');
      multiplyAll(targets, row.gate);
      // Whoever looks at the stream between two blocks finds all of what is added in `delta`.
      const { feedForwardOutput } = layout.norms[layer];
      if (!isFinished(targets, feedForwardOutput)) tokens((t) => finishDelta(targets, t, feedForwardOutput));
      mark(context, 'linear');
    },
  };
  mark(context, undefined);
  for (let step = from; step < to; step++) {
    const layer = Math.floor(step / BLOCK_STAGES.length);
    const blockStage = BLOCK_STAGES[step % BLOCK_STAGES.length];
    runStage[blockStage](layer, targetsOf(layer, blockStage));
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
  const target = { operation: head, out: layout.logits, width: vocab };
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
  const seconds = group.map((target, member) => ({ ...target, out: layout.refined[member] }));
  multiply(context, batch, seconds);
  stage(crew, batch.count, (t) => {
    group.forEach(({ operation, out, width }, member) => {
      const row = t * width * 4;
      const vectors = padded(operations[operation].outputs) / 4;
      kernels[0].residual(out + row, seconds[member].out + row, vectors);
    });
  });
}
