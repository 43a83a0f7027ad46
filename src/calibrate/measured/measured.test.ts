/**
 * Measured data in place of SPICE. The independent case: points of a known cell (SPICE of planar32lp/t1, and the cell
 * equation itself with drawn devices) written as a lab would write them, with noise of a known sigma.
 */

import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd } from 'node:process';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Calibration, calibrationSchema } from '../../cell/calibration.ts';
import { atTemperature, COEFFICIENT_COUNT, COEFFICIENT_NAMES, ekvCurrentA } from '../../cell/ekv.ts';
import { biasPoint, cellCurrentA, offCurrentA } from '../../cell/operating-point.ts';
import { cellOf, loadProcess } from '../../cell/technology.ts';
import { packageRoot } from '../../files.ts';
import { gaussian, streamKey } from '../../random.ts';
import { decodeResult, encodeResult } from '../../sources.ts';
import { createSpicePool } from '../../spice/pool.ts';
import { sharedSpiceCache } from '../../testing/run-folder.ts';
import { gridValue, sweepTransfer, type TransferSweep } from '../sweeps.ts';
import { cellTestbench } from '../testbench.ts';
import { parseMeasuredCsv } from './csv.ts';
import { measureHysteresis } from './hysteresis.ts';
import { calibrateFromCsv, calibrateFromCsvToFile } from './measured.ts';

const home = cwd();
/** The shipped calibration as the supplement; whether it is stale is another test's question. */
let shipped: Calibration;
beforeAll(() => {
  const text = readFileSync(join(packageRoot, 'calibration', 'planar32lp', 't1.json'), 'utf8');
  shipped = { ...calibrationSchema.parse(decodeResult(text)), sources: {} };
  chdir(mkdtempSync(join(tmpdir(), 'onefet-measured-')));
  mkdirSync(join('calibration', 'planar32lp'), { recursive: true });
  writeFileSync(join('calibration', 'planar32lp', 't1.json'), encodeResult(shipped, 'shipped'));
});
afterAll(() => chdir(home));

const TEMPS_C = [-40, -20, 0, 27, 50, 70, 85, 105, 125];
const NOISE = 0.005;

function csvOf(sweep: TransferSweep, noise: number, seed: number): string {
  const key = streamKey(seed);
  const lines = ['# 2636B, 2026-01-15, wafer 3', 'temp_c,vds_v,vgs_v,id_a,ig_a'];
  let draw = 0;
  sweep.tempK.forEach((t, k) => {
    for (let j = 0; j < sweep.vds.count; j++) {
      for (let i = 0; i < sweep.vgs.count; i++) {
        const at = j * sweep.vgs.count + i;
        const idA = sweep.drainA[k][at] * Math.exp(noise * gaussian(key, draw++));
        lines.push(
          [
            (t - 273.15).toFixed(2),
            gridValue(sweep.vds, j).toFixed(3),
            gridValue(sweep.vgs, i).toFixed(4),
            idA.toExponential(8),
            sweep.gateA[k][at].toExponential(4),
          ].join(','),
        );
      }
    }
  });
  return `${lines.join('\n')}\n`;
}

