import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { applySettings, readYaml } from './config.ts';
import { loadDesign } from './fabric/design.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-config-'));
const file = (text: string) => {
  const path = join(folder, 'design.yaml');
  writeFileSync(path, text);
  return path;
};

test('a typo in a design names the key that was meant', () => {
  const path = file('name: x\nprocess: p\ncell: c\nadc: { bitz: 6 }\n');
  expect(() => loadDesign(path)).toThrow(
    expect.objectContaining({ kind: 'usage', code: 'CONFIG_KEY', hint: 'did you mean adc.bits?' }),
  );
});

test('a value out of range names the key', () => {
  const path = file('name: x\nprocess: p\ncell: c\nadc: { bits: 60 }\n');
  expect(() => loadDesign(path)).toThrow(/adc\.bits/);
});

test('broken YAML names the line', () => {
  expect(() => readYaml(file('name: x\nbad: [1\n'), 'design')).toThrow(/design\.yaml:[23]:/);
});

test('an alias bomb is refused', () => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    'b: &b [*a,*a,*a,*a,*a,*a,*a]',
    'c: &c [*b,*b,*b,*b,*b,*b]',
    'd: [*c,*c,*c]',
  ];
  expect(() => readYaml(file(bomb.join('\n')), 'design')).toThrow(
    expect.objectContaining({ code: 'CONFIG_YAML' }),
  );
});

test('--set overrides nested keys with YAML values and refuses prototype keys', () => {
  expect(applySettings({ a: { b: 1 } }, ['a.b=2.5', 'a.c=[1, x]', 'd=true'])).toEqual({
    a: { b: 2.5, c: [1, 'x'] },
    d: true,
  });
  expect(() => applySettings({}, ['__proto__.x=1'])).toThrow(/bad key/);
  expect(() => applySettings({}, ['novalue'])).toThrow(/key=value/);
  const path = file('name: x\nprocess: p\ncell: c\n');
  expect(loadDesign(path, ['adc.bits=6']).design).toMatchObject({ adc: { bits: 6 } });
  expect(loadDesign(path, ['adc.bits=6']).sha256).not.toBe(loadDesign(path).sha256);
});
