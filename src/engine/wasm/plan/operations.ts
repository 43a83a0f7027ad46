/**
 * The operations of an engine: one per linear layer, and where its weights lie. Plain data, made on the main thread
 * (plan-operations.ts) and handed to the workers, which import nothing of the planning.
 */

import type { LinearName } from '../../../fabric/linear.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import type { Epilogue } from '../kernels/panel-job.ts';
import type { Source } from '../kernels/prepare.ts';
import type { DigitalPlan } from './digital.ts';

/** One linear layer, as it is computed. */
export interface Operation {
  readonly name: LinearName;
  readonly outputs: number;
  readonly inputs: number;
  readonly panels: number;
  /** `int8`: blocks with a scale each; `codes`: mapped weights in exact arithmetic; `tile`: analog tiles. */
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
  /** Largest input where no table codes it, and the group that shares its scale. */
  readonly inputTop: number;
  readonly inputScale: 'tile' | 'token';
  /** int8: the largest code. */
  readonly top: number;
  /** Weights are at most SMALL_WEIGHT: `gemm_small` does. */
  readonly small: boolean;
  readonly source: Source;
  readonly epilogue: Epilogue;
  /** Index of the weights memory and of the tables memory, and where panel 0 lies in each. */
  readonly memory: number;
  readonly at: number;
  readonly tablesAt: number;
  /** Of a panel: of its weights, and of its tables. */
  readonly panelBytes: number;
  readonly panelTables: number;
  /** Of matrices whose codes come from a chip image. */
  readonly digital: DigitalPlan | undefined;
}

export const padded = (n: number): number => Math.ceil(n / PANEL_COLUMNS) * PANEL_COLUMNS;
/** Quads of a tile: whole pairs, because gemm takes two at a time. */
export const countQuads = (rows: number): number => 2 * Math.ceil(rows / 8);

/** Bytes of each weights memory, and of each tables memory. */
export function memoryBytes(operations: readonly Operation[]): { weights: number[]; tables: number[] } {
  const weights: number[] = [];
  const tables: number[] = [];
  for (const { memory, at, tablesAt, panels, panelBytes, panelTables } of operations) {
    weights[memory] = Math.max(weights[memory] ?? 0, at + panels * panelBytes);
    tables[memory] = Math.max(tables[memory] ?? 0, tablesAt + panels * panelTables);
  }
  return { weights, tables };
}

/** Do two operations see the same encoded inputs? */
export function sameInputs(a: Operation, b: Operation): boolean {
  return (
    a.kind === b.kind &&
    a.rows === b.rows &&
    a.taps === b.taps &&
    a.planes === b.planes &&
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
