/**
 * The simulator in this package against native `ngspice -b` on the same netlists: points per second, measured in turns
 * in one run so that both see the same machine, and the agreement of what they compute.
 *
 * Native ngspice evaluates models on two OpenMP threads unless told otherwise, which on a busy machine costs more than it
 * gives: each case first tries one and two, and runs with the faster. Native time is one process from start to exit, as a
 * script runs it, without reading its results; ours is one job of a warm pool without a cache, with its results read and
 * checked. The start of the pool stands apart.
 *
 * One deck is one thread here, so a single run is compared as it is; `sweep` is what a calibration does, many decks on all
 * cores: our pool against the faster of as many native processes at a time and one after the other on two threads.
 */

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { arch, version } from 'node:process';
import { interrupted, OnefetError } from '../error.ts';
import { makeFolder } from '../files.ts';
import { median } from '../numbers.ts';
import type { Deck } from '../spice/deck.ts';
import { engineId } from '../spice/job.ts';
import { createSpicePool } from '../spice/pool.ts';
import { parseRawFile, type RawPlot } from '../spice/raw-file.ts';
import { type BenchDefinition, benchCases } from './spice-cases.ts';

export interface BenchSpiceOptions {
  /** Native simulator, default `ngspice` on the path. */
  readonly ngspice?: string;
  /** Turns, default 5. */
  readonly rounds?: number;
  /** Runs of ours before the first turn, default 4: fewer compare as well and time less well. */
  readonly warmRuns?: number;
  /** Decks of a sweep for each core, default 2. */
  readonly decksPerCore?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: number; total: number; label: string }) => void;
}

export interface BenchSpiceCase {
  readonly name: 'dc' | 'monte-carlo' | 'noise' | 'transient';
  readonly what: string;
  /** OpenMP threads of the native runs: the faster of 1 and 2. */
  readonly nativeThreads: number;
  /** Solutions of the circuit per run: bias points, samples times bias points, frequencies, or time steps of ours. */
  readonly points: number;
  readonly nativeS: readonly number[];
  readonly ownS: readonly number[];
  /** From the medians. */
  readonly nativePointsPerS: number;
  readonly ownPointsPerS: number;
  /** Points per second, ours over native: from the medians, and from the fastest turn of each (other work on the machine only adds). */
  readonly speedRatio: number;
  readonly bestSpeedRatio: number;
  /** Decks of a sweep per second, ours over native: median over the rounds. */
  readonly sweepRatio: number;
  readonly agreement: {
    readonly of: string;
    readonly compared: number;
    readonly largestRelative: number;
    readonly limit: number;
    readonly within: boolean;
  };
}

export interface BenchSpiceResult {
  readonly schema: 'onefet.bench-spice/2';
  readonly own: string;
  /** First line of `ngspice --version`; undefined when there is none. */
  readonly native: string | undefined;
  /** Why nothing was compared. */
  readonly skipped: string | undefined;
  readonly node: string;
  readonly cpu: string;
  /** Threads and decks of a sweep. */
  readonly sweep: { readonly threads: number; readonly decks: number };
  /** Start of a simulator thread until its first result, s. */
  readonly ownStartS: number | undefined;
  readonly cases: readonly BenchSpiceCase[];
}

const NATIVE_TIMEOUT_MS = 120_000;

