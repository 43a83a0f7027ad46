/**
 * A foundry library, named and calibrated like any other process: the open GF180MCU card inside the simulator package.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../files.ts';
import { calibrate } from './calibrate.ts';

test('gf180mcu/t1 in all five corners of the library, within the limits of the fit', async () => {
  const cal = await calibrate({ process: 'gf180mcu', cell: 't1', cacheFolder: null });
  expect(Object.keys(cal.corners)).toEqual(['TT', 'FF', 'SS', 'FS', 'SF']);
  for (const corner of Object.values(cal.corners)) {
    for (const residual of [corner!.fit, corner!.heldOutVds, corner!.heldOutTemp]) {
      expect(residual.points).toBeGreaterThan(100);
      expect(residual.rms).toBeLessThan(0.01);
      expect(residual.max).toBeLessThan(0.03);
    }
  }
  // sigma(Vt) of the card at 0.6/0.6 um: 0.7071 x 7.148 mV um / sqrt(0.45 um x 0.70 um).
  expect(cal.mismatch.sigmaVtV).toBeCloseTo(0.009005, 5);
  // Fast NMOS needs less gate voltage than slow: the same gate carries e^(dVt / n Ut) more.
  expect(cal.corners.FF!.gate.lowV[3]).toBeLessThan(cal.corners.SS!.gate.lowV[3] - 0.05);
  // The card is used from the package: no source of it here, and nothing of its text in the repository.
  const sources = Object.keys(cal.sources).map((source) => source.replace(/#.*/, ''));
  expect(sources.filter((path) => path.startsWith('spice/'))).toEqual([
    'spice/gf180mcu/models.lib',
    'spice/gf180mcu/technology.yaml',
  ]);
  expect(readFileSync(join(packageRoot, 'spice', 'gf180mcu', 'models.lib'), 'utf8')).not.toMatch(
    /\.model|\.subckt/i,
  );
});