describe('SPICE of t1 with 0.5 % noise, as a CSV', () => {
  const pool = createSpicePool({ threads: 1, cacheFolder: sharedSpiceCache() });
  afterAll(() => pool.close());
  let sweep: TransferSweep;
  beforeAll(async () => {
    const process_ = loadProcess('planar32lp');
    const testbench = cellTestbench(process_, 't1', cellOf(process_, 't1'), { pool });
    sweep = await sweepTransfer(
      testbench,
      'TT',
      TEMPS_C.map((c) => c + 273.15),
      { start: -0.3, step: 0.005, count: 181 },
      { start: 0.1, step: 0.1, count: 6 },
    );
  }, 30_000);

  test('the parameters come back within their covariance, and the noise is recognised', () => {
    writeFileSync('clean.csv', csvOf(sweep, 0, 1));
    writeFileSync('noisy.csv', csvOf(sweep, NOISE, 1));
    const options = { process: 'planar32lp', cell: 't1', supplementCell: 't1' };
    const clean = calibrateFromCsv({ ...options, csvPath: 'clean.csv' });
    const noisy = calibrateFromCsv({ ...options, csvPath: 'noisy.csv' });
    expect(noisy.summary.noiseRms!).toBeGreaterThan(0.9 * NOISE);
    expect(noisy.summary.noiseRms!).toBeLessThan(1.1 * NOISE);
    expect(clean.summary.noiseRms!).toBeLessThan(0.2 * NOISE);
    const truth = clean.calibration.corners.TT!;
    const found = noisy.calibration.corners.TT!;
    const sigma = diagonal(found.covariance).map(Math.sqrt);
    const z = found.coefficients.map((c, i) => (c - truth.coefficients[i]) / sigma[i]);
    const worst = z.reduce((w, v, i) => (Math.abs(v) > Math.abs(z[w]) ? i : w), 0);
    expect(Math.abs(z[worst]), COEFFICIENT_NAMES[worst]).toBeLessThan(4);
    // Not all of them by luck: a covariance that is ten times too wide would make every z small.
    const meanSquare = z.reduce((s, v) => s + v * v, 0) / z.length;
    expect(meanSquare).toBeGreaterThan(0.1);
    expect(meanSquare).toBeLessThan(3);
    const percent = (value: number) => `${(100 * value).toFixed(2)} %`;
    console.info(
      `noise found ${percent(noisy.summary.noiseRms!)}; coefficients off by ${Math.sqrt(meanSquare).toFixed(2)} sigma RMS, ${Math.abs(z[worst]).toFixed(2)} at most (${COEFFICIENT_NAMES[worst]}); held out ${percent(found.heldOutVds.rms)} (Vds), ${percent(found.heldOutTemp.rms)} (temperature) RMS`,
    );
    // The held-out rows show the noise and little else.
    for (const residual of [found.heldOutVds, found.heldOutTemp]) {
      expect(residual.points).toBeGreaterThan(100);
      expect(residual.rms).toBeLessThan(0.009);
    }
  });

  test('the file is a calibration like any other: it loads, and the behaviour is that of the simulated one', () => {
    writeFileSync('lab.csv', csvOf(sweep, NOISE, 2));
    const yaml = `schema: onefet.measured-constants/1\ngateF: { value: 2e-16, source: LCR meter, tag: measured }\n`;
    writeFileSync('lab.yaml', yaml);
    const { calibration } = calibrateFromCsv({
      process: 'planar32lp',
      cell: 't1',
      csvPath: 'lab.csv',
      constantsPath: 'lab.yaml',
      supplementCell: 't1',
    });
    expect(calibration.engine).toMatch(/^measured: 9774 points of lab.csv/);
    expect(Object.keys(calibration.sources)).toContain('lab.csv');
    expect(calibration.capacitance.gateF).toBe(2e-16);
    expect(calibration.noise.whiteRatioSpice).toBe(shipped.noise.whiteRatioSpice);
    for (const tempC of [-10, 27, 60, 110]) {
      const op = { corner: 'TT' as const, tempK: tempC + 273.15, vdsV: 0.4, fullScaleA: 3e-9 };
      const bias = biasPoint(shipped, op);
      for (const product of [1 / 441, 0.1, 1]) {
        const v = bias.fullScaleVgsV + bias.ladderSlopeV * Math.log(product);
        const ratio = cellCurrentA(calibration, op, v) / cellCurrentA(shipped, op, v);
        // The two fits share neither points nor held-out rows; each follows SPICE within about 1 %.
        expect(Math.abs(ratio - 1)).toBeLessThan(0.02);
      }
      // Its table has single noisy points: 0.5 % noise, and 3 % interpolation in both.
      expect(Math.abs(offCurrentA(calibration, op, -0.1) / offCurrentA(shipped, op, -0.1) - 1)).toBeLessThan(
        0.06,
      );
    }
    expect(() =>
      cellCurrentA(calibration, { corner: 'FF', tempK: 300, vdsV: 0.4, fullScaleA: 3e-9 }, 0.2),
    ).toThrow(/no corner FF/);
  });

  test('what a sweep does not show is refused by name', () => {
    writeFileSync('alone.csv', csvOf(sweep, NOISE, 3));
    const options = { process: 'planar32lp', cell: 't1', csvPath: 'alone.csv' };
    expect(() => calibrateFromCsv(options)).toThrow(
      /mismatch needs a column "device" with at least 10 devices/,
    );
    expect(() => calibrateFromCsvToFile({ ...options, supplementCell: 't1' })).toThrow(
      /would replace its own/,
    );
    const truncated = csvOf(sweep, 0, 1)
      .split('\n')
      .filter((line) => !/^[-\d.]+,[\d.]+,(-|0\.0[0-4])/.test(line))
      .join('\n');
    writeFileSync('truncated.csv', truncated);
    expect(() => calibrateFromCsv({ ...options, csvPath: 'truncated.csv' })).toThrow(
      /must reach Vgs 0 or lower/,
    );
  });
});

