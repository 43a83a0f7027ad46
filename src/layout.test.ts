/**
 * Imports of the source files: what a cell is does not know how it is measured, no file imports itself over others,
 * folders import one way along the order of src/README.md's "How data flows", and the command line starts light.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from './files.ts';

const root = join(packageRoot, 'src');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .sort();
const isTest = (file: string) => /\.test(-helper)?\.ts$/.test(file) || file.startsWith('testing/');

/** File -> files that it imports, of types too; paths below src/. */
const imports = new Map(
  files.map((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const found = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+\.ts)'/g)];
    const targets = found.map(([, path]) =>
      relative(root, join(root, dirname(file), path)).replaceAll('\\', '/'),
    );
    return [file, [...new Set(targets)]] as const;
  }),
);

/** Groups of files that reach one another by imports (Tarjan 1972). */
function circles(): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file)!);
    open.push(file);
    for (const next of imports.get(file) ?? []) {
      if (!index.has(next)) visit(next);
      if (open.includes(next)) low.set(file, Math.min(low.get(file)!, low.get(next)!));
    }
    if (low.get(file) !== index.get(file)) return;
    const group = open.splice(open.indexOf(file));
    if (group.length > 1) found.push(group.sort());
  };
  for (const file of files) if (!index.has(file)) visit(file);
  return found;
}

/** From the ground up; a folder imports those before it. Files of src/ itself that are not listed are ground. */
const ORDER = [
  '.',
  'spice',
  'cell',
  'calibrate',
  'tile',
  'fabric',
  'model',
  'emit',
  'mapping',
  'engine',
  'cost',
  'experiment',
  'power',
  'sweep',
  'optimise',
  'synth',
  'report',
  'explore',
  'bench',
  'workspace',
  'doctor',
  'cli',
];
/** They stand above all folders. */
const TOP = ['cli.ts', 'index.ts'];
const folderOf = (file: string): string => {
  if (!file.includes('/')) return TOP.includes(file) ? 'top' : '.';
  return file.slice(0, file.indexOf('/'));
};
const place = (folder: string): number => (folder === 'top' ? ORDER.length : ORDER.indexOf(folder));

const shipped = files.filter((file) => !isTest(file));
const arrows = shipped.flatMap((file) => imports.get(file)!.map((target) => ({ file, target })));

describe('imports of src/', () => {
  test('lead to files that there are', () => {
    expect(files.length).toBeGreaterThan(200);
    expect(arrows.length).toBeGreaterThan(800);
    for (const { file, target } of arrows) expect(imports.has(target), `${file} -> ${target}`).toBe(true);
  });

  test('what a cell is knows neither the simulator nor its measurement', () => {
    const wrong = arrows.filter(
      ({ file, target }) => file.startsWith('cell/') && /^(spice|calibrate)\//.test(target),
    );
    expect(wrong).toEqual([]);
  });

  test('no circles, of types neither', () => {
    expect(circles()).toEqual([]);
  });

  test('folders import one way', () => {
    for (const folder of new Set(shipped.map(folderOf))) {
      expect(place(folder), `src/${folder} has a place in the order`).toBeGreaterThanOrEqual(0);
    }
    const upward = arrows.filter(({ file, target }) => place(folderOf(target)) > place(folderOf(file)));
    expect(upward.map(({ file, target }) => `${file} -> ${target}`)).toEqual([]);
  });

  test('the command line starts without the libraries that its commands load', () => {
    const loaded = new Set<string>();
    const packages = new Set<string>();
    const load = (file: string): void => {
      if (loaded.has(file)) return;
      loaded.add(file);
      const text = readFileSync(join(root, file), 'utf8');
      for (const [, names, from] of text.matchAll(
        /^(?:import|export)\s+(?!type\b)([^;'=]*?)\sfrom\s+'([^']+)';/gm,
      )) {
        const parts = /^\{([^}]*)\}/
          .exec(names)?.[1]
          .split(',')
          .map((part) => part.trim());
        if (parts?.every((part) => part === '' || part.startsWith('type '))) continue;
        if (from.startsWith('.')) load(join(dirname(file), from).replaceAll('\\', '/'));
        else if (!from.startsWith('node:')) packages.add(from);
      }
    };
    load('cli.ts');
    expect(loaded).toContain('cli/run.ts');
    expect([...packages]).toEqual(['commander']);
  });

  test('shipped files import no test helpers', () => {
    expect(arrows.filter(({ target }) => isTest(target))).toEqual([]);
  });
});

test('the top level has what the project is said to have, and nothing that fell there', () => {
  const listed = spawnSync('git', ['ls-files', '-z'], { cwd: packageRoot, encoding: 'utf8' });
  // An archive of the sources has no history: what lies there is all of it, and what people make beside it.
  if (listed.status !== 0) return;
  const top = [...new Set(listed.stdout.split('\0').map((path) => path.split('/')[0]))]
    .filter(Boolean)
    .sort();
  const named = [
    'calibration',
    'experiments',
    'netlists',
    'spice',
    'src',
    'package.json',
    'package-lock.json',
  ];
  const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'VALIDATION.md'];
  const tools = ['biome.json', 'tsconfig.json', 'tsconfig.build.json', 'vitest.config.ts'];
  expect(top.filter((name) => !name.startsWith('.'))).toEqual([...named, ...papers, ...tools].sort());
});
