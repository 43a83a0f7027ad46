/** What a run folder believes of results.jsonl. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type FinishedJob, JOB_SCHEMA } from './job.ts';
import { decodeJob, encodeJob, openRunFolder } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-store-'));
afterAll(() => rmSync(folder, { recursive: true }));

const job = (window: number, nll: number): FinishedJob => ({
  schema: JOB_SCHEMA,
  key: `chip-7/${window}`,
  variant: { kind: 'chip', seed: 7 },
  window,
  tokens: 15,
  seconds: 0.25,
  metrics: { scored: 8, nll, kl: 1e-7, top1: 3 },
});

test('a line is the job that was written; no other byte of it is believed', () => {
  const line = encodeJob(job(0, 0.1 + 0.2));
  expect(decodeJob(line)).toEqual(job(0, 0.1 + 0.2));
  for (let at = 0; at < line.length; at++) {
    const changed = line.slice(0, at) + (line[at] === '1' ? '2' : '1') + line.slice(at + 1);
    expect(decodeJob(changed), `byte ${at}`).toBeUndefined();
  }
  for (const other of ['', '{}', 'null', '[]', line.slice(0, -1), JSON.stringify(job(0, 1))]) {
    expect(decodeJob(other)).toBeUndefined();
  }
});

test('damaged lines are counted and taken out, whole ones around them are kept, the last of a job counts', () => {
  const lines = [job(0, 1), job(1, 2), job(0, 3), job(2, 4)].map(encodeJob);
  const path = join(folder, 'results.jsonl');
  const spoiled = lines[1].replace('"nll":2', '"nll":9');
  writeFileSync(path, `${lines[0]}\n${spoiled}\n\u0000\u0000\n${lines[2]}\n${lines[3].slice(0, 40)}`);
  const store = openRunFolder(folder, {}, '');
  expect(store.damagedLines).toBe(3);
  expect([...store.finished.values()]).toEqual([job(0, 3)]);
  expect(readFileSync(path, 'utf8')).toBe(`${lines[0]}\n${lines[2]}\n`);
  expect(() => openRunFolder(folder, {}, '')).toThrow(/this process is already working in the run folder/);
  store.append(job(5, 6));
  store.forget('chip-7/0');
  expect([...store.finished.keys()]).toEqual(['chip-7/5']);
  store.close();
  const again = openRunFolder(folder, {}, '');
  expect(again.damagedLines).toBe(0);
  expect([...again.finished.keys()].sort()).toEqual(['chip-7/0', 'chip-7/5']);
  again.close();
});
