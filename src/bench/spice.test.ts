/**
 * The comparison with native ngspice: what must agree. Speeds are printed, not asserted: other work on the machine
 * decides them.
 */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { createSpicePool } from '../spice/pool.ts';
import { needs } from '../testing/needs.ts';
import { benchSpice, benchSpiceText } from './spice.ts';
import { benchCases } from './spice-cases.ts';

const native = spawnSync('ngspice', ['--version'], { timeout: 10_000 }).status === 0;

test(
  'dc within 1e-6, noise and transient times within 1 %, versions named',
  needs(native ? undefined : 'no native ngspice installed'),
  async () => {
    const result = await benchSpice({ rounds: 1, warmRuns: 1, decksPerCore: 1 });
    expect(result.native).toMatch(/^ngspice-\d+/);
    expect(result.own).toContain('ngspice 45.2');
    expect(result.cases.map(({ name }) => name)).toEqual(['dc', 'monte-carlo', 'noise', 'transient']);
    for (const { name, agreement } of result.cases) {
      expect(agreement.compared, name).toBeGreaterThan(5);
      expect(agreement.largestRelative, name).toBeLessThanOrEqual(agreement.limit);
    }
    // Not the same program: an agreement to the last digit everywhere would mean that one was compared with itself.
    expect(Math.max(...result.cases.map(({ agreement }) => agreement.largestRelative))).toBeGreaterThan(0);
  },
);

test('without a native simulator it says so and compares nothing', async () => {
  const result = await benchSpice({ ngspice: 'no-such-simulator' });
  expect(result.skipped).toMatch(/no native simulator: no-such-simulator/);
  expect(result.cases).toEqual([]);
  expect(benchSpiceText(result)).toContain('skipped');
});

test('bypass of the Monte Carlo decks changes no current', async () => {
  const { deck, outputs } = benchCases().find(({ name }) => name === 'monte-carlo')!;
  expect(deck.netlist).toContain('bypass=1');
  const pool = createSpicePool({ threads: 2 });
  try {
    const [without, bypassed] = await Promise.all(
      [deck.netlist.replace('bypass=1', ''), deck.netlist].map(async (netlist) => {
        const job = { label: 'bypass', netlist, commands: [], outputs };
        return (await pool.run(job)).plots[0];
      }),
    );
    let worst = 0;
    for (const name of outputs[0].variables) {
      const [a, b] = [without.real.get(name)!, bypassed.real.get(name)!];
      for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(b[i] / a[i] - 1));
    }
    expect(worst).toBeLessThan(1e-9);
  } finally {
    await pool.close();
  }
});
