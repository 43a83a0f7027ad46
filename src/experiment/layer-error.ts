/**
 * Errors matrix by matrix: what each gives, y[N], held against the digital model's at the same positions of the same text.
 *
 *   SNR = 10 log10( sum y_digital^2 / sum (y - y_digital)^2 )        over positions and outputs
 *
 *   local    every matrix reads what the digital model's reads: its own error, and nobody else's
 *   stream   every matrix reads what those before it made: with all their errors, and the noise of attention and norms
 *
 * Looked at are the last scored positions of a variant's first job, for which it keeps the cache of its text: two passes of
 * so many tokens, beside the windows that it scores. The digital job writes what its stages read and its matrices give to
 * layers.f32; the others read it.
 */
import { closeSync, openSync } from 'node:fs';
import type { Engine, Visitors } from '../engine/backend.ts';
import { OnefetError } from '../error.ts';
import { readAt, writeFileAtomic } from '../files.ts';
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import type { ScoringWindow } from '../model/scoring.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import type { Job, LayerErrorSums } from './job.ts';

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

/** Whether a job's variant is looked at in it: its text is in the engine's cache when it ends. */
export const seesLayers = ({ variant, number }: Pick<Job, 'variant' | 'number'>): boolean =>
  variant.kind !== 'range' && number === 0;

/** Looks at the matrices of the engine that has just run the job's windows; undefined for the digital model. Its cache is spent. */
export async function measureLayers(
  engine: Engine,
  { variant, windows }: Pick<Job, 'variant' | 'windows'>,
  path: string,
  shape: ModelShape,
): Promise<LayerErrorSums | undefined> {
  const last = windows[windows.length - 1];
  const count = layerTokens(shape, last);
  const first = last.scoreTo - count;
  const parts = partsOf(shape);
  const ids = last.ids.subarray(0, last.scoreTo);
  const pass = (visitors: Visitors) =>
    engine.prefill(ids, last.window, undefined, ids.length, visitors, first);
  /** Of `values` [parts][tokens][width], the rows of a part from a position on. */
  const rowsOf = (values: Float32Array, { before, width }: Part, tokens: number, position: number) => {
    const at = before * count + (position - first) * width;
    return values.subarray(at, at + tokens * width);
  };
  const bytes = 4 * count * parts.floatsPerToken;
  if (variant.kind === 'digital') {
    const values = new Float32Array(bytes / 4);
    const seen = parts.inputs.map(() => Object.fromEntries(STAGES.map((stage) => [stage, 0])));
    await pass({
      inputs: {
        wants: () => true,
        visit(layer, stage, x, tokens) {
          rowsOf(values, parts.inputs[layer][stage], tokens, first + seen[layer][stage]).set(x);
          seen[layer][stage] += tokens;
        },
      },
      outputs: {
        visit: (layer, ordinal, y, tokens, position) =>
          rowsOf(values, parts.outputs[layer][ordinal], tokens, position).set(y),
      },
    });
    writeFileAtomic(path, new Uint8Array(values.buffer));
    return undefined;
  }
  const known = readLayers(path, bytes);
  const errors = async (given: Visitors['given']) => {
    const signal = parts.outputs.map((own) => own.map(() => 0));
    const error = parts.outputs.map((own) => own.map(() => 0));
    await pass({
      given,
      outputs: {
        visit(layer, ordinal, y, tokens, position) {
          const digital = rowsOf(known, parts.outputs[layer][ordinal], tokens, position);
          for (let i = 0; i < y.length; i++) {
            signal[layer][ordinal] += digital[i] * digital[i];
            error[layer][ordinal] += (y[i] - digital[i]) ** 2;
          }
        },
      },
    });
    return { signal, error };
  };
  const stream = await errors(undefined);
  const local = await errors((layer, stage, x, tokens, position) =>
    x.set(rowsOf(known, parts.inputs[layer][stage], tokens, position)),
  );
  return { positions: count, signal: stream.signal, local: local.error, stream: stream.error };
}

function readLayers(path: string, bytes: number): Float32Array {
  const values = new Float32Array(bytes / 4);
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
