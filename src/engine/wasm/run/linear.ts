/**
 * A linear layer in a worker: encode the inputs of all tokens, then multiply panel by panel.
 *
 * Encoding leaves, per tile and token, the scale and sums of kernels/encode.ts; from these and the tile's numbers follow
 * the parameters of the epilogue (kernels/adc.ts): the output scale, and on a chip the keys of its draws, the common
 * gain and the noise. Encoded inputs are shared by the operations that read the same activations.
 */

import type { Droop } from '../../../cell/droop.ts';
import { gaussian, type TokenPosition } from '../../../random.ts';
import { type TileNoise, tileNoise, tokenKey } from '../../../tile/draws.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import { BYTE_TOP } from '../../integers.ts';
import type { Batch } from '../control.ts';
import { COUNTS_BYTES, TILE_BYTES, TOKEN, TOKEN_BYTES } from '../kernels/adc.ts';
import { cellsBytes } from '../kernels/cells.ts';
import {
  BYTE_LEVELS,
  ENCODED,
  ENCODED_BYTES,
  type EncodeKind,
  encodeName,
  runEncode,
  runEncodeBytes,
} from '../kernels/encode.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from '../kernels/gemm.ts';
import { JOB, JOB_BYTES, type JobField, panelName, sumsBytes } from '../kernels/panel-job.ts';
import { INPUT_ZERO, QUAD_BYTES } from '../kernels/prepare.ts';
import { RANGE_WORDS } from '../kernels/record.ts';
import { FIGURE, FIGURES, type WorkerContext } from '../plan/context.ts';
import {
  countQuads,
  type Operation,
  padded,
  ROW_BYTES,
  rowTableBytes,
  weightsOf,
} from '../plan/operations.ts';
import { tilePlace, tileRows } from '../plan/tile-place.ts';
import { prepareInputs } from './digital.ts';
import { placeOf } from './place.ts';

/** A linear layer's place in its group: which input and table buffers are its own. */
interface Slot {
  readonly input: number;
  readonly table: number;
}

const memberSlot = (context: WorkerContext, member: number): Slot => ({
  input: context.data.ownInputs ? member : 0,
  table: member,
});

/** Are the weights of a panel touched before they are used? With a batch and tiles of few rows it takes longer than it saves. */
const isTouched = ({ rows }: Operation, { count }: Batch, only: OneTile | undefined): boolean =>
  only === undefined && (count === 1 || rows >= 64);

/** Bytes of the inputs of one tile, all tokens. */
function inputStride(operation: Operation, count: number): { x: number; magnitude: number } {
  const quads = countQuads(operation.rows);
  const tokens = count === 1 ? 1 : BLOCK_TOKENS * Math.ceil(count / BLOCK_TOKENS);
  return { x: quads * 4 * operation.rank * operation.planes * tokens, magnitude: quads * 4 * tokens };
}

/**
 * Encodes token `token` (row `a` of activations) for a group of operations that read it, and fills their tables. With a
 * chip image the row becomes what the tiles' drivers code.
 */
export function encodeToken(
  context: WorkerContext,
  group: readonly number[],
  batch: Batch,
  token: number,
  a: number,
): void {
  prepareInputs(context, group, token, a);
  group.forEach((index, member) => {
    const slot = memberSlot(context, member);
    // Otherwise the first of the group has encoded for all.
    if (member === 0 || context.data.ownInputs) encodeInputs(context, index, slot, batch, token, a);
    fillTable(context, index, slot, batch, token);
  });
}

/** Encodes what `encodeToken` has left of row `a`: the difference to what its bytes say, in a row of the worker's own. */
export function encodeRest(
  context: WorkerContext,
  group: readonly number[],
  batch: Batch,
  token: number,
  a: number,
): void {
  const rest = context.data.layout.rests[context.index];
  group.forEach((index, member) => {
    const slot = memberSlot(context, member);
    if (member === 0 || context.data.ownInputs) {
      subtractEncoded(context, index, slot, batch, token, a, rest);
      encodeInputs(context, index, slot, batch, token, rest);
    }
    fillTable(context, index, slot, batch, token);
  });
}

/** Encodes row `a` of magnitudes up to 1 for one operation, and fills its tables: a test vector. */
export function encodeVector(
  context: WorkerContext,
  index: number,
  batch: Batch,
  token: number,
  a: number,
): void {
  const slot = memberSlot(context, 0);
  encodeInputs(context, index, slot, batch, token, a, 1);
  fillTable(context, index, slot, batch, token);
}

