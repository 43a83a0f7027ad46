/**
 * Settling against the prototype's transient runs (its own netlists; numbers in brackets), the closed-form settling of an
 * exponential behind R C, and the energy C dV^2 of a gate that is charged and discharged through a resistor.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCalibration } from '../../../cell/calibration.ts';
import { createSpicePool } from '../../../spice/pool.ts';
import { sharedSpiceCache } from '../../../testing/run-folder.ts';
import { withTestbench } from '../study.ts';
import { type MacResult, type MacTransient, simulateMac } from './transient.ts';
import { characteriseTransient, rowSettling, type TransientStudy } from './transient-study.ts';

const pool = createSpicePool({ threads: 2, cacheFolder: sharedSpiceCache() });
afterAll(() => pool.close());

/** The prototype's circuit: 0.9 V, a quarter of 256 cells from 0.20 to 0.2742 V, 0.1 fF of wire per cell. */
const PROTOTYPE: MacTransient = {
  tempK: 300.15,
  vdsV: 0.4,
  supplyV: 0.9,
  clamp: { kind: 'resistor', ohm: 1 },
  tapOhm: 1,
  gates: 256,
  cells: 256,
  driven: 64,
  lowVgsV: 0.2,
  highVgsV: 0.2742,
  gateWireF: 0.1e-15,
  lineWireF: 0.1e-15,
  phaseS: 200e-9,
};
const CASCODE = { kind: 'cascode', gateV: 0.65, widthM: 1e-6, lengthM: 0.1e-6 } as const;
const run = (change: Partial<MacTransient>): Promise<MacResult> =>
  withTestbench({ process: 'planar32lp', cell: 't1', pool }, (testbench) =>
    simulateMac(testbench, { ...PROTOTYPE, ...change }),
  );
const ns = (seconds: number) => seconds * 1e9;

describe('1 % settling of the prototype', () => {
  test('36 kohm tap, 256 gates [19 ns]', async () => {
    const { positive, rowDissipatedJ } = await run({ tapOhm: 36e3 });
    // The prototype hung the column's 64 cells on the tap beside its 256 gates: 320/256 of the time.
    expect((ns(positive.settle1pcS) * 320) / 256 / 19).toBeGreaterThan(0.9);
    expect((ns(positive.settle1pcS) * 320) / 256 / 19).toBeLessThan(1.15);
    const { gateF } = loadCalibration('planar32lp', 't1').capacitance;
    const law = 256 * (gateF + 0.1e-15) * 0.0742 ** 2;
    expect(rowDissipatedJ / law).toBeGreaterThan(0.9);
    expect(rowDissipatedJ / law).toBeLessThan(1.1);
  });

  test('36 kohm tap, 4096 gates [258 ns]', async () => {
    const { positive } = await run({ tapOhm: 36e3, gates: 4096, phaseS: 2e-6 });
    expect(ns(positive.settle1pcS) / 258).toBeCloseTo(1, 1);
  });

  test('cascode clamp [44 ns up, 71 ns down], both phases', async () => {
    const { positive, negative, release } = await run({ clamp: CASCODE });
    expect(ns(positive.settle1pcS) / 44).toBeCloseTo(1, 1);
    expect(ns(release.settle1pcS) / 71).toBeCloseTo(1, 1);
    // Phase N carries the same current: with an ideal tap the line does not move.
    expect(negative.settle1pcS).toBeLessThan(0.1 * positive.settle1pcS);
    expect(Math.abs(negative.currentA / positive.currentA - 1)).toBeLessThan(1e-3);
  });

  test('op-amp clamp [8.5 ns]', async () => {
    const { positive } = await run({
      clamp: { ...CASCODE, kind: 'opamp', gateV: 0.4, gain: 100, poleS: 1e-9 },
    });
    expect(ns(positive.settle1pcS) / 8.5).toBeCloseTo(1, 1);
  });
});

describe('study of planar32lp/t1', () => {
  let study: TransientStudy;
  beforeAll(async () => {
    study = await characteriseTransient({ process: 'planar32lp', cell: 't1', pool });
  });

  test('with an ideal clamp a row settles by its R C', () => {
    const cases = study.cases.filter(({ clamp }) => clamp === 'resistor');
    expect(cases.length).toBe(8);
    for (const { positive, rowLawS } of cases) {
      expect(Math.abs(positive.settle1pcS / rowLawS - 1)).toBeLessThan(0.06);
    }
  });

  test('a cascode clamp is slower than the row, an op-amp clamp is not', () => {
    const of = (clamp: string, fromProduct?: number) =>
      study.cases.find(
        (c) => c.clamp === clamp && c.gates === 256 && c.cells === 256 && c.fromProduct === fromProduct,
      )!;
    expect(of('cascode', 0.135).positive.settle1pcS).toBeGreaterThan(
      2 * of('resistor', 0.135).positive.settle1pcS,
    );
    // From off the line has drifted up while it carried leakage only: the clamp wants a keep-alive current.
    expect(of('cascode').positive.settle1pcS).toBeGreaterThan(2 * of('cascode', 0.135).positive.settle1pcS);
    expect(of('opamp').positive.settle1pcS).toBeLessThan(1.3 * of('resistor').positive.settle1pcS);
  });

  test('energy: hundreds of attojoules, the ladder the largest share at 256 gates', () => {
    const { energy } = study.cases.find((c) => c.clamp === 'opamp' && c.gates === 256 && c.fromProduct)!;
    // The prototype's hand estimate of 40 aJ had the cell (27 here) and the gate's C dV^2, not the ladder's 1 uA from the
    // supply nor the charge that a driver takes from the supply.
    expect(energy.cellJ + energy.gateJ).toBeGreaterThan(30e-18);
    expect(energy.cellJ + energy.gateJ).toBeLessThan(60e-18);
    expect(energy.ladderJ).toBeGreaterThan(energy.cellJ);
    expect(energy.totalJ / (energy.cellJ + energy.gateJ + energy.ladderJ)).toBeCloseTo(1, 4);
  });
});

test('rowSettling solves I = I_high exp(-(dV/nUt) e^(-t/tau))', () => {
  const [tau, step, slope] = [2e-9, 0.3, 0.037];
  const t = rowSettling(tau, step, slope);
  const current = (time: number) => Math.exp((-step / slope) * Math.exp(-time / tau));
  expect((1 - current(t)) / (1 - current(0))).toBeCloseTo(0.01, 9);
});
