/** The search on objectives whose front is known, and its parts. */
import { describe, expect, test } from 'vitest';
import { dominates, frontOf, frontRanks } from './pareto.ts';
import { type Candidate, type Score, searchFront } from './search.ts';

describe('front', () => {
  test('dominates: nowhere worse and somewhere better', () => {
    expect(dominates([1, 2], [1, 3])).toBe(true);
    expect(dominates([1, 2], [1, 2])).toBe(false);
    expect(dominates([1, 4], [2, 3])).toBe(false);
  });

  test('of points: a staircase, of equal ones the first, in three numbers too', () => {
    const points = [
      [1, 5],
      [2, 3],
      [3, 4],
      [2, 3],
      [4, 1],
      [5, 5],
    ];
    expect(frontOf(points)).toEqual([0, 1, 4]);
    expect(frontRanks(points)).toEqual([0, 0, 2, 1, 0, 3]);
    expect(
      frontOf([
        [1, 1, 2],
        [1, 2, 1],
        [2, 2, 2],
        [1, 1, 2],
      ]),
    ).toEqual([0, 1]);
  });
});

/**
 * Axes x and y of 0 .. 8 and a useless z: error (8 - x)^2 + c (y - 4)^2, price x + |z - 2| + (y - 4)^2 / 10. The Pareto set is
 * y = 4, z = 2, any x.
 */
const LEVELS = [9, 9, 5];
const toy = ([x, y, z]: Candidate): Score => ({
  error: (8 - x) ** 2 + 3 * (y - 4) ** 2,
  price: x + Math.abs(z - 2) + (y - 4) ** 2 / 10,
});
const options = {
  levels: LEVELS,
  start: [[4, 3, 3]],
  seed: 1,
  first: 16,
  rungs: 3,
  kept: 0.5,
  rounds: 12,
  largestError: 100,
};

async function searched(
  asked: Partial<typeof options> = {},
  of: (one: Candidate) => Score | undefined = toy,
) {
  const calls: { rung: number; candidates: readonly Candidate[] }[] = [];
  const found = await searchFront({ ...options, ...asked }, async (candidates, rung) => {
    calls.push({ rung, candidates });
    return candidates.map(of);
  });
  return { found, calls };
}

const fronted = (found: readonly { candidate: Candidate; error: number; price: number }[]) =>
  frontOf(found.map(({ error, price }) => [error, price]))
    .map((i) => found[i].candidate)
    .sort((a, b) => a[0] - b[0]);

describe('search', () => {
  test.each([1, 2, 3])('finds the known front of a toy, seed %i', async (seed) => {
    const { found, calls } = await searched({ seed });
    expect(fronted(found)).toEqual(Array.from({ length: 9 }, (_, x) => [x, 4, 2]));
    const evaluated = calls.filter(({ rung }) => rung === 0).flatMap(({ candidates }) => candidates);
    // No candidate twice, and not the whole lattice.
    expect(new Set(evaluated.map(String)).size).toBe(evaluated.length);
    expect(evaluated.length).toBeLessThan(0.5 * 9 * 9 * 5);
  });

  test('is the same each time, and another with another seed', async () => {
    const [first, again, other] = [await searched(), await searched(), await searched({ seed: 7 })];
    expect(again.calls).toEqual(first.calls);
    expect(again.found).toEqual(first.found);
    expect(other.calls[0]).not.toEqual(first.calls[0]);
  });

  test('halves from rung to rung, and keeps what it started from', async () => {
    const start = [[0, 0, 0]];
    const { calls } = await searched({ start, rounds: 0, first: 31 });
    const [zero, one, two] = calls.map(({ candidates }) => candidates);
    expect(one.length).toBeLessThanOrEqual(Math.ceil(zero.length / 2) + 1);
    expect(two.length).toBeLessThanOrEqual(Math.ceil(one.length / 2) + 1);
    expect(two).toContainEqual(start[0]);
  });

  test('keeps the share that was asked for', async () => {
    const { calls } = await searched({ start: [], rounds: 0, first: 40, rungs: 2, kept: 0.25 });
    const [zero, one] = calls.map(({ candidates }) => candidates.length);
    expect(one).toBe(Math.ceil(zero / 4));
  });

  test('a candidate that cannot be is left out and its neighbours are not', async () => {
    const { found } = await searched({}, (one) => (one[0] === 5 ? undefined : toy(one)));
    expect(fronted(found)).toEqual([0, 1, 2, 3, 4, 6, 7, 8].map((x) => [x, 4, 2]));
  });

  test('does not look around points of too large an error', async () => {
    const { calls } = await searched({ largestError: -1 });
    expect(calls.every(({ candidates }) => candidates.length > 0)).toBe(true);
    expect(calls.length).toBe(options.rungs);
  });

  test('covers every level of an axis with as many candidates', async () => {
    const { calls } = await searched(
      { start: [], levels: [16, 4], first: 16, rungs: 1, rounds: 0 },
      () => undefined,
    );
    const of = (axis: number) => calls[0].candidates.map((one) => one[axis]).sort((a, b) => a - b);
    expect(new Set(of(0)).size).toBe(new Set(calls[0].candidates.map(String)).size);
    expect([...new Set(of(1))]).toEqual([0, 1, 2, 3]);
  });
});