/** rest [padded K] = a - what was encoded of it: two planes of 7 bits, times scale / top of the tile. */
function subtractEncoded(
  { data, f32, bytes }: WorkerContext,
  index: number,
  slot: Slot,
  batch: Batch,
  token: number,
  a: number,
  rest: number,
): void {
  const operation = data.operations[index];
  const { tiles, rows, inputs, inputTop, planes } = operation;
  const { layout } = data;
  const perBlock = batch.count === 1 ? 1 : BLOCK_TOKENS;
  const stride = inputStride(operation, batch.count);
  f32.fill(0, rest / 4, rest / 4 + padded(inputs));
  for (let tile = 0; tile < tiles; tile++) {
    const planeBytes = countQuads(tileRows(operation, tile)) * perBlock * 4;
    const block = Math.floor(token / perBlock) * planes * planeBytes;
    const x = layout.inputs[slot.input] + tile * stride.x + block + (token % perBlock) * 4;
    const encoded = layout.encoded[slot.input] + (tile * batch.count + token) * ENCODED_BYTES;
    const unit = f32[(encoded + ENCODED.scale) / 4] / inputTop;
    const from = tile * rows;
    for (let j = 0; j < tileRows(operation, tile); j++) {
      const at = x + (j >> 2) * perBlock * 4 + (j & 3);
      const code = (bytes[at] - INPUT_ZERO) * 128 + bytes[at + planeBytes];
      f32[rest / 4 + from + j] = f32[a / 4 + from + j] - code * unit;
    }
  }
}

/** Encoding of an operation's inputs, the same for every token and tile. */
interface Encoding {
  readonly kind: EncodeKind;
  /** Largest level. */
  readonly top: number;
  readonly table: number;
  readonly tableBytes: number;
  /** Last entry of the table that drives no row. */
  readonly idle: number;
  /** Noise of rows, relative to their current; 0 where none is drawn. */
  readonly rowNoise: number;
}

function operationEncoding(
  { data, integerResponses, physics }: WorkerContext,
  operation: Operation,
): Encoding {
  const { kind, taps, inputTop } = operation;
  if (kind !== 'tile') return { kind: 'plain', top: inputTop, table: 0, tableBytes: 0, idle: 0, rowNoise: 0 };
  const { levels, idle } = integerResponses.get(taps)!;
  const noise = data.chip.errors ? physics!.design.driver.noiseV * physics!.rowSlopePerV : 0;
  const rowNoise = data.ownInputs ? noise : 0;
  return {
    kind: rowNoise > 0 ? 'noisy' : 'table',
    top: levels - 1,
    table: data.layout.encodings[taps],
    tableBytes: levels * 4,
    idle,
    rowNoise,
  };
}

/** `scale`: what inputs are relative to, by default the largest of their group. */
function encodeInputs(
  context: WorkerContext,
  index: number,
  slot: Slot,
  batch: Batch,
  token: number,
  a: number,
  scale?: number,
): void {
  const { data, kernels, f32, i32 } = context;
  const operation = data.operations[index];
  const { tiles, rows, rank, planes, taps } = operation;
  const { layout } = data;
  const wasm = kernels[0];
  const perBlock = batch.count === 1 ? 1 : BLOCK_TOKENS;
  const stride = inputStride(operation, batch.count);
  const { kind, top, table, tableBytes, idle, rowNoise } = operationEncoding(context, operation);
  const encode = wasm[encodeName(kind, planes)];
  const inBytes = kind === 'table' && planes === 1 && top < BYTE_LEVELS;
  const block = Math.floor(token / perBlock);
  const inBlock = (token % perBlock) * 4;
  const first = layout.encoded[slot.input] + token * ENCODED_BYTES;
  const { phases } = operation;
  const signs = phases === 2 ? splitSigns(context, operation, a) : undefined;
  for (let virtual = 0; virtual < phases * tiles; virtual++) {
    const [phase, tile] = [Math.floor(virtual / tiles), virtual % tiles];
    const quads = countQuads(tileRows(operation, tile));
    const encoded = first + virtual * batch.count * ENCODED_BYTES;
    const row = signs?.[phase] ?? a;
    const from = row + tile * rows * 4;
    if (scale !== undefined) f32[encoded / 4] = scale;
    else if (phase === 1) f32[encoded / 4] = f32[encoded / 4 - (tiles * batch.count * ENCODED_BYTES) / 4];
    else if (operation.inputScale === 'tile') wasm.largest(a + tile * rows * 4, quads, encoded);
    else if (tile === 0) wasm.largest(a, padded(operation.inputs) / 4, encoded);
    else f32[encoded / 4] = f32[first / 4];
    i32[(encoded + ENCODED.idle) / 4] = 4 * idle;
    if (rowNoise > 0) setRowNoise(context, index, tile, batch, token, encoded, rowNoise);
    const rankBytes = quads * perBlock * 4;
    const planeBytes = rankBytes * rank;
    const operands = {
      a: from,
      quads,
      x: layout.inputs[slot.input] + virtual * stride.x + block * planes * planeBytes + inBlock,
      magnitude: layout.magnitudes[slot.input] + virtual * stride.magnitude + block * rankBytes + inBlock,
      step: perBlock * 4,
      planeBytes,
      rankBytes,
      rank,
      top,
      table,
      tableBytes,
      stats: encoded,
    };
    if (inBytes && quads % 4 === 0) {
      runEncodeBytes(wasm.encode_bytes, { ...operands, table: layout.byteEncodings[taps] });
    } else runEncode(encode, operands);
  }
}

