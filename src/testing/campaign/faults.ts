/**
 * Faults of the machine, through the launcher: processes that are killed, disks that fill up, clocks that jump, files that
 * are damaged while nobody looks. After each, the same command must come to exactly the result of an undisturbed one, and
 * what was finished before must not be done again.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { decodeJob } from '../../experiment/store.ts';
import { packageRoot } from '../../files.ts';
import { LOCK_SCHEMA } from '../../lock.ts';
import { bits32, streamKey } from '../../random.ts';
import { type Ended, type LaunchOptions, launch } from '../launcher.ts';
import { fixtureModel } from '../models.ts';
import type { Draw } from './change.ts';

export interface Fault {
  readonly what: string;
  /** What must hold, for the table. */
  readonly holds: string;
  /** Rounds in the tests of every day, and of a campaign of 100. */
  readonly rounds: readonly [few: number, campaign: number];
  attempt(scene: Scene, draw: Draw): Promise<void>;
  /** Why it cannot be tried here, if so. */
  readonly needs?: () => string | undefined;
}

export interface FaultResult {
  readonly what: string;
  readonly holds: string;
  readonly rounds: number;
  readonly failures: readonly string[];
}

/** Working folders and what undisturbed commands come to. */
interface Scene {
  /** A new working folder. */
  readonly fresh: () => string;
  /** A copy of the working folder of the undisturbed run. */
  readonly finished: () => string;
  /** Result of the undisturbed run, without its speed. */
  readonly result: unknown;
  /** How long it took, ms. */
  readonly runMs: number;
  readonly image: Buffer;
  readonly imageMs: number;
  /** Made with the first that asks: it takes longest. */
  readonly calibration: () => Promise<{ readonly bytes: Buffer; readonly ms: number }>;
}

const RUN = [
  ...[
    'run',
    '--model',
    fixtureModel('tiny'),
    '--context',
    '32',
    '--max-windows',
    '2',
    '--chips',
    '3',
    '--set',
    'mapping.method=round',
  ],
  ...['--threads', '1', '--no-report', '--quiet', '--json'],
];
const MAP = [
  ...[
    'map',
    '--model',
    fixtureModel('tiny'),
    '--set',
    'mapping.method=rotated',
    '--set',
    'mapping.tokens=512',
  ],
  ...['--set', `mapping.text=${join(packageRoot, 'experiments/texts/range.txt')}`, '--out', 'a.image'],
  ...['--threads', '1', '--quiet', '--json'],
];
const CALIBRATE = ['calibrate', '--process', 'mine', '--cell', 't1', '--threads', '1', '--quiet', '--json'];
const CALIBRATION = join('calibration', 'mine', 't1.json');

function must(condition: boolean, what: string, ended?: Ended): void {
  if (condition) return;
  const said = ended ? `; code ${ended.code}, signal ${ended.signal}: ${ended.stderr.slice(0, 400)}` : '';
  throw new Error(`${what}${said}`);
}

function withoutSpeed(json: string): unknown {
  const { emulation, provenance, ...rest } = JSON.parse(json);
  return rest;
}

async function run(folder: string, options: Partial<LaunchOptions> = {}, ...more: string[]): Promise<Ended> {
  return launch({ folder, ...options }, ...RUN, ...more).ended;
}

/** The run's own command, whose result must be that of the undisturbed one. */
async function completes(scene: Scene, folder: string, ...more: string[]): Promise<Ended> {
  const ended = await run(folder, {}, ...more);
  must(ended.code === 0, 'the command does not complete', ended);
  must(isDeepStrictEqual(withoutSpeed(ended.stdout), scene.result), 'another result', ended);
  return ended;
}

function runFolder(folder: string, out = 'runs'): string | undefined {
  const at = join(folder, out);
  if (!existsSync(at)) return undefined;
  const name = readdirSync(at).find((entry) => entry !== 'latest');
  return name === undefined ? undefined : join(at, name);
}

/** Whole lines of results.jsonl by the job's key. */
function finishedLines(folder: string, out?: string): Map<string, string> {
  const path = join(runFolder(folder, out) ?? folder, 'results.jsonl');
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
  return new Map(lines.flatMap((line) => (decodeJob(line) ? [[decodeJob(line)!.key, line] as const] : [])));
}

