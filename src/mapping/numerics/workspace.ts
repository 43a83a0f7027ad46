/**
 * One matrix on its way to codes: weights, codes and errors in panels, second moments and their factor as squares.
 *
 * A workspace is made for the largest matrix of a model and reused. `loadMoments` serves several matrices in turn: q, k
 * and v share their input, gate and up do.
 */
import type { Coding, CodingProblem } from '../coding.ts';
import { type FactorRoom, factorElements, factorRoom } from './factor.ts';
import { BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES } from './kernels/multiply.ts';
import {
  BLOCK,
  DEPTH,
  floats,
  type Numerics,
  newNumerics,
  paddedRows,
  panelCount,
  room,
  words,
} from './numerics.ts';
import { type Rotator, rotationElements, rotationRoom } from './rotate.ts';

export interface WorkspaceLimits {
  readonly outputs: number;
  readonly inputs: number;
  readonly tileRows: number;
  /** Most elements of one matrix's panels (`panelElements`); default: those of `outputs` by `inputs`. */
  readonly elements?: number;
}

/** Elements of the panels of a matrix, padding included. */
export const panelElements = (outputs: number, inputs: number): number =>
  panelCount(outputs) * PANEL_COLUMNS * paddedRows(inputs);

/** Byte addresses; see the layouts in numerics.ts. */
interface Places {
  readonly weights: number; // panels
  readonly codes: number; // panels
  readonly errors: number; // panels, w - s c
  readonly products: number; // panels, (H w)
  readonly moments: number; // square
  readonly factor: number; // square
  readonly scales: number; // [panels][tiles][16]
  readonly inverses: number; // [panels][tiles][16]
  readonly limit: number; // [16]
  readonly tileOf: number; // [rows] byte offset into a panel's scales
  readonly tileOfOrder: number; // the same in GPTQ's order
  readonly order: number; // [rows] byte offset of a row in a panel
  readonly inverseDiagonal: number; // [rows]
  readonly energy: number; // [rows]
  readonly packed: number; // [BLOCK][DEPTH]
  readonly sums: number; // [panels][BLOCK][16]
  readonly coupling: number; // [BLOCK][BLOCK]
  readonly base: number; // [BLOCK][16]
  readonly change: number; // [BLOCK][16]
  readonly moved: number; // [BLOCK][16]
  readonly lanes: number; // [8][16]
  readonly vectors: number; // [2][rows + 1][16]
}

export interface Workspace extends Rotator {
  readonly numerics: Numerics;
  readonly limits: WorkspaceLimits;
  readonly at: Places;
  readonly factorRoom: FactorRoom;
  /** Of the matrix in work. */
  outputs: number;
  inputs: number;
  /** Padded inputs. */
  rows: number;
  panels: number;
  tiles: number;
  tileRows: number;
  magnitudeMax: number;
  /** `products` are those of the weights and moments that are loaded. */
  multiplied: boolean;
  /** Damping with which the factor was formed, undefined while there is none. */
  factored: number | undefined;
}

/** Bytes of a workspace's memory. */
export function workspaceBytes({ outputs, inputs, tileRows, elements: most }: WorkspaceLimits): number {
  const rows = paddedRows(inputs);
  const panels = panelCount(outputs);
  const tiles = Math.ceil(inputs / tileRows);
  const elements =
    4 * (most ?? panelElements(outputs, inputs)) +
    2 * rows * rows +
    2 * panels * tiles * PANEL_COLUMNS +
    5 * rows +
    2 * (rows + 1) * PANEL_COLUMNS +
    BLOCK * DEPTH +
    panels * BLOCK * PANEL_COLUMNS +
    BLOCK * BLOCK +
    4 * BLOCK * PANEL_COLUMNS +
    factorElements(rows) +
    rotationElements(Math.max(outputs, inputs));
  return 4 * elements + 2 ** 16;
}

