/**
 * The digital pass and the ranges of a run, kept by content below the working folder, so that another run on the same
 * model and texts does not compute them again:
 *   .onefet/cache/baseline/<key>/   baseline.f32, states.f32, layers.f32, entry.json (the digital jobs)
 *   .onefet/cache/ranges/<key>.json  the range job
 * The key is a hash of everything that decides the numbers, and nothing else: chips, seed and most of the design do not.
 *
 * A run folder gets the files as hard links (copies where links cannot be), so an entry may be removed while a run uses it,
 * and a run folder needs no cache to be resumed. An entry is written under a private name and renamed: it is whole or not
 * there, and of two processes that made the same one the first stays. Every entry has a schema, sizes and SHA-256s; one
 * that does not hold is removed, said, and made again. A cache that cannot be written or read never fails a run.
 */
import { randomBytes } from 'node:crypto';
import {
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pid, versions } from 'node:process';
import { isProcessAlive, makeFolder, reasonOf, sha256 } from '../files.ts';
import type { ScoringWindow } from '../model/scoring.ts';
import { type DigitalFiles, rowsHold } from './baseline.ts';
import type { FinishedJob, Job } from './job.ts';
import type { RunPlan } from './plan.ts';

/** Raise it with any change of what the digital pass or the range pass computes, or of what is kept of them. */
const REVISION = 'passes 3';
/** Files of an entry by their names in DigitalFiles. */
const KEPT = ['baseline', 'states', 'layers'] as const;
const ENTRY_SCHEMA = 'onefet.cache/1';

export interface CacheLimits {
  /** Digital passes that are kept, and the bytes of all. */
  readonly baselines: number;
  readonly bytes: number;
  /** Tables of ranges that are kept. */
  readonly ranges: number;
}

/** One window of 512 tokens of Llama 3.1 8B has 0.2 GB; its ranges in tiles of 256 rows have some 50 kB. */
const LIMITS: CacheLimits = { baselines: 8, bytes: 8e9, ranges: 256 };

/** Below the working folder, beside the simulations. */
const CACHE_FOLDER = join('.onefet', 'cache');

export interface PassCache {
  /** Puts a kept digital pass into the run's files; undefined where there is none that holds. */
  takeBaseline(files: DigitalFiles): FinishedJob[] | undefined;
  /** Keeps the finished digital pass of the run's files. */
  keepBaseline(files: DigitalFiles, finished: readonly FinishedJob[]): void;
  takeRanges(): FinishedJob | undefined;
  keepRanges(finished: FinishedJob): void;
}

/** Opens the cache of the passes of a plan; `notice` hears of what is damaged or cannot be kept. */
export function openPassCache(
  plan: RunPlan,
  notice: (text: string) => void,
  root = CACHE_FOLDER,
  limits = LIMITS,
): PassCache {
  const baselines = join(root, 'baseline');
  const ranges = join(root, 'ranges');
  const entry = join(baselines, baselineKey(plan));
  const rangesFile = join(ranges, `${rangesKey(plan)}.json`);
  let told = false;
  const attempt = (work: () => void) => {
    try {
      work();
    } catch (cause) {
      if (!told) notice(`nothing is kept in ${root}: ${reasonOf(cause)}`);
      told = true;
    }
  };
  const drop = (path: string, what: string) => {
    notice(`${what} ${path} is damaged: it is not used and made again`);
    attempt(() => removeEntry(path));
  };
  return {
    takeBaseline(files) {
      const found = readEntry<FinishedJob[]>(join(entry, 'entry.json'));
      if (found === 'absent' && !existsSync(entry)) return undefined;
      if (typeof found === 'object' && sameJobs(found, plan.digitalJobs)) {
        const taken = takeFiles(entry, files, plan.digitalJobs, found);
        if (taken === 'taken') return found;
        if (taken === 'absent') return undefined;
      }
      drop(entry, 'the kept digital baseline');
      return undefined;
    },
    keepBaseline(files, finished) {
      if (existsSync(entry)) return;
      const bytes = files.baselineBytes + files.statesBytes + statSync(files.layers).size;
      if (bytes > limits.bytes) return;
      attempt(() => {
        makeFolder(baselines);
        removeOld(baselines, limits.baselines - 1, limits.bytes - bytes);
        const part = partOf(entry);
        try {
          mkdirSync(part);
          for (const file of KEPT) linkOrCopy(files[file], join(part, `${file}.f32`));
          writeFileSync(join(part, 'entry.json'), encodeEntry(finished), { flush: true });
          renameSync(part, entry);
        } catch (cause) {
          rmSync(part, { recursive: true, force: true });
          // Another process was first with the same: its entry is as good.
          if (!existsSync(entry)) throw cause;
        }
      });
    },
    takeRanges() {
      const found = readEntry<FinishedJob>(rangesFile);
      if (found === 'absent') return undefined;
      if (found !== 'damaged' && plan.rangeJob && sameJobs([found], [plan.rangeJob]) && found.ranges) {
        touch(rangesFile);
        return found;
      }
      drop(rangesFile, 'the kept table of ranges');
      return undefined;
    },
    keepRanges(finished) {
      if (existsSync(rangesFile)) return;
      attempt(() => {
        makeFolder(ranges);
        removeOld(ranges, limits.ranges - 1, Number.POSITIVE_INFINITY);
        const part = partOf(rangesFile);
        try {
          writeFileSync(part, encodeEntry(finished), { flush: true });
          renameSync(part, rangesFile);
        } finally {
          rmSync(part, { force: true });
        }
      });
    },
  };
}

