/** Experiment files: what they may say, where a complaint points, and the points that they make. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { packageRoot } from '../files.ts';
import { placedYaml } from '../placed-yaml.ts';
import { type Experiment, loadExperiment, parseExperiment } from './experiment.ts';
import { ACCURACY_KEYS } from './keys.ts';
import { pointsOf } from './points.ts';
import { schemaText } from './schema.ts';

const parse = (body: string): Experiment =>
  parseExperiment(placedYaml(`schema: onefet.experiment/1\nkind: accuracy\nname: a\n${body}`, 'x.yaml'));

function complaints(body: string): string[] {
  try {
    parse(body);
  } catch (error) {
    expect(error).toBeInstanceOf(OnefetError);
    expect(error).toMatchObject({ kind: 'usage', code: 'CONFIG_FILE' });
    return (error as OnefetError).message.split('\n');
  }
  throw new Error('taken');
}

describe('complaints', () => {
  test('all at once, each with file, line, column, key and the nearest name', () => {
    const body =
      'base: { adc.bitz: 3, chips: 0 }\ngrid:\n  adc.bits: [6, 7.5, 99]\n  tile.rows: [a]\nstpo: 1\n';
    expect(complaints(body)).toEqual([
      'x.yaml:4:9: unknown key base.adc.bitz (did you mean base.adc.bits?)',
      expect.stringMatching(/^x\.yaml:4:29: base\.chips: /),
      expect.stringMatching(/^x\.yaml:6:17: grid\.adc\.bits\.1: expected a whole number or float/),
      expect.stringMatching(/^x\.yaml:6:22: grid\.adc\.bits\.2: .*<=14/),
      expect.stringMatching(/^x\.yaml:7:15: grid\.tile\.rows\.0: /),
      'x.yaml:8:1: unknown key stpo (did you mean stop?)',
    ]);
  });

  test.each([
    ['base: {}\n', /^x\.yaml:1:1: nothing is varied/],
    ['grid: { adc.bits: [6] }\nlist: [{ chips: 1 }]\n', /^x\.yaml:5:7: both grid and list/],
    [
      'grid: { adc.bits: [6, 7] }\nreference: { adc.bits: 8 }\n',
      /^x\.yaml:5:12: reference: no point has adc\.bits=8/,
    ],
    ['grid: { adc.bits: [6], chips: [1, 2] }\nreference: { adc.bits: 6 }\n', /2 points have adc\.bits=6/],
    [
      'random: { points: 3, keys: { adc.bits: { from: 5, to: 8 } } }\n',
      /^x\.yaml:4:40: adc\.bits: .*integer: true/,
    ],
    ['random: { points: 3, keys: { tempK: { from: 400, to: 300 } } }\n', /from 400 is above to 300/],
    ['random: { points: 3, keys: { tempK: { from: 0, to: 300, scale: log } } }\n', /starts above 0/],
    [
      'grid: { chips: [1] }\nstop: { halfWidth: {}, maxChips: 9 }\n',
      /^x\.yaml:5:20: stop\.halfWidth names no metric/,
    ],
    ['grid: { chips: [1] }\nstop: { halfWidth: { kl: 1 }, maxChips: 4 }\n', /maxChips 4 is below minChips 5/],
  ])('%j', (body, expected) => {
    expect(complaints(body)).toEqual([expect.stringMatching(expected)]);
  });

  test('a kind that there is not, and broken YAML', () => {
    const kind = () => parseExperiment(placedYaml('kind: acuracy\n', 'x.yaml'));
    expect(kind).toThrow('x.yaml:1:7: kind: "acuracy" is none (did you mean accuracy?)');
    expect(() => placedYaml('a: [1\nb: 2\n', 'x.yaml')).toThrow(/^x\.yaml:2:/);
  });
});

describe('points', () => {
  test('of a grid: the last key fastest', () => {
    const { points, varied } = parse('grid: { adc.bits: [6, 7], tempK: [300, 350] }\n');
    expect(varied).toEqual(['adc.bits', 'tempK']);
    expect(points.map((point) => Object.values(point))).toEqual([
      [6, 300],
      [6, 350],
      [7, 300],
      [7, 350],
    ]);
  });

  test('of a Latin hypercube: one in each stratum of every key; the same for the same seed only', () => {
    const keys = {
      tempK: { from: 300, to: 340, scale: 'linear', integer: false },
      'adc.bits': { from: 5, to: 8, scale: 'linear', integer: true },
      fullScaleA: { from: 1e-9, to: 1e-8, scale: 'log', integer: false },
      corner: ['TT', 'FF'],
    } as const;
    const points = pointsOf({ latinHypercube: { points: 40, seed: 1, keys } });
    const strata = points.map((point) => Math.floor((point.tempK as number) - 300)).sort((a, b) => a - b);
    expect(strata).toEqual(Array.from({ length: 40 }, (_, i) => i));
    const count = (key: string, value: unknown) => points.filter((point) => point[key] === value).length;
    for (const bits of [5, 6, 7, 8]) expect(count('adc.bits', bits)).toBe(10);
    expect(count('corner', 'TT')).toBe(20);
    const decades = points.map((point) => Math.floor(40 * Math.log10((point.fullScaleA as number) / 1e-9)));
    expect(new Set(decades).size).toBeGreaterThan(38);
    expect(pointsOf({ latinHypercube: { points: 40, seed: 1, keys } })).toEqual(points);
    expect(pointsOf({ latinHypercube: { points: 40, seed: 2, keys } })).not.toEqual(points);
    // Keys are in no fixed relation to one another.
    const paired = points.map(
      (point) => (point.tempK as number) - 300 - 4 * ((point['adc.bits'] as number) - 5),
    );
    expect(new Set(paired.map(Math.floor)).size).toBeGreaterThan(10);
  });

  test('of a random design lie in their ranges', () => {
    const random = {
      points: 200,
      seed: 3,
      keys: { chips: { from: 1, to: 3, scale: 'linear', integer: true }, tempK: [1, 2] },
    } as const;
    const points = pointsOf({ random });
    for (const chips of [1, 2, 3]) {
      const count = points.filter((point) => point.chips === chips).length;
      expect(count).toBeGreaterThan(45);
      expect(count).toBeLessThan(90);
    }
  });
});

test('what is not said stays unsaid: no key has a default of its own', () => {
  const { base, points } = parse('grid: { adc.bits: [6] }\n');
  expect(base).toEqual({});
  expect(points).toEqual([{ 'adc.bits': 6 }]);
  expect(Object.keys(ACCURACY_KEYS).filter((key) => ACCURACY_KEYS[key].safeParse(undefined).success)).toEqual(
    [],
  );
  expect(Object.keys(ACCURACY_KEYS)).toEqual(
    expect.arrayContaining(['tile.rows', 'weights.bits', 'mapping.method']),
  );
});

test('the published schema is that of the program', () => {
  const published = readFileSync(join(packageRoot, 'experiments/experiment.schema.json'), 'utf8');
  const mend =
    'keys have changed: npm run -s onefet -- schema experiment > experiments/experiment.schema.json';
  expect(published === schemaText('experiment'), mend).toBe(true);
  expect(() => schemaText('experment')).toThrow(/no schema experment/);
});

const committed = ['experiments', 'experiments/gallery']
  .flatMap((folder) => readdirSync(join(packageRoot, folder)).map((name) => `${folder}/${name}`))
  .filter(
    (path) =>
      path.endsWith('.yaml') &&
      /^schema: onefet\.experiment\//m.test(readFileSync(join(packageRoot, path), 'utf8')),
  );

test.each(committed)('%s is one', (path) => {
  const experiment = loadExperiment(join(packageRoot, path));
  expect(experiment.name).toBe(basename(path, '.yaml'));
  expect(experiment.question).not.toBe('');
});