/** Every line that was there before is there still, with the same times in it: not one job was done twice. */
function keeps(before: ReadonlyMap<string, string>, folder: string, out?: string): void {
  const after = finishedLines(folder, out);
  for (const [key, line] of before)
    must(after.get(key) === line, `${key} was finished and is lost or done again`);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function killedAt(
  ms: number,
  folder: string,
  signal: NodeJS.Signals,
  args: readonly string[],
): Promise<Ended> {
  const { child, ended } = launch({ folder }, ...args);
  const early = await Promise.race([ended, sleep(ms)]);
  if (early === undefined) child.kill(signal);
  return ended;
}

const damage = (path: string, draw: Draw): void => {
  const bytes = readFileSync(path);
  if (bytes.length === 0) return;
  if (draw(4) === 0) writeFileSync(path, bytes.subarray(0, draw(bytes.length)));
  else {
    bytes[draw(bytes.length)] ^= 1 << draw(8);
    writeFileSync(path, bytes);
  }
};

const filesBelow = (folder: string, path: string): string[] =>
  existsSync(join(folder, path))
    ? readdirSync(join(folder, path), { recursive: true, encoding: 'utf8' })
        .map((name) => join(folder, path, name))
        .filter((name) => statSync(name).isFile())
    : [];

/** A working folder whose process has one corner: a calibration of a few seconds. */
function calibrationFolder(folder: string): string {
  const own = join(folder, 'spice', 'mine');
  cpSync(join(packageRoot, 'spice', 'planar130'), own, { recursive: true });
  const path = join(own, 'technology.yaml');
  const text = readFileSync(path, 'utf8');
  writeFileSync(
    path,
    text.replace('name: planar130', 'name: mine').replace(/corners: \{[^}]*\}/, 'corners: { TT: TT }'),
  );
  return folder;
}

const lockOf = (change: object) =>
  `${JSON.stringify({ schema: LOCK_SCHEMA, host: hostname(), pid: 2 ** 22 + 1, startTime: '1', nonce: 'abc', since: '2026-01-01T00:00:00.000Z', ...change })}\n`;

/** May this process mount a file system in memory? */
function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'onefet', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const posixShell = (script: string) => ['bash', '-c', `${script}; exec "$@"`, 'bash'];

