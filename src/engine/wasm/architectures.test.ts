/** Every architecture in WebAssembly, against the scalar engine: texts longer than the windows, at once and token by token. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadFabric } from '../../fabric/registry.ts';
import { type Model, openModel } from '../../model/model.ts';
import { loadLogDomainDesign } from '../../testing/designs.ts';
import { logitsOf, meanKl, runText, withEngine } from '../../testing/engines.ts';
import { ARCHITECTURE_FIXTURES, type FixtureOptions, writeFixture } from '../../testing/models.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-architectures-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const ids = Int32Array.from({ length: 45 }, (_, i) => (i * 131 + 7) % 500);
const design = (...overrides: string[]) =>
  loadFabric(loadLogDomainDesign('log-domain', ['tile.rows=64', ...overrides]).design).withoutNoise();

async function withModel<T>(
  name: string,
  options: FixtureOptions,
  use: (model: Model) => Promise<T>,
): Promise<T> {
  const path = join(folder, `${name.replaceAll(/\W+/g, '-')}.gguf`);
  writeFixture(path, options);
  const model = openModel(path);
  try {
    return await use(model);
  } finally {
    model.close();
  }
}

/** rms difference over the rms. */
function distance(found: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let difference = 0;
  let size = 0;
  for (const [p, logits] of found.entries()) {
    for (const [i, x] of logits.entries()) {
      difference += (x - expected[p][i]) ** 2;
      size += expected[p][i] ** 2;
    }
  }
  return Math.sqrt(difference / size);
}

/** The same with partial heads that fill whole vectors. */
const FIXTURES = ARCHITECTURE_FIXTURES.map(([name, options]): [string, FixtureOptions] => [
  name,
  options.fields?.['phi3.rope.dimension_count']
    ? {
        ...options,
        fields: { ...options.fields, 'phi3.rope.dimension_count': { type: 'u32', value: 8 } },
        tensors: (all) =>
          (options.tensors?.(all) ?? all).map((t) =>
            t.name.startsWith('rope_') ? { ...t, shape: [4], row: (_, out) => out.set([1, 1.1, 2, 3]) } : t,
          ),
      }
    : options,
]);

describe.each(FIXTURES)('%s', (name, options) => {
  test('the digital pass, caches of 16 and 8 bits', () =>
    withModel(name, options, async (model) => {
      const request = { model, mode: 'digital', contextTokens: ids.length } as const;
      const { logits: expected } = await runText('scalar', { ...request, fabric: design() }, ids);
      // Keys and values of the scalar engine are of 32 bits.
      for (const [bits, bound] of [
        [16, 4e-3],
        [8, 2e-2],
      ]) {
        const fabric = design(`kvBits=${bits}`);
        await withEngine('wasm', { ...request, fabric }, async (engine) => {
          const whole = await logitsOf(engine, ids);
          const error = distance(whole, expected);
          console.log(`${name}, ${bits} bits: ${error.toExponential(1)} of the logits`);
          expect(error, `${bits} bits`).toBeLessThan(bound);
          expect(await logitsOf(engine, ids.subarray(0, 20))).toEqual(whole.slice(0, 20));
          for (let p = 20; p < ids.length; p++) expect(await engine.decode(ids[p])).toEqual(whole[p]);
        });
      }
    }));
});

test.each(FIXTURES.filter(([name]) => ['qwen3', 'phi3', 'gemma2', 'olmo2'].includes(name)))(
  '%s on a chip is the scalar chip',
  (name, options) =>
    withModel(`chip ${name}`, options, async (model) => {
      const fabric = design();
      const { ranges } = await runText('scalar', { model, fabric, mode: 'range' }, ids);
      const chip = { model, fabric, mode: 'chip', ranges } as const;
      const { logits: expected } = await runText('scalar', { ...chip, chipSeed: 5 }, ids);
      const { logits: other } = await runText('scalar', { ...chip, chipSeed: 6 }, ids);
      const { logits: found } = await runText('wasm', { ...chip, chipSeed: 5 }, ids);
      expect(meanKl(expected, found)).toBeLessThan(0.15 * meanKl(expected, other));
    }),
);
