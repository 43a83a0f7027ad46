/**
 * One panel of a digital layer of 4 bits in blocks (blocks.ts): 16 columns, all blocks, a batch of tokens or a single one. Its job is
 * that of panel.ts, of which it reads less: no converter, no rank.
 */
import { callNamed, define, type I32, i32, load, type WatFunction } from '../../../emit/wat.ts';
import { BLOCK_BYTES, exchangePaired, GEMV_BLOCKS_OPERANDS, HALVES_BYTES } from './blocks.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from './gemm.ts';
import { copyOut, fill } from './panel.ts';
import { JOB, type JobField, panelName, SCRATCH_FIELDS } from './panel-job.ts';
import { LINE_SHIFT, TOUCHED_BYTES } from './touch.ts';

/** Codes in blocks that are touched together, and the lines of one. */
const PAGE_BLOCKS = TOUCHED_BYTES / BLOCK_BYTES;
const LINES_SHIFT = Math.log2(BLOCK_BYTES) - LINE_SHIFT;

/** For a single token, a page of weights at a time; y is the output itself. */
export function singleBlocks(): WatFunction {
  return define(panelName('codes', 'blocks', false), ['job'], (f, job) => {
    const field = (name: JobField): I32 => load.i32(job.get, JOB[name]);
    const names = ['weights', 'tables', 'x', 'tokens', 'tiles'] as const;
    const [src, halves, x, tokens, left] = names.map((name) => f.local('i32', name));
    for (const [i, at] of [src, halves, x, tokens, left].entries()) f.set(at, field(names[i]));
    const some = f.local('i32', 'some');
    const parts = f.local('i32', 'parts');
    fill(f, field('out'), i32.of(PANEL_COLUMNS * 4));
    f.set(parts, i32.divU(i32.add(left.get, PAGE_BLOCKS - 1), PAGE_BLOCKS));
    f.countdown(parts, () => {
      f.set(some, i32.of(PAGE_BLOCKS));
      f.when(i32.lessThan(left.get, some.get), () => f.set(some, left.get));
      f.call('touch_weights', src.get, i32.shl(some.get, LINES_SHIFT));
      callNamed(f, 'gemv_blocks', GEMV_BLOCKS_OPERANDS, {
        src: src.get,
        halves: halves.get,
        x: x.get,
        tokens: tokens.get,
        tokensStride: field('tokensStride'),
        y: field('out'),
        tiles: some.get,
      });
      f.advance(src, PAGE_BLOCKS * BLOCK_BYTES);
      f.advance(halves, PAGE_BLOCKS * HALVES_BYTES);
      f.advance(x, i32.mul(field('xStride'), PAGE_BLOCKS));
      f.advance(tokens, i32.mul(field('tokensStride'), PAGE_BLOCKS));
      f.set(left, i32.sub(left.get, PAGE_BLOCKS));
    });
    exchangePaired(f, field('out'));
  });
}

/** For a batch of tokens, a block at a time. */
export function batchBlocks(): WatFunction {
  return define(panelName('codes', 'blocks', true), ['job'], (f, job) => {
    const field = (name: JobField): I32 => load.i32(job.get, JOB[name]);
    const names = ['weights', 'tables', 'x', 'tokens', 'tiles', 'count', 'scratch'] as const;
    const held = names.map((name) => f.local('i32', name));
    for (const [i, local] of held.entries()) f.set(local, field(names[i]));
    const [src, halves, x, tokens, tile, count, scratch] = held;
    const [w, columns, y, groups, left] = ['w', 'columns', 'y', 'groups', 'toCopy'].map((name) =>
      f.local('i32', name),
    );
    const parts = { weights: w, slow: columns, y };
    for (const [name, local] of Object.entries(parts)) {
      const at = 4 * SCRATCH_FIELDS.indexOf(name as keyof typeof parts);
      f.set(local, i32.add(scratch.get, load.i32(scratch.get, at)));
    }
    f.set(groups, i32.divU(i32.add(count.get, BLOCK_TOKENS - 1), BLOCK_TOKENS));
    fill(f, y.get, i32.mul(groups.get, BLOCK_TOKENS * PANEL_COLUMNS * 4));
    f.countdown(tile, () => {
      f.call('prepare_block', src.get, halves.get, w.get, columns.get);
      const [quads, planes] = [field('quads'), field('planes')];
      f.call('gemm_blocks', x.get, w.get, y.get, groups.get, quads, planes, columns.get, tokens.get);
      f.advance(src, BLOCK_BYTES);
      f.advance(halves, HALVES_BYTES);
      f.advance(x, field('xStride'));
      f.advance(tokens, field('tokensStride'));
    });
    f.set(left, y.get);
    f.set(groups, count.get);
    f.countdown(groups, () => {
      exchangePaired(f, left.get);
      f.advance(left, PANEL_COLUMNS * 4);
    });
    copyOut(f, y.get, field('out'), field('outStride'), count);
  });
}
