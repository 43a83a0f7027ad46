/**
 * The operations of an engine: one per linear layer, and where its weights lie. Plain data, made on the main thread
 * (plan-operations.ts) and handed to the workers, which import nothing of the planning.
 */

import type { LinearName } from '../../../fabric/linear.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import type { Epilogue } from '../kernels/panel-job.ts';
import type { Source } from '../kernels/prepare.ts';
import type { DigitalPlan } from './digital.ts';

/** Index of a weights memory, where panel 0 lies in it, and the bytes of a panel. */
export interface WeightsPlace {
  readonly memory: number;
  readonly at: number;
  readonly panelBytes: number;
}

/** One linear layer, as it is computed. */
export interface Operation {
  readonly name: LinearName;
  readonly outputs: number;
  readonly inputs: number;
  readonly panels: number;
  /** `int8`: digital, blocks with a scale each, bytes or the file's own codes; `codes`: mapped weights in exact arithmetic; `tile`: analog tiles. */
  readonly kind: 'int8' | 'codes' | 'tile';
  readonly bits: number;
  readonly taps: number;
  /** Rows of a tile or block, and of the last one. */
  readonly rows: number;
  readonly lastRows: number;
  readonly tiles: number;
  readonly cells: number;
  readonly rank: number;
  readonly planes: 1 | 2;
  /** A second pass over what coding the inputs leaves, added to the first. */
  readonly refined: boolean;
  /** Largest input where no table codes it, and the group that shares its scale. */
  readonly inputTop: number;
  readonly inputScale: 'tile' | 'token';
  /** Weights are at most SMALL_WEIGHT: `gemm_small` does. */
  readonly small: boolean;
  readonly source: Source;
  readonly epilogue: Epilogue;
  /** Products of a tile: of signed inputs; or 2, of the magnitudes of each sign. */
  readonly phases: 1 | 2;
  /** Cells of each weight beside each other: 2 where each sign of the input has its own and they differ. */
  readonly banks: 1 | 2;
  /** Conversions of a tile's column: of both phases together, or of each. */
  readonly conversions: 1 | 2;
  /** Which of the engine's resident parts has it (residents.ts). */
  readonly part: number;
  /** The model's weights, codes or bytes of int8: the same for every engine on it with these formats. */
  readonly resident: WeightsPlace;
  /** Index in the part's scales of panel 0's: [panels][cells][tiles][16]; those of `int8` stand in tables. */
  readonly scalesAt: number;
  /** Index in the part's counts of taps of the first virtual tile's. */
  readonly countsAt: number;
  /** The chip reads codes of its own (src/tile/code-reads.ts): they stand where baked weights would. */
  readonly misread: boolean;
  /**
   * Weights of one chip, baked or misread, in a memory of the engine's own; undefined: panels are computed from the
   * resident ones.
   */
  readonly baked: WeightsPlace | undefined;
  /** Where the tables of panel 0's columns lie in the tables memory of the weights, and the bytes of a panel's. */
  readonly tablesAt: number;
  readonly panelTables: number;
  /** Of matrices whose codes come from a chip image. */
  readonly digital: DigitalPlan | undefined;
}

export const padded = (n: number): number => Math.ceil(n / PANEL_COLUMNS) * PANEL_COLUMNS;
/** Quads of a tile: whole pairs, because gemm takes two at a time. */
export const countQuads = (rows: number): number => 2 * Math.ceil(rows / 8);

/** What panels are computed from. */
export const weightsOf = ({ baked, resident }: Operation): WeightsPlace => baked ?? resident;

/** Weights that engines on one model have in common; see residents.ts. */
export interface ResidentPart {
  readonly memories: readonly WebAssembly.Memory[];
  /** Digital scales of the weights: see Operation. */
  readonly scales: Float32Array;
  /** Of `int8`: the tables of its columns are everybody's. */
  readonly tables: readonly WebAssembly.Memory[] | undefined;
  /** [virtual tiles][TAP_COUNTS] cells by |code|, added up while loading. */
  readonly tapCounts: Int32Array;
}

/** Sizes of what a part of an engine's weights has. */
export interface PartSize {
  /** Numbers of its memories among the resident ones. */
  readonly memories: number[];
  readonly hasTables: boolean;
  /** Scales, and tiles whose taps are counted. */
  scales: number;
  tiles: number;
}

/** Bytes of the tables of a ladder's rows, those that pad each tile included. */
export const rowTableBytes = ({ tiles, rows, lastRows }: Operation): number =>
  4 * ((tiles - 1) * countQuads(rows) + countQuads(lastRows)) * ROW_BYTES;
/** Of one row: 16 bits for each of 8 taps. */
export const ROW_BYTES = 16;

/** Bytes of each memory, and what the parts have. */
export interface MemorySizes {
  readonly resident: number[];
  readonly parts: PartSize[];
  /** [resident memories], of the tables of the columns of each. */
  readonly tables: number[];
  /** Memories of baked weights, numbered behind the resident ones: `of` is the resident one whose tables they go with. */
  readonly baked: { readonly bytes: number; readonly of: number }[];
}

export function memorySizes(operations: readonly Operation[]): MemorySizes {
  const resident: number[] = [];
  const tables: number[] = [];
  const baked: MemorySizes['baked'] = [];
  const parts: PartSize[] = [];
  const count = 1 + Math.max(...operations.map((o) => o.resident.memory));
  for (const {
    resident: own,
    baked: bakedAt,
    part: index,
    kind,
    tablesAt,
    scalesAt,
    countsAt,
    panels,
    panelTables,
    cells,
    tiles,
  } of operations) {
    const { memory, at, panelBytes } = own;
    resident[memory] = at + panels * panelBytes;
    tables[memory] = tablesAt + panels * panelTables;
    parts[index] ??= { memories: [], hasTables: kind === 'int8', scales: 0, tiles: 0 };
    const part = parts[index];
    if (!part.memories.includes(memory)) part.memories.push(memory);
    if (!part.hasTables) part.scales = scalesAt + panels * cells * tiles * PANEL_COLUMNS;
    part.tiles = countsAt + cells * tiles;
    if (!bakedAt) continue;
    baked[bakedAt.memory - count] = { bytes: bakedAt.at + panels * bakedAt.panelBytes, of: memory };
  }
  return { resident, parts, tables, baked };
}

/** Do two operations see the same encoded inputs? */
export function sameInputs(a: Operation, b: Operation): boolean {
  return (
    a.kind === b.kind &&
    a.rows === b.rows &&
    a.taps === b.taps &&
    a.planes === b.planes &&
    a.phases === b.phases &&
    a.refined === b.refined &&
    a.inputTop === b.inputTop
  );
}

/** First virtual tile of each operation in the arrays over all of them. */
export function virtualStarts(operations: readonly Operation[]): number[] {
  const starts = [0];
  for (const o of operations) starts.push(starts[starts.length - 1] + o.cells * o.tiles);
  return starts;
}
/** The same for plain tiles. */
export function tileStarts(operations: readonly Operation[]): number[] {
  const starts = [0];
  for (const o of operations) starts.push(starts[starts.length - 1] + o.tiles);
  return starts;
}
