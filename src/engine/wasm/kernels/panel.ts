/**
 * One panel of a linear layer: 16 columns, all tiles, a batch of tokens or a single one.
 *
 *   y[tokens][16] = 0
 *   for cell: for tile:                       a weight may be several cells, each with its own columns and converters
 *     raw = sum_k w x, currents = sum_k |w| magnitude      (gemm over a prepared tile, or gemv)
 *     y += epilogue(raw, currents)                         (convert, accumulate or record)
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
  type I32,
  i32,
  type Local,
  load,
  store,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ACCUMULATE_TILES_OPERANDS, TILE_BYTES } from './adc.ts';
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
  tableBytes,
} from './panel-job.ts';
import { QUAD_BYTES, type Source } from './prepare.ts';
import { RANGE_BINS, RECORD_OPERANDS } from './record.ts';

export function panel(source: Source, epilogue: Epilogue, batch: boolean): WatFunction {
  const tableStride = tableBytes(epilogue === 'accumulate' ? 'accumulate' : 'convert');
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
      rowTable: local('rowTable'),
      cellIndex: local('cellIndex'),
      tokens: held('tokens'),
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
    const tileBytes = () => {
      // Codes serve every rank through its own table; baked weights stand there rank by rank.
      const parts = source === 'bytes' ? i32.mul(frame.rank.get, tileQuads.get) : tileQuads.get;
      return i32.mul(parts, QUAD_BYTES[source]);
    };
    fill(f, part.y, i32.mul(frame.count.get, PANEL_COLUMNS * 4));
    f.set(cell, field('cells'));
    f.countdown(cell, () => {
      f.set(tile, field('tiles'));
      f.set(frame.x, field('x'));
      f.set(frame.magnitude, field('magnitude'));
      if (source === 'cells') {
        f.set(rowTable, rowTables.get);
        f.set(cellIndex, frame.column.get);
        f.advance(rowTables, field('rowTablesStride'));
      }
      if (!batch) {
        f.set(tables, table.get);
        fill(f, part.raw, i32.mul(tile.get, PANEL_COLUMNS * 4));
        if (drawsCurrent(epilogue)) fill(f, part.currents, i32.mul(tile.get, PANEL_COLUMNS * 4));
      }
      f.countdown(tile, () => {
        f.set(tileQuads, field('quads'));
        f.when(i32.eq(tile.get, i32.of(1)), () => f.set(tileQuads, field('lastQuads')));
        if (batch) {
          batchSums(f, frame, source, epilogue);
          batchEpilogue(f, frame, epilogue);
          f.advance(frame.tokens, field('tokensStride'));
          f.advance(frame.tileTable, TILE_BYTES);
          f.advance(frame.bins, RANGE_BINS * 4);
        } else {
          singleSums(f, frame, source, epilogue);
        }
        f.advance(at, tileBytes());
        f.advance(table, tableStride);
        if (source === 'cells') {
          f.advance(rowTable, i32.shl(tileQuads.get, 6));
          f.advance(cellIndex, field('tileCells'));
        }
        f.advance(frame.x, field('xStride'));
        f.advance(frame.magnitude, field('magnitudeStride'));
      });
      if (!batch) {
        singleEpilogue(f, frame, epilogue, tables, i32.of(tableStride));
        f.advance(frame.tokens, i32.mul(field('tiles'), field('tokensStride')));
        f.advance(frame.tileTable, i32.mul(field('tiles'), TILE_BYTES));
        f.advance(frame.bins, i32.mul(field('tiles'), RANGE_BINS * 4));
      }
      f.advance(frame.column, field('columnsPerCell'));
    });
    copyOut(f, part.y, field('out'), field('outStride'), frame.count);
  });
}

/** The weights of the tile's cells, all ranks, and the first row of the table of its columns. */
function makeCells(f: Body, { part, at, tileQuads, table, rowTable, cellIndex, field }: Frame): void {
  callNamed(f, 'prepare_cells', PREPARE_CELLS_OPERANDS, {
    src: at.get,
    w: part.weights,
    cells: field('cellNumbers'),
    rows: rowTable.get,
    index: cellIndex.get,
    quads: tileQuads.get,
    zero: table.get,
    buffers: part.cells,
  });
}