describe('devices', () => {
  test('sigma(Vt) and sigma(beta) of drawn devices come back within their sampling error', () => {
    const coefficients = shipped.corners.TT!.coefficients;
    const [sigmaVtV, sigmaBeta, devices] = [0.012, 0.08, 61];
    const key = streamKey(77);
    // Device 0 is the nominal one, measured everywhere; the others come in pairs of opposite draws, so that the mean
    // over the devices is the nominal cell at the one bias where all of them are measured.
    const drawOf = (d: number, which: number) =>
      d === 0 ? 0 : (d % 2 === 0 ? -1 : 1) * gaussian(key, 2 * Math.ceil(d / 2) + which);
    const lines = ['device,vgs_v,vds_v,temp_c,id_a'];
    for (const tempC of [-20, 27, 85]) {
      for (const vdsV of [0.2, 0.4, 0.6]) {
        for (let d = 0; d < devices; d++) {
          // All devices at the reference point only, as a lab would.
          if (d > 0 && !(tempC === 27 && vdsV === 0.4)) continue;
          for (let vgsV = -0.1; vgsV < 0.5; vgsV += 0.01) {
            const shift = drawOf(d, 0) * sigmaVtV;
            const gain = drawOf(d, 1) * sigmaBeta;
            const idA =
              ekvCurrentA(atTemperature(coefficients, tempC + 273.15), vgsV - shift, vdsV) * Math.exp(gain);
            lines.push(`die${d},${vgsV.toFixed(3)},${vdsV},${tempC},${idA}`);
          }
        }
      }
    }
    writeFileSync('devices.csv', lines.join('\n'));
    const shifts = Array.from({ length: devices }, (_, d) => drawOf(d, 0) * sigmaVtV);
    const sampleSigma = Math.sqrt(shifts.reduce((sum, v) => sum + v * v, 0) / (devices - 1));
    const { calibration } = calibrateFromCsv({
      process: 'planar32lp',
      cell: 't1',
      csvPath: 'devices.csv',
      supplementCell: 't1',
    });
    const { mismatch } = calibration;
    expect(mismatch.monteCarlo.devices).toBe(devices);
    expect(mismatch.sigmaVtV).toBeGreaterThan(0.8 * sampleSigma);
    expect(mismatch.sigmaVtV).toBeLessThan(1.2 * sampleSigma);
    expect(mismatch.sigmaBeta).toBeGreaterThan(0.5 * sigmaBeta);
    expect(mismatch.sigmaBeta).toBeLessThan(1.5 * sigmaBeta);
  }, 30_000);
});

describe('the CSV reader', () => {
  const header = 'vgs_v,vds_v,temp_c,id_a';
  const cases: readonly [string, string, RegExp][] = [
    ['a unit that is not V', 'vgs_mv,vds_v,temp_c,id_a\n1,1,1,1', /line 1: unknown column "vgs_mv"/],
    ['a missing column', 'vgs_v,vds_v,id_a\n1,1,1', /line 1: no column temp_c/],
    ['a column twice', 'vgs_v,vgs_v,vds_v,temp_c,id_a\n', /line 1: column vgs_v stands twice/],
    ['no rows', `${header}\n# nothing\n`, /no data rows/],
    ['a word', `${header}\n0.1,0.4,27,1e-9\n0.1,0.4,27,n/a\n`, /x: line 3: id_a "n\/a" is not a number/],
    ['an empty cell', `${header}\n0.1,,27,1e-9`, /line 2: vds_v "" is not a number/],
    [
      'a negative current alone',
      `${header}\n\n0.1,0.4,27,-3e-13`,
      /no data rows; 1 skipped: no current into the drain/,
    ],
    ['kelvin in the column of C', `${header}\n0.1,0.4,398,1e-9`, /line 2: temp_c 398 is outside/],
    ['too few values', `${header}\n0.1,0.4,27`, /line 2: 3 values for 4 columns/],
    ['an unknown corner', `${header},corner\n0.1,0.4,27,1e-9,XX`, /line 2: corner "XX" is none of/],
    ['a line without end', `${header}\n${'1'.repeat(2000)}`, /line 2: 2000 characters/],
  ];
  test.each(cases)('%s', (_, text, message) => {
    expect(() => parseMeasuredCsv(text, 'x')).toThrow(message);
  });

  test('any order of columns, spaces, comments and line ends read the same (property)', () => {
    const names = ['vgs_v', 'vds_v', 'temp_c', 'id_a'];
    const value = { vgs_v: '0.125', vds_v: '0.4', temp_c: '-40', id_a: '2.5e-10' } as Record<string, string>;
    fc.assert(
      fc.property(
        fc.shuffledSubarray(names, { minLength: 4 }),
        fc.constantFrom('\n', '\r\n', '\n\n', '\n# note\n'),
        fc.constantFrom('', ' '),
        (order, end, space) => {
          const text = [order.join(`,${space}`), order.map((n) => value[n]).join(`${space},`)].join(end);
          const [point] = parseMeasuredCsv(text, 'x').points;
          expect(point).toMatchObject({ vgsV: 0.125, vdsV: 0.4, tempK: 233.14999999999998, drainA: 2.5e-10 });
        },
      ),
    );
  });
});