/** Rows of the worker's own with the magnitudes of the positive and of the negative elements of row `a`, zero elsewhere. */
function splitSigns(
  { data, index, f32 }: WorkerContext,
  { inputs }: Operation,
  a: number,
): readonly [number, number] {
  const width = padded(inputs);
  const positive = data.layout.signs[index];
  const negative = positive + width * 4;
  for (let j = 0; j < width; j++) {
    const value = f32[a / 4 + j];
    f32[positive / 4 + j] = Math.max(value, 0);
    f32[negative / 4 + j] = Math.max(-value, 0);
  }
  return [positive, negative];
}

/** Key and size of what is drawn for the rows of a tile and token. */
function setRowNoise(
  context: WorkerContext,
  index: number,
  tile: number,
  { window, position }: Batch,
  token: number,
  encoded: number,
  noise: number,
): void {
  const { i32, f32 } = context;
  const key = tokenKey(operationNoise(context, index, tile).rowKey, { window, position: position + token });
  i32[(encoded + ENCODED.keyA) / 4] = key.a;
  i32[(encoded + ENCODED.keyB) / 4] = key.b;
  f32[(encoded + ENCODED.noise) / 4] = noise;
}

/** Keys of a tile's draws, kept from token to token. */
function operationNoise(context: WorkerContext, index: number, tile: number): TileNoise {
  const { data, noises, tileStarts } = context;
  const at = tileStarts[index] + tile;
  noises[at] ??= tileNoise(data.chip, tilePlace(data.operations[index], tile, data.shape.layers));
  return noises[at];
}

/** Parameters of the epilogue for one token, on every virtual tile. */
function fillTable(context: WorkerContext, index: number, slot: Slot, batch: Batch, token: number): void {
  const { data, f32, physics } = context;
  const operation = data.operations[index];
  const { tiles, cells, kind, inputTop } = operation;
  const encoded = layoutWords(data.layout.encoded[slot.input], token, batch.count, ENCODED_BYTES);
  const table = layoutWords(data.layout.tokenTables[slot.table], token, batch.count, TOKEN_BYTES);
  if (kind === 'tile' && physics) {
    addRowSums(context, index, encoded);
    const { position } = placeOf(context, batch, token);
    fillTileTable(context, physics, index, encoded, table, { window: batch.window, position });
    return;
  }
  if (operation.epilogue === 'blocks') {
    const step = outsStride(batch.count) / 4;
    for (let virtual = 0; virtual < cells * tiles; virtual++) {
      const scale = f32[encoded.first + (virtual % tiles) * encoded.step + ENCODED.scale / 4];
      f32[data.layout.tokenTables[slot.table] / 4 + virtual * step + token] = scale / inputTop;
    }
    return;
  }
  for (let virtual = 0; virtual < cells * tiles; virtual++) {
    const scale = f32[encoded.first + (virtual % tiles) * encoded.step + ENCODED.scale / 4];
    f32[table.first + virtual * table.step + TOKEN.out / 4] = scale / inputTop;
  }
}

/** Bytes from one block to the next in what the sums of a digital layer are times: whole groups of tokens. */
const outsStride = (count: number): number =>
  4 * (count === 1 ? 1 : BLOCK_TOKENS * Math.ceil(count / BLOCK_TOKENS));

