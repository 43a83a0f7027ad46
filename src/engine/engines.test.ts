/** What every backend must do, on every fabric and in every mode: the interface, held against the scalar engine. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { FABRIC_WORDS, loadFabric } from '../fabric/registry.ts';
import { packageRoot } from '../files.ts';
import type { Stage } from '../model/architecture.ts';
import { type Model, openModel } from '../model/model.ts';
import { VISIBLE_ERRORS } from '../testing/designs.ts';
import { logitsOf, meanKl, runText, withEngine } from '../testing/engines.ts';
import { fixtureModel } from '../testing/models.ts';
import {
  allowedText,
  capabilityMarkdown,
  capabilityTable,
  type EngineMode,
  type InputVisitor,
  neededModes,
  refusal,
} from './backend.ts';
import { BACKENDS, chooseBackend, findBackend } from './create.ts';

let model: Model;
beforeAll(() => {
  model = openModel(fixtureModel('tiny'));
});
afterAll(() => model.close());

const ids = Int32Array.from({ length: 20 }, (_, i) => (i * 131 + 7) % 500);
const NAMES = BACKENDS.map(({ name }) => name);

/** Largest difference over the largest logit. */
function difference(found: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let most = 0;
  let size = 0;
  found.forEach((logits, p) => {
    logits.forEach((x, i) => {
      most = Math.max(most, Math.abs(x - expected[p][i]));
      size = Math.max(size, Math.abs(expected[p][i]));
    });
  });
  return most / size;
}

/** What is drawn for every token comes from other generators in WebAssembly: left out, so that chips compare. */
const stillFabric = (word: string): Fabric =>
  loadFabric(loadDesign(word, VISIBLE_ERRORS[word]).design).withoutNoise();

describe.each(FABRIC_WORDS)('%s', (word) => {
  const fabric = stillFabric(word);
  /** Ranges of the nominal chip, and the scalar engine's chips 5 and 6. */
  const makeChips = async () => {
    const range = fabric.measuresRanges
      ? { ranges: (await runText('scalar', { model, fabric, mode: 'range' }, ids)).ranges }
      : {};
    const chip = { model, fabric, mode: 'chip', ...range } as const;
    const run = async (chipSeed: number) => (await runText('scalar', { ...chip, chipSeed }, ids)).logits;
    return { chip: { ...chip, chipSeed: 5 }, expected: await run(5), other: await run(6) };
  };
  let made: ReturnType<typeof makeChips> | undefined;
  const chips = () => {
    made ??= makeChips();
    return made;
  };

  test.each(NAMES)('%s: exact modes are those of the scalar engine', async (name) => {
    for (const mode of ['digital', 'mapped'] as const) {
      const expected = await runText('scalar', { model, fabric, mode }, ids);
      const found = await runText(name, { model, fabric, mode }, ids);
      // Activations of 14 bits and weights of 8 and a second byte: rounding; the two scalar ones are the same code.
      expect(difference(found.logits, expected.logits)).toBeLessThan(name === 'wasm' ? 5e-3 : 1e-12);
    }
  });

  test.each(NAMES)('%s: a chip is the scalar chip; ranges and activity agree', async (name) => {
    const { chip, expected, other } = await chips();
    await withEngine(name, chip, async (engine) => {
      const found = await logitsOf(engine, ids);
      if (fabric.chipsDiffer) {
        expect(meanKl(expected, found)).toBeLessThan(0.15 * meanKl(expected, other));
      } else {
        expect(difference(found, expected)).toBeLessThan(2e-2);
      }
      const counted = engine.activity();
      const scalar = await withEngine('scalar', chip, async (standard) => {
        await standard.prefill(ids, 0);
        return standard.activity();
      });
      expect(counted.map(({ layer, tensor, tokens }) => [layer, tensor, tokens])).toEqual(
        scalar.map(({ layer, tensor, tokens }) => [layer, tensor, tokens]),
      );
      counted.forEach((layer, i) => {
        for (const [key, value] of Object.entries(scalar[i])) {
          // Counts of clipping are few; all else is the same quantity.
          if (typeof value !== 'number' || key === 'adcClipped' || value === 0) continue;
          expect(Math.abs((layer as unknown as Record<string, number>)[key] / value - 1)).toBeLessThan(0.02);
        }
      });
      engine.resetActivity();
      expect(engine.activity().every(({ tokens }) => tokens === 0)).toBe(true);
    });
    if (!fabric.measuresRanges) return;
    const { ranges } = await runText(name, { model, fabric, mode: 'range' }, ids);
    for (const [key, tiles] of Object.entries(chip.ranges!)) {
      tiles.flat().forEach((fullScale, i) => {
        expect(Math.abs(ranges[key].flat()[i] / fullScale - 1)).toBeLessThan(0.03);
      });
    }
  });

  test.each(NAMES)('%s: token by token is the text at once; what was closed is closed', async (name) => {
    const { chip } = await chips();
    const closed = await withEngine(name, chip, async (engine) => {
      const whole = await logitsOf(engine, ids, 3);
      expect(await logitsOf(engine, ids.subarray(0, 9), 3)).toEqual(whole.slice(0, 9));
      for (let p = 9; p < ids.length; p++) expect(await engine.decode(ids[p])).toEqual(whole[p]);
      return engine;
    });
    await expect(closed.decode(1)).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
  });

  test('coding losses are those of the layers that the fabric carries', async () => {
    const coding = (name: 'wasm' | 'scalar') =>
      withEngine(name, { model, fabric, mode: 'mapped' }, async (engine) => engine.codingLoss());
    const expected = await coding('scalar');
    expect(expected.length).toBe(word === 'gpu' ? 0 : 7);
    expect(await coding('wasm')).toEqual(expected);
  });
});

