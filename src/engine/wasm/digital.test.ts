/** The kernels of the digital part around an image's tiles, each against its definition. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { type Arena, newArena } from '../../emit/arena.ts';
import { CONSTANTS_END, writeConstants } from '../../emit/constants.ts';
import { checkPaths, checkRotation } from './check/digital-check.ts';
import { chooseKernels } from './check/selftest.ts';
import { instantiate, type Kernels } from './kernels/module.ts';

let kernels: Kernels;
let state: Arena;
beforeAll(async () => {
  const { module } = await chooseKernels();
  state = newArena(2 ** 22, CONSTANTS_END);
  writeConstants(state.memory);
  kernels = await instantiate(module, state.memory, newArena(2 ** 16).memory);
});

/** Powers of two, factors of 12, 20 and 28, several of them, blocks of a smaller order, and none at all. */
test.each([
  1, 2, 4, 7, 8, 10, 12, 16, 20, 24, 28, 36, 43, 52, 64, 96, 128, 144, 148, 320, 576, 688, 1536, 3072, 4096,
  11008, 14336,
])('a rotation of %i elements and its inverse', (length) => {
  expect(checkRotation(kernels, state, length, 1, length)).toBeUndefined();
});

test('the same rotation of each head', () => {
  for (const length of [8, 12, 16, 48, 64, 80, 128]) {
    for (const repeat of [2, 3, 8]) {
      expect(checkRotation(kernels, state, length, repeat, 5)).toBeUndefined();
    }
  }
});

test('paths of low rank', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 600 }),
      fc.integer({ min: 1, max: 70 }),
      fc.integer(),
      (n, rank, seed) => {
        expect(checkPaths(kernels, state, n, rank, seed)).toBeUndefined();
      },
    ),
    { numRuns: 60 },
  );
});

test('what is wrong is found', () => {
  const broken = { ...kernels, butterflies: () => {}, combine_add: kernels.combine_subtract };
  expect(checkRotation(broken, state, 1536, 1, 1)).toMatch(/a rotation of 1536 differs/);
  expect(checkPaths(broken, state, 64, 3, 1)).toMatch(/combine_add differs/);
});