/** A token's records in a table [tiles][tokens]: word of its first, and words from tile to tile. */
interface Words {
  readonly first: number;
  readonly step: number;
}
const layoutWords = (base: number, token: number, count: number, bytes: number): Words => ({
  first: (base + token * bytes) / 4,
  step: (count * bytes) / 4,
});

/** Collects what the rows of an operation's tiles carried, for its activity. */
function addRowSums(
  { data, f32, i32, index: worker, tileStarts }: WorkerContext,
  index: number,
  encoded: Words,
) {
  let row = (worker * tileStarts[tileStarts.length - 1] + tileStarts[index]) * 2;
  const { tiles, phases } = data.operations[index];
  for (let tile = 0; tile < tiles; tile++, row += 2) {
    for (let phase = 0; phase < phases; phase++) {
      const at = encoded.first + (phase * tiles + tile) * encoded.step;
      data.rowSums[row] += f32[at + ENCODED.sum / 4];
      data.rowSums[row + 1] += i32[at + ENCODED.active / 4];
    }
  }
}

function fillTileTable(
  context: WorkerContext,
  physics: TilePhysics,
  index: number,
  encoded: Words,
  table: Words,
  at: TokenPosition,
): void {
  const { data, f32, i32, integerResponses, virtualStarts } = context;
  const { figures } = data;
  const { tiles, cells, epilogue, taps, phases, conversions, outputs: columns } = data.operations[index];
  const coding = integerResponses.get(taps)!;
  const drawn = data.chip.errors && typeof epilogue !== 'string' && epilogue.noise !== 'off';
  const { phaseGainSigma, clampVariance, lowFrequencyVariance, design } = physics;
  const gained = data.chip.errors && phaseGainSigma > 0;
  // Phases whose charge a conversion takes.
  const integrated = design.tile.sign === 'integrate' ? 2 : 1;
  // Of the slow noise, lowFrequencyVariance sum(I^2): the sum is taken as sum u^2 sum v^2 / rows of its tile.
  const squareUnit = coding.leadingTop / (BYTE_TOP * coding.weightUnit);
  for (let turn = 0; turn < conversions * tiles; turn++) {
    const [conversion, tile] = [Math.floor(turn / tiles), turn % tiles];
    const from = encoded.first + turn * encoded.step;
    // Inputs of both signs are converted together, whether they were encoded together or not.
    const other = phases > conversions ? from + tiles * encoded.step : undefined;
    const sumOf = (field: number) =>
      f32[from + field / 4] + (other === undefined ? 0 : f32[other + field / 4]);
    const scale = f32[from + ENCODED.scale / 4];
    const sum = sumOf(ENCODED.sum);
    // Of two banks a column's sum of |w| has both, and each phase drives one.
    const meanInput = sum / (tileRows(data.operations[index], tile) * data.operations[index].banks);
    const noise = drawn || gained ? operationNoise(context, index, tile) : undefined;
    // Each phase has its own draw; on D = P - N with |P| and |N| alike, one draw of the same variance.
    const phaseDraw = gained ? gaussian(tokenKey(noise!.phaseKey, at), 2 * conversion) : 0;
    const common = gained ? Math.exp(phaseGainSigma * phaseDraw) : 1;
    // Noise of sampling is drawn with that of the currents: its own stream is a second conversion's.
    const key = drawn
      ? tokenKey(conversion === 0 ? noise!.conversionKey : noise!.samplingKey, at)
      : undefined;
    for (let cell = 0; cell < cells; cell++) {
      const virtual = cell * tiles + tile;
      const to = table.first + (conversion * cells * tiles + virtual) * table.step;
      const own = (virtualStarts[index] + virtual) * FIGURES;
      // Mean current of the tile's columns, in I_fs and in stored units: of all phases of the conversion, and of one of them.
      const meanStored = sum * figures[own + FIGURE.meanWeight];
      const tileGain = figures[own + FIGURE.gain];
      const meanCurrent = meanStored * coding.currentUnit * tileGain;
      const phaseCurrent = meanCurrent / integrated;
      // Paired rows: the cells of both banks leak into one phase.
      const banks = design.tile.sign === 'paired-rows' ? 2 : 1;
      const leak = (banks * physics.offCurrent * tileGain * figures[own + FIGURE.connected]) / columns;
      f32[to + TOKEN.out / 4] = conversion === 0 ? scale : -scale;
      f32[to + TOKEN.gain / 4] = common * droopGain(physics.droop, phaseCurrent, leak);
      if (key === undefined) continue;
      const perLsb2 = 1 / figures[own + FIGURE.lsb] ** 2;
      // Two lines a phase, each with half of its current.
      const clamps = (integrated * clampVariance * phaseCurrent * phaseCurrent * perLsb2) / 2;
      const floor = figures[own + FIGURE.floor] + clamps;
      const white = figures[own + FIGURE.perCurrent] * meanStored;
      const squares = figures[own + FIGURE.meanWeight] * figures[own + FIGURE.squareRatio];
      const slow =
        lowFrequencyVariance * sumOf(ENCODED.sumSquares) * squares * (squareUnit * tileGain) ** 2 * perLsb2;
      f32[to + TOKEN.current / 4] = meanInput;
      let [keyA, keyB] = [key.a, key.b];
      if (floor + white > 0) {
        f32[to + TOKEN.floor / 4] = floor;
        f32[to + TOKEN.sigma / 4] = Math.sqrt(floor + white);
        f32[to + TOKEN.slow / 4] = Math.sqrt(slow / (floor + white));
      } else {
        // Slow noise alone: the fast draw is replaced by one that is the same for all tokens of the window.
        const still = tokenKey(conversion === 0 ? noise!.lowFrequencyKey : noise!.samplingKey, {
          window: at.window,
          position: -1,
        });
        [keyA, keyB] = [still.a, still.b];
        f32[to + TOKEN.floor / 4] = slow;
        f32[to + TOKEN.sigma / 4] = Math.sqrt(slow);
        f32[to + TOKEN.slow / 4] = 0;
      }
      i32[to + TOKEN.keyA / 4] = keyA;
      i32[to + TOKEN.keyB / 4] = keyB;
    }
  }
}

