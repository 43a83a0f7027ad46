/**
 * What onefet itself has written and finds again: run folders, caches, images, calibrations. A changed one is refused,
 * counted as not there, or says exactly what was written; anything else is a failure.
 */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  finishCodesFile,
  packCodes,
  prepareCodesFile,
  readCodes,
  type TileCodes,
  writeCodes,
} from '../../engine/wasm/load/codes-cache.ts';
import type { Operation } from '../../engine/wasm/plan/operations.ts';
import { digitalFiles, hashRows, rowsHold } from '../../experiment/baseline.ts';
import { openPassCache } from '../../experiment/cache.ts';
import { type FinishedJob, finishJob } from '../../experiment/job.ts';
import { decodeJob, encodeJob } from '../../experiment/store.ts';
import { packageRoot } from '../../files.ts';
import { openImage } from '../../mapping/image.ts';
import { decodeResult } from '../../sources.ts';
import { readCache, writeCache } from '../../spice/cache.ts';
import { madeJob, smallPlan } from '../jobs.ts';
import { changeBytes, type Draw } from './change.ts';
import { writeDrawnImage } from './drawn-image.ts';
import type { Target } from './run.ts';

const same = (found: unknown, written: unknown, what: string): true => {
  if (isDeepStrictEqual(found, written)) return true;
  throw new Error(`${what}: something else than was written was believed`);
};

/** A file in place of the written one, with some bytes changed. */
function changeFile(path: string, written: Buffer, draw: Draw): void {
  writeFileSync(path, changeBytes(written, draw));
}

/** A finished digital pass of round numbers, in a folder of its own. */
function digitalPass(folder: string) {
  const own = mkdtempSync(join(folder, 'pass-'));
  const plan = smallPlan(own);
  const files = digitalFiles(own, plan.inputs.model.shape, plan.inputs.text.scored);
  writeFileSync(files.baseline, Buffer.alloc(files.baselineBytes, 'baseline'));
  writeFileSync(files.states, Buffer.alloc(files.statesBytes, 'state'));
  writeFileSync(files.layers, Buffer.alloc(400, 'layer'));
  const jobs = plan.digitalJobs.map((job) => finishJob(job, madeJob(plan, job, 1, 0), hashRows(files, job)));
  return { own, plan, files, jobs };
}

const HASH = 'ab'.repeat(32);