export async function newWorkspace(limits: WorkspaceLimits): Promise<Workspace> {
  const numerics = await newNumerics(workspaceBytes(limits));
  const rows = paddedRows(limits.inputs);
  const panels = panelCount(limits.outputs);
  const tiles = Math.ceil(limits.inputs / limits.tileRows);
  const elements = limits.elements ?? panelElements(limits.outputs, limits.inputs);
  const take = (count: number, what = 'the mapping of a matrix'): number => room(numerics, count, what);
  const at: Places = {
    weights: take(elements),
    codes: take(elements),
    errors: take(elements),
    products: take(elements),
    moments: take(rows * rows),
    factor: take(rows * rows),
    scales: take(panels * tiles * PANEL_COLUMNS),
    inverses: take(panels * tiles * PANEL_COLUMNS),
    limit: take(PANEL_COLUMNS),
    tileOf: take(rows),
    tileOfOrder: take(rows),
    order: take(rows),
    inverseDiagonal: take(rows),
    energy: take(rows),
    packed: take(BLOCK * DEPTH),
    sums: take(panels * BLOCK * PANEL_COLUMNS),
    coupling: take(BLOCK * BLOCK),
    base: take(BLOCK * PANEL_COLUMNS),
    change: take(BLOCK * PANEL_COLUMNS),
    moved: take(BLOCK * PANEL_COLUMNS),
    lanes: take(8 * PANEL_COLUMNS),
    vectors: take(2 * (rows + 1) * PANEL_COLUMNS),
  };
  return {
    numerics,
    limits,
    at,
    factorRoom: factorRoom(numerics, rows),
    rotationRoom: rotationRoom(numerics, Math.max(limits.outputs, limits.inputs)),
    outputs: 0,
    inputs: 0,
    rows: 0,
    panels: 0,
    tiles: 0,
    tileRows: limits.tileRows,
    magnitudeMax: 0,
    multiplied: false,
    factored: undefined,
  };
}

/** Takes H[K][K] + `ridge` mean(diag H) I as the second moments of the matrices that follow. */
export function loadMoments(workspace: Workspace, moments: Float32Array, inputs: number, ridge = 0): void {
  const rows = paddedRows(inputs);
  const square = floats(workspace.numerics, workspace.at.moments, rows * rows);
  if (rows !== inputs) square.fill(0);
  const energy = floats(workspace.numerics, workspace.at.energy, rows);
  energy.fill(0);
  let mean = 0;
  for (let j = 0; j < inputs; j++) {
    square.set(moments.subarray(j * inputs, (j + 1) * inputs), j * rows);
    energy[j] = moments[j * inputs + j];
    mean += energy[j] / inputs;
  }
  for (let j = inputs; j < rows; j++) square[j * rows + j] = mean || 1;
  for (let j = 0; ridge > 0 && j < inputs; j++) {
    energy[j] += ridge * mean;
    square[j * rows + j] = energy[j];
  }
  workspace.inputs = inputs;
  workspace.rows = rows;
  workspace.tiles = Math.ceil(inputs / workspace.tileRows);
  workspace.factored = undefined;
  workspace.multiplied = false;
  const tileOf = words(workspace.numerics, workspace.at.tileOf, rows);
  for (let j = 0; j < rows; j++) tileOf[j] = tileOfRow(workspace, j) * ROW_BYTES;
}

/** Padding belongs to the last tile. */
export const tileOfRow = (workspace: Workspace, row: number): number =>
  Math.min(workspace.tiles - 1, Math.floor(row / workspace.tileRows));

/** Takes W[N][K]; codes, scales and errors are undefined until a method sets them. */
export function loadWeights(workspace: Workspace, problem: CodingProblem): void {
  const { weights, outputs, inputs } = problem;
  workspace.multiplied = false;
  workspace.outputs = outputs;
  workspace.panels = panelCount(outputs);
  workspace.magnitudeMax = problem.magnitudeMax;
  floats(workspace.numerics, workspace.at.limit, PANEL_COLUMNS).fill(problem.magnitudeMax);
  const { rows } = workspace;
  for (let p = 0; p < workspace.panels; p++) {
    const panel = panelOf(workspace, workspace.at.weights, p);
    if (rows !== inputs || (p + 1) * PANEL_COLUMNS > outputs) panel.fill(0);
    const last = Math.min(outputs, (p + 1) * PANEL_COLUMNS);
    for (let n = p * PANEL_COLUMNS; n < last; n++) {
      const lane = n % PANEL_COLUMNS;
      for (let j = 0, from = n * inputs; j < inputs; j++, from++) {
        panel[j * PANEL_COLUMNS + lane] = weights[from];
      }
    }
  }
}