/**
 * What wires, clamp and source line leave of the difference of a column's two lines, by the mean current of both in one phase and
 * that of the rows that are off, in I_fs: the slope of `applyDroop` (src/cell/droop.ts) where both carry half of it.
 */
function droopGain({ clamp, source, cascode }: Droop, current: number, leak: number): number {
  const linear = 1 - (clamp + source) * current;
  if (cascode === undefined || current + leak === 0) return linear;
  const { exponent, middleA } = cascode;
  return linear * exponent * ((current + leak) / 2 / middleA) ** (exponent - 1);
}

export interface LinearCall {
  readonly operation: number;
  /** Place in its group. */
  readonly member: number;
  /** Of the first token's row, and the row's width in elements. */
  readonly at: number;
  readonly width: number;
}

/** One tile of one cell of a weight. */
export interface OneTile {
  readonly cell: number;
  readonly tile: number;
}

/**
 * A worker's function that computes panel `panel` of a layer, or of `only` one tile, without trim, as if it were the whole.
 * Writes the job record once, then only what changes.
 */
export function panelRunner(
  context: WorkerContext,
  call: LinearCall,
  batch: Batch,
  only?: OneTile,
): (panel: number) => void {
  const { data, i32, kernels, virtualStarts, index } = context;
  const operation = data.operations[call.operation];
  const { layout } = data;
  const slot = memberSlot(context, call.member);
  const stride = inputStride(operation, batch.count);
  const bins =
    data.mode === 'range' ? layout.bins[index] + virtualStarts[call.operation] * RANGE_WORDS * 4 : 0;
  // A record for each member of the group: what is constant is written once.
  const job = layout.jobs[index] + call.member * JOB_BYTES;
  const set = (field: JobField, value: number) => {
    i32[(job + JOB[field]) / 4] = value;
  };
  const { tablesAt, panelTables, outputs } = operation;
  const rowTables = layout.rowTables[call.operation];
  const ladderColumns = data.physics?.design.ladder.columns ?? outputs;
  const ladderBytes = rowTableBytes(operation);
  const constant: Partial<Record<JobField, number>> = {
    weightBytes: isTouched(operation, batch, only) ? weightsOf(operation).panelBytes : 0,
    cells: operation.cells,
    columnsPerCell: operation.outputs,
    tiles: operation.tiles,
    quads: countQuads(operation.rows),
    lastQuads: countQuads(operation.lastRows),
    rank: operation.rank,
    planes: operation.planes,
    small: operation.small ? 1 : 0,
    phases: operation.phases,
    banks: operation.banks,
    conversions: operation.conversions,
    phaseX: operation.tiles * stride.x,
    phaseMagnitude: operation.tiles * stride.magnitude,
    phaseTokens: operation.cells * operation.tiles * batch.count * TOKEN_BYTES,
    phaseSums: sumsBytes(batch.count, operation.tiles),
    bankCells: cellsBytes(operation.rank),
    firstCell: 0,
    bankRows: Math.ceil(outputs / ladderColumns) * operation.cells * ladderBytes,
    x: layout.inputs[slot.input],
    xStride: stride.x,
    magnitude: layout.magnitudes[slot.input],
    magnitudeStride: stride.magnitude,
    tokens: layout.tokenTables[slot.table],
    tokensStride: operation.epilogue === 'blocks' ? outsStride(batch.count) : batch.count * TOKEN_BYTES,
    tileTable: layout.tileTables[call.operation],
    lookup: layout.lookups[call.operation],
    cellNumbers: layout.cellNumbers[call.operation],
    rowTablesStride: Math.ceil(outputs / ladderColumns) * ladderBytes,
    tileCells: operation.rows * operation.outputs * operation.cells,
    count: batch.count,
    outStride: call.width * 4,
    bins,
    scratch: layout.scratches[index],
  };
  if (only) Object.assign(constant, oneTileFields(operation, only, constant));
  const weights = weightsOf(operation);
  const start = only ? oneTileStarts(operation, only) : { weights: 0, tables: 0, rows: 0, column: 0 };
  const cellRows = (only?.cell ?? 0) * constant.rowTablesStride!;
  const shifts = only || operation.kind !== 'tile' ? undefined : layout.trim?.shifts[call.operation];
  const panelShifts = operation.cells * operation.tiles * PANEL_COLUMNS * 4;
  const run = kernels[weights.memory][panelName(operation.source, operation.epilogue, batch.count > 1)];
  for (const [field, value] of Object.entries(constant)) set(field as JobField, value);
  const at = job / 4;
  const counts = layout.counts[call.operation];
  return (panel) => {
    const column = panel * PANEL_COLUMNS;
    i32[at + JOB.weights / 4] = weights.at + panel * weights.panelBytes + start.weights;
    i32[at + JOB.tables / 4] = tablesAt + panel * panelTables + start.tables;
    i32[at + JOB.rowTables / 4] =
      rowTables + Math.floor(column / ladderColumns) * ladderBytes + start.rows + cellRows;
    i32[at + JOB.column / 4] = column + start.column;
    i32[at + JOB.shifts / 4] = shifts === undefined ? 0 : shifts + panel * panelShifts;
    i32[at + JOB.out / 4] = call.at + (only ? 0 : column * 4);
    i32[at + JOB.counts / 4] = counts + panel * COUNTS_BYTES;
    i32[at + JOB.columns / 4] = Math.min(PANEL_COLUMNS, operation.outputs - column);
    run(job);
  };
}

