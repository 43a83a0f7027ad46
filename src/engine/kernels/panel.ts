/**
 * One panel of a linear layer: 16 columns, all tiles, a batch of tokens or a single one.
 *
 *   y[tokens][16] = 0
 *   for cell: for tile:                       a weight may be several cells, each with its own columns and converters
 *     raw = sum_k w x, zero, currents = sum_k |w| magnitude      (gemm over a prepared tile, or gemv)
 *     y += epilogue(raw, zero, currents)                         (convert or accumulate)
 *   out[token][panel's columns] = y
 *
 * The parameters stand in a job record in the state memory, at the offsets JOB. In the weights memory a panel is, per
 * cell and tile: the weights (rank parts of `quads` quads, one part for codes; the last tile of a cell has `lastQuads`), then the column
 * table of the epilogue.
 */
import { type Body, define, type I32, i32, type Local, load, store, type WatFunction } from '../wat.ts';
import { convertName, type NoiseKind, TILE_BYTES } from './adc.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from './gemm.ts';
import { gemvName } from './gemv.ts';
import { QUAD_BYTES, type Source } from './prepare.ts';
import { RANGE_BINS } from './record.ts';

const FIELDS = [
  'weights', // of this panel, in the weights memory
  'column', // number of its first column
  'out', // of its first token
  'counts', // of the panel, COUNTS_BYTES
  'cells',
  'columnsPerCell', // from a cell's column to the next cell's
  'tiles', // of a cell
  'quads', // of a tile and rank
  'lastQuads',
  'rank',
  'planes',
  'x', // [tiles][blocks][planes][rank quads][6][4], or one token [tiles][planes][rank quads][4]
  'xStride', // of a tile
  'magnitude', // [tiles][blocks][quads][6][4], or one token [tiles][quads][4]
  'magnitudeStride',
  'tokens', // [cells tiles][count] of TOKEN_BYTES
  'tokensStride', // of a tile
  'tileTable', // [cells tiles] of TILE_BYTES
  'lookup', // [rank][16] bytes of code values
  'count', // tokens
  'outStride', // bytes of a row of out
  'bins', // record: histograms [cells tiles] of RANGE_BINS
  'columns', // record: columns of the panel that exist
  'scratch', // where the offsets of the scratch parts lie
] as const;
export type JobField = (typeof FIELDS)[number];
export const JOB = Object.fromEntries(FIELDS.map((field, i) => [field, 4 * i])) as Record<JobField, number>;
export const JOB_BYTES = 4 * FIELDS.length;

/** Scratch of one worker, bytes: zero, then the tile's weights and magnitudes, sums, and y. */
export interface Scratch {
  readonly zero: number;
  readonly weights: number;
  readonly magnitude: number;
  readonly raw: number;
  readonly currents: number;
  readonly y: number;
  readonly bytes: number;
}
/** `weightQuads`: rank times the quads of a tile; `tokens`: largest batch. */
export function scratchOf(weightQuads: number, quads: number, tokens: number): Scratch {
  const rows = Math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS * PANEL_COLUMNS * 4;
  const sizes = [
    PANEL_COLUMNS * 4,
    weightQuads * QUAD_BYTES.bytes,
    quads * QUAD_BYTES.bytes,
    rows,
    rows,
    rows,
  ];
  const starts: number[] = [];
  // 192 bytes apart from multiples of the cache's way size, so that the parts do not evict each other.
  let at = 0;
  for (const size of sizes) {
    starts.push(at);
    at += Math.ceil(size / 64) * 64 + 192;
  }
  const [zero, weights, magnitude, raw, currents, y] = starts;
  return { zero, weights, magnitude, raw, currents, y, bytes: at };
}
/** The offsets of the parts stand in memory at `scratch - SCRATCH_HEADER`. */
export const SCRATCH_FIELDS = ['zero', 'weights', 'magnitude', 'raw', 'currents', 'y'] as const;

export type Epilogue = 'accumulate' | 'record' | { readonly noise: NoiseKind; readonly float: boolean };
const epilogueName = (epilogue: Epilogue) =>
  typeof epilogue === 'string' ? epilogue : convertName(epilogue.noise, epilogue.float);