/** Prepares the tile once for all tokens, then multiplies by blocks of 6. */
function batchSums(f: Body, frame: Frame, source: Source, epilogue: Epilogue): void {
  const { part, tileQuads, rank, planes, at, field } = frame;
  const [src, w, lookup, r, blocks] = ['src', 'w', 'lookup', 'r', 'blocks'].map((name) =>
    f.local('i32', name),
  );
  if (source === 'cells') makeCells(f, frame);
  else {
    f.set(src, at.get);
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
  f.set(blocks, i32.divU(i32.add(frame.count.get, BLOCK_TOKENS - 1), BLOCK_TOKENS));
  const quads = i32.mul(rank.get, tileQuads.get);
  const multiply = (x: I32, weights: I32, sums: I32, length: I32, count: I32) => {
    const call = (name: string) => () => f.call(name, x, weights, sums, blocks.get, length, count);
    f.when(field('small'), call('gemm_small'), call('gemm'));
  };
  multiply(frame.x.get, part.weights, part.raw, quads, planes.get);
  if (!drawsCurrent(epilogue)) return;
  // Only the leading part of the response counts for the current.
  f.call('absolute', part.weights, part.magnitude, tileQuads.get);
  multiply(frame.magnitude.get, part.magnitude, part.currents, tileQuads.get, i32.of(1));
}

function batchEpilogue(f: Body, frame: Frame, epilogue: Epilogue): void {
  const { part, tokens, count, field } = frame;
  if (epilogue === 'accumulate') {
    f.call('accumulate', part.raw, frame.table.get, tokens.get, part.y, count.get);
  } else if (epilogue === 'record') {
    const columns = field('columns');
    callNamed(f, 'record', RECORD_OPERANDS, {
      raw: part.raw,
      table: frame.table.get,
      tokens: tokens.get,
      y: part.y,
      count: count.get,
      bins: frame.bins.get,
      columns,
    });
  } else {
    batchConvert(f, frame, epilogue);
  }
}

/** Adds one tile's sums to its 16 entries of raw and currents. */
function singleSums(f: Body, frame: Frame, source: Source, epilogue: Epilogue): void {
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
  f.set(raw, i32.add(part.raw, done));
  f.set(currents, i32.add(part.currents, done));
  if (source === 'cells') makeCells(f, frame);
  f.set(src, source === 'cells' ? part.weights : at.get);
  f.set(x, frame.x.get);
  f.set(lookup, field('lookup'));
  f.set(planeBytes, i32.mul(i32.mul(rank.get, tileQuads.get), 4));
  const multiply = (current: boolean) => {
    const operands = {
      src: src.get,
      x: x.get,
      planeBytes: planeBytes.get,
      magnitude: frame.magnitude.get,
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
function singleEpilogue(f: Body, frame: Frame, epilogue: Epilogue, tables: Local<'i32'>, stride: I32): void {
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
  if (epilogue === 'record') {
    // Range calibration runs in batches; a single token goes tile by tile.
    const [tile, raw, bins, token] = ['recordTile', 'recordRaw', 'recordBins', 'recordToken'].map((name) =>
      f.local('i32', name),
    );
    f.set(tile, field('tiles'));
    f.set(raw, part.raw);
    f.set(bins, frame.bins.get);
    f.set(token, tokens.get);
    f.countdown(tile, () => {
      callNamed(f, 'record', RECORD_OPERANDS, {
        raw: raw.get,
        table: tables.get,
        tokens: token.get,
        y: part.y,
        count: i32.of(1),
        bins: bins.get,
        columns: field('columns'),
      });
      f.advance(raw, PANEL_COLUMNS * 4);
      f.advance(tables, stride);
      f.advance(token, field('tokensStride'));
      f.advance(bins, RANGE_BINS * 4);
    });
    return;
  }
  tilesConvert(f, frame, epilogue, tables, stride);
}

function fill(f: Body, at: I32, bytes: I32): void {
  f.emit(`(memory.fill ${at} (i32.const 0) ${bytes})`);
}

/** out[token][0..15] = y[token][0..15] */
function copyOut(f: Body, from: I32, to: I32, stride: I32, count: Local<'i32'>): void {
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
