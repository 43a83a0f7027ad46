/**
 * Live simulations: the numbers of an earlier, independent prototype of the same cell (its own parser, fit and
 * random numbers; native ngspice agreed with it to 8e-8), and the shipped calibrations against a new one.
 */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd } from 'node:process';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type Calibration, loadCalibration } from '../cell/calibration.ts';
import { BOLTZMANN_OVER_CHARGE, COEFFICIENT_NAMES } from '../cell/ekv.ts';
import { biasPoint, cellCurrentA, offCurrentA } from '../cell/operating-point.ts';
import { cellOf, loadProcess } from '../cell/technology.ts';
import { packageRoot } from '../files.ts';
import { createSpicePool } from '../spice/pool.ts';
import { sharedSpiceCache } from '../testing/run-folder.ts';
import { countingPool } from '../testing/spice.ts';
import { calibrate, calibrateToFile } from './calibrate.ts';
import { productError } from './fit/measures.ts';
import { sweepMultiply, sweepTransfer } from './sweeps.ts';
import { type CellTestbench, cellTestbench } from './testbench.ts';

const pool = createSpicePool({ threads: 2, cacheFolder: sharedSpiceCache() });
const home = cwd();
afterEach(() => chdir(home));
afterAll(() => pool.close());

function benchOf(processName: string, cellName: string): CellTestbench {
  const process = loadProcess(processName);
  return cellTestbench(process, cellName, cellOf(process, cellName), { pool });
}

describe('T1 as a multiplier in SPICE: relative error over 63 x 7 products', () => {
  const testbench = benchOf('planar32lp', 't1');
  const ut = (tempC: number) => BOLTZMANN_OVER_CHARGE * (tempC + 273.15);
  // Columns: gate voltage of full scale, n, temperature, temperature that the ladder is set for, then the
  // prototype's largest and RMS error in percent (printed with two digits).
  const cases: readonly [string, number, number, number, number, number, number][] = [
    ['3 nA', 0.2742, 1.441, 27, 27, 1.5, 0.47],
    ['15 nA', 0.334, 1.441, 27, 27, 4.8, 1.9],
    ['60 nA', 0.39, 1.441, 27, 27, 10, 4.5],
    ['3 nA, wrong n', 0.2742, 1.5, 27, 27, 16, Number.NaN],
    ['3 nA at 85 C, ladder fixed', 0.2742, 1.441, 85, 27, Number.NaN, 20],
    ['3 nA bias at 85 C, ladder PTAT', 0.2742, 1.441, 85, 85, Number.NaN, 1.4],
  ];
  test.each(cases)('%s', async (_, fullScaleVgsV, n, tempC, ladderTempC, maxPercent, rmsPercent) => {
    const sweep = await sweepMultiply(testbench, 'TT', {
      tempK: tempC + 273.15,
      vdsV: 0.4,
      fullScaleVgsV,
      ladderSlopeV: n * ut(ladderTempC),
      codes: 63,
      levels: 7,
    });
    const error = productError(sweep);
    if (!Number.isNaN(maxPercent)) expect(100 * error.max).toBeCloseTo(maxPercent, maxPercent < 5 ? 1 : 0);
    if (!Number.isNaN(rmsPercent)) expect(100 * error.rms).toBeCloseTo(rmsPercent, rmsPercent < 5 ? 1 : 0);
  });
});

