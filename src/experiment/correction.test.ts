/** Per-chip correction in a run: read, fitted, priced; the same for both engines and every time. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CommonDesign } from '../fabric/common-design.ts';
import { bits32, streamKey } from '../random.ts';
import { fixtureModel } from '../testing/models.ts';
import { openInputs, type RunInputs } from './inputs.ts';
import { mappingWork } from './mapping-report.ts';
import { planDesign } from './plan.ts';
import { plannedMappingWork } from './planned-mapping.ts';
import type { RunResult } from './result.ts';
import { executeRun } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-correction-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = join(folder, 'calibration.txt');
let inputs: RunInputs;

beforeAll(() => {
  const key = streamKey(5);
  const words = ['once', 'there', 'was', 'a', 'dog', 'who', 'found', 'the', 'red', 'ball', 'and', 'ran'];
  writeFileSync(
    text,
    Array.from({ length: 900 }, (_, i) => words[(bits32(key, i) >>> 0) % words.length]).join(' '),
  );
  inputs = openInputs({
    model: fixtureModel('tiny'),
    text: 'experiments/texts/stories.txt',
    rangeText: 'experiments/texts/range.txt',
    contextTokens: 24,
    scoring: 'window',
    maxWindows: 1,
  });
});

async function run(engine: 'scalar' | 'wasm', own: readonly string[], out = 'out'): Promise<RunResult> {
  const settings = [
    'mapping.method=centred',
    `mapping.text=${JSON.stringify(text)}`,
    'tile.rows=48',
    'cell=t1',
    ...own,
  ];
  const options = { design: 'log-domain', settings, chips: 2, seed: 1, threads: 1, engine };
  const plan = planDesign(inputs, {
    ...options,
    attributionChips: 0,
    yieldRatio: 1.1,
    out: join(folder, out),
  });
  const result = await executeRun(plan, {
    cacheFolder: join(folder, 'cache'),
    imagesFolder: join(folder, 'images'),
  });
  // Images of single chips are gone with the run.
  expect(readdirSync(plan.folder)).not.toContain('chips');
  return result;
}

const CORRECTED = ['mapping.correction.source=reading', 'mapping.correction.rank=8'];

test('a corrected chip is nearer to the model than the same chip as it is, on both engines and every time', async () => {
  const plain = await run('wasm', []);
  const corrected = await run('wasm', CORRECTED);
  corrected.chips.forEach((chip, i) => {
    expect(plain.chips[i].correction).toBeNull();
    const { read, gains, side } = chip.correction!;
    expect(gains).toBeLessThan(read);
    expect(side).toBeLessThan(0.8 * gains);
    expect(chip.kl).toBeLessThan(0.8 * plain.chips[i].kl);
  });
  expect(corrected.chips[0].kl).not.toBe(corrected.chips[1].kl);
  const again = await run('wasm', CORRECTED, 'again');
  expect(again.chips).toEqual(corrected.chips);
  const scalar = await run('scalar', CORRECTED);
  scalar.chips.forEach((chip, i) => {
    expect(chip.kl / corrected.chips[i].kl).toBeGreaterThan(0.9);
    expect(chip.kl / corrected.chips[i].kl).toBeLessThan(1.1);
  });
});

test('a chip whose mapping followed itself is corrected towards what its image holds', async () => {
  const follow = 'mapping.follow=true';
  const [plain, corrected] = [await run('wasm', [follow]), await run('wasm', [follow, ...CORRECTED])];
  corrected.chips.forEach((chip, i) => {
    const { read, side } = chip.correction!;
    expect(side).toBeLessThan(0.8 * read);
    expect(chip.kl).toBeLessThan(0.85 * plain.chips[i].kl);
  });
});

test('it is priced as the side path that it is, and its reading takes time', async () => {
  const [plain, corrected] = [await run('wasm', []), await run('wasm', CORRECTED)];
  expect(plain.mapping!.correction).toBeNull();
  const { rank, reads, readingS } = corrected.mapping!.correction!;
  expect([rank, reads]).toEqual([8, 4]);
  // 4 conversions of 49 settings of the rows, 16 columns a converter, none shorter than the usual integration.
  expect(readingS!).toBeGreaterThan(0.99 * 4 * 49 * 16 * 100e-9);
  expect(readingS!).toBeLessThan(0.1);
  const side = await run('wasm', ['mapping.side=8']);
  const energyOf = ({ projection }: RunResult) =>
    projection.energyJ.filter(({ name }) => name.startsWith('mapping')).map(({ value }) => value);
  expect(energyOf(corrected)).toEqual(energyOf(side));
  // Scales of its own stand in SRAM: 2 bytes for each output and 48 rows, by hand of the 8B's matrices.
  const scales = 32 * (10_240 * Math.ceil(4096 / 48) + 28_672 * 86 + 4096 * Math.ceil(14_336 / 48));
  const own = corrected.projection.energyJ.find(({ name }) => name === 'corrected-scales')!;
  expect(own.formula).toMatch(new RegExp(`^${(scales * 2e-6).toPrecision(3)} MB of scales`));
  expect(side.projection.energyJ.map(({ name }) => name)).not.toContain('corrected-scales');
  // The same is known before a run.
  const { resolved } = corrected.design as unknown as { resolved: CommonDesign };
  const unseen = { method: 'round', work: null };
  expect(plannedMappingWork(resolved, inputs.model.shape, unseen)).toEqual(mappingWork(corrected.mapping!));
  expect(corrected.projection.perTokenJ).toBeGreaterThan(plain.projection.perTokenJ);
});

test('what cannot be corrected is refused before anything is done', () => {
  const plan = (design: string, ...settings: string[]) =>
    planDesign(inputs, {
      design,
      settings: [`mapping.text=${JSON.stringify(text)}`, ...settings],
      chips: 1,
      seed: 1,
      threads: 1,
      engine: 'auto',
      attributionChips: 0,
      yieldRatio: 1.1,
      out: folder,
    });
  expect(() => plan('digital', 'mapping.method=centred', 'mapping.correction.source=reading')).toThrow(
    expect.objectContaining({ code: 'MAPPING_CORRECTION' }),
  );
  expect(() => plan('mask-rom', 'mapping.method=centred', 'mapping.correction.source=reading')).toThrow(
    /cells of the mask-rom fabric give codes and no currents/,
  );
  expect(() => plan('log-domain', 'mapping.method=round', 'mapping.correction.source=reading')).toThrow(
    /correction/,
  );
});
