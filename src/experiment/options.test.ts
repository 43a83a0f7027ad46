/** What the library does where nothing is said, and that the README's example of it runs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { packageRoot } from '../files.ts';
import { onefet } from '../testing/cli.ts';
import { DESIGN_DEFAULTS, withDefaults } from './options.ts';
import { planRun } from './plan.ts';
import { run } from './run.ts';

const out = mkdtempSync(join(tmpdir(), 'onefet-options-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

test('what is undefined is not said', () => {
  expect(withDefaults(DESIGN_DEFAULTS, { chips: undefined as never, seed: 3 })).toEqual({
    ...DESIGN_DEFAULTS,
    seed: 3,
  });
});

test('a run of nothing but its chips is planned on the embedded model', () => {
  const plan = planRun({ chips: 1, out });
  expect(plan.inputs.model.file).toBe('experiments/models/onefet-stories-f16.gguf');
  expect(plan.chipSeeds).toHaveLength(1);
});

test.each([
  { what: 'nothing', asked: {}, scoring: 'all', scored: 2000 },
  { what: 'windows', asked: { scoring: 'window' }, scoring: 'window', scored: 765 },
  { what: 'a file', asked: { text: 'experiments/texts/stories.txt' }, scoring: 'window', scored: 765 },
] as const)('what is scored where $what is said', ({ asked, scoring, scored }) => {
  const { inputs } = planRun({ chips: 1, out, ...asked });
  expect(inputs.scoring).toBe(scoring);
  expect(inputs.text.scored).toBe(scored);
});

test('one call gives a typed result, tells its progress, and ends by its signal', async () => {
  const shares: number[] = [];
  const overrides = { 'adc.bits': 7, 'mapping.method': 'round' };
  const small = { chips: 1, maxWindows: 1, contextTokens: 32, out, overrides };
  const result = await run(small, { onProgress: (done, total) => shares.push(done / total) });
  expect(result.summary.kl.mean).toBeGreaterThan(0);
  expect(result.design.overrides).toEqual(overrides);
  expect(shares.at(-1)).toBe(1);
  await expect(run({ ...small, seed: 2 }, { signal: AbortSignal.abort() })).rejects.toThrow(OnefetError);
});

test("the README's example uses what there is", () => {
  const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8');
  const [, names] = /import \{ ([^}]*) \} from 'onefet';/.exec(readme)!;
  const exported = readFileSync(join(packageRoot, 'src/index.ts'), 'utf8');
  for (const name of names.split(', ')) expect(exported).toMatch(new RegExp(`\\b${name}\\b`));
});

test('the example that sweeps and plots does both', async () => {
  const example = readFileSync(join(packageRoot, 'experiments/notebooks/bits-against-kl.mjs'), 'utf8');
  const small = { maxWindows: 1, chips: 1, contextTokens: 32, out, overrides: { 'mapping.method': 'round' } };
  const page = join(out, 'bits.html');
  const ours = example
    .replace("'onefet'", JSON.stringify(pathToFileURL(join(packageRoot, 'src/index.ts')).href))
    .replace("JSON.parse(process.argv[2] ?? '{}')", JSON.stringify(small))
    .replace("'bits.html'", JSON.stringify(page));
  const file = join(out, 'example.mjs');
  writeFileSync(file, ours);
  await import(pathToFileURL(file).href);
  expect(readFileSync(page, 'utf8').match(/<circle/g)).toHaveLength(4);
});

test('the example that prices gives what the command prints', async () => {
  const example = readFileSync(join(packageRoot, 'experiments/notebooks/energy-against-context.mjs'), 'utf8');
  const page = join(out, 'energy.html');
  const file = join(out, 'energy.mjs');
  const library = pathToFileURL(join(packageRoot, 'src/index.ts')).href;
  writeFileSync(
    file,
    example.replace("'onefet'", JSON.stringify(library)).replace("'energy.html'", JSON.stringify(page)),
  );
  await import(pathToFileURL(file).href);
  const shown = readFileSync(page, 'utf8');
  expect(shown.match(/<circle/g)).toHaveLength(12);
  const { stdout } = await onefet(
    '.',
    'power',
    '--design',
    'routed',
    '--context',
    '32768',
    '--json',
    '--out',
    out,
  );
  const [{ cost }] = JSON.parse(stdout).costs;
  expect(shown).toContain(`${(cost.perTokenJ * 1e3).toPrecision(3)} mJ`);
});
