/** The activity that a run leaves prices its design again, to the last bit, and a damaged file is refused. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadCostConstants } from '../cost/constants.ts';
import type { Activity } from '../fabric/activity.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { writeFixture } from '../testing/models.ts';
import { readActivity, shapeOfActivity, writeActivity } from './activity-file.ts';
import { planRun } from './plan.ts';
import { priceRun, tileWarnings } from './price.ts';
import { executeRun } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-activity-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('of a run: the same cost, from the file alone', async () => {
  const model = join(folder, 'model.gguf');
  writeFixture(model, { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 });
  const plan = planRun({
    model,
    text: 'experiments/texts/stories.txt',
    rangeText: 'experiments/texts/range.txt',
    contextTokens: 16,
    maxWindows: 1,
    chips: 1,
    threads: 1,
    engine: 'scalar',
    overrides: { 'mapping.method': 'round' },
    out: join(folder, 'runs'),
  });
  const result = await executeRun(plan, { cacheFolder: join(folder, 'cache'), command: ['run'] });
  const path = join(plan.folder, 'activity.json');
  const stored = readActivity(path);
  const shape = shapeOfActivity(stored, path);
  const { design } = loadDesign('log-domain');
  const run = {
    fabric: loadFabric(design),
    activity: { layers: stored.layers } as Activity,
    ranges: stored.ranges,
    mapping: stored.mapping,
    shape,
  };
  const constants = loadCostConstants(design.process, design.costs);
  expect(priceRun(run, shape, constants, { contextTokens: 16 })).toEqual(result.cost);
  expect(priceRun(run, LLAMA_3_1_8B, constants, { contextTokens: 1024 })).toEqual(result.projection);
  expect(stored.accuracy.kl).toBe(result.summary.kl.mean);
  // Tiles of 256 rows on matrices of 32 inputs.
  expect(result.warnings).toEqual(expect.arrayContaining(tileWarnings(run)));
  expect(tileWarnings(run)[0]).toMatch(/tile\.rows is 256, but no matrix that ran has more than 32 inputs/);

  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.slice(0, -20));
  expect(() => readActivity(path)).toThrow(/activity\.json is not valid JSON/);
  writeFileSync(path, text.replace(/"tokens":\d+/, '"tokens":0'));
  expect(() => readActivity(path)).toThrow(/is not what was written: its SHA-256/);
  const [first, ...layers] = stored.layers;
  writeActivity(path, { ...stored, layers: [{ ...first, tokens: 0 }, ...layers] });
  expect(() => readActivity(path)).toThrow(/tokens/);
});