export const FAULTS: readonly Fault[] = [
  {
    what: 'kill -9 of run',
    holds: 'same result; no finished job again',
    rounds: [1, 50],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      await killedAt(draw(Math.ceil(scene.runMs)), folder, 'SIGKILL', RUN);
      const before = finishedLines(folder);
      await completes(scene, folder);
      keeps(before, folder);
    },
  },
  {
    what: 'kill -9 of map',
    holds: 'same image; none under its name before it is whole',
    rounds: [1, 25],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      await killedAt(draw(Math.ceil(scene.imageMs)), folder, 'SIGKILL', MAP);
      const path = join(folder, 'a.image');
      if (existsSync(path)) must(readFileSync(path).equals(scene.image), 'half an image under its name');
      else {
        const ended = await launch({ folder }, ...MAP).ended;
        must(ended.code === 0, 'the mapping does not complete', ended);
        must(readFileSync(path).equals(scene.image), 'another image', ended);
      }
    },
  },
  {
    what: 'kill -9 of calibrate',
    holds: 'same calibration, byte for byte; none before it is whole',
    rounds: [0, 25],
    async attempt(scene, draw) {
      const undisturbed = await scene.calibration();
      const folder = calibrationFolder(scene.fresh());
      await killedAt(draw(Math.ceil(undisturbed.ms)), folder, 'SIGKILL', CALIBRATE);
      const path = join(folder, CALIBRATION);
      if (existsSync(path)) must(readFileSync(path).equals(undisturbed.bytes), 'half a calibration');
      const ended = await launch({ folder }, ...CALIBRATE).ended;
      must(ended.code === 0, 'the calibration does not complete', ended);
      must(readFileSync(path).equals(undisturbed.bytes), 'another calibration', ended);
    },
  },
  {
    what: 'SIGTERM, SIGINT, SIGHUP of run',
    holds: 'exit 130 or the signal; same result; no finished job again',
    rounds: [0, 30],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const signal = (['SIGTERM', 'SIGINT', 'SIGHUP'] as const)[draw(3)];
      const ended = await killedAt(draw(Math.ceil(scene.runMs)), folder, signal, RUN);
      const told = ended.signal === null ? [0, 130].includes(ended.code ?? -1) : ended.signal === signal;
      must(told, `${signal} ends otherwise`, ended);
      const before = finishedLines(folder);
      await completes(scene, folder);
      keeps(before, folder);
    },
  },
  {
    what: 'Ctrl-C twice',
    holds: 'ends within 2 s with 130; same result afterwards',
    rounds: [0, 20],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const { child, ended } = launch({ folder }, ...RUN);
      await Promise.race([ended, sleep(500 + draw(Math.ceil(scene.runMs / 2)))]);
      child.kill('SIGINT');
      await Promise.race([ended, sleep(400)]);
      child.kill('SIGINT');
      const slow = sleep(2000).then(() => undefined);
      const first = await Promise.race([ended, slow]);
      if (first === undefined) child.kill('SIGKILL');
      must(first !== undefined, 'still there after 2 s');
      must(first!.signal === 'SIGINT' || [0, 130].includes(first!.code ?? -1), 'ends otherwise', first);
      await completes(scene, folder);
    },
  },
  {
    what: 'closed pipe',
    holds: 'the run goes on to its end',
    rounds: [0, 10],
    async attempt(scene) {
      const folder = scene.fresh();
      const { child, ended } = launch({ folder }, ...RUN);
      child.stdout?.destroy();
      child.stderr?.destroy();
      must((await ended).code === 0, 'ends otherwise', await ended);
      const before = finishedLines(folder);
      await completes(scene, folder);
      keeps(before, folder);
    },
  },
  {
    what: 'no room: files end at a limit',
    holds: 'exit 3 with a remedy, or no cache; same result with room',
    rounds: [1, 30],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const kiB = 1 + draw(150);
      const ended = await run(folder, { under: posixShell(`trap "" XFSZ; ulimit -f ${kiB}`) });
      must(ended.signal === null && [0, 3].includes(ended.code ?? -1), `${kiB} KiB end otherwise`, ended);
      if (ended.code === 3) must(/hint: free disk space/.test(ended.stderr), 'no remedy', ended);
      else must(isDeepStrictEqual(withoutSpeed(ended.stdout), scene.result), 'another result', ended);
      const before = finishedLines(folder);
      await completes(scene, folder);
      keeps(before, folder);
    },
  },
  {
    what: 'no room: a file system of that size',
    holds: 'exit 3 with a remedy, or no cache; same result with room',
    rounds: [1, 20],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const kiB = 4 * (1 + draw(75));
      const mounted = `mount -t tmpfs -o size=${kiB}k onefet . && cd "$PWD" && trap 'cd / && umount -l "$OLDPWD"' EXIT`;
      const ended = await run(folder, { under: ['bash', '-c', `${mounted}; "$@"; exit $?`, 'bash'] });
      must(ended.signal === null && [0, 3].includes(ended.code ?? -1), `${kiB} KiB end otherwise`, ended);
      if (ended.code === 3) must(/hint: free disk space/.test(ended.stderr), 'no remedy', ended);
      else must(isDeepStrictEqual(withoutSpeed(ended.stdout), scene.result), 'another result', ended);
      await completes(scene, folder);
    },
    needs: () => (canMount() ? undefined : 'only root may mount a tmpfs'),
  },
  {
    what: 'output that cannot be written',
    holds: 'exit 2 with a remedy, at once',
    rounds: [0, 4],
    async attempt(scene, draw) {
      const out = ['/proc/x', '/sys/x', '/dev/null', '/proc/self/mem'][draw(4)];
      const ended = await run(scene.fresh(), {}, '--out', out);
      must(ended.code === 2 && /hint: .*--out/.test(ended.stderr), `--out ${out}`, ended);
    },
  },
  {
    what: 'cache folder in the way',
    holds: 'same result, without a cache',
    rounds: [0, 4],
    async attempt(scene) {
      const folder = scene.fresh();
      rmSync(join(folder, '.onefet'), { recursive: true });
      writeFileSync(join(folder, '.onefet'), 'a file');
      await completes(scene, folder);
    },
  },
  {
    what: 'memory cap of V8',
    holds: 'completes, or dies; same result with more',
    rounds: [0, 10],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      await run(folder, { node: [`--max-old-space-size=${16 + draw(30)}`] });
      const before = finishedLines(folder);
      await completes(scene, folder);
      keeps(before, folder);
    },
  },
  {
    what: 'clock that jumps',
    holds: 'same result',
    rounds: [1, 10],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const years = draw(2) === 0 ? 30 : -30;
      const jump = `const now = Date.now; let calls = 0; Date.now = () => now() + (calls++ % 3) * ${years} * 3.15e10;`;
      const ended = await run(folder, {
        node: ['--import', `data:text/javascript,${encodeURIComponent(jump)}`],
      });
      must(ended.code === 0, 'ends otherwise', ended);
      must(isDeepStrictEqual(withoutSpeed(ended.stdout), scene.result), 'another result', ended);
    },
  },
  {
    what: 'two processes on one folder',
    holds: 'one works, the other says so with exit 2 or comes after it',
    rounds: [1, 20],
    async attempt(scene) {
      const folder = scene.fresh();
      const both = await Promise.all([run(folder), run(folder)]);
      for (const ended of both) {
        if (ended.code === 0)
          must(isDeepStrictEqual(withoutSpeed(ended.stdout), scene.result), 'another result');
        else must(ended.code === 2 && /is working in/.test(ended.stderr), 'ends otherwise', ended);
      }
      must(
        both.some(({ code }) => code === 0),
        'both give up',
        both[0],
      );
    },
  },
  {
    what: 'locks of the dead, of other hosts, half written',
    holds: 'taken over; refused with exit 2; refused with exit 3',
    rounds: [0, 20],
    async attempt(scene, draw) {
      const folder = scene.finished();
      const path = join(runFolder(folder)!, 'lock');
      const [lock, code, said] = (
        [
          [lockOf({}), 0, /^$/],
          [lockOf({ host: 'elsewhere' }), 2, /hint: .* remove /],
          ['', 3, /hint: .* remove it/],
          [lockOf({}).slice(0, 40), 3, /hint: .* remove it/],
        ] as const
      )[draw(4)];
      writeFileSync(path, lock);
      const ended = await run(folder);
      must(
        ended.code === code && said.test(ended.stderr),
        `lock ${JSON.stringify(lock.slice(0, 30))}`,
        ended,
      );
      rmSync(path, { force: true });
      await completes(scene, folder);
    },
  },
  {
    what: 'a bit or the end of any file of a run folder',
    holds: 'same result; what is damaged is done again',
    rounds: [1, 50],
    async attempt(scene, draw) {
      const folder = scene.finished();
      const files = filesBelow(folder, 'runs').filter((path) => !path.includes('latest'));
      damage(files[draw(files.length)], draw);
      // Without the cache, which would give it back.
      if (draw(2) === 0) rmSync(join(folder, '.onefet'), { recursive: true, force: true });
      await completes(scene, folder);
    },
  },
  {
    what: 'a bit or the end of any file of the cache',
    holds: 'same result',
    rounds: [1, 50],
    async attempt(scene, draw) {
      const folder = scene.finished();
      rmSync(join(folder, 'runs'), { recursive: true, force: true });
      const files = filesBelow(folder, '.onefet');
      damage(files[draw(files.length)], draw);
      await completes(scene, folder);
    },
  },
  {
    what: 'a bit or the end of a chip image',
    holds: 'refused with exit 3',
    rounds: [1, 30],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const path = join(folder, 'a.image');
      writeFileSync(path, scene.image);
      damage(path, draw);
      const ended = await run(folder, {}, '--image', 'a.image');
      must(ended.code === 3 && /hint: /.test(ended.stderr), 'ends otherwise', ended);
    },
  },
  {
    what: 'a bit or the end of a calibration',
    holds: 'refused with exit 3, or says the same',
    rounds: [1, 30],
    async attempt(scene, draw) {
      const folder = scene.fresh();
      const name = join('calibration', 'planar32lp', 't1-large.json');
      mkdirSync(join(folder, 'calibration', 'planar32lp'), { recursive: true });
      cpSync(join(packageRoot, name), join(folder, name));
      damage(join(folder, name), draw);
      const ended = await run(folder);
      if (ended.code === 0)
        must(isDeepStrictEqual(withoutSpeed(ended.stdout), scene.result), 'another result', ended);
      else must(ended.code === 3 && /hint: /.test(ended.stderr), 'ends otherwise', ended);
    },
  },
];