test.each(NAMES)('%s shows what the stages of a digital pass read', async (name) => {
  const request = { model, fabric: stillFabric('digital'), mode: 'digital' } as const;
  const inputsOf = (backend: (typeof NAMES)[number], wanted: (stage: Stage) => boolean) =>
    withEngine(backend, { ...request, tuning: {} }, async (engine) => {
      const seen = new Map<string, number[]>();
      const visit: InputVisitor = {
        wants: (_layer, stage) => wanted(stage),
        visit(layer, stage, x, tokens) {
          expect(x.length % tokens).toBe(0);
          seen.set(`${layer} ${stage}`, [...(seen.get(`${layer} ${stage}`) ?? []), ...x]);
        },
      };
      const blocks: number[] = [];
      const states = { wants: () => true, visit: (_p: number, block: number) => blocks.push(block) };
      const logits: Float32Array[] = [];
      await engine.prefill(ids, 0, (_p, row) => logits.push(row.slice()), 0, { inputs: visit, states });
      expect(blocks.length).toBe(ids.length * model.shape.layers);
      // Looking changes nothing.
      expect(logits).toEqual(await logitsOf(engine, ids));
      return seen;
    });
  const expected = await inputsOf('scalar', () => true);
  expect(expected.size).toBe(4 * model.shape.layers);
  for (const wanted of [() => true, (stage: Stage) => stage === 'feed-forward-input']) {
    const found = await inputsOf(name, wanted);
    for (const [key, x] of found) {
      expect(difference([Float32Array.from(x)], [Float32Array.from(expected.get(key)!)])).toBeLessThan(
        name === 'wasm' ? 5e-3 : 1e-12,
      );
    }
    expect(found.size).toBe([...expected.keys()].filter((key) => wanted(key.split(' ')[1] as Stage)).length);
  }
  // Who wants nothing else is shown the same.
  const alone = { wants: (layer: number, stage: Stage) => layer === 0 && stage === 'attention-output' };
  const last: number[] = [];
  const visit = (_layer: number, _stage: Stage, x: Float32Array) => last.push(...x);
  const look = { inputs: { ...alone, alone: true, visit } };
  await withEngine(name, { ...request, tuning: {} }, (engine) => engine.prefill(ids, 0, undefined, 0, look));
  const whole = await inputsOf(name, (stage) => stage === 'attention-output');
  expect(last).toEqual(whole.get('0 attention-output'));
  const chip = { ...request, mode: 'chip' } as const;
  await withEngine(name, chip, async (engine) => {
    await expect(engine.prefill(ids, 0, undefined, 0, look)).rejects.toMatchObject({ code: 'INPUTS_MODE' });
  });
});

test.each(NAMES)('%s ends a text when it is asked to', async (name) => {
  const fabric = stillFabric('digital');
  const stop = new AbortController();
  const request = { model, fabric, mode: 'digital', signal: stop.signal } as const;
  await withEngine(name, { ...request, tuning: { batchTokens: 2 } }, async (engine) => {
    const seen: number[] = [];
    const text = engine.prefill(ids, 0, (position) => {
      seen.push(position);
      if (position === 5) stop.abort();
    });
    await expect(text).rejects.toMatchObject({ kind: 'interrupted' });
    expect(seen.length).toBeLessThan(ids.length);
  });
  await expect(withEngine(name, request, async () => {})).rejects.toMatchObject({ kind: 'interrupted' });
});

