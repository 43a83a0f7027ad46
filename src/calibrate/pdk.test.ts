/**
 * Foundry libraries, named and calibrated like any other process: the open GF180MCU card inside the simulator package, and the
 * part of the open SKY130 library that is shipped.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { atTemperature, ekvCurrentA } from '../cell/ekv.ts';
import { packageRoot } from '../files.ts';
import { assembleText } from '../spice/deck.ts';
import { createSpicePool } from '../spice/pool.ts';
import { sharedSpiceCache } from '../testing/run-folder.ts';
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

/**
 * Drain current of nfet_01v8 1/0.5 um at Vds 0.4 V, Vgs 0.4 and 0.5 V, 27 C, by the library's own corners: native ngspice 39 on
 * the cells of the whole library (all bins, the subcircuit, mismatch switched off), A.
 */
const SKY130: Readonly<Record<string, readonly [number, number]>> = {
  TT: [2.619157e-9, 2.908664e-8],
  FF: [5.568472e-9, 6.02267e-8],
  SS: [1.238462e-9, 1.399558e-8],
  FS: [7.594167e-9, 7.985758e-8],
  SF: [8.922251e-10, 1.039562e-8],
};

test('the shipped part of SKY130 carries the currents of the whole library, and so does its calibration', async () => {
  const folder = join(packageRoot, 'spice', 'sky130');
  const { corners } = loadCalibration('sky130', 't1');
  const pool = createSpicePool({ threads: 1, cacheFolder: sharedSpiceCache() });
  try {
    for (const [corner, expected] of Object.entries(SKY130)) {
      const text = `t
.lib 'models.lib' ${corner}
vd d 0 0.4
vg g 0 0
m1 d g 0 0 sky130_fd_pr__nfet_01v8 w=1u l=0.5u ad=0.29p as=0.29p pd=2.58u ps=2.58u
.dc vg 0.4 0.5 0.1
.end
`;
      const { plots } = await pool.run({
        label: corner,
        netlist: assembleText(text, join(folder, 'test.cir')).netlist,
        commands: ['run', 'write result.raw'],
        outputs: [{ file: 'result.raw', plot: 'DC transfer', variables: ['i(vd)'], points: 2 }],
      });
      expected.forEach((currentA, i) => {
        expect(-plots[0].real.get('i(vd)')![i] / currentA).toBeCloseTo(1, 5);
        const fitted = ekvCurrentA(
          atTemperature(corners[corner as 'TT']!.coefficients, 300.15),
          0.4 + i / 10,
          0.4,
        );
        // Beyond the range of the fit, 8 times full scale, in the fast corners.
        if (currentA < 2.4e-8) expect(Math.abs(fitted / currentA - 1)).toBeLessThan(0.01);
      });
    }
  } finally {
    await pool.close();
  }
});

test('what is shipped of SKY130 names its licence and what was changed', () => {
  const text = readFileSync(join(packageRoot, 'spice', 'sky130', 'nfet_01v8.lib'), 'utf8');
  expect(text).toContain('Copyright 2020 The SkyWater PDK Authors');
  expect(text).toContain('Changed by onefet');
  expect(text.length).toBeLessThan(30_000);
  expect(readFileSync(join(packageRoot, 'spice', 'sky130', 'LICENSE'), 'utf8')).toContain('Apache License');
});
