/**
 * The comparison with native ngspice: what must agree. Speeds are printed, not asserted: other work on the machine
 * decides them.
 */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { benchSpice, benchSpiceText } from './bench.ts';

const native = spawnSync('ngspice', ['--version'], { timeout: 10_000 }).status === 0;
if (!native) console.warn('skipped: the comparison with native ngspice, because none is installed');

test.skipIf(!native)(
  'dc within 1e-6, noise and transient times within 1 %, versions named',
  async () => {
    const result = await benchSpice({ rounds: 1 });
    expect(result.native).toMatch(/^ngspice-\d+/);
    expect(result.own).toContain('ngspice 45.2');
    expect(result.cases.map(({ name }) => name)).toEqual(['dc', 'monte-carlo', 'noise', 'transient']);
    for (const { name, agreement } of result.cases) {
      expect(agreement.compared, name).toBeGreaterThan(5);
      expect(agreement.largestRelative, name).toBeLessThanOrEqual(agreement.limit);
    }
    // Not the same program: an agreement to the last digit everywhere would mean that one was compared with itself.
    expect(Math.max(...result.cases.map(({ agreement }) => agreement.largestRelative))).toBeGreaterThan(0);
    console.info(benchSpiceText(result));
  },
  120_000,
);

test('without a native simulator it says so and compares nothing', async () => {
  const result = await benchSpice({ ngspice: 'no-such-simulator' });
  expect(result.skipped).toMatch(/no native simulator: no-such-simulator/);
  expect(result.cases).toEqual([]);
  expect(benchSpiceText(result)).toContain('skipped');
});
