/** The cache of passes on hand-made files: damage, bounds, and two at once. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { madeJob, smallPlan } from '../testing/jobs.ts';
import { type DigitalFiles, digitalFiles, hashRows, makeWritable } from './baseline.ts';
import { openPassCache } from './cache.ts';
import { type FinishedJob, finishJob } from './job.ts';
import type { RunPlan } from './plan.ts';

const root = mkdtempSync(join(tmpdir(), 'onefet-cache-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let fresh = 0;
const newFolder = () => {
  const path = join(root, String(++fresh));
  mkdirSync(path);
  return path;
};

const plan = smallPlan(root);

/** The same plan of a model with another hash: another entry. */
const ofModel = (sha256: string): RunPlan => ({
  ...plan,
  inputs: { ...plan.inputs, model: { ...plan.inputs.model, sha256 } },
});

const filesIn = (folder: string): DigitalFiles =>
  digitalFiles(folder, plan.inputs.model.shape, plan.inputs.text.scored);

const LAYERS_BYTES = 400;

/** A folder with a finished digital pass of any numbers. */
function digitalPass(): { files: DigitalFiles; jobs: FinishedJob[] } {
  const files = filesIn(newFolder());
  writeFileSync(files.baseline, Buffer.alloc(files.baselineBytes, 'baseline'));
  writeFileSync(files.states, Buffer.alloc(files.statesBytes, 'state'));
  writeFileSync(files.layers, Buffer.alloc(LAYERS_BYTES, 'layer'));
  const jobs = plan.digitalJobs.map((job) => finishJob(job, madeJob(plan, job, 1, 0), hashRows(files, job)));
  return { files, jobs };
}

const flip = (path: string, at: number) => {
  const bytes = readFileSync(path);
  bytes[at] ^= 1;
  writeFileSync(path, bytes);
};

function open(cacheFolder: string, of = plan, limits?: Parameters<typeof openPassCache>[3]) {
  const notices: string[] = [];
  return { ...openPassCache(of, (text) => notices.push(text), cacheFolder, limits), notices };
}

const entryOf = (cacheFolder: string) => {
  const below = join(cacheFolder, 'baseline');
  const names = readdirSync(below);
  expect(names).toHaveLength(1);
  return join(below, names[0]);
};

test('what is kept is taken: the same jobs, the same bytes', () => {
  const cacheFolder = newFolder();
  const { files, jobs } = digitalPass();
  expect(open(cacheFolder).takeBaseline(filesIn(newFolder()))).toBeUndefined();
  open(cacheFolder).keepBaseline(files, jobs);
  const other = filesIn(newFolder());
  const cache = open(cacheFolder);
  expect(cache.takeBaseline(other)).toEqual(jobs);
  expect(readFileSync(other.baseline).equals(readFileSync(files.baseline))).toBe(true);
  expect(readFileSync(other.states).equals(readFileSync(files.states))).toBe(true);
  expect(readFileSync(other.layers).equals(readFileSync(files.layers))).toBe(true);
  expect(cache.notices).toEqual([]);
  expect(open(cacheFolder, ofModel('another')).takeBaseline(other)).toBeUndefined();
  // A folder that writes its files again does not write into the cache.
  makeWritable(other);
  flip(other.baseline, 0);
  expect(open(cacheFolder).takeBaseline(filesIn(newFolder()))).toEqual(jobs);
});

test('an entry that is flipped, cut off, half there or of another kind is said, not used and removed', () => {
  const damages: ((entry: string) => void)[] = [
    (entry) => flip(join(entry, 'baseline.f32'), 1000),
    (entry) => flip(join(entry, 'states.f32'), 100),
    (entry) => truncateSync(join(entry, 'states.f32'), 100),
    (entry) => flip(join(entry, 'layers.f32'), 100),
    (entry) => rmSync(join(entry, 'layers.f32')),
    (entry) => writeFileSync(join(entry, 'baseline.f32'), Buffer.alloc(1e5)),
    (entry) => rmSync(join(entry, 'baseline.f32')),
    (entry) => rmSync(join(entry, 'entry.json')),
    (entry) => flip(join(entry, 'entry.json'), 150),
    (entry) => writeFileSync(join(entry, 'entry.json'), ''),
    (entry) => writeFileSync(join(entry, 'entry.json'), '{"schema":"onefet.cache/0"}'),
  ];
  for (const damage of damages) {
    const cacheFolder = newFolder();
    const { files, jobs } = digitalPass();
    open(cacheFolder).keepBaseline(files, jobs);
    damage(entryOf(cacheFolder));
    const cache = open(cacheFolder);
    const into = filesIn(newFolder());
    expect(cache.takeBaseline(into)).toBeUndefined();
    expect(cache.notices).toEqual([expect.stringMatching(/kept digital baseline .* is damaged/)]);
    expect(existsSync(into.baseline)).toBe(false);
    expect(readdirSync(join(cacheFolder, 'baseline'))).toEqual([]);
    const again = digitalPass();
    cache.keepBaseline(again.files, again.jobs);
    expect(cache.takeBaseline(into)).toEqual(jobs);
  }
});

