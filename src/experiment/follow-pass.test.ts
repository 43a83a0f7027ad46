/** A mapping that follows itself: what it gathers, and what it brings. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createEngine, findBackend } from '../engine/create.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { openImage } from '../mapping/image.ts';
import { modelSource } from '../mapping/model-source.ts';
import { type Model, openModel } from '../model/model.ts';
import { relativeDifference, total } from '../testing/mapping.ts';
import { fixtureModel } from '../testing/models.ts';
import { newFollowPass } from './follow-pass.ts';
import { newInputPass } from './input-pass.ts';
import { statisticsOf } from './input-statistics.ts';
import { mapToFile } from './map.ts';
import { type MappingPlan, namedMethod, planMapping, residualOf } from './mapping-plan.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-follow-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** In place of the system's folder for passing files. */
const passing = join(folder, 'passing');
let model: Model;
beforeAll(() => {
  mkdirSync(passing);
  vi.stubEnv('TMPDIR', passing);
  model = openModel(fixtureModel('tiny'));
});
afterAll(() => {
  vi.unstubAllEnvs();
  model.close();
});

const fabricOf = (...settings: string[]) =>
  loadFabric(
    loadDesign('digital', ['tile.rows=48', 'weights.bits=3', 'mapping.tokens=600', ...settings]).design,
  );
const planOf = (...settings: string[]): MappingPlan => planMapping(model, fabricOf(...settings))!;
const on = (name: 'wasm' | 'scalar') => ({
  fabric: fabricOf('mapping.method=rotated'),
  threads: 1,
  backend: findBackend(name),
});

/** Maps a plan; returns the path of its image. */
async function mapped(plan: MappingPlan, name: 'wasm' | 'scalar'): Promise<string> {
  const path = join(folder, `${name}-${plan.key}.image`);
  const { fabric, threads, backend } = on(name);
  const pass = newInputPass(model, plan.text.windows, { fabric, threads }, backend, undefined);
  await mapToFile(model, plan, pass, path, {});
  return path;
}

/** Logits of the calibration text's first window. */
async function logitsOf(plan: MappingPlan, path: string | undefined): Promise<Float32Array> {
  const image = path === undefined ? undefined : openImage(path);
  const [ids] = plan.text.windows;
  const engine = await createEngine('wasm', {
    model,
    fabric: on('wasm').fabric,
    mode: image ? 'mapped' : 'digital',
    threads: 1,
    contextTokens: ids.length,
    image,
  });
  image?.close();
  try {
    const all: number[] = [];
    await engine.prefill(ids, 0, (_position, row) => all.push(...row));
    return Float32Array.from(all);
  } finally {
    await engine.close();
  }
}

test('a mapping that follows itself comes nearer to the model as shipped on its text', async () => {
  const plans = {
    plain: planOf('mapping.method=rotated'),
    followed: planOf('mapping.method=rotated', 'mapping.follow=true'),
  };
  expect(plans.plain.key).not.toBe(plans.followed.key);
  const shipped = await logitsOf(plans.plain, undefined);
  const errorOf = async (plan: MappingPlan, name: 'wasm' | 'scalar' = 'wasm') => {
    const logits = await logitsOf(plan, await mapped(plan, name));
    const off = logits.map((x, i) => (x - shipped[i]) ** 2);
    return total(off) / total(shipped.map((x) => x * x));
  };
  const [plain, followed, scalar] = [
    await errorOf(plans.plain),
    await errorOf(plans.followed),
    await errorOf(plans.followed, 'scalar'),
  ];
  expect(followed).toBeLessThan(0.9 * plain);
  expect(scalar).toBeLessThan(0.9 * plain);
  // Nothing is left of the blocks on the way.
  expect(readdirSync(passing)).toEqual([]);
});

test('in front of the first block nothing is mapped: its inputs are those of the model as shipped, before and behind a rotation', async () => {
  const plan = planOf('mapping.method=rotated', 'mapping.follow=true');
  const method = namedMethod(plan)!;
  const gain = modelSource(model, () => Promise.reject(new Error('none'))).gain;
  const header = {
    model: { name: 'tiny', sha256: model.sha256() },
    design: plan.design,
    text: { name: 'text', sha256: plan.text.sha256, tokens: plan.text.tokens },
    method: { name: method.name, settings: {}, reasons: [] },
    residual: residualOf(model.shape, method),
  };
  const progress = { signal: undefined, onProgress: () => {} };
  const follow = newFollowPass(model, gain, plan, method, header, on('wasm'), progress);
  try {
    const pass = newInputPass(model, plan.text.windows, on('wasm'), on('wasm').backend, undefined);
    const expected = await statisticsOf(model.shape, gain, pass, progress).of(0, 'attention-input');
    const found = await follow.statistics(0, 'attention-input');
    expect(found.tokens).toBe(plan.text.tokens);
    expect(relativeDifference(found.mean, expected.mean)).toBeLessThan(1e-5);
    expect(relativeDifference(found.moments, expected.moments)).toBeLessThan(1e-5);
    const { mean, drift } = await follow.drift(0, 'attention-input');
    expect(relativeDifference(mean, expected.mean)).toBeLessThan(1e-5);
    expect(Math.max(...drift.map(Math.abs))).toBeLessThan(1e-5 * Math.max(...expected.moments));
    // Query, key and value are zero there still: so is what their attention gives.
    const hidden = await follow.statistics(0, 'attention-output');
    expect(hidden.moments.every((x) => x === 0)).toBe(true);
    await expect(follow.statistics(2, 'attention-input')).rejects.toMatchObject({ code: 'FOLLOW' });
  } finally {
    follow.close();
  }
});