/** Runs what the faults are compared with, once. */
export async function setScene(folder: string): Promise<Scene> {
  const empty = () => mkdtempSync(join(folder, 'work-'));
  // Which kernel is the fastest here is found once: it takes longer than the run.
  const fresh = () => {
    const own = empty();
    const kernel = join('.onefet', 'cache', 'kernel.json');
    cpSync(join(base, kernel), join(own, kernel));
    return own;
  };
  const timed = async (work: Promise<Ended>): Promise<[Ended, number]> => {
    const started = performance.now();
    const ended = await work;
    must(ended.code === 0, 'the undisturbed command fails', ended);
    return [ended, performance.now() - started];
  };
  const base = empty();
  const [ended, runMs] = await timed(run(base));
  const [, imageMs] = await timed(launch({ folder: base }, ...MAP).ended);
  const image = readFileSync(join(base, 'a.image'));
  rmSync(join(base, 'a.image'));
  let calibrated: ReturnType<Scene['calibration']> | undefined;
  const calibrate = async () => {
    const own = calibrationFolder(fresh());
    const [, ms] = await timed(launch({ folder: own }, ...CALIBRATE).ended);
    return { bytes: readFileSync(join(own, CALIBRATION)), ms };
  };
  return {
    fresh,
    finished: () => {
      const copy = empty();
      cpSync(base, copy, { recursive: true, verbatimSymlinks: true });
      return copy;
    },
    result: withoutSpeed(ended.stdout),
    runMs,
    image,
    imageMs,
    calibration: () => {
      calibrated ??= calibrate();
      return calibrated;
    },
  };
}

