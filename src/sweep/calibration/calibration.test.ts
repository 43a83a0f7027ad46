/** A calibration sweep against the committed calibration of the cell that it does not change. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadCalibration } from '../../cell/calibration.ts';
import { offCurrentA, operatingPoint } from '../../cell/operating-point.ts';
import { onefet } from '../../testing/cli.ts';
import { sharedSpiceCache } from '../../testing/run-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-cells-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a table of fitted quantities with SPICE beside the fit, read off at corners and temperatures', async () => {
  mkdirSync(join(folder, '.onefet/cache'), { recursive: true });
  symlinkSync(sharedSpiceCache(), join(folder, '.onefet/cache/spice'));
  writeFileSync(
    join(folder, 'cells.yaml'),
    `schema: onefet.experiment/1
kind: calibration
name: cells
base: { process: planar32lp, cell: t1 }
list: [{}, { corner: FF, tempK: 350 }, { tempK: 500 }, { vdsV: 0.7 }]
`,
  );
  const { code, stdout } = await onefet(folder, 'sweep', 'cells.yaml', '--no-report', '--json');
  expect(code).toBe(6);
  const { rows, folder: made } = JSON.parse(stdout);
  expect(rows.map(({ status }: { status: string }) => status)).toEqual([
    'done',
    'done',
    'refused',
    'refused',
  ]);
  expect(rows[2].reason).toMatch(/500 K is outside/);
  expect(rows[3].reason).toMatch(/vdsV 0\.7 V does not lie between/);
  const known = loadCalibration('planar32lp', 't1');
  expect(rows[0]).toMatchObject({
    ladder_slope_factor: known.nominal.ladderSlopeFactorN,
    fit_rms: known.corners.TT!.fit.rms,
    held_out_temperature_rms: known.corners.TT!.heldOutTemp.rms,
    sigma_threshold_v: known.mismatch.sigmaVtV,
    product_error_rms: known.multiply.product[1].rms,
  });
  const hot = { ...operatingPoint(known, 'FF', 350) };
  expect(rows[1].off_current_a).toBeCloseTo(offCurrentA(known, hot, 0), 20);
  // Products were simulated at three temperatures.
  expect(rows[1].product_error_rms).toBeNull();
  // A column of 36 kohm and 256 gates of 0.2 fF settles in some ten nanoseconds.
  expect(rows[0].settling_1pc_s).toBeGreaterThan(5e-9);
  expect(rows[0].settling_1pc_s).toBeLessThan(50e-9);
  const outcomes = readdirSync(join(folder, made, 'outcomes'));
  const first = JSON.parse(readFileSync(join(folder, made, 'outcomes', outcomes[0]), 'utf8'));
  expect(first.curves).toEqual(known.plots.transfer);
});
