import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { newArena } from '../../../emit/arena.ts';
import { CONSTANTS_END, writeConstants } from '../../../emit/constants.ts';
import { checkPacking } from '../check/pack-check.ts';
import { checkPanels, type Memories } from '../check/panel-check.ts';
import { BLOCK_BYTES } from './blocks.ts';
import type { DotKind } from './dot.ts';
import { compileEngine, epiloguesOf, instantiate, type Kernels, SOURCES } from './module.ts';
import { panelName } from './panel-job.ts';

const kinds: readonly DotKind[] = ['relaxed', 'pairs', 'i16'];
const engines = new Map<DotKind, Memories & { kernels: Kernels }>();

beforeAll(async () => {
  for (const kind of kinds) {
    const module = await compileEngine(kind);
    const state = newArena(2 ** 23, CONSTANTS_END);
    const weights = newArena(2 ** 22);
    const tables = newArena(2 ** 16);
    writeConstants(state.memory);
    const kernels = await instantiate(module, state.memory, weights.memory, tables.memory);
    engines.set(kind, { kernels, state, weights, tables });
  }
});

// Independent case: the same definition, codes being what Q4_0's are and scales what a half holds.
test.each(kinds)('%s codes in blocks equal the scalar reference, one token and many', (kind) => {
  const { kernels, ...memories } = engines.get(kind)!;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 20 })),
      fc.integer(),
      (tiles, count, seed) => {
        const rows = Array.from({ length: tiles }, () => 32);
        const shape = { rows, cells: 1, rank: 1, planes: 2, count, small: true, blocks: true } as const;
        expect(checkPanels(kernels, memories, shape, 'codes', seed)).toBeUndefined();
      },
    ),
    { numRuns: 40 },
  );
});

test.each(kinds)('%s bytes in blocks equal the scalar reference, one token and many', (kind) => {
  const { kernels, ...memories } = engines.get(kind)!;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }).map((n) => 8 * n),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 32 }),
      fc.integer({ min: 1, max: 2 }),
      fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 20 })),
      fc.integer(),
      (full, tiles, last, cells, count, seed) => {
        const rows = Array.from({ length: tiles }, (_, i) => (i === tiles - 1 ? Math.min(full, last) : full));
        const shape = { rows, cells, rank: 1, planes: 2, count, small: false, blocks: true } as const;
        expect(checkPanels(kernels, memories, shape, 'bytes', seed)).toBeUndefined();
      },
    ),
    { numRuns: 60 },
  );
});

// Independent case: the largest codes and inputs by hand; sums of a block stay exact.
test.each(kinds)('%s a block of the largest codes and inputs does not overflow', (kind) => {
  const { kernels, state, weights, tables } = engines.get(kind)!;
  const [x, token, y] = [2 ** 16, 2 ** 17, 2 ** 18];
  const bytes = new Uint8Array(state.memory.buffer);
  new Uint16Array(tables.memory.buffer).fill(0x3c00, 0, 16);
  const floats = new Float32Array(state.memory.buffer);
  floats[token / 4] = 1;
  for (const [code, byte] of [
    [15, 127],
    [15, 0],
    [0, 127],
    [0, 0],
  ]) {
    new Uint8Array(weights.memory.buffer).fill(17 * code, 0, BLOCK_BYTES);
    bytes.fill(byte, x, x + 64);
    floats.fill(0, y / 4, y / 4 + 16);
    kernels.gemv_blocks(0, 0, x, token, 4, y, 1);
    const expected = 32 * (code - 8) * (128 * (byte - 64) + byte);
    expect([...floats.subarray(y / 4, y / 4 + 16)]).toEqual(Array(16).fill(expected));
  }
});

// Independent case: kernels/panel.ts's definition in scalar code (reference.ts), integers exact, f32 bit for bit.
test.each(kinds.flatMap((kind) => SOURCES.map((source) => ({ kind, source }))))(
  '$kind $source equals the scalar reference with every epilogue',
  ({ kind, source }) => {
    const { kernels, ...memories } = engines.get(kind)!;
    fc.assert(
      fc.property(
        fc.record({
          full: fc.integer({ min: 1, max: 8 }).map((n) => 8 * n),
          tiles: fc.integer({ min: 1, max: 3 }),
          last: fc.integer({ min: 1, max: 64 }),
          cells: fc.integer({ min: 1, max: 2 }),
          rank: fc.integer({ min: 1, max: 3 }),
          planes: fc.constantFrom<1 | 2>(1, 2),
          count: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 20 })),
          small: fc.boolean(),
          seed: fc.integer(),
        }),
        ({ full, tiles, last, cells, rank, planes, count, small, seed }) => {
          const rows = Array.from({ length: tiles }, (_, i) =>
            i === tiles - 1 ? Math.min(full, last) : full,
          );
          const shape = { rows, cells, rank, planes, count, small };
          expect(checkPanels(kernels, memories, shape, source, seed)).toBeUndefined();
        },
      ),
      { numRuns: 30 },
    );
    for (const epilogue of epiloguesOf(source))
      expect(kernels[panelName(source, epilogue, true)]).toBeTypeOf('function');
  },
);

test('rows of Q4_0 become blocks: every code and scale where it belongs, and a scale that is no number is seen', () => {
  const { kernels, ...memories } = engines.get('i16')!;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(), fc.boolean(), (tiles, seed, infinite) => {
      expect(checkPacking(kernels, memories, tiles, seed, infinite)).toBeUndefined();
    }),
    { numRuns: 60 },
  );
});
