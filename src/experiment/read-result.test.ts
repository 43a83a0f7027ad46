/** Results that somebody has changed: what a report builds on is checked where the file is read. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { renderReport } from '../report/report.ts';
import { encodeResult } from '../sources.ts';
import { fixtureResult } from '../testing/results.ts';
import { readResult, writeResult } from './read-result.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-result-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (value: unknown) => {
  writeFileSync(
    join(folder, 'result.json'),
    typeof value === 'string' ? value : encodeResult(value as object, 'a result'),
  );
  return readResult(folder);
};

/** Keys of all objects, of lists those of the first element: paths from the root. */
function pathsOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (Array.isArray(value)) return value.length > 0 ? pathsOf(value[0], [...path, 0]) : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...pathsOf(inner, [...path, key])]);
}

const result = fixtureResult(2);
const FREE = /^(design\.(overrides|resolved)|energy\.breakdownJ|area\.breakdownMm2|mapping)\b/;
const paths = pathsOf(result).filter((path) => !FREE.test(path.join('.')) || path.length === 2);

function changed(
  path: (string | number)[],
  change: (parent: Record<string | number, unknown>, key: string | number) => void,
) {
  const copy = structuredClone(result) as unknown as Record<string | number, unknown>;
  const parent = path.slice(0, -1).reduce((at, key) => at[key] as Record<string | number, unknown>, copy);
  change(parent, path[path.length - 1]);
  return copy;
}

test('a result comes back as it was written', () => {
  writeResult(folder, result);
  expect(readResult(folder)).toEqual(JSON.parse(JSON.stringify(result)));
  expect(paths.length).toBeGreaterThan(100);
});

test('each key that is missing, or is of another kind, is a typed error or is not needed by the report', () => {
  const notNeeded: string[] = [];
  const script = '</script><script>alert(1)</script>';
  for (const path of paths) {
    for (const value of [
      changed(path, (parent, key) => delete parent[key]),
      changed(path, (parent, key) => {
        parent[key] = typeof parent[key] === 'string' ? 7 : script;
      }),
    ]) {
      try {
        const found = read(value);
        notNeeded.push(path.join('.'));
        expect(renderReport(found, null)).not.toContain('<script>alert(1)');
      } catch (error) {
        expect(error, path.join('.')).toBeInstanceOf(OnefetError);
        expect(['RESULT_INVALID', 'RESULT_SCHEMA']).toContain((error as OnefetError).code);
        expect((error as OnefetError).exitCode).toBe(3);
      }
    }
  }
  expect(notNeeded.length).toBeLessThan(20);
});

test('a digit that is changed by hand is refused, with the command that makes the result again', () => {
  writeResult(folder, result);
  const written = readFileSync(join(folder, 'result.json'), 'utf8');
  for (const text of [
    written.replace(/"kl": 0\.(\d)/, '"kl": 0.9$1'),
    written.replace(/,\s*"sha256": "[0-9a-f]{64}"\s*}\s*$/, '}'),
  ]) {
    expect(text).not.toBe(written);
    expect(() => read(text)).toThrow(
      expect.objectContaining({
        code: 'RESULT_INVALID',
        exitCode: 3,
        message: expect.stringMatching(/is not what was written: its SHA-256 is missing or does not hold/),
        hint: expect.stringMatching(/^give its command again: onefet run /),
      }),
    );
  }
});

test('a tag that is none of the six, which a campaign found', () => {
  const path = ['cost', 'energyJ', 0, 'tag'];
  const other = changed(path, (parent, key) => {
    parent[key] = 'toString';
  });
  expect(() => read(other)).toThrow(expect.objectContaining({ code: 'RESULT_INVALID' }));
});

test('what is no result at all', () => {
  for (const text of ['', '{', '[]', 'null', '7', '{"schema":"onefet.run/1"}', '\ufffd']) {
    expect(() => read(text)).toThrow(expect.objectContaining({ kind: 'input' }));
  }
});
