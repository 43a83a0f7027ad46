/**
 * The comparison and the circuits: shipped files against what they were made from, a live circuit of each kind, the page.
 */

import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd } from 'node:process';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { type CircuitCalibration, circuitSchema } from '../cell/circuits/circuit.ts';
import { misreadProbability } from '../cell/circuits/rom.ts';
import type { Comparison } from '../cell/comparison.ts';
import { cellCurrentA } from '../cell/operating-point.ts';
import { loadProcess } from '../cell/technology.ts';
import { packageRoot } from '../files.ts';
import { normalTail } from '../normal-tail.ts';
import { comparisonHtml, comparisonMarkdown } from '../report/cell-comparison.ts';
import { changedSource, decodeResult } from '../sources.ts';
import { createSpicePool } from '../spice/pool.ts';
import { sharedSpiceCache } from '../testing/run-folder.ts';
import { processNames } from './calibrate-all.ts';
import { calibrateCircuit, calibrateCircuitToFile } from './circuits/calibrate-circuit.ts';
import { integrate } from './circuits/waveform.ts';
import { compareCell } from './compare-cells.ts';

const pool = createSpicePool({ threads: 2, cacheFolder: sharedSpiceCache() });
const home = cwd();
afterEach(() => chdir(home));
afterAll(() => pool.close());

const shipped = (name: string) => readFileSync(join(packageRoot, 'calibration', 'planar32lp', name), 'utf8');
const comparison = JSON.parse(shipped('comparison.json')) as Comparison;
const planar = loadProcess('planar32lp');

