/** The mapping stage: from a design to an image that a run computes with, interrupted, damaged, and refused. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findBackend } from '../engine/create.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { displayPath } from '../files.ts';
import { openImage } from '../mapping/image.ts';
import { modelSource } from '../mapping/model-source.ts';
import { STAGES } from '../model/architecture.ts';
import { type Model, openModel } from '../model/model.ts';
import { blockWeights } from '../model/shape.ts';
import { bits32, streamKey } from '../random.ts';
import { writeAdapter } from '../testing/adapters.ts';
import { onefet } from '../testing/cli.ts';
import { fixtureModel, writeFixture } from '../testing/models.ts';
import { newInputPass } from './input-pass.ts';
import { affordableBlocks, blocksPerPass, bytesPerBlock, statisticsOf } from './input-statistics.ts';
import { openInputs, type RunInputs } from './inputs.ts';
import { keepImage, mapToFile } from './map.ts';
import { mapModelFile } from './map-command.ts';
import { mappingMemory } from './mapping-memory.ts';
import { planMapping } from './mapping-plan.ts';
import { mappingWork } from './mapping-report.ts';
import { mappingOperations } from './mapping-time.ts';
import { planDesign } from './plan.ts';
import { plannedMappingWork } from './planned-mapping.ts';
import { executeRun } from './run.ts';
import { digitalPass, inspectImage, partsOf } from './run-mapping.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-map-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const text = join(folder, 'calibration.txt');
const path = fixtureModel('tiny');
let model: Model;
let inputs: RunInputs;

beforeAll(() => {
  // Words in an order that no other text has.
  const words = readFileSync('experiments/texts/range.txt', 'utf8').split(/\s+/);
  const key = streamKey(5);
  writeFileSync(text, Array.from({ length: 160 }, (_, i) => words[bits32(key, i) % words.length]).join(' '));
  model = openModel(path);
  inputs = openInputs({
    model: path,
    text: 'experiments/texts/stories.txt',
    rangeText: 'experiments/texts/range.txt',
    contextTokens: 16,
    scoring: 'window',
    maxWindows: 1,
  });
});
afterAll(() => model.close());

const settings = (method: string, ...more: string[]): string[] => [
  `mapping.method=${method}`,
  `mapping.text=${JSON.stringify(text)}`,
  'tile.rows=48',
  ...more,
];
const fabricOf = (method: string, ...more: string[]) =>
  loadFabric(loadDesign('log-domain', settings(method, ...more)).design);
const optionsOf = (method: string, ...more: string[]) => ({
  design: 'log-domain',
  settings: settings(method, ...more),
  chips: 1,
  seed: 1,
  threads: 1,
  engine: 'scalar' as const,
  attributionChips: 0,
  yieldRatio: 1.1,
  out: join(folder, 'out'),
});
const planOf = (method: string, ...more: string[]) => planMapping(model, fabricOf(method, ...more))!;
const passOf = (method: string, ...more: string[]) =>
  digitalPass(
    model,
    planOf(method, ...more),
    { fabric: fabricOf(method, ...more), threads: 1 },
    findBackend('scalar'),
    undefined,
  );

test('a run maps first, says how and why, and the next one finds the image', async () => {
  const imagesFolder = join(folder, 'images');
  const hooks = { cacheFolder: join(folder, 'cache'), imagesFolder };
  const plan = planDesign(inputs, optionsOf('auto', 'mapping.side=2'));
  expect(plan.manifest.image).toBe(plan.mapping!.key);
  expect(plan.mapping!.warning).toBeNull();
  // What a design does that says nothing of it, on the text of the embedded model.
  const asShipped = planDesign(inputs, { ...optionsOf('auto'), settings: ['tile.rows=48'] }).mapping!;
  expect(asShipped.plan!.settings.method).toBe('auto');
  expect(asShipped.warning).toMatch(
    /mapped on experiments.texts.calibration.txt, which the embedded model wrote/,
  );
  const notices: string[] = [];
  const labels = new Set<string>();
  const result = await executeRun(plan, {
    ...hooks,
    onNotice: (line) => notices.push(line),
    onProgress: (_done, _total, label) => labels.add(label),
  });
  expect(notices.filter((line) => line.startsWith('mapping, '))).toHaveLength(3);
  expect([...labels]).toContain('mapping: inputs of all blocks');
  expect([...labels]).toContain('mapped block 0, feed-forward-hidden');
  const mapping = result.mapping!;
  expect(mapping).toMatchObject({
    method: 'auto',
    cellsPerWeight: 1,
    text: { tokens: planOf('auto').text.tokens },
  });
  expect(mapping.reasons).toHaveLength(3);
  expect(mapping.matrices).toHaveLength(7);
  for (const { steps, side } of mapping.matrices) {
    expect(side).toBe(2);
    expect(steps.at(-1)!.error).toBeLessThan(steps[0].error);
  }
  const round = await executeRun(
    planDesign(inputs, { ...optionsOf('round'), settings: ['mapping.method=round', 'tile.rows=48'] }),
    hooks,
  );
  expect(round.mapping).toBeNull();
  expect(result.recoded.kl).toBeLessThan(round.recoded.kl);
  expect(result.digital).toEqual(round.digital);

  const again: string[] = [];
  const kept = await executeRun(
    planDesign(inputs, { ...optionsOf('auto', 'mapping.side=2'), out: join(folder, 'again') }),
    {
      ...hooks,
      onProgress: (_done, _total, label) => again.push(label),
    },
  );
  expect(again.filter((label) => label.startsWith('mapp'))).toEqual([]);
  expect(kept.mapping).toEqual(mapping);
  expect(kept.chips).toEqual(result.chips);
});

test('an interrupted mapping is gone on with, to the same bytes', async () => {
  const [whole, broken] = ['whole', 'broken'].map((name) => join(folder, `${name}.image`));
  const plan = planOf('rotated');
  await mapToFile(model, plan, passOf('rotated'), whole, {});
  const controller = new AbortController();
  let mapped = 0;
  const stop = mapToFile(model, plan, passOf('rotated'), broken, {
    signal: controller.signal,
    onProgress: (_done, _total, label) => {
      if (label.startsWith('mapped block') && ++mapped === 2) controller.abort();
    },
  });
  await expect(stop).rejects.toMatchObject({ kind: 'interrupted', hint: expect.stringContaining('resume') });
  expect(existsSync(broken)).toBe(false);
  const labels: string[] = [];
  await mapToFile(model, plan, passOf('rotated'), broken, {
    onProgress: (_done, _total, label) => labels.push(label),
  });
  expect(labels.filter((label) => label.startsWith('mapped block'))).toHaveLength(2);
  expect(readFileSync(broken).equals(readFileSync(whole))).toBe(true);
  expect(existsSync(`${broken}.part`)).toBe(false);
});

test('a damaged image is made again and said; a cache that cannot be written is no failure', async () => {
  const images = join(folder, 'damaged');
  const plan = planOf('centred');
  const notices: string[] = [];
  const hooks = { onNotice: (line: string) => notices.push(line) };
  const { path: image, reused } = await keepImage(model, plan, passOf('centred'), hooks, images);
  expect(reused).toBe(false);
  const bytes = readFileSync(image);
  const changed = Uint8Array.from(bytes);
  changed[changed.length - 2000] ^= 1;
  writeFileSync(image, changed);
  notices.length = 0;
  await keepImage(model, plan, passOf('centred'), hooks, images);
  expect(notices[0]).toMatch(/centred|damaged/);
  expect(notices[0]).toContain('is damaged: it is not used and made again');
  expect(readFileSync(image).equals(bytes)).toBe(true);
  expect((await keepImage(model, plan, passOf('centred'), hooks, images)).reused).toBe(true);

  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  notices.length = 0;
  const elsewhere = await keepImage(model, plan, passOf('centred'), hooks, join(file, 'images'));
  expect(notices.join()).toContain('no image is kept in');
  expect(readFileSync(elsewhere.path).equals(bytes)).toBe(true);
  elsewhere.discard();
  expect(existsSync(elsewhere.path)).toBe(false);
});

test.each(['wasm', 'scalar'] as const)(
  '%s: statistics do not depend on how many blocks a pass sees',
  async (name) => {
    const deep = join(folder, `${name}.gguf`);
    writeFixture(deep, { dim: 32, ffnDim: 48, layers: 3, heads: 2, kvHeads: 1 });
    const other = openModel(deep);
    try {
      const { shape } = other;
      expect(blocksPerPass(shape, bytesPerBlock(shape))).toBe(1);
      expect(blocksPerPass(shape, 2.5 * bytesPerBlock(shape))).toBe(2);
      expect(blocksPerPass(shape, 1)).toBe(1);
      expect(affordableBlocks(shape, [0, 1, 2])).toEqual([0, 1, 2]);
      const windows = [Int32Array.of(1, 40, 41, 42, 43, 44), Int32Array.of(1, 50, 51)];
      const { gain } = modelSource(other, () => Promise.reject(new Error('none')));
      const gathered = (mostBytes?: number) => {
        const needs = { fabric: fabricOf('rotated'), threads: 2 };
        const pass = newInputPass(other, windows, needs, findBackend(name), undefined);
        return statisticsOf(shape, gain, pass, { mostBytes, signal: undefined, onProgress: () => {} });
      };
      const [whole, single] = [gathered(), gathered(1)];
      // Forwards one by one, then back.
      for (const layer of [0, 1, 2, 1]) {
        for (const stage of STAGES) {
          const found = await single.of(layer, stage);
          expect(found.tokens).toBe(9);
          expect(found, `${layer} ${stage}`).toEqual(await whole.of(layer, stage));
        }
      }
      // Skips block 0, and gathers two blocks that are apart in one pass.
      const probes = gathered();
      await probes.gather([0, 2]);
      for (const layer of [0, 2]) {
        expect(await probes.of(layer, 'feed-forward-hidden')).toEqual(
          await whole.of(layer, 'feed-forward-hidden'),
        );
      }
    } finally {
      other.close();
    }
  },
);

test('what a planned image promises is what is made', async () => {
  const plan = planOf('rotated', 'mapping.principal=3', 'mapping.cellsPerWeight=1.2');
  const image = join(folder, 'promised.image');
  const more = ['mapping.principal=3', 'mapping.cellsPerWeight=1.2'];
  await mapToFile(model, plan, passOf('rotated', ...more), image, {});
  const parts = partsOf(plan, model.shape);
  const reader = openImage(image);
  for (const [name, meta] of reader.matrices)
    expect({ ...meta, steps: [] }).toEqual(parts.matrices.get(name));
  expect(reader.vectors).toEqual(parts.vectors);
  expect(reader.header.residual).toEqual(parts.header.residual);
  reader.close();
  const inspected = inspectImage(image)!;
  expect(inspected.mapping.cellsPerWeight).toBeCloseTo(plan.cellsPerWeight, 12);
  // And what it will cost is known from the design's keys.
  const { design } = fabricOf('rotated', ...more);
  const unseen = { method: 'round', work: null };
  expect(plannedMappingWork(design, model.shape, unseen)).toEqual(mappingWork(inspected.mapping));
  // Small matrices first: k and v.
  const six = inspected.mapping.matrices.filter(({ bits }) => bits === 6).map(({ name }) => name);
  expect(six).toEqual(expect.arrayContaining(['blk.0.attn_k', 'blk.0.attn_v']));
  expect(inspected.mapping.cellsPerWeight).toBeLessThanOrEqual(1.2);
  // Planned with other bits or tiles it is refused before any job; its own design takes it.
  const withImage = (...settings: string[]) => planDesign(inputs, { ...optionsOf('round'), settings, image });
  expect(withImage('tile.rows=48').mapping).toMatchObject({ path: image, warning: null });
  const onRouted = planDesign(inputs, {
    ...optionsOf('round'),
    design: 'routed',
    settings: ['tile.rows=48'],
    image,
  });
  expect(onRouted.mapping!.warning).toMatch(/mapped for design log-domain and runs on routed/);
  for (const setting of ['weights.bits=3', 'weights.bits=6', 'weights.overrides.ffn_up=3', 'tile.rows=64']) {
    const settings = setting.startsWith('tile') ? [setting] : ['tile.rows=48', setting];
    expect(() => withImage(...settings), setting).toThrowError(
      expect.objectContaining({ kind: 'usage', code: 'IMAGE_FIT' }),
    );
  }
  const changed = Uint8Array.from(readFileSync(image));
  changed[changed.length >> 1] ^= 4;
  writeFileSync(image, changed);
  expect(() => inspectImage(image)).toThrowError(expect.objectContaining({ kind: 'input' }));
});

test.each([
  ['wasm', 'digital', []],
  ['scalar', 'digital', []],
  ['wasm', 'routed', []],
  ['wasm', 'hardwired', []],
  ['wasm', 'mask-rom', ['rom.levels=connection']],
  ['wasm', 'log-domain', ['mismatch.scale=0', 'adc.bits=14']],
] as const)(
  '%s, %s: adapters act in the digital model and beside the tiles',
  async (engine, design, keys) => {
    const adapter = writeAdapter(join(folder, 'adapter.gguf'), { 'blk.0.ffn_up.weight': [96, 4, 64] });
    const hooks = { cacheFolder: join(folder, 'cache'), imagesFolder: join(folder, 'images') };
    const asked = {
      model: path,
      text: 'experiments/texts/stories.txt',
      rangeText: 'experiments/texts/range.txt',
      contextTokens: 16,
      maxWindows: 2,
    };
    const options = {
      ...optionsOf('round'),
      ...{ design, engine },
      settings: ['mapping.method=round', 'tile.rows=48', 'weights.bits=6', ...keys],
    };
    const [plain, adapted] = [
      openInputs(asked),
      openInputs({ ...asked, adapters: [{ path: adapter, scale: 1 }] }),
    ];
    expect(adapted.model.file).toContain('adapter.gguf');
    expect(adapted.model.sha256).not.toBe(plain.model.sha256);
    const without = await executeRun(planDesign(plain, options), hooks);
    const result = await executeRun(planDesign(adapted, options), hooks);
    expect(Math.abs(result.digital.nll - without.digital.nll)).toBeGreaterThan(0.01);
    // Six bits lose little: without the adapter's path the distance would be that of the two models.
    expect(result.recoded.kl).toBeLessThan(0.01);
    expect(result.chips[0].kl).toBeLessThan(0.05);
    expect(result.mapping!.matrices.find(({ name }) => name === 'blk.0.ffn_up')).toMatchObject({ side: 4 });
    expect(result.projection!.areaLinesMm2.map(({ name }) => name).join()).toContain('paths-sram');
  },
);

test('an adapter on a chip that is read and corrected is refused, and where a mapping follows itself', () => {
  const adapter = writeAdapter(join(folder, 'refused.gguf'), { 'blk.0.ffn_up.weight': [96, 4, 64] });
  const adapted = openInputs({
    model: path,
    text: 'experiments/texts/stories.txt',
    contextTokens: 16,
    maxWindows: 1,
    adapters: [{ path: adapter, scale: 1 }],
  });
  expect(() => planDesign(adapted, optionsOf('centred', 'mapping.correction.source=reading'))).toThrowError(
    expect.objectContaining({ kind: 'usage', code: 'LORA_CORRECTION' }),
  );
  expect(() => planDesign(adapted, optionsOf('centred', 'mapping.follow=true'))).toThrowError(
    expect.objectContaining({ kind: 'usage', code: 'MAPPING_FOLLOW' }),
  );
});

test.each([
  ['log-domain', 'cells'],
  ['digital', 'weight-rom'],
  ['routed', 'weight-cells'],
])('%s: matrices that a budget of cells gave six bits run, and are priced', async (design, line) => {
  const hooks = { cacheFolder: join(folder, 'cache'), imagesFolder: join(folder, 'images') };
  const at = async (cellsPerWeight: number) => {
    const keys = settings('rotated', `mapping.cellsPerWeight=${cellsPerWeight}`);
    const { cost } = await executeRun(
      planDesign(inputs, { ...optionsOf('rotated'), settings: keys, design }),
      hooks,
    );
    return { weights: cost!.weights, mm2: cost!.areaLinesMm2.find(({ name }) => name === line)!.value };
  };
  const [four, mixed] = [await at(1), await at(1.2)];
  expect(four.weights.map(({ bits }) => bits)).toEqual([4]);
  expect(mixed.weights.map(({ bits }) => bits)).toEqual([4, 6]);
  const cells = ({ weights }: typeof four) => weights.reduce((sum, one) => sum + one.cells, 0);
  expect(cells(mixed)).toBeGreaterThanOrEqual(cells(four));
  expect(mixed.mm2).toBeGreaterThan(1.02 * four.mm2);
});

test('what a mapping refuses', () => {
  const scored = openInputs({
    model: path,
    text: 'experiments/texts/stories.txt',
    rangeText: 'experiments/texts/range.txt',
    contextTokens: 64,
    scoring: 'window',
    maxWindows: 2,
  });
  const plan = (method: string, ...more: string[]) => planDesign(scored, optionsOf(method, ...more));
  expect(() => planOf('rotated', 'head=analog')).toThrowError(
    expect.objectContaining({ kind: 'usage', code: 'MAPPING_HEAD' }),
  );
  expect(() => plan('round', 'mapping.side=4')).toThrow(
    'round takes no principal, side, cellsPerWeight, correction, follow, anneal or ridge',
  );
  expect(() => plan('round', 'mapping.follow=true')).toThrow('round takes no');
  expect(() => plan('centred', 'mapping.cellsPerWeight=0.9')).toThrow('mapping.cellsPerWeight');
  expect(() => plan('centre')).toThrow('mapping.method');
  expect(() => plan('centred', 'mapping.text=experiments/texts/stories.txt')).toThrowError(
    expect.objectContaining({ kind: 'usage', code: 'MAPPING_TEXT' }),
  );
  const empty = join(folder, 'short.txt');
  writeFileSync(empty, 'Once upon a time');
  expect(() => plan('centred', `mapping.text=${JSON.stringify(empty)}`)).toThrowError(
    expect.objectContaining({ kind: 'input', code: 'MAPPING_TEXT' }),
  );
});

test('ranges are measured on the calibration text, stand in the image, and are taken by runs of the same chip alone', async () => {
  const image = join(folder, 'ranged.image');
  const options = { model: path, design: 'log-domain', settings: settings('centred'), threads: 1 };
  const command = { ...options, engine: 'scalar', out: image } as const;
  const stopped = new AbortController();
  const stop = mapModelFile(command, {
    signal: stopped.signal,
    onProgress: (_done, _total, label) => label === 'converter ranges' && stopped.abort(),
  });
  await expect(stop).rejects.toThrow('interrupted');
  expect(existsSync(image)).toBe(false);
  const mapped: string[] = [];
  const report = await mapModelFile(command, { onProgress: (_done, _total, label) => mapped.push(label) });
  // What was mapped is not mapped again.
  expect(mapped.filter((label) => label.startsWith('mapping: inputs'))).toEqual([]);
  const { tokens } = planOf('centred').text;
  expect(report.ranges).toEqual({ fabric: 'log-domain', file: displayPath(text), tokens });
  const reader = openImage(image);
  const table = reader.readRanges()!;
  reader.close();
  expect(Object.keys(table)).toEqual([...reader.matrices.keys()]);
  // As a run on that text measures them, to the f32 in which they are kept.
  const asked = { model: path, text: 'experiments/texts/stories.txt', contextTokens: 16, maxWindows: 1 };
  const own = openInputs(asked);
  const run = (more: object, from = own, set = ['tile.rows=48']) =>
    planDesign(from, { ...optionsOf('round'), settings: set, image, ...more });
  const notices: string[] = [];
  const plan = run({});
  expect(plan.rangeJob).toBeUndefined();
  const result = await executeRun(plan, { onNotice: (line) => notices.push(line) });
  expect(notices).toEqual([expect.stringContaining('converter ranges are those of the image')]);
  expect(result.text).toMatchObject({ rangeFile: displayPath(text), rangeTokens: tokens });
  // Told otherwise they are measured, and another chip is refused by what differs.
  const given = openInputs({ ...asked, rangeText: 'experiments/texts/range.txt' });
  expect(run({}, given).rangeJob).toBeDefined();
  expect(run({}, given).folder).not.toBe(plan.folder);
  const refused =
    (...set: string[]) =>
    () =>
      run({}, own, ['tile.rows=48', ...set]);
  for (const [set, said] of [
    ['input.bits=7', /input.bits is 6 there, 7 in the design/],
    ['tempK=320', /tempK is 300.15 there, 320 in the design/],
    ['cell=t1', /cell is t1-large there, t1 in the design; .*calibration is [0-9a-f]{12} there/],
  ] as const) {
    expect(refused(set)).toThrowError(expect.objectContaining({ kind: 'usage', code: 'IMAGE_RANGES' }));
    expect(refused(set)).toThrow(said);
  }
  // What no converter sees does not matter, nor does a fabric that has none.
  expect(refused('adc.bits=7', 'noise.white=false')().rangeJob).toBeUndefined();
  const digital = run({ design: 'digital' });
  expect([digital.rangeJob, digital.imageRanges]).toEqual([undefined, undefined]);
});

test('a run that maps first plans the memory of the mapping', () => {
  const shape = { ...model.shape, ffnDim: 8192 };
  const wide = { ...inputs, model: { ...inputs.model, shape } };
  const needs = { model: { shape }, fabric: fabricOf('scaled'), threads: 1, engine: 'scalar' } as const;
  const memory = mappingMemory(needs, planOf('scaled'));
  // Second moments of 8,192 inputs, gathered and worked on: 0.27 GB each in f32.
  expect(memory).toBeGreaterThan(8e8);
  expect(planDesign(wide, optionsOf('scaled')).memoryBytes).toBe(memory);
  const rounded = planDesign(wide, { ...optionsOf('round'), settings: settings('round') });
  expect(rounded.memoryBytes).toBeLessThan(memory);
});

test('run --dry-run says that an image will be made and how long it takes, and later that there is one', async () => {
  const cwd = mkdtempSync(join(folder, 'cwd-'));
  const flags = ['run', '--model', path, '--engine', 'scalar', '--threads', '1', '--context', '16'];
  const set = settings('scaled').flatMap((setting) => ['--set', setting]);
  const all = [...flags, ...set, '--max-windows', '1', '--chips', '1', '--no-report'];
  const before = await onefet(cwd, ...all, '--dry-run');
  expect(before.stdout).toMatch(/^imageIs +made first, once: about [0-9]+ s$/m);
  expect((await onefet(cwd, '--quiet', ...all)).code).toBe(0);
  const after = await onefet(cwd, ...all, '--dry-run');
  expect(after.stdout).toMatch(/^imageIs +kept from an earlier run$/m);
});

test('the time of a mapping grows with its text and its sweeps', async () => {
  const seconds = (...more: string[]) => mappingOperations(model.shape, planOf('rotated', ...more));
  const [plain, annealed] = [seconds(), seconds('mapping.anneal=8')];
  expect(annealed.pass).toBe(plain.pass);
  expect(annealed.mapping).toBeGreaterThan(plain.mapping);
  // Two operations for each weight of the blocks and token; a mapping that follows itself passes each block three to seven times.
  const { tokens } = planOf('rotated').text;
  expect(plain.pass).toBe(2 * tokens * blockWeights(model.shape));
  expect(seconds('mapping.follow=true').pass).toBeGreaterThan(3 * plain.pass);
});

test('onefet map writes an image that inspect prints and run takes', async () => {
  const image = join(folder, 'command.image');
  const flags = ['--model', path, '--engine', 'scalar', '--threads', '1'];
  const set = settings('scaled').flatMap((setting) => ['--set', setting]);
  const dry = await onefet('.', 'map', ...flags, ...set, '--out', image, '--dry-run', '--json');
  expect(JSON.parse(dry.stdout)).toMatchObject({ method: 'scaled', blocksPerPass: 1, out: image });
  expect(JSON.parse(dry.stdout).seconds).toBeGreaterThan(0);
  const said = await onefet('.', 'map', ...flags, ...set, '--dry-run');
  expect(said.stdout).toMatch(/^time +about [0-9.]+ s, [0-9.e-]+ s a block$/m);
  expect(said.stdout).toMatch(/^memory +about [0-9.]+ GB, [0-9.]+ GB are free$/m);
  const nowhere = await onefet('.', 'map', ...flags, ...set);
  expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining('--out') });
  const made = await onefet('.', '--quiet', 'map', ...flags, ...set, '--out', image, '--json');
  expect(made.code).toBe(0);
  expect(JSON.parse(made.stdout)).toMatchObject({ method: 'scaled', path: image });
  const twice = await onefet('.', 'map', ...flags, ...set, '--out', image);
  expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining('exists already') });
  const inspected = await onefet('.', 'inspect', image);
  expect(inspected.stdout).toContain('blk.0.ffn_down');
  const run = ['run', ...flags, '--image', image, '--context', '16', '--max-windows', '1', '--chips', '1'];
  const rest = ['--set', 'tile.rows=48', '--out', join(folder, 'runs'), '--no-report', '--json'];
  const ran = await onefet('.', '--quiet', ...run, ...rest);
  expect(ran.code).toBe(0);
  expect(JSON.parse(ran.stdout).mapping).toMatchObject({ method: 'scaled' });
  const misfit = await onefet('.', 'run', ...run.slice(1), '--out', join(folder, 'runs'));
  expect(misfit.code).toBe(2);
  const foreign = await onefet('.', 'run', '--image', image, '--dry-run');
  expect(foreign).toMatchObject({ code: 2, stderr: expect.stringContaining('the image of another model') });
});