test('ranges are kept and taken; a flipped digit is said and not used', () => {
  const cacheFolder = newFolder();
  const job = madeJob(plan, plan.rangeJob!, 1, 0);
  open(cacheFolder).keepRanges(job);
  expect(open(cacheFolder).takeRanges()).toEqual(job);
  const [name] = readdirSync(join(cacheFolder, 'ranges'));
  const path = join(cacheFolder, 'ranges', name);
  writeFileSync(path, readFileSync(path, 'utf8').replace('13', '14'));
  const cache = open(cacheFolder);
  expect(cache.takeRanges()).toBeUndefined();
  expect(cache.notices).toEqual([expect.stringMatching(/kept table of ranges .* is damaged/)]);
  expect(readdirSync(join(cacheFolder, 'ranges'))).toEqual([]);
});

test('no more than the stated number and bytes are kept, the oldest go, and a run that uses one does not notice', () => {
  const cacheFolder = newFolder();
  const { files, jobs } = digitalPass();
  const one = files.baselineBytes + files.statesBytes + LAYERS_BYTES;
  const keep = (model: string, limits: { baselines: number; bytes: number; ranges: number }) => {
    open(cacheFolder, ofModel(model), limits).keepBaseline(files, jobs);
    return readdirSync(join(cacheFolder, 'baseline')).length;
  };
  const age = (seconds: number) => {
    for (const name of readdirSync(join(cacheFolder, 'baseline'))) {
      const then = new Date(Date.now() - 1000 * seconds);
      utimesSync(join(cacheFolder, 'baseline', name), then, then);
    }
  };
  const many = { baselines: 2, bytes: 1e9, ranges: 2 };
  keep('a', many);
  age(100);
  const using = filesIn(newFolder());
  expect(open(cacheFolder, ofModel('a')).takeBaseline(using)).toEqual(jobs);
  age(100);
  keep('b', many);
  expect(keep('c', many)).toBe(2);
  expect(open(cacheFolder, ofModel('a')).takeBaseline(filesIn(newFolder()))).toBeUndefined();
  expect(readFileSync(using.baseline).equals(readFileSync(files.baseline))).toBe(true);
  // By bytes: room for one and a half.
  expect(keep('d', { baselines: 9, bytes: 1.5 * one, ranges: 2 })).toBe(1);
  // One that is larger than all of it is not kept, and drives nothing out.
  expect(keep('e', { baselines: 9, bytes: 0.5 * one, ranges: 2 })).toBe(1);
});

test('parts of a process that is gone are removed; where nothing can be written it is said once', () => {
  const cacheFolder = newFolder();
  const { files, jobs } = digitalPass();
  open(cacheFolder).keepBaseline(files, jobs);
  const entry = entryOf(cacheFolder);
  mkdirSync(`${entry}.4194305-abcdef.${hostname()}.part`);
  open(cacheFolder, ofModel('other')).keepBaseline(files, jobs);
  expect(readdirSync(join(cacheFolder, 'baseline')).filter((name) => name.endsWith('.part'))).toEqual([]);
  const blocked = join(newFolder(), 'file');
  writeFileSync(blocked, '');
  const cache = open(blocked);
  cache.keepBaseline(files, jobs);
  cache.keepRanges(madeJob(plan, plan.rangeJob!, 1, 0));
  expect(cache.takeBaseline(files)).toBeUndefined();
  expect(cache.takeRanges()).toBeUndefined();
  expect(cache.notices).toEqual([expect.stringMatching(/^nothing is kept in /)]);
});