/** Diagonal of an upper triangle stored row by row. */
function diagonal(triangle: readonly number[]): number[] {
  const values: number[] = [];
  for (let i = 0, at = 0; i < COEFFICIENT_COUNT; at += COEFFICIENT_COUNT - i, i++) values.push(triangle[at]);
  return values;
}

describe('the forms that the file of a laboratory comes in', () => {
  const point = { vgsV: 0.1, vdsV: 0.4, tempK: 300.15, drainA: 1e-9, corner: 'TT' };
  const header = 'vgs_v,vds_v,temp_c,id_a';
  test.each([
    ['quotes', '"vgs_v","vds_v","temp_c","id_a"\n"0.1","0.4","27","1e-9"\n'],
    ['semicolons and decimal commas', 'vgs_v;vds_v;temp_c;id_a\n0,1;0,4;27;1e-9\n'],
    ['tabs', 'vgs_v\tvds_v\ttemp_c\tid_a\r\n0.1\t0.4\t27\t1e-9\r\n'],
    ['a quoted decimal comma between commas', `${header}\n"0,1","0,4",27,"1,0e-9"\n`],
    [
      'IC-CAP',
      '! VERSION = 6.00\nBEGIN_HEADER\n ICCAP_INPUTS\n  VG V G GROUND SMU1 0.001 LIN 1 0 1.8 37 0.05\nEND_HEADER\nTEMP 27\nBEGIN_DB\n ICCAP_VAR VD 0.4\n ICCAP_VAR VB 0\n #VG ID\n 0.1 1e-9\nEND_DB\n',
    ],
  ])('%s', (_, text) => {
    const { points, skipped } = parseMeasuredCsv(text, 'x');
    expect(points).toEqual([expect.objectContaining(point)]);
    expect(skipped).toEqual([]);
  });

  test('rows that say nothing are counted and left out', () => {
    const rows = [
      '0,0.4,27,-2e-14',
      '0,0.4,27,9.9100E+37',
      '0.1,0,27,1e-15',
      '0,0.4,27,0',
      '0.1,0.4,27,1e-9',
    ];
    const { points, skipped } = parseMeasuredCsv(`${header}\n${rows.join('\n')}\n`, 'x');
    expect(points).toEqual([expect.objectContaining(point)]);
    expect(skipped.map(({ reason, rows }) => [rows, reason.slice(0, 16)])).toEqual([
      [2, 'no current into '],
      [1, 'the meter was ou'],
      [1, 'no drain voltage'],
    ]);
    expect(() => parseMeasuredCsv(`${header}\n0,0.4,27,-1e-14\n`, 'x')).toThrow(
      /no data rows; 1 skipped: no current/,
    );
  });

  test('IC-CAP without a temperature, or with a bulk that is not grounded, says so', () => {
    const file = (more: string) =>
      `BEGIN_HEADER\nEND_HEADER\nBEGIN_DB\n${more}#VG VD ID\n0.1 0.4 1e-9\nEND_DB\n`;
    expect(() => parseMeasuredCsv(file(''), 'x')).toThrow(
      expect.objectContaining({ code: 'MEASURED_HEADER', hint: expect.stringContaining('TEMP 27') }),
    );
    expect(() => parseMeasuredCsv(file('ICCAP_VAR TEMP 27\nICCAP_VAR VB -1\n'), 'x')).toThrow(
      /line 5: VB is -1 V/,
    );
  });

  test('sweeps up and down are told apart and compared', () => {
    const sweep = (values: number[], factor: number) =>
      values.map((v) => `${v},0.4,27,${factor * Math.exp(20 * v) * 1e-12}`);
    const ups = Array.from({ length: 20 }, (_, i) => Number((0.01 * i).toFixed(2)));
    const text = [header, ...sweep(ups, 1), ...sweep([...ups].reverse(), 1.05)].join('\n');
    const found = measureHysteresis(parseMeasuredCsv(text, 'x').points)!;
    expect(found.points).toBe(18);
    expect(found.rms).toBeCloseTo(Math.log(1.05), 10);
    expect(found.max).toBeCloseTo(Math.log(1.05), 10);
    expect(
      measureHysteresis(parseMeasuredCsv([header, ...sweep(ups, 1)].join('\n'), 'x').points),
    ).toBeUndefined();
  });
});
