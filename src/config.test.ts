import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cpuUsage } from 'node:process';
import { expect, test } from 'vitest';
import { applyChanges, listChanges, parseYaml, readYaml } from './config.ts';
import { loadLogDomainDesign } from './testing/designs.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-config-'));
const file = (text: string) => {
  const path = join(folder, 'design.yaml');
  writeFileSync(path, text);
  return path;
};

test('a typo in a design names the key that was meant', () => {
  const path = file('name: x\nprocess: p\ncell: c\nadc: { bitz: 6 }\n');
  expect(() => loadLogDomainDesign(path)).toThrow(
    expect.objectContaining({ kind: 'usage', code: 'CONFIG_KEY', hint: 'did you mean adc.bits?' }),
  );
});

test.each([
  ['weights.bits=8', 'weights.bits: expected 3, 4 or 6'],
  ['weights.overrides.ffn_down=5', 'weights.overrides.ffn_down: expected 3, 4 or 6'],
  ['kvBits=4', 'kvBits: expected 8 or 16'],
  ['adc.bits=ideal', 'adc.bits: expected a number or float'],
  ['adc.bits=6.5', 'adc.bits: expected a whole number or float'],
  ['adc.bits=20', 'adc.bits: Too big: expected number to be <=14'],
  [
    'weights.overrides.blk.0.ffn_down=6',
    'weights.overrides.blk: bits are those of a matrix in every block, not in one',
  ],
])('%s is refused with what is possible', (setting, message) => {
  expect(() => loadLogDomainDesign('log-domain', [setting])).toThrow(message);
});

test('a value out of range names the key', () => {
  const path = file('name: x\nprocess: p\ncell: c\nadc: { bits: 60 }\n');
  expect(() => loadLogDomainDesign(path)).toThrow(/adc\.bits/);
});

test('twenty thousand keys, deep nesting and a repeated key are errors within a second or two', () => {
  const before = cpuUsage();
  const keys = Array.from({ length: 20_000 }, (_, i) => `k${i}: ${i}`).join('\n');
  expect(() => loadLogDomainDesign(file(`name: x\n${keys}\n`))).toThrow(/unknown key k0/);
  expect(() => readYaml(file(`a: ${'['.repeat(200_000)}`), 'design')).toThrow(
    expect.objectContaining({ kind: 'usage', code: 'CONFIG_YAML' }),
  );
  expect(() => readYaml(file('name: x\nadc:\n  bits: 6\n  bits: 7\n'), 'design')).toThrow(
    /design\.yaml:4:3: key bits stands twice/,
  );
  expect(() => readYaml(file('x'.repeat((1 << 20) + 1)), 'design')).toThrow(
    /larger than the limit of 1048576 bytes/,
  );
  // Processor time: a busy machine takes longer.
  const { user, system } = cpuUsage(before);
  expect((user + system) / 1e6).toBeLessThan(10);
});

test('what is made of a file once does not change what the next reader gets', () => {
  const text = 'a: { b: [1, 2] }\n';
  const first = parseYaml(text, 'x') as { a: { b: number[] } };
  first.a.b.push(3);
  expect(parseYaml(text, 'y')).toEqual({ a: { b: [1, 2] } });
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

const apply = (data: unknown, settings: string[]) => applyChanges(data, listChanges(settings));

test('--set overrides nested keys with YAML values and refuses prototype keys', () => {
  const data = { a: { b: 1 } };
  expect(apply(data, ['a.b=2.5', 'a.c=[1, x]', 'd=true'])).toEqual({ a: { b: 2.5, c: [1, 'x'] }, d: true });
  expect(data).toEqual({ a: { b: 1 } });
  expect(() => apply({}, ['__proto__.x=1'])).toThrow(/bad key/);
  expect(() => apply({}, ['a..b=1'])).toThrow(/bad key/);
  expect(() => apply({}, ['novalue'])).toThrow(/key=value/);
  expect(() => apply({}, ['a={'])).toThrow(/--set a={/);
  expect(() => apply({ a: 1 }, ['a.b=1'])).toThrow(/a is a value/);
  const path = file('name: x\nprocess: p\ncell: c\n');
  expect(loadLogDomainDesign(path, ['adc.bits=6']).design).toMatchObject({ adc: { bits: 6 } });
  expect(loadLogDomainDesign(path, ['adc.bits=6']).sha256).not.toBe(loadLogDomainDesign(path).sha256);
});

test('overrides are the same design as --set, by path or by group, and are recorded flat', () => {
  const path = file('name: x\nprocess: p\ncell: c\n');
  const set = loadLogDomainDesign(path, ['adc.bits=6', 'weights.overrides.attn_v=3']);
  for (const overrides of [
    { 'adc.bits': 6, 'weights.overrides.attn_v': 3 },
    { adc: { bits: 6 }, weights: { overrides: { attn_v: 3 } } },
    { adc: { bits: 6 }, 'weights.overrides': { attn_v: 3 } },
  ]) {
    const loaded = loadLogDomainDesign(path, [], overrides);
    expect(loaded.sha256).toBe(set.sha256);
    expect(loaded.overrides).toEqual({ 'adc.bits': 6, 'weights.overrides.attn_v': 3 });
  }
  // Data comes after the command line's strings, and the last of a key wins.
  const both = loadLogDomainDesign(path, ['adc.bits=6', 'adc.bits=7'], { adc: { bits: 5 } });
  expect(both.design.adc.bits).toBe(5);
  expect(both.overrides).toEqual({ 'adc.bits': 5 });
  // A mapping in a string replaces the group, a group of overrides changes it.
  const half = { adc: { bits: 6, gainSigma: 0.5 } };
  expect(apply(half, ['adc={bits: 7}'])).toEqual({ adc: { bits: 7 } });
  expect(applyChanges(half, listChanges([], { adc: { bits: 7 } }))).toEqual({
    adc: { bits: 7, gainSigma: 0.5 },
  });
  expect(() => loadLogDomainDesign(path, [], { adc: { bitz: 1 } })).toThrow(/unknown key adc.bitz/);
  expect(() => loadLogDomainDesign(path, [], JSON.parse('{"__proto__": {"x": 1}}'))).toThrow(/bad key/);
});