/** A panel [rows][16] of weights, codes or errors. */
export function panelOf(workspace: Workspace, at: number, panel: number): Float32Array {
  return floats(workspace.numerics, panelAddress(workspace, at, panel), workspace.rows * PANEL_COLUMNS);
}

export const panelAddress = (workspace: Workspace, at: number, panel: number): number =>
  at + panel * workspace.rows * ROW_BYTES;

export const scalesAddress = (workspace: Workspace, at: number, panel: number): number =>
  at + panel * workspace.tiles * ROW_BYTES;

/** The scales [tiles][16] of a panel. */
export function scalesOf(workspace: Workspace, panel: number): Float32Array {
  return floats(
    workspace.numerics,
    scalesAddress(workspace, workspace.at.scales, panel),
    workspace.tiles * PANEL_COLUMNS,
  );
}

/** Call after scales changed: 1 / s, and 0 for a scale of zero. */
export function invertScales(workspace: Workspace): void {
  const count = workspace.panels * workspace.tiles * PANEL_COLUMNS;
  const scales = floats(workspace.numerics, workspace.at.scales, count);
  const inverses = floats(workspace.numerics, workspace.at.inverses, count);
  for (let i = 0; i < count; i++) inverses[i] = scales[i] > 0 ? 1 / scales[i] : 0;
}

/** Copies codes and scales out. */
export function readCoding(workspace: Workspace): Coding {
  const { outputs, inputs } = workspace;
  const codes = new Int8Array(outputs * inputs);
  for (let n = 0; n < outputs; n++) {
    const panel = panelOf(workspace, workspace.at.codes, Math.floor(n / PANEL_COLUMNS));
    const lane = n % PANEL_COLUMNS;
    for (let j = 0; j < inputs; j++) codes[n * inputs + j] = panel[j * PANEL_COLUMNS + lane];
  }
  return { codes, scales: readScales(workspace) };
}

/** Copies the scales out: [N][tiles]. */
export function readScales(workspace: Workspace): Float32Array {
  const { outputs, tiles } = workspace;
  const scales = new Float32Array(outputs * tiles);
  for (let n = 0; n < outputs; n++) {
    const panel = scalesOf(workspace, Math.floor(n / PANEL_COLUMNS));
    const lane = n % PANEL_COLUMNS;
    for (let t = 0; t < tiles; t++) scales[n * tiles + t] = panel[t * PANEL_COLUMNS + lane];
  }
  return scales;
}

/** Puts a coding in, as `readCoding` gives it. */
export function writeCoding(workspace: Workspace, coding: Coding): void {
  const { outputs, inputs, tiles } = workspace;
  for (let p = 0; p < workspace.panels; p++) {
    const panel = panelOf(workspace, workspace.at.codes, p);
    panel.fill(0);
    const panelScales = scalesOf(workspace, p);
    panelScales.fill(0);
    for (let n = p * PANEL_COLUMNS; n < Math.min(outputs, (p + 1) * PANEL_COLUMNS); n++) {
      const lane = n % PANEL_COLUMNS;
      for (let j = 0; j < inputs; j++) panel[j * PANEL_COLUMNS + lane] = coding.codes[n * inputs + j];
      for (let t = 0; t < tiles; t++) panelScales[t * PANEL_COLUMNS + lane] = coding.scales[n * tiles + t];
    }
  }
  invertScales(workspace);
}

/** errors = w - s c of the whole matrix. */
export function formErrors(workspace: Workspace): void {
  const { kernels } = workspace.numerics;
  const { at } = workspace;
  for (let p = 0; p < workspace.panels; p++) {
    kernels.residual(
      panelAddress(workspace, at.weights, p),
      panelAddress(workspace, at.codes, p),
      scalesAddress(workspace, at.scales, p),
      at.tileOf,
      panelAddress(workspace, at.errors, p),
      workspace.rows,
    );
  }
}

/**
 * sums[p][i][n] = sum_{from <= j < to} square[j][first + i] source[p][j][n] for `count` columns (a multiple of 6) of a
 * square, for every panel: the product that GPTQ, descent, refit and the objective consist of.
 */
