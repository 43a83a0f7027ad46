/** `list`, `show`, `init` and `clean` as a user meets them, in a folder of its own. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { takeLock } from '../lock.ts';
import { onefet } from '../testing/cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-workspace-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const run = (...args: string[]) => onefet(folder, ...args);
const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout);

test('a design that was made runs, under its own name', async () => {
  const made = await json('init', 'design', 'mine');
  expect(made.files).toEqual([join('experiments', 'designs', 'mine.yaml')]);
  const plan = await json('run', '--design', 'mine', '--dry-run', '--max-windows', '1');
  expect(plan.design).toBe('mine');
  const { rows } = await json('list', 'designs');
  expect(rows).toContainEqual(expect.objectContaining({ design: 'mine', fabric: 'log-domain' }));
  expect(await run('init', 'design', 'mine')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/exists already/),
  });
});

test('a process that was made has its cells, not calibrated; a cell is added to a copy of its process', async () => {
  const made = await json('init', 'process', 'my28');
  // With the specifications that `datasheet` checks.
  expect(made.files).toContain(join('calibration', 'datasheets', 'my28', 't1-large.yaml'));
  expect(made.next).toContain('onefet datasheet --process my28 --cell t1');
  const { rows } = await json('list', 'cells', '--process', 'my28');
  expect(rows).toContainEqual(
    expect.objectContaining({ cell: 't1-large', widthUm: 0.8, calibration: 'none' }),
  );
  await json('init', 'cell', 't1-mid', '--process', 'my28', '--width-um', '0.4', '--length-um', '0.2');
  const after = (await json('list', 'cells', '--process', 'my28')).rows;
  expect(after).toContainEqual(
    expect.objectContaining({
      cell: 't1-mid',
      topology: 't1',
      widthUm: 0.4,
      lengthUm: 0.2,
      description: 'made from t1-large',
    }),
  );
  expect(after).toHaveLength(rows.length + 1);
  const specs = (cell: string) =>
    readFileSync(join(folder, `calibration/datasheets/my28/${cell}.yaml`), 'utf8');
  // Titles name the cell that a sheet is of, and whose specifications they are.
  expect(specs('t1-large')).toContain('\ntitle: t1-large of my28, specifications of planar32lp/t1-large\n');
  const untitled = (cell: string) => specs(cell).replace(/^title:.*$/m, '');
  expect(untitled('t1-mid')).toBe(untitled('t1-large'));
  // Every file of costs is of the new process, and what still describes the old one is said.
  for (const costs of ['cost', 'cost-28'])
    expect(readFileSync(join(folder, `spice/my28/${costs}.yaml`), 'utf8')).toMatch(/^process: my28$/m);
  expect(made.edit.join('\n')).toMatch(/technology\.yaml: description.*\n.*cost-28\.yaml: nodesNm/);
  // Comments and the other entries stay as they are.
  expect(readFileSync(join(folder, 'spice/my28/technology.yaml'), 'utf8')).toMatch(/^name: my28$/m);
  expect(await run('init', 'cell', 't1-mid', '--process', 'my28')).toMatchObject({ code: 2 });
  expect(await run('init', 'cell', 'x', '--process', 'my28', '--from', 't1-lage')).toMatchObject({
    stderr: expect.stringMatching(/did you mean t1-large/),
  });
});

test('a topology that was made is found by its name', async () => {
  const { files } = await json('init', 'topology', 'mine');
  expect(files).toContain(join('netlists', 'mine', 'topology.yaml'));
  expect(readFileSync(join(folder, 'netlists/mine/topology.yaml'), 'utf8')).toMatch(/^name: mine$/m);
});

test('names that would leave the folder are refused', async () => {
  for (const name of ['../x', 'A', '', 'a/b']) {
    expect(await run('init', 'design', name)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no name of a design/),
    });
  }
});

test('a key says its value under --set, its range and its origin', async () => {
  const { keys } = await json('show', 'design', 'driver.offVgsV', '--set', 'driver.offVgsV=-0.2');
  expect(keys).toEqual([
    expect.objectContaining({ key: 'driver.offVgsV', value: -0.2, unit: 'V', tag: 'assumed' }),
  ]);
  expect(await run('show', 'design', 'adc.bit')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/did you mean adc.bits/),
  });
});

test('what is broken is a row that says so, and ends no list', async () => {
  mkdirSync(join(folder, 'spice/broken'), { recursive: true });
  writeFileSync(join(folder, 'spice/broken/technology.yaml'), 'name: [');
  writeFileSync(join(folder, 'broken.gguf'), 'no');
  expect((await json('list', 'processes')).rows).toContainEqual(
    expect.objectContaining({ process: 'broken', problem: expect.stringMatching(/technology.yaml/) }),
  );
  expect((await json('list', 'models')).rows).toContainEqual(
    expect.objectContaining({ model: 'broken.gguf', problem: expect.any(String) }),
  );
  rmSync(join(folder, 'spice/broken'), { recursive: true });
});

test('clean removes caches and, if asked for, runs; not what somebody works in, nor fetched models', async () => {
  const put = (path: string) => {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), 'x'.repeat(100));
  };
  put('.onefet/cache/codes/a');
  put('.onefet/models/m.gguf');
  put('runs/one/manifest.json');
  put('runs/two/manifest.json');
  put('runs/notes/mine.txt');
  const { cleaned } = await json('clean', '--runs', '--dry-run');
  expect(cleaned).toHaveLength(3);
  expect(existsSync(join(folder, '.onefet/cache/codes/a'))).toBe(true);
  const unlock = takeLock(join(folder, 'runs/two/lock'), 'a test');
  const done = (await json('clean', '--runs')).cleaned;
  unlock();
  expect(done).toContainEqual({ path: join('.onefet', 'cache', 'codes'), bytes: 100, removed: true });
  expect(done).toContainEqual(expect.objectContaining({ path: join('runs', 'two'), removed: false }));
  expect(['.onefet/cache/codes', 'runs/one'].map((path) => existsSync(join(folder, path)))).toEqual([
    false,
    false,
  ]);
  expect(
    ['.onefet/models/m.gguf', 'runs/two', 'runs/notes/mine.txt'].every((path) =>
      existsSync(join(folder, path)),
    ),
  ).toBe(true);
});