describe('calibration of planar32lp/t1', () => {
  let fresh: Calibration;
  test('reports every step and simulates nothing twice', async () => {
    const steps: { done: number; total: number }[] = [];
    const counting = countingPool(pool);
    fresh = await calibrate({
      process: 'planar32lp',
      cell: 't1',
      pool: counting.pool,
      onProgress: (step) => steps.push(step),
    });
    const hashes = counting.jobs.map(({ hash }) => hash);
    // A step is a simulation or the fit of one of five corners.
    expect(hashes).toHaveLength(steps[0].total - 5);
    expect(new Set(hashes).size).toBe(hashes.length);
    // Sweeps of five corners, products at three temperatures, devices, noise, capacitance and lines.
    expect(hashes.length).toBeLessThanOrEqual(30);
    expect(steps.map(({ done }) => done)).toEqual(steps.map((_, i) => i + 1));
    expect(steps[steps.length - 1].done).toBe(steps[0].total);
  });

  test('is the one that is shipped', () => {
    const shipped = loadCalibration('planar32lp', 't1');
    expect(fresh.sources).toEqual(shipped.sources);
    for (const [corner, entry] of Object.entries(fresh.corners)) {
      const other = shipped.corners[corner as 'TT']!;
      entry.coefficients.forEach((value, i) => {
        const name = `${corner} ${COEFFICIENT_NAMES[i]}`;
        // Coefficients are correlated: a stop one iteration earlier moves them by a share of their uncertainty.
        const sigma = Math.sqrt(entry.covariance[diagonal(i)]);
        expect(Math.abs(value - other.coefficients[i]), name).toBeLessThan(0.1 * sigma + 1e-9);
      });
    }
    const op = { corner: 'TT' as const, tempK: 300.15, vdsV: 0.4, fullScaleA: 3e-9 };
    const { fullScaleVgsV } = biasPoint(shipped, op);
    expect(cellCurrentA(fresh, op, fullScaleVgsV) / 3e-9).toBeCloseTo(1, 4);
  });

  test('exponential range at Vds 0.4 V: 2.73 / 4.17 / 4.90 decades within 1 / 5 / 10 %, n 1.441', () => {
    const [one, five, ten] = fresh.exponentialRange;
    expect(one.decades).toBeCloseTo(2.73, 2);
    expect(five.decades).toBeCloseTo(4.17, 2);
    expect(ten.decades).toBeCloseTo(4.9, 2);
    expect(one.slopeFactorN).toBeCloseTo(1.441, 2);
    expect(one.lowA / 5.6e-12).toBeCloseTo(1, 1);
    expect(one.highA / 3e-9).toBeCloseTo(1, 1);
  });

  test('off current at Vgs 0: 0.23 / 2.1 / 98 pA at -40 / 27 / 125 C; 0.60 pA at -0.1 V and 27 C', () => {
    const off = (tempC: number, vgsV: number) =>
      1e12 * offCurrentA(fresh, { corner: 'TT', tempK: tempC + 273.15, vdsV: 0.4, fullScaleA: 3e-9 }, vgsV);
    expect(off(-40, 0)).toBeCloseTo(0.225, 2);
    expect(off(27, 0)).toBeCloseTo(2.06, 1);
    expect(off(27, -0.1)).toBeCloseTo(0.6, 2);
    // The prototype's cell had no drain junction area; here its reverse current adds 5 pA at 125 C.
    expect(off(125, 0)).toBeGreaterThan(97);
    expect(off(125, 0)).toBeLessThan(105);
  });

  test('fit and held-out points: at most 1 % RMS, 3 % anywhere, at every corner', () => {
    for (const [corner, entry] of Object.entries(fresh.corners)) {
      for (const part of ['fit', 'heldOutVds', 'heldOutTemp'] as const) {
        expect(entry[part].points, `${corner} ${part}`).toBeGreaterThan(300);
        expect(entry[part].rms, `${corner} ${part}`).toBeLessThan(0.01);
        expect(entry[part].max, `${corner} ${part}`).toBeLessThan(0.03);
      }
    }
    for (const residual of fresh.multiply.heldOut) {
      expect(residual.points).toBe(441);
      expect(residual.rms).toBeLessThan(0.005);
    }
  });

  test('mismatch: sigma(Vt) 17.7 mV; ln-sigma in SPICE within its sampling error of theory', () => {
    const { sigmaVtV, sigmaBeta, monteCarlo } = fresh.mismatch;
    // A_VT / sqrt(W L) = 2.5 mV um / sqrt(0.2 x 0.1 um2).
    expect(1e3 * sigmaVtV).toBeCloseTo(17.68, 2);
    expect(sigmaBeta).toBeCloseTo(0.0707, 4);
    // Relative standard error of a standard deviation: 1 / sqrt(2 (N - 1)) = 2.2 %; three of them.
    const standardError = 1 / Math.sqrt(2 * (monteCarlo.devices - 1));
    monteCarlo.lnSigmaSpice.forEach((sigma, k) => {
      expect(Math.abs(sigma / monteCarlo.lnSigmaTheory[k] - 1)).toBeLessThan(3 * standardError);
      const fromSlope = Math.hypot(monteCarlo.thresholdSlopePerV[k] * sigmaVtV, sigmaBeta);
      expect(Math.abs(sigma / fromSlope - 1)).toBeLessThan(3 * standardError);
    });
    // A threshold step of +-1 mV gives 27.50 /V, a gate step 26.28 /V: 1.046. The difference of 1.2 /V is the
    // mobility: by hand from the card, field E = 2 Vth/toxe = 5e8 V/m, d ln(mu)/dVth = -(2/toxe)(ua + 2 ub E) /
    // (1 + ua E + ub E^2) = -1.25 /V.
    expect(fresh.mismatch.thresholdGain).toBeGreaterThan(1.03);
    expect(fresh.mismatch.thresholdGain).toBeLessThan(1.06);
    expect(monteCarlo.histogram.counts.reduce((sum, n) => sum + n, 0)).toBe(monteCarlo.devices);
  });

  test('noise: white 1.51 x 2qI (tnoimod 0), flicker 5.2e-7 /Hz at 1 Hz with slope 1', () => {
    // The bias of the prototype was 0.25 V, this one 0.275 V: both in weak inversion.
    expect(fresh.noise.whiteRatioSpice).toBeCloseTo(1.51, 1);
    expect(fresh.noise.flickerRelativePsdAt1Hz * 1e7).toBeCloseTo(5.2, 1);
    expect(fresh.noise.flickerExponent).toBeCloseTo(1, 2);
    // coth(0.4 V / 2 Ut) is 1 to seven digits at 27 C.
    expect(fresh.noise.whiteRatioTheory).toBeCloseTo(1, 6);
  });

  test('capacitances are those of the geometry', () => {
    const { widthM, lengthM, oxideM } = fresh.device;
    const oxideF = ((3.9 * 8.8541878128e-12) / oxideM) * widthM * lengthM;
    // Weak inversion: the depletion layer in series with the oxide, plus overlaps of 0.1-0.3 fF/um on two sides.
    expect(fresh.capacitance.gateF).toBeGreaterThan(0.25 * oxideF);
    expect(fresh.capacitance.gateF).toBeLessThan(1.5 * oxideF);
    expect(fresh.capacitance.drainF).toBeGreaterThan(0.02e-15);
    expect(fresh.capacitance.drainF).toBeLessThan(0.5e-15);
  });

  test('fixed gate voltage: 2.8 %/K at 27 C', () => {
    expect(100 * fresh.temperatureSensitivityPerK).toBeCloseTo(2.8, 1);
  });

  test('off current between grid lines equals SPICE within 3 %', async () => {
    const testbench = benchOf('planar32lp', 't1');
    const temps = [263.15, 311.15, 373.15, 393.15];
    const vgs = { start: -0.29, step: 0.02, count: 19 };
    const vds = { start: 0.15, step: 0.1, count: 4 };
    const sweep = await sweepTransfer(testbench, 'TT', temps, vgs, vds);
    let worst = 0;
    temps.forEach((tempK, t) => {
      for (let d = 0; d < vds.count; d++) {
        for (let g = 0; g < vgs.count; g++) {
          const op = { corner: 'TT' as const, tempK, vdsV: vds.start + d * vds.step, fullScaleA: 3e-9 };
          const interpolated = offCurrentA(fresh, op, vgs.start + g * vgs.step);
          worst = Math.max(worst, Math.abs(Math.log(interpolated / sweep.drainA[t][d * vgs.count + g])));
        }
      }
    });
    expect(worst).toBeLessThan(0.03);
  });
});