describe('comparison as shipped', () => {
  test('has every cell and circuit; the Markdown is made from the JSON', () => {
    expect(comparison.cells.map(({ cell }) => cell)).toEqual(Object.keys(planar.technology.cells));
    expect(comparison.blocks.map(({ block }) => block)).toEqual(Object.keys(planar.technology.blocks!));
    expect(comparisonMarkdown(comparison)).toBe(shipped('comparison.md'));
    expect(processNames()).toContain('planar130');
  });

  test('one cell again from SPICE: the same row', async () => {
    const again = await compareCell(planar, 't2', loadCalibration('planar32lp', 't2'), pool);
    const before = comparison.cells.find(({ cell }) => cell === 't2')!;
    expect(again.nominal.rms).toBeCloseTo(before.nominal.rms, 5);
    expect(again.worst.rms).toBeCloseTo(before.worst.rms, 4);
    expect(again.gainDriftFixed).toBeCloseTo(before.gainDriftFixed, 3);
  });

  test('what must hold between the rows', () => {
    const of = (name: string) => comparison.cells.find(({ cell }) => cell === name)!;
    const rms = (name: string, mode: 'replica+ptat' | 'replica+fixed', tempK: number) =>
      of(name).modes[mode]!.find((e) => Math.abs(e.tempK - tempK) < 1e-6)!.rms;
    // A fixed ladder at 85 C: the prototype saw 20 % RMS (bias fixed); a wrong n of 20 % is seen by any tap cell.
    for (const name of ['t1', 't2', 't2b', 't3']) {
      expect(rms(name, 'replica+fixed', 358.15)).toBeGreaterThan(0.15);
      expect(rms(name, 'replica+ptat', 358.15)).toBeLessThan(0.015);
    }
    // exp of 2.8 %/K over 98 K is a factor 15 at constant slope; the slope falls with temperature.
    expect(Math.exp(of('t1').gainDriftFixed)).toBeGreaterThan(8);
    expect(Math.exp(of('t1').gainDriftFixed)).toBeLessThan(16);
    expect(of('replica').gainDriftFixed).toBeLessThan(0.05);
    // Seven unit transistors in parallel, each of half the width: sqrt(7 / 2) less spread than t1.
    expect(of('t1').lnSigma / of('t4').lnSigma).toBeCloseTo(Math.sqrt(3.5), 1);
    // Sixteen times the area: a quarter.
    expect(of('t1').lnSigma / of('t1-large').lnSigma).toBeCloseTo(4, 1);
  });

  test('every way to bias at every corner; a fixed bias moves by what the fitted cell says', () => {
    const corners = Object.keys(planar.technology.models.corners);
    for (const cell of comparison.cells) {
      expect(Object.keys(cell.cornersByMode)).toHaveLength(cell.driver === 'ideal' ? 4 : 2);
      for (const list of Object.values(cell.cornersByMode)) {
        expect(list!.map(({ corner }) => corner)).toEqual(corners);
      }
    }
    // Another path: the equation of the corner at the gate voltage that carries full scale at TT.
    for (const name of ['t1', 't1-large']) {
      const cal = loadCalibration('planar32lp', name);
      const { fullScaleA, vdsV, fullScaleVgsV, tempK } = cal.nominal;
      const { cornersByMode } = comparison.cells.find(({ cell }) => cell === name)!;
      for (const { corner, nominal } of cornersByMode['fixed+ptat']!) {
        const current = cellCurrentA(cal, { corner, tempK, vdsV, fullScaleA }, fullScaleVgsV);
        // The common gain is the best of all products, the equation that of the largest: strong inversion starts there.
        expect(Math.abs(nominal.lnGain - Math.log(current / fullScaleA)), `${name} ${corner}`).toBeLessThan(
          0.05,
        );
      }
      const gains = cornersByMode['replica+ptat']!.flatMap((c) => [c.leastLnGain, c.mostLnGain]);
      expect(Math.max(...gains.map(Math.abs))).toBeLessThan(0.15);
    }
  });

  test('page: one file that requests nothing', () => {
    const html = comparisonHtml(comparison);
    expect(html).toContain('Accuracy, area, power');
    expect(html.match(/<figure /g)).toHaveLength(5);
    expect(html).not.toMatch(/(src|href)="https?:/);
  });
});

describe('circuits as shipped', () => {
  const load = (name: string) => circuitSchema.parse(decodeResult(shipped(`${name}.json`)));
  test.each(Object.keys(planar.technology.blocks!))('%s: made from the files that are here', (name) => {
    expect(changedSource(load(name).sources, 'circuit')).toBeUndefined();
  });

  test('converters: errors follow from their resistors', () => {
    for (const name of ['string-dac', 'log-dac']) {
      const { levels, mismatch, codes } = load(name).converter!;
      for (const level of levels) expect(level.rms).toBeLessThan(0.01);
      // A level is a sum of independent steps: sigma x sqrt(sum of squared steps), with a top that is exact.
      const steps = Array.from({ length: codes - 1 }, (_, k) =>
        name === 'log-dac' ? Math.log((k + 2) / (k + 1)) : Math.log(codes) / (codes - 1),
      );
      let mean = 0;
      for (let k = 0; k < codes; k++) {
        mean += steps.slice(k).reduce((sum, s) => sum + s * s, 0) / codes;
      }
      const expected = mismatch.sigma * Math.sqrt(mean);
      // Twelve draws of strongly correlated levels: a standard error of about a quarter.
      expect(mismatch.rms / expected).toBeGreaterThan(0.5);
      expect(mismatch.rms / expected).toBeLessThan(1.6);
    }
  });

  test('mask ROM: Monte Carlo in SPICE agrees with the margins; a rail step is shared by two margins', () => {
    const circuit = load('mask-rom');
    const { monteCarlo, conditions } = circuit.rom!;
    // Binomial: three standard deviations.
    expect(Math.abs(monteCarlo.misreads - monteCarlo.expected)).toBeLessThan(
      3 * Math.sqrt(monteCarlo.expected),
    );
    for (const { marginDownV, marginUpV } of conditions) {
      for (let k = 1; k < marginUpV.length; k++) {
        // Raising the source takes one rail step and, by the body effect, up to 30 % more.
        const total = marginUpV[k - 1]! + marginDownV[k]!;
        expect(total / circuit.parameters.rail_step_v).toBeGreaterThan(1);
        expect(total / circuit.parameters.rail_step_v).toBeLessThan(1.35);
      }
    }
  });

  test('selector: energy is that of the capacitance it must charge', () => {
    const { parameters, selector } = load('routed-selector');
    const v = planar.technology.supplyV.value;
    const wires = parameters.wire_f / parameters.selected_columns + parameters.line_f;
    // Wire and line alone are a lower bound; gates, junctions and short-circuit current at most triple it.
    const energy = 4 * selector!.energyPerSelectedBitJ;
    expect(energy).toBeGreaterThan(wires * v * v);
    expect(energy).toBeLessThan(4 * wires * v * v);
  });
});

describe('circuits live', () => {
  test('mask ROM and selector reproduce the shipped files; unknown ones are named', async () => {
    for (const name of ['mask-rom', 'routed-selector']) {
      const again: CircuitCalibration = await calibrateCircuit(planar, name, pool);
      expect(again).toEqual(decodeResult(shipped(`${name}.json`)));
    }
    await expect(calibrateCircuit(planar, 'mask-rum', pool)).rejects.toMatchObject({
      code: 'CIRCUIT_UNKNOWN',
      hint: 'did you mean mask-rom?',
    });
  });

  test('is written below the working folder', async () => {
    chdir(mkdtempSync(join(tmpdir(), 'onefet-circuit-')));
    await calibrateCircuitToFile(planar, 'routed-selector', pool);
    const written = readFileSync(join('calibration', 'planar32lp', 'routed-selector.json'), 'utf8');
    expect(written).toBe(shipped('routed-selector.json'));
  });
});

describe('arithmetic of the measurements', () => {
  test('normal tail against tabulated values', () => {
    // Abramowitz and Stegun, table 26.1.
    expect(normalTail(0)).toBeCloseTo(0.5, 6);
    expect(normalTail(1) / 0.158655254).toBeCloseTo(1, 6);
    expect(normalTail(3) / 1.349898e-3).toBeCloseTo(1, 5);
    expect(normalTail(-2) / 0.977249868).toBeCloseTo(1, 6);
    const margins = { marginDownV: [null, 0.03], marginUpV: [0.03, null] };
    expect(misreadProbability(margins, 0.03)).toBeCloseTo(0.158655, 6);
  });

  test('trapezoidal integral between limits', () => {
    const x = Float64Array.of(0, 1, 3);
    const y = Float64Array.of(0, 2, 2);
    expect(integrate(x, y, 0, 3)).toBeCloseTo(5, 12);
    expect(integrate(x, y, 0.5, 2)).toBeCloseTo(0.75 + 2, 12);
  });
});
