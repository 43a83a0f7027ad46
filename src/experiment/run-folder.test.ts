import { mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { changeWords, markLatest, runFolderPath } from './run-folder.ts';

const out = mkdtempSync(join(tmpdir(), 'onefet-folders-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));
const HASH = '0123456789abcdef';

test('a folder says what was changed', () => {
  expect(changeWords({ 'adc.bits': 7, 'tile.rows': 128, cell: 't1' })).toEqual(['adc7', 'rows128', 'cellt1']);
  expect(changeWords({ 'mapping.text': '../../etc/pass wd', 'weights.overrides': { ffn_down: 6 } })).toEqual([
    'text....etcpasswd',
    'overrides',
  ]);
  const many = Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`key.number${i}`, i]));
  expect(changeWords(many).join('-').length).toBeLessThanOrEqual(48);
  expect(runFolderPath(out, 'log-domain', { 'adc.bits': 7 }, HASH)).toBe(
    join(out, 'log-domain-adc7-0123456789ab'),
  );
});

test('a run keeps the folder that it has, whatever words led to it', () => {
  const folder = join(out, 'log-domain-0123456789ab');
  mkdirSync(folder);
  expect(runFolderPath(out, 'log-domain', { 'adc.bits': 7 }, HASH)).toBe(folder);
});

test('latest leads to the run that finished last, and is never put over a file of somebody', () => {
  markLatest(join(out, 'a-1'));
  markLatest(join(out, 'b-2'));
  expect(readlinkSync(join(out, 'latest'))).toBe('b-2');
  rmSync(join(out, 'latest'));
  writeFileSync(join(out, 'latest'), 'mine');
  markLatest(join(out, 'a-1'));
  expect(() => readlinkSync(join(out, 'latest'))).toThrow();
});
