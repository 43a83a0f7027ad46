/**
 * One panel of a linear layer: 16 columns, all tiles, a batch of tokens or a single one.
 *
 *   y[tokens][16] = 0
 *   for cell: for tile:                       a weight may be several cells, each with its own columns and converters
 *     for phase: raw = sum_k w x, currents = sum_k |w| magnitude      (gemm over a prepared tile, or gemv)
 *     for conversion: y += epilogue(raw, currents)                    (convert, accumulate or record)
 *
 * One phase has signed inputs. Two have the magnitudes of one sign each: converted one by one (the second with a negative scale),
 * or, where every sign has cells of its own, the second's sums taken from the first's.
 *   out[token][panel's columns] = y
 *
 * The parameters stand in a job record in the state memory, at the offsets JOB. Per cell and tile a panel has its weights
 * in the weights memory (rank parts of `quads` quads, one part for codes; the last tile of a cell has `lastQuads`) and the
 * epilogue's table of its columns in the tables memory.
 */

import {
  type Body,
  callNamed,
  define,
  f32x4,
  type I32,
  i32,
  i32x4,
  type Local,
  load,
  store,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ACCUMULATE_TILES_OPERANDS, TILE, TILE_BYTES, TOKEN, TOKEN_BYTES } from './adc.ts';
import { PREPARE_CELLS_OPERANDS } from './cells.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from './gemm.ts';
import { GEMV_OPERANDS, gemvName } from './gemv.ts';
import { batchConvert, tilesConvert } from './panel-convert.ts';
import {
  drawsCurrent,
  type Epilogue,
  type Frame,
  JOB,
  type JobField,
  type Parts,
  panelName,
  SCRATCH_FIELDS,
  sumsWeights,
  tableBytes,
  tableKind,
  WEIGHT_SUMS_ROW,
} from './panel-job.ts';
import { QUAD_BYTES, type Source } from './prepare.ts';
import { RANGE_BINS, RANGE_WORDS, RECORD_OPERANDS } from './record.ts';
import { touchTiles } from './touch.ts';

/** Of codes in blocks: panel-blocks.ts. */
type TileEpilogue = Exclude<Epilogue, 'blocks'>;

