/** Results that are committed with the gallery are of the experiments as they stand: same keys, same points. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../files.ts';
import { loadExperiment } from './experiment.ts';

const gallery = join(packageRoot, 'experiments', 'gallery');
const results = readdirSync(join(gallery, 'results')).filter((name) => name.endsWith('.csv'));

test.each(results)('%s', (name) => {
  const { points, varied } = loadExperiment(join(gallery, `${basename(name, '.csv')}.yaml`));
  const [header, ...lines] = readFileSync(join(gallery, 'results', name), 'utf8')
    .trimEnd()
    .split('\n');
  const columns = header.split(',');
  expect(lines).toHaveLength(points.length);
  for (const key of varied) expect(columns).toContain(key);
  for (const [i, line] of lines.entries()) {
    expect(line).toMatch(new RegExp(`^${i + 1},(done|refused),`));
    for (const [key, value] of Object.entries(points[i])) {
      // Nothing before these columns is quoted but the reason of a refusal.
      if (line.includes('"')) continue;
      expect(line.split(',')[columns.indexOf(key)], `point ${i + 1}, ${key}`).toBe(String(value));
    }
  }
  expect(existsSync(join(gallery, 'figures', `${basename(name, '.csv')}.svg`))).toBe(true);
});