describe('a process of the user', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-process-'));
  const own = join(folder, 'spice', 'my-process');
  mkdirSync(own, { recursive: true });
  for (const name of ['models.lib', 'mos.inc', 'technology.yaml']) {
    cpSync(join(packageRoot, 'spice', 'planar32lp', name), join(own, name));
  }
  const technology = readFileSync(join(own, 'technology.yaml'), 'utf8')
    .replace('name: planar32lp', 'name: my-process')
    .replace(/corners: \{.*\}/, 'corners: { TT: TT }')
    .replace('  t1:\n', '  my-cell:\n')
    .replace('widthM: 0.2e-6', 'widthM: 0.3e-6');
  writeFileSync(join(own, 'technology.yaml'), technology);

  test('calibrates from the working folder, with the same bytes whatever the threads and the cache', async () => {
    chdir(folder);
    const options = { process: 'my-process', cell: 'my-cell' };
    const { path, calibration } = await calibrateToFile({ ...options, threads: 1 });
    const first = readFileSync(path, 'utf8');
    await calibrateToFile({ ...options, pool });
    expect(readFileSync(path, 'utf8')).toBe(first);
    await calibrateToFile(options);
    expect(readFileSync(path, 'utf8')).toBe(first);
    expect(Object.keys(calibration.corners)).toEqual(['TT']);
    expect(Object.keys(calibration.sources).sort()).toContain('spice/my-process/mos.inc');
    expect(Object.keys(calibration.sources).sort()).toContain('netlists/t1/transfer.cir');
    expect(first.length).toBeLessThan(400_000);
    expect(first).not.toContain(folder);
    // Wider by half: 17.7 mV / sqrt(1.5).
    expect(1e3 * loadCalibration('my-process', 'my-cell').mismatch.sigmaVtV).toBeCloseTo(14.43, 2);
    expect(() => biasPoint(calibration, { corner: 'FF', tempK: 300, vdsV: 0.4, fullScaleA: 3e-9 })).toThrow(
      expect.objectContaining({ code: 'CORNER_UNKNOWN' }),
    );
  });

  test('a changed source makes the calibration stale; a damaged one is invalid', () => {
    chdir(folder);
    const card = join(own, 'mos.inc');
    const text = readFileSync(card, 'utf8');
    writeFileSync(card, text.replace('nfactor=1.5', 'nfactor=1.6'));
    expect(() => loadCalibration('my-process', 'my-cell')).toThrow(
      expect.objectContaining({
        kind: 'input',
        code: 'CALIBRATION_STALE',
        message: expect.stringContaining('spice/my-process/mos.inc has changed'),
        hint: 'run: onefet calibrate --process my-process --cell my-cell',
      }),
    );
    writeFileSync(card, text);
    expect(loadCalibration('my-process', 'my-cell').cell).toBe('my-cell');
    const path = join('calibration', 'my-process', 'my-cell.json');
    const whole = readFileSync(path, 'utf8');
    for (const bad of [
      '{',
      '{}',
      whole.replace('"lnFloorA.0"', '"other"'),
      whole.replace('"driver":"ideal"', '"driver":"x"'),
    ]) {
      writeFileSync(path, bad);
      expect(() => loadCalibration('my-process', 'my-cell')).toThrow(
        expect.objectContaining({ kind: 'input', code: expect.stringMatching(/^CALIBRATION_/) }),
      );
    }
    writeFileSync(path, whole);
  });

  test('a calibration depends on its own cell and on what it uses of technology.yaml, on nothing else there', () => {
    chdir(folder);
    const path = join(own, 'technology.yaml');
    const loads = (text: string) => {
      writeFileSync(path, text);
      return () => loadCalibration('my-process', 'my-cell');
    };
    const cell = technology.slice(technology.indexOf('  my-cell:'), technology.indexOf('  t1-large:'));
    for (const text of [
      technology,
      technology.replace('  t1-large:', `${cell.replace('my-cell', 'another')}  t1-large:`),
      technology.replace('pmos: pch', 'pmos: other'),
      technology.replace('cells:', '# a remark\ncells:'),
      technology.replace(/description: >\n( {2}.*\n)+/, 'description: another\n'),
      technology.replace('mask-rom: {}', 'mask-rom: { parameters: { rail_step_v: 0.2 } }'),
    ]) {
      expect(loads(text)().cell).toBe('my-cell');
    }
    for (const text of [
      technology.replace('widthM: 0.3e-6', 'widthM: 0.31e-6'),
      technology.replace('value: 2.5e-9', 'value: 2.6e-9'),
      technology.replace('supplyV: { value: 0.8', 'supplyV: { value: 0.9'),
      technology.replace('TT: TT', 'TT: TT, FF: FF'),
    ]) {
      expect(text).not.toBe(technology);
      expect(loads(text)).toThrow(
        expect.objectContaining({
          code: 'CALIBRATION_STALE',
          message: expect.stringContaining('technology.yaml has changed since, in what it uses of it'),
        }),
      );
    }
    // A file that is not what was written, by a digit or by its hash, is refused with the way to make it again.
    const calibration = join('calibration', 'my-process', 'my-cell.json');
    const whole = readFileSync(calibration, 'utf8');
    for (const change of [
      (text: string) => text.replace(/(?<="fullScaleVgsV":0\.\d)\d/, (digit) => String(9 - Number(digit))),
      (text: string) => text.replace(/,"sha256":"\w+"/, ''),
    ]) {
      expect(change(whole)).not.toBe(whole);
      writeFileSync(calibration, change(whole));
      expect(loads(technology)).toThrow(
        expect.objectContaining({
          code: 'CALIBRATION_INVALID',
          message: expect.stringContaining('is not what was written'),
          hint: expect.stringContaining('onefet calibrate --process my-process --cell my-cell'),
        }),
      );
    }
    writeFileSync(calibration, whole);
    writeFileSync(path, technology);
  });

  test('mistakes in technology.yaml are named', () => {
    chdir(folder);
    const write = (from: string | RegExp, to: string) =>
      writeFileSync(join(own, 'technology.yaml'), technology.replace(from, to));
    write('supplyV:', 'suplyV:');
    expect(() => loadProcess('my-process')).toThrow(expect.objectContaining({ code: 'TECHNOLOGY_INVALID' }));
    write(/, tag: assumed(?= \}\n {2}abetaM)/, '');
    expect(() => loadProcess('my-process')).toThrow(/mismatch\.avtVm\.tag/);
    write('TT: TT', 'FF: FF');
    expect(() => loadProcess('my-process')).toThrow(/TT is required/);
    write('', '');
    expect(() => cellOf(loadProcess('my-process'), 'my-cel')).toThrow(
      expect.objectContaining({ code: 'CELL_UNKNOWN', hint: 'did you mean my-cell?' }),
    );
    expect(() => loadProcess('../etc')).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }));
    expect(() => loadProcess('my-proces')).toThrow(expect.objectContaining({ code: 'FILE_MISSING' }));
  });

  test('a cell that is no exponentiator at its full scale is refused', async () => {
    chdir(folder);
    writeFileSync(join(own, 'technology.yaml'), technology.replace('fullScaleA: 3e-9', 'fullScaleA: 3e-6'));
    await expect(calibrate({ process: 'my-process', cell: 'my-cell', pool })).rejects.toMatchObject({
      kind: 'simulation',
      code: 'FIT_RESIDUAL',
    });
  });

  test('a technology that the sweep does not fit into is refused', async () => {
    chdir(folder);
    for (const [from, to] of [
      ['vdsV: 0.4', 'vdsV: 0.7'],
      ['minTempK: { value: 233.15', 'minTempK: { value: 310'],
    ]) {
      writeFileSync(join(own, 'technology.yaml'), technology.replace(from, to));
      await expect(calibrate({ process: 'my-process', cell: 'my-cell', pool })).rejects.toMatchObject({
        kind: 'input',
        code: 'TECHNOLOGY_RANGE',
      });
    }
  });

  test('an abort ends it as interrupted', async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(
      calibrate({ process: 'planar32lp', cell: 't1', pool, signal: controller.signal }),
    ).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

/** Position of element (i, i) in the upper triangle of a square matrix, row by row. */
function diagonal(i: number): number {
  const n = COEFFICIENT_NAMES.length;
  return (i * (2 * n - i + 1)) / 2;
}
