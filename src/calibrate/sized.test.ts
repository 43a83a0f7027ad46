/** A cell with the gate of its sibling, simulated and fitted anew, is the sibling. */
import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { calibrate } from './calibrate.ts';

test('t1 with the gate of t1-large is t1-large in every number', async () => {
  const changes = { widthM: 0.8e-6, lengthM: 0.4e-6 };
  const made = await calibrate({ process: 'planar32lp', cell: 't1', changes });
  const { cell, sources, ...numbers } = loadCalibration('planar32lp', 't1-large');
  expect(made).toMatchObject(numbers);
  expect(cell).toBe('t1-large');
  // The same files; the part of technology.yaml is named by the cell.
  expect(Object.keys(made.sources).map((key) => key.replace('cells.t1,', 'cells.t1-large,'))).toEqual(
    Object.keys(sources),
  );
});
