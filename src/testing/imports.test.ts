/** The test helpers stay out of the program: the compiled package leaves this folder out. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../files.ts';

test('no file of the program imports src/testing', () => {
  const source = join(packageRoot, 'src');
  const program = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(
    (name) => /\.(ts|js)$/.test(name) && !name.endsWith('.test.ts') && !name.startsWith('testing'),
  );
  expect(program.length).toBeGreaterThan(100);
  const importing = program.filter((name) =>
    /(from|import\()\s*['"][^'"]*testing\//.test(readFileSync(join(source, name), 'utf8')),
  );
  expect(importing).toEqual([]);
});