/** Errors: SPICE_* of our own runs, BENCH_NATIVE when the native one fails. A missing native simulator is a reason to skip. */
export async function benchSpice(options: BenchSpiceOptions = {}): Promise<BenchSpiceResult> {
  const native = nativeVersion(options.ngspice ?? 'ngspice');
  const threads = Math.min(2, availableParallelism());
  const decks = (options.decksPerCore ?? 2) * threads;
  const warmRuns = options.warmRuns ?? 4;
  const base = {
    sweep: { threads, decks },
    schema: 'onefet.bench-spice/2' as const,
    own: engineId(),
    native,
    node: version,
    cpu: readCpu(),
  };
  if (native === undefined) {
    const skipped = `no native simulator: ${options.ngspice ?? 'ngspice'} --version failed; on Debian: apt-get install ngspice`;
    return { ...base, skipped, ownStartS: undefined, cases: [] };
  }
  const rounds = options.rounds ?? 5;
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000) {
    throw new OnefetError('usage', 'BENCH_ROUNDS', `rounds is ${rounds}: it must be 1 to 1000`);
  }
  const pool = createSpicePool({ threads });
  const folder = mkdtempSync(join(tmpdir(), 'onefet-bench-'));
  try {
    const definitions = benchCases();
    const start = performance.now();
    let ownStartS: number | undefined;
    const cases: BenchSpiceCase[] = [];
    let done = 0;
    for (const definition of definitions) {
      const { deck, outputs } = definition;
      const job = {
        label: `bench ${definition.name}`,
        netlist: deck.netlist,
        commands: [],
        outputs,
      };
      // First runs, not counted: the start of our thread, the compiler of the virtual machine, file caches.
      let own = await pool.run(job, options.signal);
      ownStartS ??= (performance.now() - start) / 1000;
      const work = join(folder, definition.name);
      const ownSweep = () =>
        Promise.all(Array.from({ length: decks }, () => pool.run(job, options.signal))).then(() => {});
      for (let warm = 1; warm < warmRuns; warm++) await ownSweep();
      const [oneS, twoS] = [
        await timed(() => runNative(options, deck, work, 1)),
        await timed(() => runNative(options, deck, work, 2)),
      ];
      const nativeThreads = twoS < oneS ? 2 : 1;
      const nativeS: number[] = [];
      const ownS: number[] = [];
      const sweepRatios: number[] = [];
      for (let round = 0; round < rounds; round++) {
        nativeS.push(await timed(() => runNative(options, deck, work, nativeThreads)));
        ownS.push(
          await timed(async () => {
            own = await pool.run(job, options.signal);
          }),
        );
        const nativeSweepS = Math.min(
          await timed(() => nativeSideBySide(options, deck, work, threads, decks)),
          await timed(async () => {
            for (let i = 0; i < decks; i++) await runNative(options, deck, work, nativeThreads);
          }),
        );
        sweepRatios.push(nativeSweepS / (await timed(ownSweep)));
        options.onProgress?.({ done: ++done, total: definitions.length * rounds, label: definition.name });
      }
      const theirs = outputs.map(
        ({ file }) => parseRawFile(readFileSync(join(work, file)), `native ${file}`)[0],
      );
      const points = definition.points(own.plots);
      const [nativeMedianS, ownMedianS] = [median(nativeS), median(ownS)];
      cases.push({
        name: definition.name,
        what: definition.what,
        nativeThreads,
        points,
        nativeS,
        ownS,
        nativePointsPerS: points / nativeMedianS,
        ownPointsPerS: points / ownMedianS,
        speedRatio: nativeMedianS / ownMedianS,
        bestSpeedRatio: Math.min(...nativeS) / Math.min(...ownS),
        sweepRatio: median(sweepRatios),
        agreement: measureAgreement(definition, own.plots, theirs),
      });
    }
    return { ...base, skipped: undefined, ownStartS, cases };
  } finally {
    await pool.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function nativeVersion(command: string): string | undefined {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8', timeout: 10_000 });
  if (status !== 0) return undefined;
  return stdout.match(/ngspice-\S+/)?.[0] ?? stdout.split('\n')[0].trim();
}

/** `decks` runs, `threads` processes of one thread each at a time. */
async function nativeSideBySide(
  options: BenchSpiceOptions,
  deck: Deck,
  folder: string,
  threads: number,
  decks: number,
): Promise<void> {
  let next = 0;
  const worker = async (index: number) => {
    while (next++ < decks) await runNative(options, deck, join(folder, String(index)), 1);
  };
  await Promise.all(Array.from({ length: threads }, (_, index) => worker(index)));
}

/** One process from start to exit. */
async function runNative(
  options: BenchSpiceOptions,
  deck: Deck,
  folder: string,
  threads: number,
): Promise<void> {
  makeFolder(folder);
  writeFileSync(join(folder, '.spiceinit'), `set num_threads=${threads}\n`);
  // The same text; only native ngspice has to be told to leave.
  writeFileSync(join(folder, 'deck.cir'), deck.netlist.replace(/^\.endc/m, 'quit 0\n.endc'));
  await new Promise<void>((resolve, reject) => {
    const child = spawn(options.ngspice ?? 'ngspice', ['-b', 'deck.cir'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: NATIVE_TIMEOUT_MS,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (stderr.length < 4000) stderr += chunk.toString('utf8');
    });
    child.on('error', (cause) =>
      reject(
        options.signal?.aborted
          ? interrupted()
          : new OnefetError('simulation', 'BENCH_NATIVE', `native ngspice: ${cause.message}`, { cause }),
      ),
    );
    child.on('exit', (status) => {
      if (status === 0) return resolve();
      const said = stderr.split('\n').find((line) => line.trim() !== '') ?? '';
      reject(
        new OnefetError(
          'simulation',
          'BENCH_NATIVE',
          `native ngspice ended with status ${status}: ${said.slice(0, 200)}`,
        ),
      );
    });
  });
}

async function timed(run: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
}

function readCpu(): string {
  try {
    return (
      readFileSync('/proc/cpuinfo', 'utf8')
        .match(/^model name\s*:\s*(.*)$/m)?.[1]
        .trim() ?? arch
    );
  } catch {
    return arch;
  }
}

function measureAgreement(
  definition: BenchDefinition,
  own: readonly RawPlot[],
  theirs: readonly RawPlot[],
): BenchSpiceCase['agreement'] {
  const pairs = definition.pairs(own, theirs);
  if (pairs.length === 0) {
    throw new OnefetError(
      'simulation',
      'BENCH_NATIVE',
      `${definition.name}: the two results have nothing to compare`,
    );
  }
  const largestRelative = pairs.reduce((worst, [a, b]) => Math.max(worst, Math.abs(a / b - 1)), 0);
  const { of, limit } = definition;
  return { of, compared: pairs.length, largestRelative, limit, within: largestRelative <= limit };
}

/** A table for people. */
export function benchSpiceText(result: BenchSpiceResult): string {
  const head = [
    `own     ${result.own}, node ${result.node}`,
    `native  ${result.native ?? 'none'}`,
    `cpu     ${result.cpu}`,
  ];
  if (result.skipped !== undefined) return [...head, `skipped: ${result.skipped}`].join('\n');
  const rows = result.cases.map((c) =>
    [
      c.name.padEnd(12),
      String(c.points).padStart(7),
      `${(1e3 * median(c.nativeS)).toFixed(1)} ms`.padStart(10),
      `${(1e3 * median(c.ownS)).toFixed(1)} ms`.padStart(10),
      `${c.speedRatio.toFixed(2)} x`.padStart(8),
      `${c.bestSpeedRatio.toFixed(2)} x`.padStart(8),
      `${c.sweepRatio.toFixed(2)} x`.padStart(8),
      `${c.agreement.largestRelative.toExponential(1)} (limit ${c.agreement.limit}, ${c.agreement.compared} values)${c.agreement.within ? '' : ' EXCEEDED'}`,
    ].join('  '),
  );
  return [
    ...head,
    `start   ${result.ownStartS?.toFixed(2)} s for our simulator until its first result, once`,
    `${'case'.padEnd(12)}  ${'points'.padStart(7)}  ${'native'.padStart(10)}  ${'own'.padStart(10)}  ${'speed'.padStart(8)}  ${'best'.padStart(8)}  ${'sweep'.padStart(8)}  largest relative difference`,
    ...rows,
    `native threads: ${result.cases.map((c) => `${c.name} ${c.nativeThreads}`).join(', ')}; speed: one deck; sweep: ${result.sweep.decks} decks on ${result.sweep.threads} cores`,
  ].join('\n');
}
