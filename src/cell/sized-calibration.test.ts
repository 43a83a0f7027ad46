/** Gates of a design's own: a size that is on file is that file, another is simulated once and kept. */
import { describe, expect, test } from 'vitest';
import { loadCalibration } from './calibration.ts';
import { findSized, gateChanges, isMissing, loadSized, type SizedCell } from './sized-calibration.ts';

const sized = (widthM: number | 'cell', lengthM: number | 'cell', cell = 't1'): SizedCell => ({
  process: 'planar32lp',
  cell,
  gate: { widthM, lengthM },
});

describe('a size that is on file', () => {
  test('is the cell itself where nothing else is said', () => {
    const own = loadCalibration('planar32lp', 't1');
    expect(loadSized({ process: 'planar32lp', cell: 't1' })).toEqual(own);
    expect(loadSized(sized('cell', 'cell'))).toEqual(own);
    expect(loadSized(sized(0.2e-6, 0.1e-6))).toEqual(own);
    expect(loadSized(sized('cell', 0.1e-6))).toEqual(own);
  });

  test('is a sibling that differs in nothing but the gate, both ways', () => {
    expect(loadSized(sized(0.8e-6, 0.4e-6))).toEqual(loadCalibration('planar32lp', 't1-large'));
    expect(loadSized(sized(0.2e-6, 0.1e-6, 't1-large'))).toEqual(loadCalibration('planar32lp', 't1'));
  });

  test('is no sibling of another circuit', () => {
    // t1-driver has t1's gate and another topology.
    expect(isMissing(findSized(sized(0.8e-6, 0.4e-6, 't1-driver')))).toBe(true);
  });
});

describe('another size', () => {
  test('is refused by name until it was calibrated', () => {
    expect(gateChanges(sized(0.31e-6, 'cell'))).toEqual({ widthM: 0.31e-6, lengthM: 0.1e-6 });
    expect(() => loadSized(sized(0.31e-6, 0.17e-6))).toThrow(
      expect.objectContaining({
        code: 'GATE_UNCALIBRATED',
        message: expect.stringContaining('3.1e-7 x 1.7e-7'),
      }),
    );
  });

  test('of a cell that does not exist is refused', () => {
    expect(() => findSized(sized(0.3e-6, 0.1e-6, 't9'))).toThrow(
      expect.objectContaining({ code: 'CELL_UNKNOWN' }),
    );
  });
});
