/** Real-valued converters: emulated by both backends alike, and without a price, which the result says. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { smallPlan } from '../testing/jobs.ts';
import { executeRun } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-ideal-'));
const IDEAL_INPUT = ['input.bits=float', 'response.model=ideal'];
const ROUNDED = ['mapping.method=round'];

test.each([
  ['adc.bits', ['adc.bits=float'], ['adc.bits']],
  ['input.bits and adc.bits', ['adc.bits=float', ...IDEAL_INPUT], ['input.bits', 'adc.bits']],
])(
  '%s = float runs on both backends; the lines and the warnings say that it has no price',
  async (_, settings, keys) => {
    const run = (engine: 'wasm' | 'scalar') =>
      executeRun(
        smallPlan(folder, {
          engine,
          settings: [...ROUNDED, ...settings],
          out: join(folder, engine, String(settings.length)),
        }),
      );
    const [wasm, scalar] = [await run('wasm'), await run('scalar')];
    for (const result of [wasm, scalar]) {
      expect(
        result.warnings.filter((line) => line.includes('has no price')).map((line) => line.split(' ')[0]),
      ).toEqual(keys);
      for (const lines of [result.cost.energyJ, result.cost.areaLinesMm2]) {
        expect(lines.find(({ name }) => name === 'adcs')).toMatchObject({
          value: 0,
          formula: 'adc.bits is float: a real-valued converter has no price',
        });
      }
    }
    // Offsets of a converter that is none, as the WebAssembly backend once had them, made it thirty times as far off.
    expect(wasm.summary.kl.mean / scalar.summary.kl.mean).toBeGreaterThan(0.5);
    expect(wasm.summary.kl.mean / scalar.summary.kl.mean).toBeLessThan(2);
  },
);

test('a real-valued input on a calibrated response is refused with the way out', () => {
  expect(() => smallPlan(folder, { settings: ['input.bits=float'] })).toThrow(
    expect.objectContaining({ code: 'FLOAT_INPUT', hint: expect.stringContaining('response.model') }),
  );
});
