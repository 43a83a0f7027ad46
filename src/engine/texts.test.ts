/** Several texts on one engine: each as if it were alone, whatever is decoded beside it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { type Model, openModel } from '../model/model.ts';
import { logitsOf, runText, withEngine } from '../testing/engines.ts';
import { fixtureModel } from '../testing/models.ts';
import type { Engine } from './backend.ts';

let model: Model;
beforeAll(() => {
  model = openModel(fixtureModel('tiny'));
});
afterAll(() => model.close());

/** With all that is drawn per token, and slow noise, whose draws belong to a window. */
const fabricOf = (kvBits: number) =>
  loadFabric(loadDesign('log-domain', ['tile.rows=64', `kvBits=${kvBits}`]).design);
const ids = Int32Array.from({ length: 30 }, (_, i) => (i * 131 + 7) % 500);

/** Texts of different lengths; the third has draws of its own. */
const TEXTS = [
  { length: 5, window: 7, from: 0 },
  { length: 19, window: 7, from: 3 },
  { length: 9, window: 8, from: 6 },
  { length: 1, window: 7, from: 11 },
] as const;
const STEPS = 3;

const begin = async (engine: Engine, { length, window, from }: (typeof TEXTS)[number]) =>
  logitsOf(engine, ids.subarray(from, from + length), window);
/** A text's token at a step behind its prompt. */
const tokenAt = (text: number, step: number) => (text * 17 + step * 29) % 500;

test.each([
  { backend: 'wasm', threads: 1, kvBits: 16, batchTokens: 252 },
  { backend: 'wasm', threads: 3, kvBits: 8, batchTokens: 3 },
  { backend: 'scalar', threads: 1, kvBits: 16, batchTokens: undefined },
] as const)('$backend, $threads thread(s), kvBits $kvBits: texts together are texts alone', async (own) => {
  const fabric = fabricOf(own.kvBits);
  const { ranges } = await runText('wasm', { model, fabric, mode: 'range' }, ids);
  const request = {
    model,
    fabric,
    ranges,
    mode: 'chip',
    chipSeed: 5,
    threads: own.threads,
    contextTokens: 24,
    ...(own.batchTokens ? { tuning: { batchTokens: own.batchTokens } } : {}),
  } as const;
  const alone = await withEngine(own.backend, request, async (engine) => {
    const all: Float32Array[][] = [];
    for (const [text, own] of TEXTS.entries()) {
      const logits = await begin(engine, own);
      for (let step = 0; step < STEPS; step++) {
        logits.push((await engine.decode(tokenAt(text, step))).slice());
      }
      all.push(logits);
    }
    return all;
  });
  await withEngine(own.backend, { ...request, texts: TEXTS.length }, async (engine) => {
    const found: Float32Array[][] = [];
    for (const [text, own] of TEXTS.entries()) {
      engine.turnTo(text);
      found.push(await begin(engine, own));
    }
    // The second text misses the second step and makes it up alone, while the others wait.
    for (let step = 0; step < STEPS; step++) {
      const texts = TEXTS.map((_, text) => TEXTS.length - 1 - text).filter(
        (text) => step !== 1 || text !== 1,
      );
      const next = texts.map((text) => ({ text, id: tokenAt(text, step) }));
      await engine.decodeMany(next, (index, logits) => {
        found[texts[index]].push(logits.slice());
      });
      if (step === 1) {
        engine.turnTo(1);
        found[1].push((await engine.decode(tokenAt(1, step))).slice());
      }
    }
    expect(found).toEqual(alone);
    const twice = [0, 0].map((text) => ({ text, id: 1 }));
    await expect(engine.decodeMany(twice, () => {})).rejects.toMatchObject({ code: 'TEXT_RANGE' });
    expect(() => engine.turnTo(TEXTS.length)).toThrow(expect.objectContaining({ code: 'TEXT_RANGE' }));
    // The longest text has room for two more; a full one stops all before any of them goes on.
    for (let step = 0; step < 2; step++) await engine.decodeMany([{ text: 1, id: 1 }], () => {});
    const full = [0, 1].map((text) => ({ text, id: 1 }));
    await expect(engine.decodeMany(full, () => {})).rejects.toMatchObject({ code: 'CONTEXT_FULL' });
  });
});

// The independent case: the second text whole, from an empty cache, on an engine that never saw the first.
test.each([
  { backend: 'wasm', mode: 'chip', kvBits: 16, batchTokens: 252 },
  { backend: 'wasm', mode: 'chip', kvBits: 8, batchTokens: 3 },
  { backend: 'wasm', mode: 'mapped', kvBits: 16, batchTokens: 252 },
  { backend: 'wasm', mode: 'digital', kvBits: 16, batchTokens: 252 },
  { backend: 'scalar', mode: 'chip', kvBits: 16, batchTokens: undefined },
  { backend: 'scalar', mode: 'digital', kvBits: 16, batchTokens: undefined },
] as const)(
  '$backend, $mode, kvBits $kvBits: a text behind kept tokens is the text computed whole',
  async (own) => {
    const fabric = fabricOf(own.kvBits);
    const { ranges } = await runText('wasm', { model, fabric, mode: 'range' }, ids);
    const request = {
      ...{ model, fabric, ranges, mode: own.mode, chipSeed: 5, contextTokens: 24 },
      ...(own.batchTokens ? { tuning: { batchTokens: own.batchTokens } } : {}),
    };
    const second = Int32Array.of(...ids.subarray(0, 11), 3, 1, 4, 1, 5);
    const whole = await withEngine(own.backend, request, (engine) => logitsOf(engine, second, 7));
    await withEngine(own.backend, request, async (engine) => {
      await logitsOf(engine, ids.subarray(0, 20), 7);
      const found: Float32Array[] = [];
      const states: number[] = [];
      const wants = () => true;
      const visit = (position: number, block: number) => block === 0 && states.push(position);
      await engine.prefill(
        second,
        7,
        (_position, logits) => found.push(logits.slice()),
        13,
        { states: { wants, visit: (position, block) => void visit(position, block) } },
        11,
      );
      expect(found).toEqual(whole.slice(13));
      expect(states).toEqual([11, 12, 13, 14, 15]);
      // The text is as long as it says: one more token stands behind all of it.
      const next = (await engine.decode(9)).slice();
      const [alone] = (await logitsOf(engine, Int32Array.of(...second, 9), 7)).slice(-1);
      expect(next).toEqual(alone);
      // Of another window, more than there are, and all of a text: nothing of these is in the cache, or nothing is left.
      for (const [window, kept] of [
        [8, 4],
        [7, 18],
        [7, 16],
      ]) {
        const refused = engine.prefill(second, window, undefined, 0, {}, kept);
        await expect(refused).rejects.toMatchObject({ code: 'KEPT_RANGE' });
      }
    });
  },
);

// More threads than a layer has panels or the machine has cores, some of which never find an item.
test('sixteen threads compute what one does', async () => {
  const fabric = fabricOf(16);
  const { ranges } = await runText('wasm', { model, fabric, mode: 'range' }, ids);
  const request = { model, fabric, ranges, mode: 'chip', chipSeed: 5 } as const;
  const one = await runText('wasm', { ...request, threads: 1 }, ids);
  const sixteen = await withEngine('wasm', { ...request, threads: 16, contextTokens: 32 }, async (engine) => {
    const logits = await logitsOf(engine, ids.subarray(0, 28));
    for (const id of ids.subarray(28)) logits.push((await engine.decode(id)).slice());
    return logits;
  });
  expect(sixteen).toEqual(one.logits);
});