export function multiplyColumns(
  workspace: Workspace,
  square: number,
  first: number,
  count: number,
  source: number,
  from: number,
  to: number,
): void {
  const { kernels } = workspace.numerics;
  const { at, rows, panels } = workspace;
  if (to <= from) {
    floats(workspace.numerics, at.sums, panels * BLOCK * PANEL_COLUMNS).fill(0);
    return;
  }
  for (let start = from; start < to; start += DEPTH) {
    const depth = Math.min(DEPTH, to - start);
    const columns = square + 4 * (start * rows + first);
    kernels.pack_blocks(columns, at.packed, depth, 4 * rows, count / BLOCK_ROWS);
    const multiply = start === from ? kernels.multiply_set : kernels.multiply_add;
    for (let p = 0; p < panels; p++) {
      multiply(
        at.packed,
        panelAddress(workspace, source, p) + start * ROW_BYTES,
        sumsAddress(workspace, p),
        count / BLOCK_ROWS,
        depth,
        ROW_BYTES,
      );
    }
  }
}

/** Sums [BLOCK][16] of a panel. */
export const sumsAddress = (workspace: Workspace, panel: number): number =>
  workspace.at.sums + panel * BLOCK * ROW_BYTES;

/**
 * x_n H x_n^T for each output, x = `source` panels: [outputs]. H is symmetric, so products of a block's rows with the rows
 * behind it count twice: K^2 operations an output, not 2 K^2.
 */
export function energies(workspace: Workspace, source: number): Float64Array {
  const { numerics, at, rows, panels, outputs } = workspace;
  const totals = new Float64Array(panels * PANEL_COLUMNS);
  const lanes = floats(numerics, at.lanes, PANEL_COLUMNS);
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    for (const [from, to, times] of [
      [first, first + count, 1],
      [first + count, rows, 2],
    ]) {
      if (from === to) continue;
      multiplyColumns(workspace, at.moments, first, count, source, from, to);
      for (let p = 0; p < panels; p++) {
        lanes.fill(0);
        const panel = panelAddress(workspace, source, p) + first * ROW_BYTES;
        numerics.kernels.dot_rows(sumsAddress(workspace, p), panel, at.lanes, count);
        for (let n = 0; n < PANEL_COLUMNS; n++) totals[p * PANEL_COLUMNS + n] += times * lanes[n];
      }
    }
  }
  return totals.subarray(0, outputs);
}

/** products = H w of the whole matrix, once for weights and moments that stay. */
export function formProducts(workspace: Workspace): void {
  if (workspace.multiplied) return;
  const { numerics, at, rows, panels } = workspace;
  const { buffer } = numerics.arena.memory;
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    multiplyColumns(workspace, at.moments, first, count, at.weights, 0, rows);
    for (let p = 0; p < panels; p++) {
      const to = panelAddress(workspace, at.products, p) + first * ROW_BYTES;
      new Uint8Array(buffer).copyWithin(
        to,
        sumsAddress(workspace, p),
        sumsAddress(workspace, p) + count * ROW_BYTES,
      );
    }
  }
  workspace.multiplied = true;
}

/** w_n H w_n^T for each output: [outputs]. */
export function weightEnergies(workspace: Workspace): Float64Array {
  const { numerics, at, rows, panels, outputs } = workspace;
  formProducts(workspace);
  const totals = new Float64Array(panels * PANEL_COLUMNS);
  const lanes = floats(numerics, at.lanes, PANEL_COLUMNS);
  for (let p = 0; p < panels; p++) {
    // Sums of a block in f32, of all blocks in double.
    for (let first = 0; first < rows; first += BLOCK) {
      lanes.fill(0);
      const offset = first * ROW_BYTES;
      const weights = panelAddress(workspace, at.weights, p) + offset;
      const products = panelAddress(workspace, at.products, p) + offset;
      numerics.kernels.dot_rows(products, weights, at.lanes, Math.min(BLOCK, rows - first));
      for (let n = 0; n < PANEL_COLUMNS; n++) totals[p * PANEL_COLUMNS + n] += lanes[n];
    }
  }
  return totals.subarray(0, outputs);
}