/** Runs rounds of each fault that `only` names; `share` of a campaign's rounds, 0: the few of every day. */
export async function faultCampaign(
  folder: string,
  share: number,
  seed: number,
  only = /./,
): Promise<FaultResult[]> {
  const scene = await setScene(folder);
  const results: FaultResult[] = [];
  for (const [i, { what, holds, rounds, attempt, needs }] of FAULTS.entries()) {
    if (!only.test(what)) continue;
    const missing = needs?.();
    if (missing !== undefined) {
      console.info(`${what}: not tried, ${missing}`);
      continue;
    }
    const count = share === 0 ? rounds[0] : Math.ceil(rounds[1] * share);
    const failures: string[] = [];
    for (let round = 0; round < count; round++) {
      const key = streamKey(seed, i, round);
      let drawn = 0;
      const before = new Set(readdirSync(folder));
      try {
        await attempt(scene, (n) => bits32(key, drawn++) % n);
      } catch (error) {
        failures.push(`${what}, round ${round}: ${error instanceof Error ? error.message : error}`);
      }
      for (const name of readdirSync(folder)) {
        if (!before.has(name)) rmSync(join(folder, name), { recursive: true, force: true });
      }
    }
    if (count > 0) results.push({ what, holds, rounds: count, failures });
  }
  return results;
}

/** The table of SECURITY.md. */
export function faultTable(results: readonly FaultResult[]): string {
  return [
    '| fault | rounds | what must hold | failed |',
    '|---|---|---|---|',
    ...results.map(
      ({ what, holds, rounds, failures }) => `| ${what} | ${rounds} | ${holds} | ${failures.length} |`,
    ),
  ].join('\n');
}
