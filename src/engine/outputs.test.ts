/** What matrices give, along the text and on inputs that are given: shown alike by all engines, in the model's own basis. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { loadFabric } from '../fabric/registry.ts';
import { METHODS } from '../mapping/method.ts';
import type { MappingMethod } from '../mapping/plan.ts';
import type { Stage } from '../model/architecture.ts';
import { type Model, openModel } from '../model/model.ts';
import { blockMatrices } from '../model/shape.ts';
import { logitsOf, runText, type TestRequest, withEngine } from '../testing/engines.ts';
import { testImage } from '../testing/images.ts';
import { ARCHITECTURE_FIXTURES, fixtureModel, writeFixture } from '../testing/models.ts';
import { runFolder } from '../testing/run-folder.ts';
import { type Engine, refusal, type Visitors } from './backend.ts';
import { findBackend } from './create.ts';
import type { BackendName } from './names.ts';

const ids = Int32Array.from({ length: 20 }, (_, i) => (i * 131 + 7) % 500);
const NAMES = ['scalar', 'wasm'] as const;
/** Whoever looks sees these positions. */
const FROM = 12;
const TILE_ROWS = 40;

/** [tokens][elements] by layer and stage or matrix. */
type Seen = Map<string, number[]>;
const add = (seen: Seen, key: string, values: Float32Array) =>
  seen.set(key, [...(seen.get(key) ?? []), ...values]);

const outputsInto = (seen: Seen): Visitors['outputs'] => ({
  visit: (layer, ordinal, y) => add(seen, `${layer} ${ordinal}`, y),
});

/** Outputs of the last tokens along the text; `inputs` gets what the stages read, where a mode shows it. */
async function along(engine: Engine, inputs?: Seen): Promise<Seen> {
  const seen: Seen = new Map();
  const look = inputs && {
    wants: () => true,
    visit: (layer: number, stage: Stage, x: Float32Array) => add(inputs, `${layer} ${stage}`, x),
  };
  await engine.prefill(ids, 0, undefined, 0, { from: FROM, inputs: look, outputs: outputsInto(seen) });
  return seen;
}

/** Outputs of the last tokens on given inputs, behind `along`. */
async function alone(engine: Engine, inputs: Seen): Promise<Seen> {
  const seen: Seen = new Map();
  const given: Visitors['given'] = (layer, stage, x, tokens, position) => {
    const all = inputs.get(`${layer} ${stage}`)!;
    const width = x.length / tokens;
    x.set(all.slice((position - FROM) * width, (position - FROM + tokens) * width));
  };
  await engine.prefill(ids, 0, undefined, ids.length, { given, outputs: outputsInto(seen) }, FROM);
  return seen;
}

/** 10 log10 of energy over that of the difference. */
function snrDb(expected: readonly number[], found: readonly number[]): number {
  expect(found.length).toBe(expected.length);
  const energy = (x: readonly number[]) => x.reduce((sum, value) => sum + value * value, 0);
  return 10 * Math.log10(energy(expected) / energy(expected.map((value, i) => value - found[i])));
}

function expectLike(found: Seen, expected: Seen, leastDb: number): void {
  expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [key, y] of expected) expect(snrDb(y, found.get(key)!), key).toBeGreaterThan(leastDb);
}

const digitalRequest = (model: Model): TestRequest => ({
  ...{ model, fabric: loadFabric(loadDesign('digital', []).design), mode: 'digital' },
});

const enginesOf = (request: TestRequest): BackendName[] =>
  NAMES.filter((name) => !refusal(findBackend(name), { threads: 1, contextTokens: ids.length, ...request }));

async function digitalPass(model: Model): Promise<{ inputs: Seen; outputs: Seen }> {
  const inputs: Seen = new Map();
  const outputs = await withEngine('scalar', digitalRequest(model), (engine) => along(engine, inputs));
  return { inputs, outputs };
}

const models = [['llama', {}], ...ARCHITECTURE_FIXTURES] as typeof ARCHITECTURE_FIXTURES;