export function panel(source: Source, epilogue: TileEpilogue, batch: boolean): WatFunction {
  const tableStride = tableBytes(tableKind(source, epilogue));
  return define(panelName(source, epilogue, batch), ['job'], (f, job) => {
    const field = (name: JobField): I32 => load.i32(job.get, JOB[name]);
    const local = (name: string) => f.local('i32', name);
    const held = (name: JobField): Local<'i32'> => {
      const value = local(name);
      f.set(value, field(name));
      return value;
    };
    const scratch = held('scratch');
    const part = Object.fromEntries(
      SCRATCH_FIELDS.map((name, i) => {
        const at = local(`at_${name}`);
        f.set(at, i32.add(scratch.get, load.i32(scratch.get, 4 * i)));
        return [name, at.get];
      }),
    ) as unknown as Parts;
    const frame: Frame = {
      field,
      part,
      at: held('weights'),
      table: held('tables'),
      zero: local('zero'),
      weightSums: local('weightSums'),
      rowTable: local('rowTable'),
      cellIndex: local('cellIndex'),
      tokens: held('tokens'),
      sums: {
        raw: local('conversionRaw'),
        currents: local('conversionCurrents'),
        tokens: local('conversionTokens'),
        slowKeys: local('conversionSlowKeys'),
      },
      tileTable: held('tileTable'),
      bins: held('bins'),
      column: held('column'),
      x: local('x'),
      magnitude: local('magnitude'),
      tile: local('tile'),
      tileQuads: local('tileQuads'),
      rank: held('rank'),
      planes: held('planes'),
      count: held('count'),
    };
    const { at, table, tile, tileQuads, rowTable, cellIndex } = frame;
    const rowTables = held('rowTables');
    const cell = local('cell');
    const tables = local('tablesOfCell');
    const shift = held('shifts');
    const shifts = local('shiftsOfCell');
    const tileBytes = () => {
      // Codes serve every rank through its own table; baked weights stand there rank by rank.
      return source === 'bytes'
        ? i32.mul(bankQuads(frame), i32.mul(field('banks'), QUAD_BYTES.bytes))
        : i32.mul(tileQuads.get, QUAD_BYTES[source]);
    };
    f.set(frame.zero, part.zeros);
    f.set(frame.weightSums, part.weightSums);
    const touchTile = touchTiles(f, at, held('weightBytes'), tileBytes);
    fill(f, part.y, i32.mul(frame.count.get, PANEL_COLUMNS * 4));
    f.set(cell, field('cells'));
    f.countdown(cell, () => {
      f.set(tile, field('tiles'));
      f.set(frame.x, field('x'));
      f.set(frame.magnitude, field('magnitude'));
      if (source === 'cells') {
        f.set(rowTable, rowTables.get);
        f.set(cellIndex, i32.add(frame.column.get, field('firstCell')));
        f.advance(rowTables, field('rowTablesStride'));
      }
      if (!batch) {
        f.set(tables, table.get);
        f.set(frame.zero, part.zeros);
        f.set(frame.weightSums, part.weightSums);
        f.set(shifts, shift.get);
        fillSums(f, frame, part.raw);
        if (drawsCurrent(epilogue)) fillSums(f, frame, part.currents);
      }
      f.countdown(tile, () => {
        f.set(tileQuads, field('quads'));
        f.when(i32.eq(tile.get, i32.of(1)), () => f.set(tileQuads, field('lastQuads')));
        touchTile();
        if (source !== 'cells' && typeof epilogue !== 'string') copyZero(f, frame, epilogue);
        if (batch) {
          batchSums(f, frame, source, epilogue);
          joinSums(f, frame, epilogue, frame.count.get);
          if (epilogue === 'watch') watchCurrents(f, frame, part.currents, frame.bins.get, frame.count.get);
          eachConversion(f, frame, part.raw, part.currents, frame.tokens.get, frame.tileTable.get, () =>
            batchEpilogue(f, frame, source, epilogue),
          );
          untrim(f, frame, shift.get, frame.tokens.get, frame.count.get);
          f.advance(frame.tokens, field('tokensStride'));
          f.advance(frame.tileTable, TILE_BYTES);
          f.advance(frame.bins, RANGE_WORDS * 4);
        } else {
          singleSums(f, frame, source, epilogue);
          for (const sums of [frame.zero, frame.weightSums]) f.advance(sums, PANEL_COLUMNS * 4);
        }
        f.advance(at, tileBytes());
        f.advance(table, tableStride);
        f.advance(shift, PANEL_COLUMNS * 4);
        if (source === 'cells') {
          f.advance(rowTable, i32.shl(tileQuads.get, 6));
          f.advance(cellIndex, field('tileCells'));
        }
        f.advance(frame.x, field('xStride'));
        f.advance(frame.magnitude, field('magnitudeStride'));
      });
      if (!batch) {
        joinSums(f, frame, epilogue, field('tiles'));
        singleEpilogue(f, frame, source, epilogue, tables, i32.of(tableStride), shifts);
        f.advance(frame.tokens, i32.mul(field('tiles'), field('tokensStride')));
        f.advance(frame.tileTable, i32.mul(field('tiles'), TILE_BYTES));
        f.advance(frame.bins, i32.mul(field('tiles'), RANGE_WORDS * 4));
      }
      f.advance(frame.column, field('columnsPerCell'));
    });
    copyOut(f, part.y, field('out'), field('outStride'), frame.count);
  });
}

/** Quads of a tile's weights of a bank, all ranks. */
const bankQuads = ({ rank, tileQuads }: Frame): I32 => i32.mul(rank.get, tileQuads.get);

/**
 * The weights of the cells of a tile and bank, all ranks, and what the offset of the inputs adds to their sums; of a second bank,
 * whose sums are taken from the first's, taken from what the first has there.
 */
