/**
 * Growth of errors through the model: the residual stream x[D] behind each block, held against the digital model's at the
 * same position of the same text.
 *
 *   SNR_block = 10 log10( sum x_digital^2 / sum (x - x_digital)^2 )        over positions and elements
 *
 * The digital job writes its states to states.f32, [rows][blocks][D]; the others read them. A row belongs to every
 * `stride`-th scored position, so that the file stays small for wide models.
 */
import { closeSync, openSync } from 'node:fs';
import { OnefetError } from '../error.ts';
import { readAt, writeAt } from '../files.ts';
import type { ModelShape } from '../model/shape.ts';
import type { BlockErrorSums, Job } from './job.ts';

/** Size of states.f32 that is not exceeded: 122 positions of Llama 3.1 8B. */
const STATES_BYTES = 64e6;

export interface BlockErrors {
  /** Is the state at the job's scored position number `index` wanted? */
  wants(index: number): boolean;
  /** The state x[D] behind `block` at that position. */
  add(index: number, block: number, x: Float32Array): void;
  sums(): BlockErrorSums;
  close(): void;
}

export function stateStride(shape: Pick<ModelShape, 'layers' | 'dim'>, scored: number): number {
  const rows = Math.max(1, Math.floor(STATES_BYTES / (4 * shape.layers * shape.dim)));
  return Math.max(1, Math.ceil(scored / rows));
}

/** For a job whose scored positions are rows job.baselineRow, ... of the whole run; undefined for `range`. */
export function openBlockErrors(
  job: Job,
  path: string,
  { layers, dim }: Pick<ModelShape, 'layers' | 'dim'>,
  stride: number,
): BlockErrors | undefined {
  const { kind } = job.variant;
  if (kind === 'range') return undefined;
  const handle = openSync(path, kind === 'digital' ? 'r+' : 'r');
  const signal = new Array<number>(layers).fill(0);
  const error = new Array<number>(layers).fill(0);
  const known = new Float32Array(dim);
  let positions = 0;
  return {
    wants: (index) => (job.baselineRow + index) % stride === 0,
    add(index, block, x) {
      const at = (((job.baselineRow + index) / stride) * layers + block) * dim * 4;
      if (block === 0) positions++;
      if (kind === 'digital') {
        writeAt(handle, bytesOf(x), at, 'the digital states');
        for (const value of x) signal[block] += value * value;
        return;
      }
      readState(handle, known, at);
      let squares = 0;
      let differences = 0;
      for (let i = 0; i < dim; i++) {
        squares += known[i] * known[i];
        differences += (x[i] - known[i]) ** 2;
      }
      signal[block] += squares;
      error[block] += differences;
    },
    sums: () => ({ positions, signal, error }),
    close: () => closeSync(handle),
  };
}

export function addBlockErrors(parts: readonly BlockErrorSums[]): BlockErrorSums {
  const sum = (of: (part: BlockErrorSums) => readonly number[]) =>
    of(parts[0]).map((_, block) => parts.reduce((total, part) => total + of(part)[block], 0));
  return {
    positions: parts.reduce((total, part) => total + part.positions, 0),
    signal: sum((part) => part.signal),
    error: sum((part) => part.error),
  };
}

/** By block; null where nothing differs. */
export function blockSnrDb({ signal, error }: BlockErrorSums): (number | null)[] {
  return signal.map((squares, block) => (error[block] > 0 ? 10 * Math.log10(squares / error[block]) : null));
}

const bytesOf = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

function readState(handle: number, x: Float32Array, at: number): void {
  if (readAt(handle, bytesOf(x), at)) return;
  throw new OnefetError('input', 'BASELINE_SHORT', 'the digital states of this run are damaged', {
    hint: 'remove the run folder and run again',
  });
}