/** Which passes of a plan are kept, without a look into them. */
export function keptPasses(plan: RunPlan, root = CACHE_FOLDER): { baseline: boolean; ranges: boolean } {
  return {
    baseline: existsSync(join(root, 'baseline', baselineKey(plan))),
    ranges: existsSync(join(root, 'ranges', `${rangesKey(plan)}.json`)),
  };
}

/** Hashes what decides the digital pass: weights, tokens, context, the cache's width, and what computes it. */
export function baselineKey({ inputs, loaded, engine, version }: RunPlan): string {
  return keyOf({
    revision: REVISION,
    onefet: version,
    v8: versions.v8,
    backend: engine === 'wasm' ? 'wasm' : 'scalar',
    model: inputs.model.sha256,
    contextTokens: inputs.contextTokens,
    kvBits: loaded.design.kvBits,
    windows: windowsHash(inputs.windows),
  });
}

/** Hashes what decides the ranges: the digital pass's, with the range text in place of the scored one, and the nominal chip. */
export function rangesKey({ inputs, fabric, engine, version, mapping }: RunPlan): string {
  return keyOf({
    revision: REVISION,
    onefet: version,
    v8: versions.v8,
    backend: engine,
    model: inputs.model.sha256,
    contextTokens: inputs.contextTokens,
    windows: windowsHash(inputs.rangeWindows),
    calibration: fabric.cell?.sha256,
    design: fabric.nominalDesign(),
    ...(mapping ? { image: mapping.key } : {}),
  });
}

const keyOf = (parts: object) => sha256(JSON.stringify(parts)).slice(0, 32);

function windowsHash(windows: readonly ScoringWindow[]): string {
  return sha256(
    ...windows.flatMap(({ window, ids, scoreFrom, scoreTo }) => [
      JSON.stringify([window, ids.length, scoreFrom, scoreTo]),
      new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength),
    ]),
  );
}

function encodeEntry(body: unknown): string {
  return `${JSON.stringify({ schema: ENTRY_SCHEMA, sha256: sha256(JSON.stringify(body)), body })}\n`;
}

function readEntry<T>(path: string): T | 'absent' | 'damaged' {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return 'absent';
  }
  try {
    const { schema, sha256: hash, body } = JSON.parse(text) as { schema: string; sha256: string; body: T };
    return schema === ENTRY_SCHEMA && hash === sha256(JSON.stringify(body)) ? body : 'damaged';
  } catch {
    return 'damaged';
  }
}

function sameJobs(found: readonly FinishedJob[], jobs: readonly Job[]): boolean {
  return found.length === jobs.length && found.every(({ key }, i) => key === jobs[i].key);
}

/** Links or copies an entry's files beside the run's, checks every row, and only then puts them in place. */
function takeFiles(
  entry: string,
  files: DigitalFiles,
  jobs: readonly Job[],
  known: readonly FinishedJob[],
): 'taken' | 'absent' | 'damaged' {
  const private_ = { ...files };
  for (const file of KEPT) private_[file] = `${files[file]}.part`;
  const clean = () => {
    for (const file of KEPT) rmSync(private_[file], { force: true });
  };
  clean();
  try {
    for (const file of KEPT) linkOrCopy(join(entry, `${file}.f32`), private_[file]);
    const whole =
      statSync(private_.baseline).size === files.baselineBytes &&
      statSync(private_.states).size === files.statesBytes &&
      jobs.every((job, i) => rowsHold(private_, job, known[i].rows));
    if (!whole) return 'damaged';
    for (const file of KEPT) renameSync(private_[file], files[file]);
    touch(entry);
    return 'taken';
  } catch (cause) {
    // Half an entry is damage; one that another process has just removed, or a full disk, is none.
    const lost = (cause as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(join(entry, 'entry.json'));
    return lost ? 'damaged' : 'absent';
  } finally {
    clean();
  }
}

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw cause;
    copyFileSync(from, to, constants.COPYFILE_FICLONE);
  }
}

function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // A cache that cannot be written keeps its ages.
  }
}

/** A private name beside a path that says whose it is. */
function partOf(path: string): string {
  return `${path}.${pid}-${randomBytes(6).toString('hex')}.${hostname()}.part`;
}

/** Renamed first: an entry that is half removed is not met under its name. */
function removeEntry(path: string): void {
  const part = partOf(path);
  renameSync(path, part);
  rmSync(part, { recursive: true, force: true });
}

/** Removes the oldest entries beyond `keep` in number or `keepBytes` in size, and parts of processes that are gone. */
function removeOld(folder: string, keep: number, keepBytes: number): void {
  const entries: { path: string; time: number; bytes: number }[] = [];
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const part = /\.(\d+)-[0-9a-f]+\.(.*)\.part$/.exec(name);
    if (part) {
      if (part[2] === hostname() && !isProcessAlive(Number(part[1])))
        rmSync(path, { recursive: true, force: true });
    } else entries.push({ path, time: statSync(path).mtimeMs, bytes: folderBytes(path) });
  }
  entries.sort((a, b) => b.time - a.time);
  let bytes = 0;
  entries.forEach((entry, i) => {
    bytes += entry.bytes;
    if (i >= keep || bytes > keepBytes) removeEntry(entry.path);
  });
}

function folderBytes(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
}