function makeCells(f: Body, frame: Frame, epilogue: TileEpilogue, bank: Local<'i32'>): void {
  const { part, at, tileQuads, zero, rowTable, cellIndex, field } = frame;
  const first = f.locals('v128', 'zeroOfFirst', 4);
  first.forEach((v, n) => {
    f.set(v, load.v128(zero.get, 16 * n));
  });
  callNamed(f, 'prepare_cells', PREPARE_CELLS_OPERANDS, {
    src: at.get,
    w: part.weights,
    cells: i32.add(field('cellNumbers'), i32.mul(bank.get, field('bankCells'))),
    rows: i32.add(rowTable.get, i32.mul(bank.get, field('bankRows'))),
    index: cellIndex.get,
    quads: tileQuads.get,
    zero: zero.get,
    buffers: part.cells,
  });
  if (sumsWeights(epilogue)) {
    const { weightSums } = frame;
    f.when(i32.eq(bank.get, i32.of(0)), () => fill(f, weightSums.get, i32.of(PANEL_COLUMNS * 4)));
    f.call('sum_weights', part.weights, weightSums.get, tileQuads.get);
  }
  f.when(bank.get, () =>
    first.forEach((v, n) => {
      const own = load.v128(zero.get, 16 * n);
      f.emit(store.v128(zero.get, i32x4.sub(v.get, own), 16 * n));
    }),
  );
}

/** What the offset of the inputs adds, and the sums of |w|, from the first and the last row of a tile's table to where converters find them. */
function copyZero(f: Body, { table, zero, weightSums }: Frame, epilogue: TileEpilogue): void {
  const copy = (row: number, to: Local<'i32'>) => {
    for (let n = 0; n < PANEL_COLUMNS / 4; n++)
      f.emit(store.v128(to.get, load.v128(table.get, row * PANEL_COLUMNS * 4 + 16 * n, 'tables'), 16 * n));
  };
  copy(0, zero);
  if (sumsWeights(epilogue)) copy(WEIGHT_SUMS_ROW, weightSums);
}

/** Gain, offset and scale of columns whose table stands at `table`: behind its zeros, where it has them. */
const convertedColumns = (source: Source, table: I32): I32 =>
  source === 'cells' ? table : i32.add(table, PANEL_COLUMNS * 4);

/** The phases of a tile, and where their inputs and sums are. */
function eachPhase(
  f: Body,
  { part, x, magnitude, field }: Frame,
  visit: (phase: Record<'number' | 'bank' | 'x' | 'magnitude' | 'raw' | 'currents', Local<'i32'>>) => void,
): void {
  const names = ['phase', 'bank', 'phaseX', 'phaseMagnitude', 'phaseRaw', 'phaseCurrents', 'phasesLeft'];
  const [number, bank, xAt, magnitudeAt, raw, currents, left] = names.map((name) => f.local('i32', name));
  f.set(number, i32.of(0));
  f.set(bank, i32.of(0));
  f.set(xAt, x.get);
  f.set(magnitudeAt, magnitude.get);
  f.set(raw, part.raw);
  f.set(currents, part.currents);
  f.set(left, field('phases'));
  f.countdown(left, () => {
    visit({ number, bank, x: xAt, magnitude: magnitudeAt, raw, currents });
    f.advance(number, 1);
    f.set(bank, i32.sub(field('banks'), 1));
    f.advance(xAt, field('phaseX'));
    f.advance(magnitudeAt, field('phaseMagnitude'));
    for (const sums of [raw, currents]) f.advance(sums, field('phaseSums'));
  });
}

/** Visits the conversions of what lies at the given places. */
function eachConversion(
  f: Body,
  { sums, field }: Frame,
  raw: I32,
  currents: I32,
  tokens: I32,
  tile: I32,
  visit: () => void,
): void {
  const left = f.local('i32', 'conversions');
  f.set(sums.raw, raw);
  f.set(sums.currents, currents);
  f.set(sums.tokens, tokens);
  f.set(sums.slowKeys, tile);
  f.set(left, field('conversions'));
  f.countdown(left, () => {
    visit();
    for (const at of [sums.raw, sums.currents]) f.advance(at, field('phaseSums'));
    f.advance(sums.tokens, field('phaseTokens'));
    f.advance(sums.slowKeys, TILE.secondSlowKeyA - TILE.slowKeyA);
  });
}

/** Of phases with one conversion, the sums of the second from those of the first. */
function joinSums(f: Body, { part, field }: Frame, epilogue: TileEpilogue, count: I32): void {
  f.when(i32.lessThan(field('conversions'), field('phases')), () => {
    f.call('join_differences', part.raw, i32.add(part.raw, field('phaseSums')), count);
    // What is watched is each phase's.
    if (drawsCurrent(epilogue) && epilogue !== 'watch')
      f.call('join_sums', part.currents, i32.add(part.currents, field('phaseSums')), count);
  });
}

