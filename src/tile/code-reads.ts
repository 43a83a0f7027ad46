/**
 * Reading codes from multibit ROM cells: which level a cell is told to have, and how often a wrong one.
 *
 * A weight's code c of b bits is the word v = c + 2^(b-1), held as digits of base `levels`, least first, one digit a cell.
 * The top digit may have fewer values; they lie as far apart as the levels allow. A cell of level k whose threshold is
 * shifted by dV ~ N(0, sigma(Vt)) is read as k + m or more where dV exceeds its margin upwards plus the whole widths of the
 * m - 1 levels between, and likewise downwards:
 *
 *   P(read >= k + m) = Q((up[k] + sum_{j=k+1}^{k+m-1} (down[j] + up[j])) / sigma(Vt))
 *
 * Margins are those of SPICE (src/cell/circuits/rom.ts). One uniform number is drawn per cell and chip by the cell's place
 * in the matrix: the threshold's place in its distribution. What a chip misreads it misreads for every token.
 */
import type { RomCondition } from '../cell/circuits/rom.ts';
import { normalTail } from '../normal-tail.ts';
import { bits32, type StreamKey } from '../random.ts';
import { DRAW, drawKey } from './draws.ts';
import { cellCode, type HardwareWeights, weightCode } from './weight-code.ts';

/** Plain data, handed to threads. */
export interface CodeReads {
  /** Of a cell; a power of two. */
  readonly levels: number;
  readonly sigmaVtV: number;
  /** [levels] threshold shifts that are misread, V; null at the ends. */
  readonly marginDownV: RomCondition['marginDownV'];
  readonly marginUpV: RomCondition['marginUpV'];
}

/** Cells of a weight of `bits`. */
export const cellsPerWord = (bits: number, levels: number): number => Math.ceil(bits / Math.log2(levels));

/** [levels][levels] P(read <= j) of a cell of each level; the last of each is 1. */
export function readProbabilities({ levels, sigmaVtV, marginDownV, marginUpV }: CodeReads): number[][] {
  const width = (k: number) => (marginDownV[k] ?? 0) + (marginUpV[k] ?? 0);
  const tail = (shiftV: number) => normalTail(shiftV / sigmaVtV);
  return Array.from({ length: levels }, (_, k) => {
    const below: number[] = Array(levels).fill(0);
    let shiftV = marginDownV[k] ?? 0;
    for (let j = k - 1; j >= 0; j--) {
      below[j] = tail(shiftV);
      shiftV += width(j);
    }
    shiftV = marginUpV[k] ?? 0;
    for (let j = k; j < levels - 1; j++) {
      below[j] = 1 - tail(shiftV);
      shiftV += width(j + 1);
    }
    below[levels - 1] = 1;
    return below;
  });
}

/** Codes of one chip and matrix as they are read. */
export interface CodeReader {
  /** `cell`: number of the weight in its matrix, row x outputs + output. */
  read(code: number, cell: number): number;
}

export function newCodeReader(
  reads: CodeReads,
  bits: number,
  chipSeed: number,
  place: { readonly layer: number; readonly tensor: number },
): CodeReader {
  const { levels } = reads;
  const digitBits = Math.log2(levels);
  const digits = cellsPerWord(bits, levels);
  const offset = 2 ** (bits - 1);
  const key = drawKey(DRAW.romCell, chipSeed, place.layer, place.tensor);
  const thresholds = readProbabilities(reads).map((row) => row.map((p) => p * 2 ** 32));
  const topValues = 2 ** (bits - (digits - 1) * digitBits);
  return {
    read(code, cell) {
      let word = code + offset;
      let read = 0;
      for (let d = 0, unit = 1; d < digits; d++, unit *= levels) {
        const values = d === digits - 1 ? topValues : levels;
        const digit = word % values;
        word = (word - digit) / values;
        read += unit * readDigit(digit, values, levels, thresholds, key, cell * digits + d);
      }
      return read - offset;
    },
  };
}

function readDigit(
  digit: number,
  values: number,
  levels: number,
  thresholds: readonly (readonly number[])[],
  key: StreamKey,
  draw: number,
): number {
  const spread = values < levels ? (levels - 1) / (values - 1) : 1;
  const row = thresholds[spread === 1 ? digit : Math.round(digit * spread)];
  const u = bits32(key, draw) + 0.5;
  let level = 0;
  while (u >= row[level]) level++;
  return spread === 1 ? level : Math.round(level / spread);
}

/** A matrix as a chip reads it. */
export function readWeights(
  weights: HardwareWeights,
  reads: CodeReads,
  chipSeed: number,
  place: { readonly layer: number; readonly tensor: number },
): HardwareWeights {
  const { format, outputs, columns } = weights;
  const reader = newCodeReader(reads, format.bits, chipSeed, place);
  const tiles = weights.tiles.map((tile) => {
    const codes = new Int8Array(tile.codes.length);
    for (let j = 0; j < tile.rows; j++) {
      for (let n = 0; n < outputs; n++) {
        const code = reader.read(weightCode(weights, tile.codes, j, n), (tile.rowStart + j) * outputs + n);
        for (let c = 0; c < format.cellWeights.length; c++) {
          codes[j * columns + c * outputs + n] = cellCode(code, c, format);
        }
      }
    }
    return { ...tile, codes };
  });
  return { ...weights, tiles };
}
