/**
 * Noise of the simulator against what is known without it: 4 k T R of a resistor, Johnson noise of a channel at Vds -> 0
 * (S = 4 k T g, the limit of 2 q I coth), additivity, 1/(W L) of flicker, q/(Cox W L) of one charge; and the prototype's
 * values of BSIM4's thermal options, which all miss 2 q I.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createSpicePool } from '../../spice/pool.ts';
import { sharedSpiceCache } from '../../testing/run-folder.ts';
import { characteriseNoise, type NoiseStudy } from './noise.ts';

const pool = createSpicePool({ threads: 2, cacheFolder: sharedSpiceCache() });
afterAll(() => pool.close());
let study: NoiseStudy;
beforeAll(async () => {
  study = await characteriseNoise({ process: 'planar32lp', cell: 't1', pool });
});

const at = (option: string, vdsV: number, tempK = 300.15) =>
  study.white.find((w) => w.option === option && w.vdsV === vdsV && w.tempK === tempK)!;

test('the analysis gives 4 k T R', () => {
  expect(study.resistorRatio).toBeCloseTo(1, 5);
});

test('white noise of five cells on one line is the sum of theirs', () => {
  expect(study.additivity).toBeCloseTo(1, 4);
});

test('law: shot noise in saturation, Johnson noise at small Vds', () => {
  expect(at('card', 0.4).law).toBeCloseTo(1, 6);
  // 2 q I coth(Vds/2Ut) -> 2 q I 2 Ut/Vds = 4 k T I/Vds: at Vds = Ut/10 the two differ by (Vds/2Ut)^2/3 = 0.08 %.
  const { law } = at('card', 0.025);
  const x = 0.025 / (2 * 0.0258649);
  expect(law).toBeCloseTo(1 / x + x / 3 - x ** 3 / 45, 3);
});

test('no BSIM4 thermal option gives 2 q I: the disagreement the prototype found', () => {
  // Prototype at 1 MHz: tnoimod 0 1.51; 1 0.74-0.87 by current; 2 1.16.
  const [, , middle, fullScale] = at('0', 0.4).ratio;
  expect(middle).toBeCloseTo(1.51, 1);
  expect(fullScale).toBeCloseTo(1.5, 1);
  for (const ratio of at('1', 0.4).ratio.slice(2)) {
    expect(ratio).toBeGreaterThan(0.7);
    expect(ratio).toBeLessThan(0.9);
  }
  for (const ratio of at('2', 0.4).ratio) expect(Math.abs(ratio - 1.16)).toBeLessThan(0.03);
  // The card's own option is 0.
  expect(at('card', 0.4).ratio).toEqual(at('0', 0.4).ratio);
});

test('flicker: 1/f, proportional to I^2, near 1/(W L)', () => {
  const { relativePsdAt1Hz, exponent, areaM2, byArea } = study.flicker;
  for (const e of exponent) expect(e).toBeCloseTo(1, 3);
  // Prototype: S/I^2 = 5.2e-7 at 1 Hz.
  expect(relativePsdAt1Hz[3] / 5.2e-7).toBeCloseTo(1, 1);
  expect(Math.max(...relativePsdAt1Hz) / Math.min(...relativePsdAt1Hz)).toBeLessThan(1.06);
  // The card's drawn-to-effective length makes a small device noisier than its drawn area says.
  byArea.forEach((psd, i) => {
    const ratio = (psd * areaM2[i]) / (byArea[0] * areaM2[0]);
    expect(ratio).toBeGreaterThan(0.85);
    expect(ratio).toBeLessThan(1.02);
  });
});

test('one trapped charge: 0.42 mV at 0.02 um^2, 11 % of the current at 0.002 um^2', () => {
  const [full, , , tenth] = study.telegraph;
  expect(full.areaM2).toBeCloseTo(0.02e-12, 18);
  expect(full.stepV).toBeCloseTo(0.42e-3, 5);
  expect(full.spice).toBeCloseTo(0.0114, 3);
  expect(tenth.spice).toBeCloseTo(0.11, 2);
  // Beyond gm/I: the charge moves the mobility too (4.6 %), and a large step is an exponential, not a line.
  expect(full.spice / full.firstOrder).toBeCloseTo(1.04, 2);
});
