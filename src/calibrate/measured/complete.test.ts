/**
 * What open raw data of a foundry have: one temperature, two drain voltages, 50 mV gate steps from 0 V, a floor with negative
 * readings. The device is known: the shipped cell with its threshold, slope, specific current and barrier lowering moved.
 */

import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd } from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Calibration, calibrationSchema } from '../../cell/calibration.ts';
import { atTemperature, COEFFICIENT_NAMES, ekvCurrentA, ekvGateVoltageV } from '../../cell/ekv.ts';
import { packageRoot } from '../../files.ts';
import { gaussian, streamKey } from '../../random.ts';
import { decodeResult, encodeResult } from '../../sources.ts';
import { onefet } from '../../testing/cli.ts';
import { calibrateFromCsv } from './measured.ts';

const home = cwd();
const folder = mkdtempSync(join(tmpdir(), 'onefet-complete-'));
let shipped: Calibration;
/** Coefficients of the device that is measured. */
let truth: number[];

beforeAll(() => {
  const text = readFileSync(join(packageRoot, 'calibration', 'planar32lp', 't1.json'), 'utf8');
  shipped = { ...calibrationSchema.parse(decodeResult(text)), sources: {} };
  chdir(folder);
  mkdirSync(join('calibration', 'planar32lp'), { recursive: true });
  writeFileSync(join('calibration', 'planar32lp', 't1.json'), encodeResult(shipped, 'shipped'));
  const moves: Readonly<Record<string, number>> = {
    'lnSpecificCurrentA.0': 0.15,
    'slopeFactor.0': 0.03,
    'thresholdV.0': 0.02,
    'barrierLowering.0': 0.004,
  };
  truth = shipped.corners.TT!.coefficients.map((c, i) => c + (moves[COEFFICIENT_NAMES[i]] ?? 0));
});
afterAll(() => chdir(home));

interface Lab {
  readonly tempsC: readonly number[];
  readonly drainsV: readonly number[];
  readonly stepV: number;
  readonly fromV: number;
  /** Noise of the meter, A, one sigma, with an offset of the same size. */
  readonly floorA: number;
}

const THIN: Lab = { tempsC: [27], drainsV: [0.1, 0.4], stepV: 0.05, fromV: 0, floorA: 2e-12 };
const WHOLE: Lab = {
  tempsC: [-40, 0, 27, 60, 85, 125],
  drainsV: [0.1, 0.2, 0.4, 0.6],
  stepV: 0.02,
  fromV: -0.3,
  floorA: 0,
};