/** raw[i][16] -= second[i][16], or += of sums of currents. */
export function joinPhases(of: 'differences' | 'sums'): WatFunction {
  return define(`join_${of}`, ['first', 'second', 'count'], (f, first, second, count) => {
    const v = f.locals('v128', 'v', PANEL_COLUMNS / 4);
    const join = of === 'sums' ? i32x4.add : i32x4.sub;
    f.countdown(count, () => {
      v.forEach((sum, n) => {
        f.set(sum, join(load.v128(first.get, 16 * n), load.v128(second.get, 16 * n)));
      });
      v.forEach((sum, n) => {
        f.emit(store.v128(first.get, sum.get, 16 * n));
      });
      for (const at of [first, second]) f.advance(at, PANEL_COLUMNS * 4);
    });
  });
}

const isRecorded = (epilogue: TileEpilogue): epilogue is 'record' | 'watch' =>
  epilogue === 'record' || epilogue === 'watch';

/** Keeps the largest current of a tile's columns, of either phase, behind its bins. */
function watchCurrents(f: Body, { field }: Frame, currents: I32, bins: I32, count: I32): void {
  const watch = (at: I32) => f.call('watch', at, count, i32.add(bins, RANGE_BINS * 4), field('columns'));
  watch(currents);
  f.when(i32.eq(field('phases'), i32.of(2)), () => watch(i32.add(currents, field('phaseSums'))));
}

/** Takes what trim found from the columns of a tile; in the units of y it grows with the token's scale. */
function untrim(f: Body, { part, field }: Frame, shift: I32, tokens: I32, count: I32): void {
  f.when(field('shifts'), () => f.call('take_shifts', shift, tokens, part.y, count));
}

/** y[token][16] -= out of the token shift[16] */
export function takeShifts(): WatFunction {
  return define('take_shifts', ['shift', 'tokens', 'y', 'count'], (f, shift, tokens, y, count) => {
    const shifts = f.locals('v128', 'shift', PANEL_COLUMNS / 4);
    const v = f.locals('v128', 'v', PANEL_COLUMNS / 4);
    const out = f.local('v128', 'out');
    shifts.forEach((s, n) => {
      f.set(s, load.v128(shift.get, 16 * n));
    });
    f.countdown(count, () => {
      f.set(out, load.splat32(tokens.get, TOKEN.out));
      v.forEach((x, n) => {
        f.set(x, f32x4.sub(load.v128(y.get, 16 * n), f32x4.mul(shifts[n].get, out.get)));
      });
      v.forEach((x, n) => {
        f.emit(store.v128(y.get, x.get, 16 * n));
      });
      f.advance(tokens, TOKEN_BYTES);
      f.advance(y, PANEL_COLUMNS * 4);
    });
  });
}

/** Zeroes what a single token's phases add to. */
function fillSums(f: Body, { field }: Frame, at: I32): void {
  fill(f, at, i32.mul(field('tiles'), PANEL_COLUMNS * 4));
  f.when(i32.eq(field('phases'), i32.of(2)), () =>
    fill(f, i32.add(at, field('phaseSums')), i32.mul(field('tiles'), PANEL_COLUMNS * 4)),
  );
}

/** Prepares the tile once for all tokens, or for each bank, then multiplies by blocks of 6. */
function batchSums(f: Body, frame: Frame, source: Source, epilogue: TileEpilogue): void {
  const { tileQuads, rank, planes, part, field } = frame;
  const blocks = f.local('i32', 'blocks');
  f.set(blocks, i32.divU(i32.add(frame.count.get, BLOCK_TOKENS - 1), BLOCK_TOKENS));
  const multiply = (x: I32, weights: I32, sums: I32, length: I32, count: I32) => {
    const call = (name: string) => () => f.call(name, x, weights, sums, blocks.get, length, count);
    f.when(field('small'), call('gemm_small'), call('gemm'));
  };
  eachPhase(f, frame, ({ number, bank, x, magnitude, raw, currents }) => {
    // A second phase of the same cells finds them prepared.
    f.when(i32.eq(number.get, bank.get), () => {
      prepareTile(f, frame, source, epilogue, bank);
      // Only the leading part of the response counts for the current.
      if (drawsCurrent(epilogue)) f.call('absolute', part.weights, part.magnitude, tileQuads.get);
    });
    multiply(x.get, part.weights, raw.get, i32.mul(rank.get, tileQuads.get), planes.get);
    if (drawsCurrent(epilogue))
      multiply(magnitude.get, part.magnitude, currents.get, tileQuads.get, i32.of(1));
  });
}