/** Settings around the edges of what backends take. */
const settings = fc.record({
  'tile.rows': fc.constantFrom(4, 8, 60, 64, 256, 1024, 1032),
  'tile.sign': fc.constantFrom('integrate', 'two-conversion', 'paired-rows'),
  'weights.bits': fc.constantFrom(3, 4, 6),
  'input.bits': fc.constantFrom(2, 6, 10, 'float'),
  'input.codes': fc.constantFrom('linear', 'log'),
  'adc.trimVectors': fc.constantFrom(0, 8),
  'column.clamp': fc.constantFrom('regulated', 'cascode', 'class-a', 'resistance'),
  'column.clampOhm': fc.constantFrom(0, 1e4, 1e7),
  'column.clampMaxA': fc.constantFrom(1e-8, 1e-6, 1e-5),
  kvBits: fc.constantFrom(8, 16),
});

test('what is not refused can be built, and what is refused cannot', async () => {
  const mode = fc.constantFrom<EngineMode>('digital', 'mapped', 'range');
  const precision = fc.constantFrom<'fast' | 'exact'>('fast', 'exact');
  let built = 0;
  const some = fc.constantFrom(...NAMES);
  await fc.assert(
    fc.asyncProperty(settings, mode, precision, some, async (own, mode, precision, name) => {
      let fabric: Fabric;
      try {
        fabric = loadFabric(
          loadDesign(
            'log-domain',
            Object.entries(own).map(([k, v]) => `${k}=${v}`),
          ).design,
        );
      } catch {
        return fc.pre(false);
      }
      const needs = { model, fabric, mode, threads: 1, contextTokens: 16, tuning: { precision } };
      const refused = refusal(findBackend(name), needs);
      const create = withEngine(name, needs, (engine) => engine.prefill(ids.subarray(0, 2), 0));
      if (refused) await expect(create).rejects.toMatchObject({ code: 'ENGINE_REFUSAL' });
      else {
        await create;
        built++;
      }
    }),
    { numRuns: 48, seed: 8 },
  );
  expect(built).toBeGreaterThan(10);
});

test('auto takes the first backend that can, and says why not the others', () => {
  const choose = (choice: 'auto' | 'wasm' | 'scalar', ...own: string[]) => {
    const fabric = loadFabric(loadDesign('log-domain', own).design);
    return chooseBackend(choice, { model, fabric, threads: 2, contextTokens: 64 }, neededModes(fabric));
  };
  expect(choose('auto')).toMatchObject({ backend: { name: 'wasm' }, reason: undefined });
  const rows = choose('auto', 'tile.rows=100');
  expect(rows.backend.name).toBe('scalar');
  expect(rows.reason).toBe(
    'the wasm engine does not take tile.rows = 100; it takes multiples of 8 from 8 to 1024',
  );
  expect(() => choose('wasm', 'tile.rows=100')).toThrow(/tile.rows = 100/);
  expect(() => choose('scalar', 'kvBits=8')).toThrow(/kvBits = 8; it takes 16/);
  expect(() => choose('auto', 'kvBits=8', 'tile.rows=100')).toThrow(/tile.rows = 100.*kvBits = 8/);
  // A word of earlier versions is told what there is.
  expect(() => findBackend('fast')).toThrow(
    expect.objectContaining({ code: 'ENGINE_UNKNOWN', hint: 'engines are auto, wasm, scalar, reference' }),
  );
});

test('a number of threads that would never end is refused before anything starts', () => {
  const fabric = loadFabric(loadDesign('log-domain', []).design);
  for (const threads of [4096, 0, 1.5]) {
    expect(() => chooseBackend('auto', { model, fabric, threads, contextTokens: 64 }, ['chip'])).toThrow(
      expect.objectContaining({ code: 'THREADS', message: expect.stringContaining(`threads is ${threads}`) }),
    );
  }
});

test('capabilities as a table', () => {
  const rows = new Map(capabilityTable(BACKENDS).map(({ key, allowed }) => [key, allowed]));
  expect(rows.get('tile.rows')).toEqual(['multiples of 8 from 8 to 1024', 'any', 'any']);
  expect(rows.get('kvBits')).toEqual(['8 or 16', '16', '16']);
  expect(allowedText({ from: 1 })).toBe('at least 1');
  // src/README.md shows it as it is.
  const readme = readFileSync(join(packageRoot, 'src/README.md'), 'utf8');
  expect(readme).toContain(capabilityMarkdown(BACKENDS));
});
