/**
 * The auto-zero against what charge on a capacitor must do, as shipped and live.
 */
import { afterAll, expect, test } from 'vitest';
import { loadCircuit } from '../../cell/circuits/circuit.ts';
import { loadProcess } from '../../cell/technology.ts';
import { loadTopology, parameterValues } from '../../cell/topology.ts';
import { createSpicePool } from '../../spice/pool.ts';
import { sharedSpiceCache } from '../../testing/run-folder.ts';
import { circuitTestbench } from './circuit-testbench.ts';
import { measureAutoZero } from './measure-auto-zero.ts';

const pool = createSpicePool({ threads: 2, cacheFolder: sharedSpiceCache() });
afterAll(() => pool.close());

test.each(['planar32lp', 'planar130'])(
  '%s as shipped: less than the offset, at least what the gain leaves',
  (name) => {
    const { parameters, autoZero } = loadCircuit(name, 'auto-zero');
    const { plainSigmaV, drawnSigmaV, noiseV, rowSigmaV, conditions } = autoZero!;
    // Pelgrom; 200 draws have a standard error of 5 %.
    const { avtVm } = loadProcess(name).technology.mismatch;
    expect(plainSigmaV).toBeCloseTo(
      avtVm.value / Math.sqrt(parameters.follower_w_m * parameters.follower_l_m),
      8,
    );
    expect(Math.abs(drawnSigmaV / plainSigmaV - 1)).toBeLessThan(0.15);
    // Charge on 0.2 pF at 300.15 K: sqrt(kT/C) = 0.1439 mV (tables of kT/C noise: 64 uV at 1 pF).
    expect(noiseV * Math.sqrt(parameters.store_f / 1e-12)).toBeCloseTo(64.4e-6, 6);
    for (const c of conditions) {
      // The plate returns to the converter by the row's own offset, of which the gate sees only the share `gain`.
      const left = (1 - c.gain) * plainSigmaV;
      expect(c.residualSigmaV).toBeGreaterThan(0.6 * left);
      expect(c.residualSigmaV).toBeLessThan(plainSigmaV / 2);
      expect(c.stepSigmaV).toBeLessThan(c.residualSigmaV);
    }
    const typical = conditions.find((c) => c.corner === 'TT' && Math.abs(c.tempK - 300.15) < 1e-6)!;
    expect(rowSigmaV).toBeCloseTo(Math.hypot(typical.heldSigmaV, noiseV), 8);
  },
);

test('a capacitor twice as large: gain and residue follow C / (C + C gate); reproducible', async () => {
  const process = loadProcess('planar32lp');
  const technology = {
    ...process.technology,
    models: { ...process.technology.models, corners: { TT: 'TT' } },
  };
  const values = parameterValues(loadTopology('auto-zero').topology);
  const measure = (change: Record<string, number>) =>
    measureAutoZero(
      circuitTestbench({ ...process, technology }, 'auto-zero', { ...values, ...change }, { pool }),
      20,
    );
  const [small, large] = await Promise.all([
    measure({}),
    measure({ store_f: 2 * values.store_f, zero_s: 2 * values.zero_s }),
  ]);
  const at27 = (r: typeof small) => r.conditions.find((c) => Math.abs(c.tempK - 300.15) < 1e-6)!;
  const [a, b] = [at27(small), at27(large)];
  const gateF = values.store_f * (1 / a.gain - 1);
  expect(b.gain).toBeCloseTo(1 / (1 + gateF / (2 * values.store_f)), 2);
  // What the gain leaves falls with (1 - gain); the charge that the switches leave falls with C.
  const expected = a.residualSigmaV / 2;
  expect(b.residualSigmaV / expected).toBeGreaterThan(0.8);
  expect(b.residualSigmaV / expected).toBeLessThan(1.3);
  const shipped = loadCircuit('planar32lp', 'auto-zero').autoZero!.conditions.find(
    (c) => c.corner === 'TT' && c.tempK > 390,
  )!;
  expect(small.conditions.find((c) => c.tempK > 390)!.residualSigmaV / shipped.residualSigmaV).toBeCloseTo(
    1,
    4,
  );
});