/** The weights of a tile and bank, all ranks, in the scratch. */
function prepareTile(
  f: Body,
  frame: Frame,
  source: Source,
  epilogue: TileEpilogue,
  bank: Local<'i32'>,
): void {
  const { part, tileQuads, rank, at, field } = frame;
  const [src, w, lookup, r] = ['src', 'w', 'lookup', 'r'].map((name) => f.local('i32', name));
  if (source === 'cells') makeCells(f, frame, epilogue, bank);
  else {
    f.set(src, at.get);
    if (source === 'bytes') f.advance(src, i32.mul(bank.get, i32.mul(bankQuads(frame), QUAD_BYTES.bytes)));
    f.set(w, part.weights);
    f.set(lookup, field('lookup'));
    f.set(r, rank.get);
    f.countdown(r, () => {
      f.call(`prepare_${source}`, src.get, w.get, lookup.get, tileQuads.get);
      if (source === 'bytes') f.advance(src, i32.mul(tileQuads.get, QUAD_BYTES.bytes));
      f.advance(w, i32.mul(tileQuads.get, QUAD_BYTES.bytes));
      f.advance(lookup, 16);
    });
  }
}

function batchEpilogue(f: Body, frame: Frame, source: Source, epilogue: TileEpilogue): void {
  const { part, count, field, sums } = frame;
  if (epilogue === 'accumulate') {
    f.call('accumulate', sums.raw.get, frame.table.get, sums.tokens.get, part.y, count.get);
  } else if (isRecorded(epilogue)) {
    const columns = field('columns');
    callNamed(f, 'record', RECORD_OPERANDS, {
      raw: sums.raw.get,
      table: frame.table.get,
      tokens: sums.tokens.get,
      y: part.y,
      count: count.get,
      bins: frame.bins.get,
      columns,
    });
  } else {
    batchConvert(f, frame, epilogue, convertedColumns(source, frame.table.get));
  }
}

/** Adds one tile's sums to its 16 entries of raw and currents, of every phase. */
function singleSums(f: Body, frame: Frame, source: Source, epilogue: TileEpilogue): void {
  eachPhase(f, frame, (phase) => {
    if (source === 'cells')
      f.when(i32.eq(phase.number.get, phase.bank.get), () => makeCells(f, frame, epilogue, phase.bank));
    singlePhase(f, frame, source, epilogue, phase);
  });
}

function singlePhase(
  f: Body,
  frame: Frame,
  source: Source,
  epilogue: TileEpilogue,
  phase: Readonly<Record<'bank' | 'x' | 'magnitude' | 'raw' | 'currents', Local<'i32'>>>,
): void {
  const { part, tileQuads, rank, planes, at, field } = frame;
  const [src, x, lookup, planeBytes, r, raw, currents] = [
    'src',
    'xr',
    'lookup',
    'planeBytes',
    'r',
    'raw',
    'currents',
  ].map((name) => f.local('i32', name));
  const done = i32.mul(i32.sub(field('tiles'), frame.tile.get), PANEL_COLUMNS * 4);
  f.set(raw, i32.add(phase.raw.get, done));
  f.set(currents, i32.add(phase.currents.get, done));
  f.set(src, source === 'cells' ? part.weights : at.get);
  if (source === 'bytes')
    f.advance(src, i32.mul(phase.bank.get, i32.mul(bankQuads(frame), QUAD_BYTES.bytes)));
  f.set(x, phase.x.get);
  f.set(lookup, field('lookup'));
  f.set(planeBytes, i32.mul(i32.mul(rank.get, tileQuads.get), 4));
  const multiply = (current: boolean) => {
    const operands = {
      src: src.get,
      x: x.get,
      planeBytes: planeBytes.get,
      magnitude: phase.magnitude.get,
      table: lookup.get,
      raw: raw.get,
      currents: currents.get,
      quads: tileQuads.get,
    };
    const multiplyPlanes = (count: 1 | 2) => () =>
      callNamed(f, gemvName(source, count, current), GEMV_OPERANDS, operands);
    f.when(i32.eq(planes.get, i32.of(1)), multiplyPlanes(1), multiplyPlanes(2));
    if (source !== 'codes') f.advance(src, i32.mul(tileQuads.get, QUAD_BYTES.bytes));
    f.advance(x, i32.mul(tileQuads.get, 4));
    f.advance(lookup, 16);
  };
  multiply(drawsCurrent(epilogue));
  f.set(r, i32.sub(rank.get, 1));
  f.when(r.get, () => f.countdown(r, () => multiply(false)));
}