export const panelName = (source: Source, epilogue: Epilogue, batch: boolean): string =>
  `panel_${source}_${epilogueName(epilogue)}_${batch ? 'batch' : 'single'}`;
const drawsCurrent = (epilogue: Epilogue) => typeof epilogue !== 'string' && epilogue.noise === 'product';
/** Bytes of the column table of a tile and panel. */
export const tableBytes = (epilogue: 'accumulate' | 'convert'): number =>
  (epilogue === 'accumulate' ? 1 : 3) * PANEL_COLUMNS * 4;

export function panel(source: Source, epilogue: Epilogue, batch: boolean): WatFunction {
  return define(panelName(source, epilogue, batch), ['job'], (f, job) => {
    const field = (name: JobField): I32 => load.i32(job.get, JOB[name]);
    const held = (name: JobField): Local<'i32'> => {
      const local = f.local('i32', name);
      f.set(local, field(name));
      return local;
    };
    const weights = held('weights');
    const tokens = held('tokens');
    const tileTable = held('tileTable');
    const column = held('column');
    const count = held('count');
    const quads = held('quads');
    const rank = held('rank');
    const planes = held('planes');
    const scratch = held('scratch');
    const bins = held('bins');
    const part = Object.fromEntries(
      SCRATCH_FIELDS.map((name, i) => {
        const local = f.local('i32', `at_${name}`);
        f.set(local, i32.add(scratch.get, load.i32(scratch.get, 4 * i)));
        return [name, local.get];
      }),
    ) as Record<(typeof SCRATCH_FIELDS)[number], I32>;
    const [cell, tile, tileQuads, x, magnitude] = ['cell', 'tile', 'tileQuads', 'x', 'magnitude'].map(
      (name) => f.local('i32', name),
    );
    fill(f, part.y, i32.mul(count.get, PANEL_COLUMNS * 4));
    f.set(cell, field('cells'));
    f.countdown(cell, () => {
      f.set(tile, field('tiles'));
      f.set(x, field('x'));
      f.set(magnitude, field('magnitude'));
      f.countdown(tile, () => {
        f.set(tileQuads, quads.get);
        f.when(i32.eq(tile.get, i32.of(1)), () => f.set(tileQuads, field('lastQuads')));
        fill(f, part.zero, i32.of(PANEL_COLUMNS * 4));
        const sums = {
          source,
          current: drawsCurrent(epilogue),
          part,
          weights,
          x,
          magnitude,
          tileQuads,
          rank,
        };
        if (batch) batchSums(f, { ...sums, planes, lookup: field('lookup'), count });
        else singleSums(f, { ...sums, planes, lookup: field('lookup') });
        // Codes serve every rank through its own table; baked weights stand there rank by rank.
        const parts = source === 'bytes' ? i32.mul(rank.get, tileQuads.get) : tileQuads.get;
        f.advance(weights, i32.mul(parts, QUAD_BYTES[source]));
        if (epilogue === 'accumulate') {
          f.call('accumulate', part.raw, part.zero, weights.get, tokens.get, part.y, count.get);
          f.advance(weights, tableBytes('accumulate'));
        } else if (epilogue === 'record') {
          f.call(
            'record',
            part.raw,
            part.zero,
            weights.get,
            tokens.get,
            part.y,
            count.get,
            bins.get,
            field('columns'),
          );
          f.advance(weights, tableBytes('convert'));
          f.advance(bins, RANGE_BINS * 4);
        } else {
          f.call(
            convertName(epilogue.noise, epilogue.float),
            part.raw,
            part.currents,
            part.zero,
            weights.get,
            tokens.get,
            tileTable.get,
            part.y,
            field('counts'),
            count.get,
            column.get,
          );
          f.advance(weights, tableBytes('convert'));
        }
        f.advance(x, field('xStride'));
        f.advance(magnitude, field('magnitudeStride'));
        f.advance(tokens, field('tokensStride'));
        f.advance(tileTable, TILE_BYTES);
      });
      f.advance(column, field('columnsPerCell'));
    });
    copyOut(f, part.y, field('out'), field('outStride'), count);
  });
}

