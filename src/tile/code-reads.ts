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
  const valuesOf = (d: number) => (d === digits - 1 ? topValues : levels);
  const readAll = (word: number, cell: number): number => {
    let rest = word;
    let read = 0;
    for (let d = 0, unit = 1; d < digits; d++, unit *= levels) {
      const values = valuesOf(d);
      const digit = rest % values;
      rest = (rest - digit) / values;
      read += unit * readDigit(digit, values, levels, thresholds, key, cell * digits + d);
    }
    return read - offset;
  };
  // Nearly all cells are read as they are: their draws lie between the thresholds of their own level.
  const bounds = keptBounds(2 ** bits, digits, valuesOf, levels, thresholds);
  return {
    read(code, cell) {
      const word = code + offset;
      for (let d = 0; d < digits; d++) {
        const u = bits32(key, cell * digits + d) + 0.5;
        const at = 2 * (word * digits + d);
        if (u < bounds[at] || u >= bounds[at + 1]) return readAll(word, cell);
      }
      return code;
    },
  };
}

/** Level of a cell for a digit of `values` values: as far apart as the levels allow. */
const levelOf = (digit: number, values: number, levels: number): number =>
  Math.round((digit * (levels - 1)) / (values - 1));

/** [words][digits][2] draws from which on, and below which, a cell is read as its own level. */
function keptBounds(
  words: number,
  digits: number,
  valuesOf: (digit: number) => number,
  levels: number,
  thresholds: readonly (readonly number[])[],
): Float64Array {
  const bounds = new Float64Array(2 * words * digits);
  for (let word = 0; word < words; word++) {
    let rest = word;
    for (let d = 0; d < digits; d++) {
      const values = valuesOf(d);
      const digit = rest % values;
      rest = (rest - digit) / values;
      const level = levelOf(digit, values, levels);
      const at = 2 * (word * digits + d);
      bounds[at] = level > 0 ? thresholds[level][level - 1] : 0;
      bounds[at + 1] = thresholds[level][level];
    }
  }
  return bounds;
}

function readDigit(
  digit: number,
  values: number,
  levels: number,
  thresholds: readonly (readonly number[])[],
  key: StreamKey,
  draw: number,
): number {
  const row = thresholds[levelOf(digit, values, levels)];
  const u = bits32(key, draw) + 0.5;
  let level = 0;
  while (u >= row[level]) level++;
  return Math.round((level * (values - 1)) / (levels - 1));
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