test.each(models)(
  '%s: both engines show the same of a digital pass, and looking changes nothing',
  async (name, options) => {
    const path = join(runFolder('outputs'), `${name.replaceAll(' ', '-')}.gguf`);
    writeFixture(path, options);
    const model = openModel(path);
    const { inputs, outputs } = await digitalPass(model);
    expect(outputs.size).toBe(model.shape.layers * blockMatrices(model.shape, 0).length);
    for (const engine of enginesOf(digitalRequest(model))) {
      await withEngine(
        engine,
        { ...digitalRequest(model), tuning: engine === 'wasm' ? { batchTokens: 3 } : {} },
        async (made) => {
          const whole = await logitsOf(made, ids);
          expectLike(await along(made), outputs, engine === 'wasm' ? 45 : 200);
          // On its own inputs every matrix gives what it gave, and no error of another reaches it.
          expectLike(await alone(made, inputs), outputs, engine === 'wasm' ? 55 : 200);
          const shown: Float32Array[] = [];
          const states = { wants: () => true, visit: () => {} };
          const visitors = { states, outputs: outputsInto(new Map()) };
          await made.prefill(ids, 0, (_p, row) => shown.push(row.slice()), 0, visitors);
          expect(shown).toEqual(whole);
        },
      );
    }
    model.close();
  },
);

const everything: MappingMethod = {
  ...METHODS.rotated,
  name: 'everything',
  principal: 4,
  coding: { ...METHODS.rotated.coding, rank: 5 },
};
const CHOICES = [
  ['round', METHODS.round],
  ['scaled', METHODS.scaled],
  ['rotated', METHODS.rotated],
  ['everything', everything],
] as const;

test.each(CHOICES)(
  'image of %s: outputs are in the basis of the model, on given inputs too',
  async (name, method) => {
    const model = openModel(fixtureModel('tiny'));
    const image = await testImage(`tiny-${name}-6`, model, { method, tileRows: TILE_ROWS, bits: () => 6 });
    const fabric = loadFabric(loadDesign('log-domain', [`tile.rows=${TILE_ROWS}`]).design).withoutNoise();
    const { inputs, outputs } = await digitalPass(model);
    const { ranges } = await runText('scalar', { model, fabric, mode: 'range', image }, ids);
    const chip = { model, fabric, mode: 'chip', image, ranges, chipSeed: 3 } as const;
    const seen: Partial<Record<(typeof NAMES)[number], { stream: Seen; local: Seen }>> = {};
    for (const engine of NAMES) {
      await withEngine(engine, { model, fabric, mode: 'mapped', image }, async (made) => {
        await along(made);
        // Codes of six bits: another basis would have none of the signal.
        expectLike(await alone(made, inputs), outputs, 20);
      });
      seen[engine] = await withEngine(
        engine,
        { ...chip, tuning: engine === 'wasm' ? { batchTokens: 5 } : {} },
        async (made) => ({
          stream: await along(made),
          local: await alone(made, inputs),
        }),
      );
    }
    expectLike(seen.wasm!.local, seen.scalar!.local, 30);
    // A small difference of the cache flips codes of the row drivers: seen 23.8 dB and more.
    expectLike(seen.wasm!.stream, seen.scalar!.stream, 20);
    image.close();
    model.close();
  },
);

test.each(NAMES)('%s: given inputs leave no token behind, and no logits', async (name) => {
  const model = openModel(fixtureModel('tiny'));
  const fabric: Fabric = loadFabric(loadDesign('digital', []).design);
  const { inputs } = await digitalPass(model);
  await withEngine(name, { model, fabric, mode: 'chip' }, async (engine) => {
    const whole = await logitsOf(engine, ids);
    await along(engine);
    await alone(engine, inputs);
    const behind = engine.prefill(ids, 0, undefined, ids.length, {}, FROM + 1);
    await expect(behind).rejects.toMatchObject({ code: 'KEPT_RANGE' });
    const again: Float32Array[] = [];
    await engine.prefill(ids, 0, (_p, row) => again.push(row.slice()), FROM, {}, FROM);
    expect(again).toEqual(whole.slice(FROM));
    const asked = engine.prefill(ids, 0, () => {}, 0, { given: () => {} });
    await expect(asked).rejects.toMatchObject({ code: 'GIVEN_INPUTS' });
  });
  model.close();
});
