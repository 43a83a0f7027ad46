/** Ladders of a row: which columns they feed, and that each has draws of its own. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import type { TilePlace } from './draws.ts';
import { drawRows, ladderCount, ladderIndex, ladderSegments } from './ladder.ts';
import { tilePhysics } from './physics.ts';
import { drawStatics } from './static-errors.ts';
import { recodeWeights } from './weight-code.ts';

const PLACE: TilePlace = { layer: 2, tensor: 3, tile: 1, dieX: 0.5, dieY: 0.5 };
const CHIP = { errors: true, seed: 4 };

function physicsOf(settings: string[] = []) {
  const { design } = loadLogDomainDesign('log-domain', settings);
  return tilePhysics(loadCalibration(design.process, design.cell), design);
}

test('segments cover the columns of every cell once and are numbered by ladderIndex', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 700 }),
      fc.integer({ min: 1, max: 2 }),
      fc.integer({ min: 1, max: 300 }),
      (outputs, cells, ladderColumns) => {
        const segments = ladderSegments(outputs, cells, ladderColumns);
        expect(segments).toHaveLength(ladderCount(outputs, cells, ladderColumns));
        let next = 0;
        segments.forEach(({ from, to }, ladder) => {
          expect(from).toBe(next);
          expect(to - from).toBeLessThanOrEqual(ladderColumns);
          for (let c = from; c < to; c++) expect(ladderIndex(c, outputs, ladderColumns)).toBe(ladder);
          next = to;
        });
        expect(next).toBe(outputs * cells);
      },
    ),
  );
});

test('the ladders of a row have the spread of the design and nothing in common', () => {
  const physics = physicsOf();
  const [rows, ladders] = [256, 40];
  const sigmaV = physics.rowOffsetSigmaV;
  const offsets = Array.from(
    { length: ladders },
    (_, i) => drawRows(physics, CHIP, PLACE, { rowStart: 0, rows }, 7, i).rowOffsetV,
  );
  const mean = (f: (j: number, i: number) => number) =>
    offsets.reduce((sum, o, i) => sum + o.reduce((s, _x, j) => s + f(j, i), 0), 0) / (rows * ladders);
  const standardError = 1 / Math.sqrt(rows * ladders);
  expect(Math.abs(mean((j, i) => (offsets[i][j] / sigmaV) ** 2) - 1)).toBeLessThan(
    5 * Math.SQRT2 * standardError,
  );
  // Neighbours on the same row.
  const product = mean((j, i) => (offsets[i][j] * offsets[(i + 1) % ladders][j]) / sigmaV ** 2);
  expect(Math.abs(product)).toBeLessThan(5 * standardError);
});

test('tap errors: variance of the lowest tap is the sum over the ladder, the top tap is exact', () => {
  const physics = physicsOf();
  const { resistorSigma } = physics.design.driver;
  const { tapErrorV } = drawRows(physics, CHIP, PLACE, { rowStart: 0, rows: 20_000 }, 7, 0);
  expect([...new Set(tapErrorV[7])]).toEqual([0]);
  for (const tap of [1, 4]) {
    let expected = 0;
    for (let s = tap; s < 7; s++)
      expected += (physics.ladderSlopeV * resistorSigma * Math.log((s + 1) / s)) ** 2;
    const variance = tapErrorV[tap].reduce((sum, e) => sum + e * e, 0) / 20_000;
    expect(Math.abs(variance / expected - 1)).toBeLessThan(5 * Math.sqrt(2 / 20_000));
  }
});

test('fingers in place of a ladder have no resistors to mismatch', () => {
  const physics = physicsOf(['cell=t4', 'fullScaleA=1e-8']);
  const { tapErrorV, rowOffsetV } = drawRows(physics, CHIP, PLACE, { rowStart: 0, rows: 16 }, 7, 0);
  expect(tapErrorV.every((errors) => errors.every((e) => e === 0))).toBe(true);
  expect(rowOffsetV.some((v) => v !== 0)).toBe(true);
});

test('another height of the tiles gives the same transistors, buffers and resistors', () => {
  const physics = physicsOf();
  const [rows, outputs] = [96, 40];
  const row = (n: number, out: Float32Array) => {
    for (let k = 0; k < rows; k++) out[k] = Math.sin(1 + 7 * n + 3 * k);
  };
  const chip = (tileRows: number) => {
    const hardware = recodeWeights(outputs, rows, row, 4, tileRows);
    return hardware.tiles.map((tile, i) => ({
      tile,
      statics: drawStatics(physics, CHIP, { ...PLACE, tile: i }, tile, hardware, 1),
    }));
  };
  const [[whole], halves] = [chip(96), chip(32)];
  for (const { tile, statics } of halves) {
    const from = tile.rowStart * outputs;
    for (const of of ['vtV', 'beta'] as const) {
      statics[of][0].forEach((value, i) => {
        // Cells without a drain via are not drawn; which those are depends on the scale of the tile.
        if (tile.codes[i] !== 0 && whole.tile.codes[from + i] !== 0) {
          expect(value).toBe(whole.statics[of][0][from + i]);
        }
      });
    }
    statics.rowErrors[0].forEach(({ rowOffsetV, tapErrorV }, ladder) => {
      const all = whole.statics.rowErrors[0][ladder];
      const rowsOf = (values: Float64Array) => values.subarray(tile.rowStart, tile.rowStart + tile.rows);
      expect(rowOffsetV).toEqual(rowsOf(all.rowOffsetV).slice());
      tapErrorV.forEach((errors, tap) => {
        expect(errors).toEqual(rowsOf(all.tapErrorV[tap]).slice());
      });
    });
  }
});