function csv(lab: Lab, coefficients = truth): string {
  const key = streamKey(7);
  const lines = ['vgs_v,vds_v,temp_c,id_a'];
  let draw = 0;
  for (const tempC of lab.tempsC) {
    const at = atTemperature(coefficients, tempC + 273.15);
    for (const vdsV of lab.drainsV) {
      for (let step = 0; lab.fromV + step * lab.stepV <= 0.5001; step++) {
        const vgsV = lab.fromV + step * lab.stepV;
        const noise = gaussian(key, draw++);
        const drainA =
          ekvCurrentA(at, vgsV, vdsV) * (1 + 0.003 * gaussian(key, draw++)) + lab.floorA * (0.5 + noise);
        lines.push(`${vgsV.toFixed(3)},${vdsV},${tempC},${drainA.toExponential(5)}`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

function calibrateLab(lab: Lab, supplement: boolean, coefficients?: number[]) {
  writeFileSync('lab.csv', csv(lab, coefficients));
  return calibrateFromCsv({
    process: 'planar32lp',
    cell: 't1',
    csvPath: 'lab.csv',
    ...(supplement ? { supplementCell: 't1' } : {}),
  });
}

/** ln of the fitted over the true current at a temperature in C, Vds 0.4 V, at full scale and at a hundredth of it. */
function deviations({ corners }: Calibration, tempC: number): number[] {
  const tempK = tempC + 273.15;
  const [found, real] = [atTemperature(corners.TT!.coefficients, tempK), atTemperature(truth, tempK)];
  return [3e-9, 3e-11].map((currentA) => {
    const vgsV = ekvGateVoltageV(real, currentA, 0.4, -0.2, 0.6);
    return Math.log(ekvCurrentA(found, vgsV, 0.4) / currentA);
  });
}

describe('thin data and a simulated cell beside them', () => {
  test('calibrate: the device is found where it was measured, and named where it was not', () => {
    expect(csv(THIN)).toMatch(/,-\d/);
    const { calibration, summary } = calibrateLab(THIN, true);
    for (const deviation of deviations(calibration, 27)) expect(Math.abs(deviation)).toBeLessThan(0.02);
    // Its temperature law is the simulated cell's, as the true device's is.
    for (const tempC of [-20, 85]) {
      for (const deviation of deviations(calibration, tempC)) expect(Math.abs(deviation)).toBeLessThan(0.04);
    }
    // The simulated cell itself is far from it.
    const [far] = deviations(shipped, 27);
    expect(Math.abs(far)).toBeGreaterThan(0.2);
    expect(summary.skipped[0].reason).toContain('floor');
    const { measured, missing } = summary.completed.TT;
    expect(missing).toEqual([
      'other temperatures',
      'other drain voltages',
      'currents near the floor of the meter',
      'negative gate voltages',
      'gate voltages between the steps',
    ]);
    expect(measured).toBeGreaterThan(8);
    expect(measured).toBeLessThan(20);
    expect(calibration.engine).toContain('other temperatures, other drain voltages');
    // Only what was measured counts as fitted, and nothing was held out.
    const { fit, heldOutVds, heldOutTemp } = calibration.corners.TT!;
    expect(fit.points).toBeLessThanOrEqual(measured);
    expect(fit.points).toBeGreaterThan(4);
    expect([heldOutVds.points, heldOutTemp.points]).toEqual([0, 0]);
  });

  test.each([
    ['one temperature', { tempsC: [27] }, /temperatures 27\.0 C; three are needed/],
    ['two drain voltages', { drainsV: [0.1, 0.4] }, /2 drain voltages that every temperature has/],
    ['steps of 50 mV', { stepV: 0.05 }, /fewer than three gate voltages/],
    ['nothing below 0 V', { fromV: 0.02 }, /must reach Vgs 0 or lower/],
    ['a floor', { floorA: 2e-12, fromV: 0 }, /./],
  ] as const)('%s alone calibrates with the simulated cell, and not without', (_, change, alone) => {
    const lab = { ...WHOLE, ...change };
    const { calibration, summary } = calibrateLab(lab, true);
    expect(Object.keys(summary.completed)).toEqual(['TT']);
    for (const deviation of deviations(calibration, 27)) expect(Math.abs(deviation)).toBeLessThan(0.02);
    expect(() => calibrateLab(lab, false)).toThrow(alone);
  });

  test('whole data are not touched by the simulated cell', () => {
    const { summary, calibration } = calibrateLab(WHOLE, true);
    expect(summary.completed).toEqual({});
    expect(calibration.engine).not.toContain('among it');
  });

  test('a device that is no moved simulated cell is refused, as is one below its floor', () => {
    const other = truth.map((c, i) => (COEFFICIENT_NAMES[i] === 'lengthModulationPerV.0' ? c + 1.5 : c));
    const curved = other.map((c, i) => (COEFFICIENT_NAMES[i] === 'saturation.0' ? c - 0.5 : c));
    expect(() => calibrateLab({ ...THIN, drainsV: [0.1, 0.25, 0.4] }, true, curved)).toThrow(
      expect.objectContaining({ code: 'FIT_RESIDUAL' }),
    );
    expect(() => calibrateLab({ ...THIN, floorA: 3e-7 }, true)).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/MEASURED_FLOOR|FULL_SCALE_UNREACHED|FIT_RESIDUAL/),
      }),
    );
  });

  test('the command says what is not measured', async () => {
    writeFileSync('lab.csv', csv(THIN));
    const technology = readFileSync(join(packageRoot, 'spice', 'planar32lp', 'technology.yaml'), 'utf8');
    mkdirSync(join('spice', 'planar32lp'), { recursive: true });
    const own = technology.match(/^ {2}t1:\n(?: {4}.*\n)+/m)![0];
    writeFileSync(
      join('spice', 'planar32lp', 'technology.yaml'),
      technology.replace(own, `${own}${own.replace('t1:', 'lab:')}`),
    );
    const args = [
      'calibrate',
      '--process',
      'planar32lp',
      '--cell',
      'lab',
      '--csv',
      'lab.csv',
      '--supplement',
      't1',
    ];
    const { code, stdout, stderr } = await onefet(folder, ...args);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /TT {2}\d+ points above the floor move t1; from it: other temperatures, other drain/,
    );
  });
});