/** All tiles of a cell at once; `tables` is the first tile's column table. */
function singleEpilogue(
  f: Body,
  frame: Frame,
  source: Source,
  epilogue: TileEpilogue,
  tables: Local<'i32'>,
  stride: I32,
  shifts: Local<'i32'>,
): void {
  const { part, tokens, field } = frame;
  if (epilogue === 'accumulate') {
    const tiles = field('tiles');
    callNamed(f, 'accumulate_tiles', ACCUMULATE_TILES_OPERANDS, {
      raw: part.raw,
      columns: tables.get,
      columnsStride: stride,
      tokens: tokens.get,
      tokensStride: field('tokensStride'),
      y: part.y,
      tiles,
    });
    return;
  }
  // Conversions of a tile follow each other, as in a batch: sums of f32 depend on the order. One a tile goes with all tiles at once.
  const names = [
    'group',
    'groupTiles',
    'groupRaw',
    'groupCurrents',
    'groupTokens',
    'groupTile',
    'groupBins',
    'groupZeros',
    'groupWeightSums',
  ];
  const [group, count, raw, currents, token, tile, bins, zeros, weightSums] = names.map((name) =>
    f.local('i32', name),
  );
  const apart = () => {
    f.set(group, field('tiles'));
    f.set(count, i32.of(1));
  };
  f.set(group, i32.of(1));
  f.set(count, field('tiles'));
  if (isRecorded(epilogue)) apart();
  f.when(i32.sub(field('conversions'), 1), apart);
  f.when(field('shifts'), apart);
  f.set(raw, part.raw);
  f.set(currents, part.currents);
  f.set(token, tokens.get);
  f.set(tile, frame.tileTable.get);
  f.set(bins, frame.bins.get);
  f.set(zeros, part.zeros);
  f.set(weightSums, part.weightSums);
  f.countdown(group, () => {
    if (epilogue === 'watch') watchCurrents(f, frame, currents.get, bins.get, i32.of(1));
    eachConversion(f, frame, raw.get, currents.get, token.get, tile.get, () => {
      if (isRecorded(epilogue)) {
        callNamed(f, 'record', RECORD_OPERANDS, {
          raw: frame.sums.raw.get,
          table: tables.get,
          tokens: frame.sums.tokens.get,
          y: part.y,
          count: i32.of(1),
          bins: bins.get,
          columns: field('columns'),
        });
      } else {
        const from = {
          zeros: zeros.get,
          weightSums: weightSums.get,
          columns: convertedColumns(source, tables.get),
          tiles: tile.get,
          count: count.get,
        };
        tilesConvert(f, frame, epilogue, from, stride);
      }
    });
    untrim(f, frame, shifts.get, token.get, i32.of(1));
    for (const sums of [raw, currents, shifts, zeros, weightSums]) f.advance(sums, PANEL_COLUMNS * 4);
    f.advance(tables, stride);
    f.advance(token, field('tokensStride'));
    f.advance(tile, TILE_BYTES);
    f.advance(bins, RANGE_WORDS * 4);
  });
}

export function fill(f: Body, at: I32, bytes: I32): void {
  f.emit(`(memory.fill ${at} (i32.const 0) ${bytes})`);
}

/** out[token][0..15] = y[token][0..15] */
export function copyOut(f: Body, from: I32, to: I32, stride: I32, count: Local<'i32'>): void {
  const [y, out, left] = ['yAt', 'outAt', 'left'].map((name) => f.local('i32', name));
  f.set(y, from);
  f.set(out, to);
  f.set(left, count.get);
  f.countdown(left, () => {
    for (let n = 0; n < 4; n++) f.emit(store.v128(out.get, load.v128(y.get, 16 * n), 16 * n));
    f.advance(y, PANEL_COLUMNS * 4);
    f.advance(out, stride);
  });
}