/** What the record has of one tile in place of the whole's. */
function oneTileFields(
  operation: Operation,
  { cell, tile }: OneTile,
  whole: Partial<Record<JobField, number>>,
): Partial<Record<JobField, number>> {
  const { tiles, rows, outputs, cells } = operation;
  const virtual = cell * tiles + tile;
  const quads = countQuads(tileRows(operation, tile));
  return {
    ...{ cells: 1, tiles: 1, quads, lastQuads: quads },
    firstCell: tile * rows * outputs * cells,
    x: whole.x! + tile * whole.xStride!,
    magnitude: whole.magnitude! + tile * whole.magnitudeStride!,
    tokens: whole.tokens! + virtual * whole.tokensStride!,
    tileTable: whole.tileTable! + virtual * TILE_BYTES,
  };
}

/** Where one tile begins, from where its panel does: its weights, tables of columns and of rows, and its first column. */
function oneTileStarts(
  operation: Operation,
  { cell, tile }: OneTile,
): Readonly<Record<'weights' | 'tables' | 'rows' | 'column', number>> {
  const { cells, tiles, rows, lastRows, rank, banks, source, outputs, panelTables } = operation;
  const quadBytes = source === 'bytes' ? rank * banks * QUAD_BYTES.bytes : QUAD_BYTES.codes;
  const before = (cell * (tiles - 1) + tile) * countQuads(rows) + cell * countQuads(lastRows);
  const virtual = cell * tiles + tile;
  return {
    weights: before * quadBytes,
    tables: (virtual * panelTables) / (cells * tiles),
    rows: 4 * tile * countQuads(rows) * ROW_BYTES,
    column: cell * outputs,
  };
}
