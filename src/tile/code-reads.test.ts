/** Misread codes against the closed form of the margins, and the cells of SPICE. */
import { expect, test } from 'vitest';
import { loadCircuit } from '../cell/circuits/circuit.ts';
import { misreadProbability } from '../cell/circuits/rom.ts';
import { normalTail } from '../normal-tail.ts';
import { type CodeReads, cellsPerWord, newCodeReader, readProbabilities } from './code-reads.ts';

const rom = loadCircuit('planar32lp', 'mask-rom').rom!;
const typical = rom.conditions.find(({ corner, tempK }) => corner === 'TT' && tempK === 300.15)!;
const { marginDownV, marginUpV } = typical;
const reads = (sigmaVtV: number): CodeReads => ({ levels: rom.levels, sigmaVtV, marginDownV, marginUpV });
const PLACE = { layer: 2, tensor: 5 };
const COUNT = 200_000;

test('cells of a weight', () => {
  expect([3, 4, 6].map((bits) => cellsPerWord(bits, 4))).toEqual([2, 2, 3]);
  expect(cellsPerWord(4, 16)).toBe(1);
});

test('by hand: one level up is Q of the margin, two of the margin and the width of the level between', () => {
  const sigmaVtV = 0.03;
  const below = readProbabilities(reads(sigmaVtV));
  expect(below[0][0]).toBeCloseTo(1 - normalTail(marginUpV[0]! / sigmaVtV), 12);
  expect(1 - below[0][1]).toBeCloseTo(
    normalTail((marginUpV[0]! + marginDownV[1]! + marginUpV[1]!) / sigmaVtV),
    12,
  );
  expect(below[2][1]).toBeCloseTo(normalTail(marginDownV[2]! / sigmaVtV), 12);
  expect(below.map((row) => row.at(-1))).toEqual([1, 1, 1, 1]);
  // Over the levels: the probability that the calibration states.
  const misread = below.map((row, k) => 1 - (row[k] - (k > 0 ? row[k - 1] : 0)));
  expect(misread.reduce((sum, p) => sum + p, 0) / misread.length).toBeCloseTo(
    misreadProbability(typical, sigmaVtV),
    10,
  );
});

test('drawn cells are misread as often as the closed form says, and as often as cells in SPICE', () => {
  const reader = newCodeReader(reads(rom.cellSigmaVtV), 4, 9, PLACE);
  let cells = 0;
  for (let i = 0; i < COUNT; i++) {
    const code = (i % 16) - 8;
    const [word, read] = [code + 8, reader.read(code, i) + 8];
    cells += (word % 4 !== read % 4 ? 1 : 0) + (word >> 2 !== read >> 2 ? 1 : 0);
  }
  const share = cells / (2 * COUNT);
  const sampling = Math.sqrt((rom.cellProbability * (1 - rom.cellProbability)) / (2 * COUNT));
  expect(Math.abs(share - rom.cellProbability)).toBeLessThan(4 * sampling);
  const { misreads, cells: simulated } = rom.monteCarlo;
  const spice = Math.sqrt((share * (1 - share)) / simulated);
  expect(Math.abs(misreads / simulated - share)).toBeLessThan(3 * spice);
});

test.each([3, 4, 6])(
  '%i bits: the same for a seed, others for another; wide margins read what stands there',
  (bits) => {
    const [one, same, other, wide] = [
      newCodeReader(reads(0.03), bits, 1, PLACE),
      newCodeReader(reads(0.03), bits, 1, PLACE),
      newCodeReader(reads(0.03), bits, 2, PLACE),
      newCodeReader(reads(0.005), bits, 1, PLACE),
    ];
    const half = 2 ** (bits - 1);
    let differ = 0;
    for (let i = 0; i < 4000; i++) {
      const code = (i % (2 * half - 1)) - half + 1;
      const read = one.read(code, i);
      expect(read).toBeGreaterThanOrEqual(-half);
      expect(read).toBeLessThan(half);
      expect(same.read(code, i)).toBe(read);
      expect(wide.read(code, i)).toBe(code);
      if (other.read(code, i) !== read) differ++;
    }
    expect(differ).toBeGreaterThan(0);
  },
);