export const SEALED_TARGETS: readonly Target[] = [
  {
    what: 'lines of results.jsonl',
    cost: 10,
    start(folder) {
      const { plan, jobs } = digitalPass(folder);
      const chips = plan.dependentJobs.map((job) => madeJob(plan, job, 1.1, 0.1));
      const written = [...jobs, ...chips].map((job) => JSON.parse(JSON.stringify(job)) as FinishedJob);
      const byKey = new Map(written.map((job) => [job.key, job]));
      const lines = written.map((job) => Buffer.from(encodeJob(job)));
      return (draw) => {
        const line = changeBytes(lines[draw(lines.length)], draw).toString();
        const found = line.split('\n').flatMap((part) => decodeJob(part) ?? []);
        return found.length > 0 && found.every((job) => same(job, byKey.get(job.key), 'a line'));
      };
    },
  },
  {
    what: 'rows of baseline.f32, states.f32, layers.f32',
    cost: 10,
    start(folder) {
      const { plan, files, jobs } = digitalPass(folder);
      const paths = [files.baseline, files.states, files.layers];
      const written = paths.map((path) => readFileSync(path));
      return (draw) => {
        const which = draw(paths.length);
        const path = paths[which];
        changeFile(path, written[which], draw);
        const whole = plan.digitalJobs.every((job, i) => rowsHold(files, job, jobs[i].rows));
        const now = readFileSync(path).subarray(0, written[which].length);
        writeFileSync(path, written[which]);
        return whole && same(now.equals(written[which]), true, 'rows');
      };
    },
  },
  {
    what: 'cache of digital passes',
    cost: 40,
    start(folder) {
      const { own, plan, files, jobs } = digitalPass(folder);
      const cache = () => openPassCache(plan, () => {}, join(own, 'cache'));
      const written = [files.baseline, files.states, files.layers].map((path) => readFileSync(path));
      const into = join(own, 'into');
      return (draw) => {
        rmSync(join(own, 'cache'), { recursive: true, force: true });
        rmSync(into, { recursive: true, force: true });
        mkdirSync(into);
        cache().keepBaseline(files, jobs);
        const entry = join(own, 'cache', 'baseline');
        const name = ['baseline.f32', 'states.f32', 'layers.f32', 'entry.json'][draw(4)];
        const path = join(entry, folderIn(entry), name);
        const before = readFileSync(path);
        // A link to the run's own file: the changed one takes its place, and not its content.
        rmSync(path);
        changeFile(path, before, draw);
        const taken = digitalFiles(into, plan.inputs.model.shape, plan.inputs.text.scored);
        const found = cache().takeBaseline(taken);
        if (found === undefined) return false;
        const now = [taken.baseline, taken.states, taken.layers].map((file) => readFileSync(file));
        return same([found, now], [JSON.parse(JSON.stringify(jobs)), written], 'a pass');
      };
    },
  },
  {
    what: 'cache of ranges',
    cost: 10,
    start(folder) {
      const { own, plan } = digitalPass(folder);
      const job = madeJob(plan, plan.rangeJob!, 1, 0);
      const root = join(own, 'cache');
      const cache = () => openPassCache(plan, () => {}, root);
      cache().keepRanges(job);
      const path = join(root, 'ranges', folderIn(join(root, 'ranges')));
      const written = readFileSync(path);
      return (draw) => {
        changeFile(path, written, draw);
        const found = cache().takeRanges();
        return found !== undefined && same(found, JSON.parse(JSON.stringify(job)), 'ranges');
      };
    },
  },
  {
    what: 'cache of simulations',
    start(folder) {
      const own = mkdtempSync(join(folder, 'spice-'));
      const files = [Uint8Array.from({ length: 300 }, (_, i) => i), new Uint8Array(40).fill(7)];
      writeCache(own, HASH, files);
      const path = join(own, HASH.slice(0, 2), `${HASH}.raw`);
      const written = readFileSync(path);
      return (draw) => {
        changeFile(path, written, draw);
        const found = readCache(own, HASH);
        return found !== undefined && same(found, files, 'a simulation');
      };
    },
  },
  {
    what: 'cache of codes',
    start(folder) {
      const own = mkdtempSync(join(folder, 'codes-'));
      const operation = {
        name: { layer: 0, tensor: 'ffn_up' },
        outputs: 32,
        inputs: 60,
        panels: 2,
        kind: 'tile',
        bits: 6,
        rows: 60,
        lastRows: 60,
        tiles: 1,
        cells: 2,
      } as unknown as Operation;
      const codes = Int8Array.from({ length: 60 * 32 }, (_, i) => (i % 15) - 7);
      const tiles: TileCodes[] = [
        {
          rows: 60,
          scales: new Float32Array(16).fill(1.5),
          nibbles: [0, 16].map((first) => packCodes(codes, first, 32, 60)),
        },
      ];
      const file = prepareCodesFile(own, 'a', [operation], 0)!;
      const writer = openSync(file.path, 'r+');
      for (const panel of [0, 1]) writeCodes(writer, file, 0, panel, tiles);
      closeSync(writer);
      finishCodesFile(file);
      const known = prepareCodesFile(own, 'a', [operation], 0)!;
      const written = readFileSync(known.path);
      return (draw) => {
        changeFile(known.path, written, draw);
        const reader = openSync(known.path, 'r');
        try {
          const found = [0, 1].map((panel) => readCodes(reader, known, operation, 0, panel));
          for (const panel of found) {
            if (panel !== undefined) same(panel.map(plainTile), tiles.map(plainTile), 'codes');
          }
          return found.every((panel) => panel !== undefined);
        } finally {
          closeSync(reader);
        }
      };
    },
  },
  {
    what: 'chip images',
    cost: 10,
    start(folder) {
      const path = join(mkdtempSync(join(folder, 'image-')), 'a.image');
      const { matrices, gain } = writeDrawnImage(path);
      const written = readFileSync(path);
      return (draw) => {
        changeFile(path, written, draw);
        const image = openImage(path);
        try {
          const found = matrices.map(({ name }) => image.readMatrix(name));
          return same([found, image.readVector('blk.0.attn_norm')], [matrices, gain], 'an image');
        } finally {
          image.close();
        }
      };
    },
  },
  {
    what: 'calibrations as they are written',
    cost: 10,
    start() {
      const text = readFileSync(join(packageRoot, 'calibration', 'planar32lp', 't1.json'));
      const written = decodeResult(text.toString());
      return (draw) => {
        const changed = changeBytes(text, draw).toString();
        try {
          const found = decodeResult(changed);
          return found !== undefined && same(found, written, 'a calibration');
        } catch (error) {
          if (error instanceof SyntaxError) return false;
          throw error;
        }
      };
    },
  },
];

const plainTile = ({ rows, scales, nibbles }: TileCodes) => [
  rows,
  [...scales],
  nibbles.map((part) => [...part]),
];

function folderIn(path: string): string {
  const [name] = readdirSync(path);
  return name;
}