interface Sums {
  readonly source: Source;
  readonly current: boolean;
  readonly part: Record<(typeof SCRATCH_FIELDS)[number], I32>;
  readonly weights: Local<'i32'>;
  readonly x: Local<'i32'>;
  readonly magnitude: Local<'i32'>;
  readonly tileQuads: Local<'i32'>;
  readonly rank: Local<'i32'>;
  readonly planes: Local<'i32'>;
  readonly lookup: I32;
}

/** Prepares the tile once for all tokens, then multiplies by blocks of 6. */
function batchSums(f: Body, sums: Sums & { count: Local<'i32'> }): void {
  const { source, part, tileQuads, rank, planes } = sums;
  const quads = i32.mul(rank.get, tileQuads.get);
  const blocks = f.local('i32', 'blocks');
  const r = f.local('i32', 'r');
  const [src, w, table] = ['src', 'w', 'table'].map((name) => f.local('i32', name));
  f.set(src, sums.weights.get);
  f.set(w, part.weights);
  f.set(table, sums.lookup);
  f.set(r, rank.get);
  f.countdown(r, () => {
    f.call(`prepare_${source}`, src.get, w.get, table.get, part.zero, tileQuads.get);
    // Codes are the same for every rank, baked weights are not.
    if (source === 'bytes') f.advance(src, i32.mul(tileQuads.get, QUAD_BYTES.bytes));
    f.advance(w, i32.mul(tileQuads.get, QUAD_BYTES.bytes));
    f.advance(table, 16);
  });
  f.when(i32.eq(planes.get, i32.of(2)), () => f.call('shift_zero', part.zero));
  f.set(blocks, `(i32.div_u ${i32.add(sums.count.get, BLOCK_TOKENS - 1)} ${i32.of(BLOCK_TOKENS)})` as I32);
  f.call('gemm', sums.x.get, part.weights, part.raw, blocks.get, quads, planes.get);
  if (!sums.current) return;
  f.call('absolute', part.weights, part.magnitude, tileQuads.get);
  f.call('gemm', sums.magnitude.get, part.magnitude, part.currents, blocks.get, tileQuads.get, i32.of(1));
}

function singleSums(f: Body, sums: Sums): void {
  const { source, part, tileQuads, rank, planes } = sums;
  const r = f.local('i32', 'r');
  const [src, x, table, planeBytes] = ['src', 'xr', 'table', 'planeBytes'].map((name) =>
    f.local('i32', name),
  );
  fill(f, part.raw, i32.of(64));
  fill(f, part.currents, i32.of(64));
  f.set(src, sums.weights.get);
  f.set(x, sums.x.get);
  f.set(table, sums.lookup);
  f.set(planeBytes, i32.mul(i32.mul(rank.get, tileQuads.get), 4));
  const multiply = (current: boolean) => {
    const operands = [
      src.get,
      x.get,
      planeBytes.get,
      sums.magnitude.get,
      table.get,
      part.raw,
      part.zero,
      part.currents,
      tileQuads.get,
    ];
    f.when(
      i32.eq(planes.get, i32.of(1)),
      () => f.call(gemvName(source, 1, current), ...operands),
      () => f.call(gemvName(source, 2, current), ...operands),
    );
    if (source === 'bytes') f.advance(src, i32.mul(tileQuads.get, QUAD_BYTES.bytes));
    f.advance(x, i32.mul(tileQuads.get, 4));
    f.advance(table, 16);
  };
  // Only the leading part of the response counts for the current.
  multiply(sums.current);
  f.set(r, i32.sub(rank.get, 1));
  f.when(r.get, () => f.countdown(r, () => multiply(false)));
}

/** zero <<= 7: the offset stands in the upper of two planes. */
export function shiftZero(): WatFunction {
  return define('shift_zero', ['zero'], (f, zero) => {
    for (let n = 0; n < 4; n++) {
      f.emit(store.v128(zero.get, `(i32x4.shl ${load.v128(zero.get, 16 * n)} (i32.const 7))`, 16 * n));
    }
  });
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
