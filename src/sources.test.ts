import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd, env } from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listDataFolder, packageRoot } from './files.ts';
import { bits32, streamKey } from './random.ts';
import { changedSource, decodeResult, encodeResult, hashSources, partsOf } from './sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-sources-'));
const home = cwd();
const saved = env.PDK_ROOT;
beforeAll(() => chdir(folder));
afterAll(() => {
  chdir(home);
  if (saved === undefined) delete env.PDK_ROOT;
  else env.PDK_ROOT = saved;
});

describe('parts of a YAML file', () => {
  const path = join(folder, 'a.yaml');
  const write = (text: string) => writeFileSync(path, text);
  const original = 'cells: { t1: { w: 1, l: 2 }, t2: { w: 3 } }\nsupply: 0.8 # V\nother: 1\n';

  test('are all that counts: not their order, layout, comments or what stands beside them', () => {
    write(original);
    const sources = hashSources([partsOf(path, ['supply', 'cells.t1', 'pmos'])]);
    expect(Object.keys(sources)).toEqual(['a.yaml#cells.t1,pmos,supply']);
    for (const [text, changed] of [
      [original, false],
      ['other: 2\nsupply: 0.80\ncells:\n  t1:\n    l: 2\n    w: 1\n', false],
      [original.replace('w: 3', 'w: 4'), false],
      [original.replace('w: 1', 'w: 1.5'), true],
      [original.replace('0.8', '0.9'), true],
      [`${original}pmos: p\n`, true],
      ['cells: [', true],
      ['cells: { t1: ', true],
      ['', true],
    ] as const) {
      write(text);
      const said = changedSource(sources, 'test');
      expect(said === undefined, text).toBe(!changed);
      if (changed) expect(said).toBe('a.yaml has changed since, in what it uses of it');
    }
  });

  test('keys of an object that every object has are none', () => {
    write('a: 1\n');
    const [one] = Object.values(hashSources([partsOf(path, ['a.constructor'])]));
    write('a: 2\n');
    expect(Object.values(hashSources([partsOf(path, ['a.constructor'])]))).toEqual([one]);
  });
});

test('a library below $PDK_ROOT is named by it, wherever it lies', () => {
  const pdk = mkdtempSync(join(tmpdir(), 'onefet-pdk-root-'));
  mkdirSync(join(pdk, 'lib'));
  writeFileSync(join(pdk, 'lib', 'x.lib'), '* x\n');
  delete env.PDK_ROOT;
  expect(() => hashSources([join(pdk, 'lib', 'x.lib')])).toThrow(
    expect.objectContaining({ code: 'SOURCE_OUTSIDE' }),
  );
  env.PDK_ROOT = pdk;
  const sources = hashSources([join(pdk, 'lib', 'x.lib')]);
  expect(Object.keys(sources)).toEqual(['$PDK_ROOT/lib/x.lib']);
  expect(changedSource(sources, 'test')).toBeUndefined();
  writeFileSync(join(pdk, 'lib', 'x.lib'), '* y\n');
  expect(changedSource(sources, 'test')).toBe('$PDK_ROOT/lib/x.lib has changed since');
  delete env.PDK_ROOT;
  expect(changedSource(sources, 'test')).toContain('is gone');
});

describe('a result as it is written', () => {
  const result = { sources: {}, one: 1e-12, list: [0.25, 'x'], é: null };
  const sealed = encodeResult(result, 'test');
  const decode = (text: string) => {
    try {
      return decodeResult(text);
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  };

  test('comes back; with any bit changed it does not', () => {
    expect(decode(sealed)).toEqual(result);
    let believed = 0;
    const bytes = Buffer.from(sealed);
    // The line break behind it is not part of it.
    for (let bit = 0; bit < 8 * (bytes.length - 1); bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] ^= 1 << (bit & 7);
      const found = decode(changed.toString());
      if (found === undefined) continue;
      // 1E-12 is the same number.
      expect(found, changed.toString()).toEqual(result);
      believed++;
    }
    expect(believed).toBeLessThan(2);
  });

  test.each(
    readdirSync(join(packageRoot, 'calibration')).filter(
      (name) => listDataFolder(`spice/${name}`).length > 0,
    ),
  )('every file of calibration/%s is what was written, and is not with one digit changed', (process) => {
    const at = join(packageRoot, 'calibration', process);
    const names = readdirSync(at).filter((name) => name.endsWith('.json') && name !== 'comparison.json');
    expect(names.length).toBeGreaterThan(0);
    for (const [i, name] of names.entries()) {
      const text = readFileSync(join(at, name), 'utf8');
      expect(decode(text), `${name}: calibrate it again`).toBeDefined();
      const digits = [...text.matchAll(/(?<=[0-9.])[1-8](?=[0-9])/g)];
      const { index } = digits[bits32(streamKey(i), 0) % digits.length];
      const changed = `${text.slice(0, index)}${Number(text[index]) + 1}${text.slice(index + 1)}`;
      expect(decode(changed), name).toBeUndefined();
    }
  });
});
