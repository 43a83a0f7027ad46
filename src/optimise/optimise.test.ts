/** Axes, keys that are priced alone, and whole searches on a small model: the same again, resumed, and refused. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { fromCsv } from '../csv.ts';
import { packageRoot } from '../files.ts';
import { renderOptimise } from '../report/optimise/optimise.ts';
import { onefet as commandLine } from '../testing/cli.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { writeFixture } from '../testing/models.ts';
import { tilePhysics } from '../tile/physics.ts';
import { axesOf, baseCandidate, PRICED_ONLY, settingsOf } from './axes.ts';
import { commandOf } from './optimise.ts';
import { missedTarget, type OptimiseResult } from './result.ts';

const BASE = { design: 'log-domain' };

describe('axes', () => {
  test('words and keys, with levels of their own or of --levels', () => {
    expect(axesOf(['device', 'adc'], []).map(({ name }) => name)).toEqual([
      'gate',
      'adc.bits',
      'adc.rangeQuantile',
    ]);
    expect(axesOf(['tile.rows'], ['tile.rows=64,512', 'kvBits=8,16'])).toEqual([
      { name: 'tile.rows', levels: [64, 512] },
      { name: 'kvBits', levels: [8, 16] },
    ]);
  });

  test.each([
    [['adc.bit'], [], /no such axis/],
    [['kvBits'], [], /no levels of its own/],
    [[], ['adc.bits=7'], /two levels or more/],
    [[], ['adc.bits=7,seven'], /"seven" is no value/],
    [[], ['adc.bit=7,8'], /no key "adc.bit"/],
    [[], ['gate=0.5,-1'], /-1 is no value/],
  ] as const)('%j %j is refused', (over, levels, message) => {
    expect(() => axesOf(over, levels)).toThrow(message);
  });

  test('a gate is a multiple of the own gate of the cell that the point has', () => {
    const axes = axesOf(['device', 'process'], []);
    const at = (multiple: number, design: string) =>
      axes.map(({ levels }) => levels.indexOf(levels.includes(design) ? design : multiple));
    expect(settingsOf(axes, at(0.7, 'log-domain'), BASE)).toMatchObject({
      'gate.widthM': 5.6e-7,
      'gate.lengthM': 2.8e-7,
    });
    // fin7's t1-large is 0.4/0.2 um.
    expect(settingsOf(axes, at(0.5, 'log-domain-7'), BASE)).toMatchObject({
      'gate.widthM': 2e-7,
      'gate.lengthM': 1e-7,
    });
    expect(settingsOf(axes, at(1, 'log-domain'), BASE)).toEqual({ design: 'log-domain' });
  });

  test('the search starts at the levels nearest to the design', () => {
    const axes = axesOf(['device', 'tile.rows', 'fullScaleA'], ['fullScaleA=1e-9,4e-9']);
    expect(settingsOf(axes, baseCandidate(axes, BASE), BASE)).toEqual({ 'tile.rows': 256, fullScaleA: 4e-9 });
  });

  test.each(PRICED_ONLY)('%s changes nothing that a chip computes', (key) => {
    const physics = (value: number) => {
      const { design } = loadLogDomainDesign('log-domain', [`${key}=${value}`]);
      return { ...tilePhysics(loadCalibration(design.process, design.cell), design), design: undefined };
    };
    expect(physics(64)).toEqual(physics(16));
  });
});

test('the command of a point names options and keys, quoted for a shell', () => {
  expect(
    commandOf({ design: 'log-domain', text: "a b's.txt", chips: 4, 'adc.bits': 7, task: 'perplexity' }),
  ).toBe("npx onefet run --design log-domain --text 'a b'\\''s.txt' --chips 4 --set adc.bits=7");
});

describe('a search', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-optimise-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const small = ['--model', 'model.gguf', '--context', '16', '--threads', '1', '--set', 'tempK=300.15'];
  const sizes = ['--points', '2', '--rungs', '1', '--rounds', '0', '--chips', '1', '--max-windows', '1'];
  /** One run on either text, two prices. */
  const axes = ['--over', '', '--levels', 'adc.columnsShared=32,64'];
  const optimise = (out: string, ...more: string[]) =>
    commandLine(
      folder,
      'optimise',
      ...small,
      ...sizes,
      ...axes,
      '--report-chips',
      '1',
      '--report-windows',
      '1',
      '--out',
      out,
      ...more,
    );
  const jobsOf = (out: string) =>
    readdirSync(join(folder, out), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('results.jsonl') && !name.includes('sweep-'))
      .map((name) => readFileSync(join(folder, out, name), 'utf8').length);

  beforeAll(() => {
    writeFixture(join(folder, 'model.gguf'), { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 });
  });

  test('is the same again, computes no job twice, and its command makes a point again', async () => {
    const first = await optimise('a', '--json', '--no-report', '--kl', '5');
    expect(first.code).toBe(0);
    const result = JSON.parse(first.stdout) as OptimiseResult;
    const jobs = jobsOf('a');
    const again = await optimise('a', '--json', '--no-report', '--kl', '5');
    expect(again.stdout).toBe(first.stdout);
    expect(jobsOf('a')).toEqual(jobs);

    // Every sharing of a point has its accuracy and its own price.
    const prices = new Map<string, Set<number>>();
    for (const { settings, selection } of result.points) {
      const { 'adc.columnsShared': _, ...rest } = settings;
      const key = `${JSON.stringify(rest)} ${selection.kl.mean}`;
      prices.set(key, (prices.get(key) ?? new Set()).add(selection.prices.areaMm2));
    }
    expect([...prices.values()].map(({ size }) => size)).toEqual([...prices].map(() => 2));

    // The choice is the cheapest that will do, it was reported, and its command has the same numbers.
    const chosen = result.points[result.choice!];
    expect(result.points).toHaveLength(2);
    expect(chosen.fronts).toContain('energy');
    const words = chosen.command.split(' ').slice(2);
    const run = await commandLine(folder, ...words, '--threads', '1', '--out', 'a', '--json', '--no-report');
    const ran = JSON.parse(run.stdout);
    const { summary, projection } = ran.result ?? ran;
    expect(summary.kl.mean).toBe(chosen.report!.kl.mean);
    expect(projection.perTokenJ).toBe(chosen.report!.prices.energyJ);
    expect(projection.areaMm2).toBe(chosen.report!.prices.areaMm2);
    expect(projection.bands.areaMm2.high).toBe(chosen.report!.prices.areaBandMm2![1]);

    // What was asked is held on the reported text too.
    const { selection, report } = chosen;
    const below = (mean: number) => ({ ...report!, kl: { ...report!.kl, mean } });
    const asked = {
      ...result,
      kl: selection.kl.mean,
      points: [{ ...chosen, report: below(selection.kl.mean) }],
      choice: 0,
    };
    expect(missedTarget(asked)).toBeUndefined();
    const beyond = { ...asked, points: [{ ...chosen, report: below(1.5 * selection.kl.mean) }] };
    expect(missedTarget(beyond)).toMatch(/misses what was asked on the reported text/);
    expect(renderOptimise(beyond)).toContain('misses what was asked');
    expect(renderOptimise(asked)).not.toContain('misses what was asked');
  }, 600_000);

  test('texts that share what is scored are refused before any work', async () => {
    const same = await optimise('d', '--select-text', 'experiments/texts/stories.txt');
    expect(same.code).toBe(2);
    expect(same.stderr).toMatch(/selection text .* are in the scored text too/);
    const stories = readFileSync(join(packageRoot, 'experiments/texts/stories.txt'), 'utf8');
    writeFileSync(join(folder, 'part.txt'), `Another beginning. ${stories.slice(0, 2000)}`);
    const part = await optimise(
      'd',
      '--select-text',
      'part.txt',
      '--max-windows',
      '40',
      '--report-windows',
      '40',
    );
    expect(part.stderr).toMatch(/--select-text or --text/);
    expect(readdirSync(folder)).not.toContain('d');
  });

  test('--dry-run says what is searched and does nothing', async () => {
    const { code, stdout } = await optimise(
      'e',
      '--dry-run',
      '--json',
      '--rungs',
      '2',
      '--chips',
      '2',
      '--max-windows',
      '2',
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      candidates: [3, 3],
      rungs: [
        { chips: 1, maxWindows: 1 },
        { chips: 2, maxWindows: 2 },
      ],
    });
    expect(readdirSync(folder)).not.toContain('e');
  });
});

test('the shipped default is a point of the committed experiment that nothing beats in accuracy, energy and area', () => {
  const rows = fromCsv(
    readFileSync(join(packageRoot, 'experiments/results/optimise/front-kl005.csv'), 'utf8'),
  );
  const measures = (row: Record<string, string>) =>
    ['select_kl_nats', 'select_projected_energy_per_token_j', 'select_projected_area_mm2'].map((key) =>
      Number(row[key]),
    );
  const [base] = rows.filter((row) => row.base === 'true');
  const { design } = loadLogDomainDesign('log-domain');
  expect(
    [base['tile.rows'], base['adc.bits'], base['adc.columnsShared'], base.fullScaleA].map(Number),
  ).toEqual([design.tile.rows, design.adc.bits, design.adc.columnsShared, design.fullScaleA]);
  const ours = measures(base);
  const better = rows.filter((row) => row !== base && measures(row).every((value, i) => value <= ours[i]));
  expect(rows.length).toBeGreaterThan(50);
  expect(better).toEqual([]);
});
