/**
 * Errors matrix by matrix: what each gives, y[N], held against the digital model's at the same positions of the same text.
 *
 *   SNR = 10 log10( sum y_digital^2 / sum (y - y_digital)^2 )        over positions and outputs
 *
 *   local    every matrix reads what the digital model's reads: its own error, and nobody else's
 *   stream   every matrix reads what those before it made: its own error and all of theirs
 *
 * Looked at are the last scored positions of a variant's first job: along the stream while they are scored, then once more on
 * the inputs of the digital model. The digital job writes what its stages read and its matrices give to layers.f32; the others
 * read it.
 */
import { closeSync, openSync } from 'node:fs';
import type { Engine, InputGiver, OutputVisitor, Visitors } from '../engine/backend.ts';
import { OnefetError } from '../error.ts';
import { readAt, writeFileAtomic } from '../files.ts';
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import type { ScoringWindow } from '../model/scoring.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import type { Job, LayerErrorSums } from './job.ts';

/** Chosen: a sixteenth of a window. */
const MOST_TOKENS = 32;
/** Size of layers.f32 that is not exceeded: 7 tokens of Llama 3.1 8B. */
const LAYERS_BYTES = 64e6;

/** Where layers.f32 has what a stage of a block reads, or a matrix of it gives: floats per token before it, and its own. */
interface Part {
  readonly before: number;
  readonly width: number;
}

interface Parts {
  readonly inputs: readonly Readonly<Record<Stage, Part>>[];
  /** By block and place in it. */
  readonly outputs: readonly (readonly Part[])[];
  readonly floatsPerToken: number;
}

function partsOf(shape: ModelShape): Parts {
  let floatsPerToken = 0;
  const part = (width: number): Part => {
    const before = floatsPerToken;
    floatsPerToken += width;
    return { before, width };
  };
  const blocks = Array.from({ length: shape.layers }, (_, layer) => {
    const matrices = blockMatrices(shape, layer);
    const inputs = STAGES.map((stage) => [
      stage,
      part(matrices[matricesReading(shape.architecture, stage)[0]].inputs),
    ]);
    return {
      inputs: Object.fromEntries(inputs) as Record<Stage, Part>,
      outputs: matrices.map(({ outputs }) => part(outputs)),
    };
  });
  return {
    inputs: blocks.map(({ inputs }) => inputs),
    outputs: blocks.map(({ outputs }) => outputs),
    floatsPerToken,
  };
}

/** Tokens at the end of a window that are looked at: scored ones, so that they have a context. */
export function layerTokens(shape: ModelShape, { scoreFrom, scoreTo }: ScoringWindow): number {
  const fit = Math.floor(LAYERS_BYTES / (4 * partsOf(shape).floatsPerToken));
  return Math.max(1, Math.min(MOST_TOKENS, fit, scoreTo - scoreFrom));
}

/** Whether a job looks at the matrices: the first of the digital model, the recoded weights and each chip. */
export const seesLayers = ({ variant: { kind }, number }: Pick<Job, 'variant' | 'number'>): boolean =>
  number === 0 && (kind === 'digital' || kind === 'recoded' || kind === 'chip');

export interface LayerErrors {
  /** See the pass along the stream of the job's last window. */
  readonly visitors: Visitors;
  /** Behind that pass: writes what the digital model gave, or runs these positions again on its inputs. */
  finish(engine: Engine): Promise<LayerErrorSums | undefined>;
}

/** Undefined where a job does not look. */
export function openLayerErrors(job: Job, path: string, shape: ModelShape): LayerErrors | undefined {
  if (!seesLayers(job)) return undefined;
  const last = job.windows[job.windows.length - 1];
  const count = layerTokens(shape, last);
  const from = last.scoreTo - count;
  const parts = partsOf(shape);
  /** Of `values` [parts][tokens][width], the rows of a part from a position on. */
  const rowsOf = (values: Float32Array, { before, width }: Part, tokens: number, position: number) => {
    const at = before * count + (position - from) * width;
    return values.subarray(at, at + tokens * width);
  };
  const floats = count * parts.floatsPerToken;
  if (job.variant.kind === 'digital') {
    const values = new Float32Array(floats);
    const seen = parts.inputs.map(() => Object.fromEntries(STAGES.map((stage) => [stage, from])));
    return {
      visitors: {
        from,
        inputs: {
          wants: () => true,
          visit(layer, stage, x, tokens) {
            rowsOf(values, parts.inputs[layer][stage], tokens, seen[layer][stage]).set(x);
            seen[layer][stage] += tokens;
          },
        },
        outputs: {
          visit: (layer, ordinal, y, tokens, position) =>
            rowsOf(values, parts.outputs[layer][ordinal], tokens, position).set(y),
        },
      },
      async finish() {
        writeFileAtomic(path, new Uint8Array(values.buffer));
        return undefined;
      },
    };
  }
  const known = readLayers(path, floats);
  const look = () => {
    const signal = parts.outputs.map((own) => own.map(() => 0));
    const error = parts.outputs.map((own) => own.map(() => 0));
    const outputs: OutputVisitor = {
      visit(layer, ordinal, y, tokens, position) {
        const digital = rowsOf(known, parts.outputs[layer][ordinal], tokens, position);
        const width = y.length / tokens;
        // Token by token, so that the sums do not depend on how many come at a time.
        for (let at = 0; at < y.length; at += width) {
          let squares = 0;
          let differences = 0;
          for (let i = at; i < at + width; i++) {
            const off = y[i] - digital[i];
            squares += digital[i] * digital[i];
            differences += off * off;
          }
          signal[layer][ordinal] += squares;
          error[layer][ordinal] += differences;
        }
      },
    };
    return { outputs, signal, error };
  };
  const stream = look();
  return {
    visitors: { from, outputs: stream.outputs },
    async finish(engine) {
      const local = look();
      const given: InputGiver = (layer, stage, x, tokens, position) =>
        x.set(rowsOf(known, parts.inputs[layer][stage], tokens, position));
      const ids = last.ids.subarray(0, last.scoreTo);
      const visitors = { given, outputs: local.outputs };
      await engine.prefill(ids, last.window, undefined, ids.length, visitors, from);
      return { positions: count, signal: stream.signal, local: local.error, stream: stream.error };
    },
  };
}

function readLayers(path: string, floats: number): Float32Array {
  const values = new Float32Array(floats);
  const handle = openSync(path, 'r');
  try {
    if (readAt(handle, new Uint8Array(values.buffer), 0)) return values;
  } finally {
    closeSync(handle);
  }
  throw new OnefetError('input', 'BASELINE_SHORT', 'what the digital layers of this run gave is damaged', {
    hint: 'remove the run folder and run again',
  });
}

/** Errors of the chips as a whole: energies added up. All of the same text and positions. */
export function addLayerErrors(parts: readonly LayerErrorSums[]): LayerErrorSums {
  const sum = (of: (part: LayerErrorSums) => readonly (readonly number[])[]) =>
    of(parts[0]).map((own, layer) =>
      own.map((_, ordinal) => parts.reduce((total, part) => total + of(part)[layer][ordinal], 0)),
    );
  return {
    positions: parts[0].positions,
    signal: sum((part) => part.signal),
    local: sum((part) => part.local),
    stream: sum((part) => part.stream),
  };
}
