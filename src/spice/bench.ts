/**
 * The simulator in this package against native `ngspice -b` on the same netlists: points per second, measured in turns
 * in one run so that both see the same machine, and the agreement of what they compute.
 *
 * Native ngspice evaluates models on two OpenMP threads unless told otherwise, which on a busy machine costs more than it
 * gives: each case first tries one and two, and runs with the faster. Native time is one process from start to exit, as a script runs it, without reading its results; ours is one job of a
 * warm pool without a cache, with its results read and checked. The start of the pool stands apart.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { requireDataFile } from '../files.ts';
import { gaussian, streamKey } from '../random.ts';
import { assembleText, type Deck } from './deck.ts';
import { type ExpectedOutput, engineId } from './job.ts';
import { createSpicePool } from './pool.ts';
import { parseRawFile, type RawPlot } from './raw-file.ts';

export interface BenchSpiceOptions {
  /** Native simulator, default `ngspice` on the path. */
  readonly ngspice?: string;
  /** Turns, default 5. */
  readonly rounds?: number;
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
  readonly agreement: {
    readonly of: string;
    readonly compared: number;
    readonly largestRelative: number;
    readonly limit: number;
    readonly within: boolean;
  };
}

export interface BenchSpiceResult {
  readonly schema: 'onefet.bench-spice/1';
  readonly own: string;
  /** First line of `ngspice --version`; undefined when there is none. */
  readonly native: string | undefined;
  /** Why nothing was compared. */
  readonly skipped: string | undefined;
  readonly node: string;
  readonly cpu: string;
  /** Start of a simulator thread until its first result, s. */
  readonly ownStartS: number | undefined;
  readonly cases: readonly BenchSpiceCase[];
}

const WARM_RUNS = 4;
const NATIVE_TIMEOUT_MS = 120_000;
const LEAST_CURRENT_A = 1e-12;

/** Errors: SPICE_* of our own runs, BENCH_NATIVE when the native one fails. A missing native simulator is a reason to skip. */
export async function benchSpice(options: BenchSpiceOptions = {}): Promise<BenchSpiceResult> {
  const native = nativeVersion(options.ngspice ?? 'ngspice');
  const base = {
    schema: 'onefet.bench-spice/1' as const,
    own: engineId(),
    native,
    node: process.version,
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
  const pool = createSpicePool({ threads: 1 });
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
        files: deck.files,
        commands: [],
        outputs,
      };
      // First runs, not counted: the start of our thread, the compiler of the virtual machine, file caches.
      let own = await pool.run(job, options.signal);
      ownStartS ??= (performance.now() - start) / 1000;
      const work = join(folder, definition.name);
      for (let warm = 1; warm < WARM_RUNS; warm++) own = await pool.run(job, options.signal);
      const [oneS, twoS] = [
        await timed(() => runNative(options, deck, work, 1)),
        await timed(() => runNative(options, deck, work, 2)),
      ];
      const nativeThreads = twoS < oneS ? 2 : 1;
      const nativeS: number[] = [];
      const ownS: number[] = [];
      for (let round = 0; round < rounds; round++) {
        nativeS.push(await timed(() => runNative(options, deck, work, nativeThreads)));
        ownS.push(
          await timed(async () => {
            own = await pool.run(job, options.signal);
          }),
        );
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
        agreement: agreementOf(definition, own.plots, theirs),
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

/** One process from start to exit. */
async function runNative(
  options: BenchSpiceOptions,
  deck: Deck,
  folder: string,
  threads: number,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, '.spiceinit'), `set num_threads=${threads}\n`);
  // The same text; only native ngspice has to be told to leave.
  writeFileSync(join(folder, 'deck.cir'), deck.netlist.replace(/^\.endc/m, 'quit 0\n.endc'));
  for (const [name, text] of Object.entries(deck.files)) writeFileSync(join(folder, name), text);
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
          ? new OnefetError('interrupted', 'INTERRUPTED', 'interrupted')
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function readCpu(): string {
  try {
    return (
      readFileSync('/proc/cpuinfo', 'utf8')
        .match(/^model name\s*:\s*(.*)$/m)?.[1]
        .trim() ?? process.arch
    );
  } catch {
    return process.arch;
  }
}

interface Definition {
  readonly name: BenchSpiceCase['name'];
  readonly what: string;
  readonly deck: Deck;
  readonly outputs: readonly ExpectedOutput[];
  readonly points: (own: readonly RawPlot[]) => number;
  readonly of: string;
  readonly limit: number;
  /** Pairs of numbers to compare. */
  readonly pairs: (own: readonly RawPlot[], theirs: readonly RawPlot[]) => [number, number][];
}

function agreementOf(
  definition: Definition,
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

/** Currents above 1 pA, point by point. */
function currentPairs(names: readonly string[]) {
  return ([a]: readonly RawPlot[], [b]: readonly RawPlot[]): [number, number][] => {
    const pairs: [number, number][] = [];
    for (const name of names) {
      const [mine, other] = [a.real.get(name)!, b.real.get(name)];
      if (other === undefined || other.length !== mine.length) {
        throw new OnefetError(
          'simulation',
          'BENCH_NATIVE',
          `native result has ${other?.length ?? 0} points of ${name} instead of ${mine.length}`,
        );
      }
      mine.forEach((value, i) => {
        if (Math.abs(value) > LEAST_CURRENT_A) pairs.push([value, other[i]]);
      });
    }
    return pairs;
  };
}

const DEVICE = 'nch w=0.2u l=0.1u ad=16f as=16f pd=0.36u ps=0.36u';
const OPTIONS = '.options gmin=1e-18 abstol=1e-18 reltol=1e-5';

function benchCases(): Definition[] {
  const library = requireDataFile(join('spice', 'planar32lp', 'models.lib'), 'model library of planar32lp');
  const deckOf = (title: string, body: string, control: string): Deck =>
    assembleText(`${title}\n.lib models.lib TT\n${body}\n.control\n${control}\n.endc\n.end\n`, library);
  const dc: Definition = {
    name: 'dc',
    what: '241 gate x 100 drain voltages of one cell',
    deck: deckOf(
      'transfer plane',
      `${OPTIONS} vntol=1e-9\nvg g 0 0\nvd d 0 0\nm1 d g 0 0 ${DEVICE}`,
      'save i(vd)\ndc vg -0.4 0.8025 0.005 vd 0.006 0.603 0.006\nwrite dc.raw',
    ),
    outputs: [{ file: 'dc.raw', plot: 'DC transfer characteristic', variables: ['i(vd)'], points: 24_100 }],
    points: ([plot]) => plot.points,
    of: 'drain currents above 1 pA',
    limit: 1e-6,
    pairs: currentPairs(['i(vd)']),
  };
  const devices = 500;
  const gates = 120;
  const key = streamKey(1);
  const names = Array.from({ length: devices }, (_, i) => `i(vd${i})`);
  const monteCarlo: Definition = {
    name: 'monte-carlo',
    what: `${devices} devices with drawn thresholds in one netlist x ${gates} gate voltages`,
    deck: deckOf(
      'flattened Monte Carlo',
      `${OPTIONS}\nvg g 0 0\n${names
        .map(
          (_, i) =>
            `vd${i} d${i} 0 0.4\nm${i} d${i} g 0 0 ${DEVICE} delvto=${(0.0177 * gaussian(key, i)).toPrecision(9)}`,
        )
        .join('\n')}`,
      `save ${names.join(' ')}\ndc vg 0.1 0.2195 0.001\nwrite mc.raw`,
    ),
    outputs: [{ file: 'mc.raw', plot: 'DC transfer characteristic', variables: names, points: gates }],
    points: ([plot]) => plot.points * devices,
    of: 'drain currents above 1 pA',
    limit: 1e-6,
    pairs: currentPairs(names),
  };
  const biases = Array.from({ length: 40 }, (_, i) => (0.1 + 0.006 * i).toFixed(3));
  const noise: Definition = {
    name: 'noise',
    what: `${biases.length} bias points x 81 frequencies`,
    deck: deckOf(
      'noise of the drain current',
      `${OPTIONS}\nvg g 0 0 ac 1\nvd supply 0 0.4\nvsense supply d 0\nm1 d g 0 0 ${DEVICE}\nh1 out 0 vsense 1\nrout out 0 1g`,
      `foreach vgs ${biases.join(' ')}\n  alter vg = $vgs\n  noise v(out) vg dec 10 1 100meg\n  setplot noise1\n  write noise_{$vgs}.raw onoise_spectrum\n  destroy all\nend`,
    ),
    outputs: biases.map((v) => ({
      file: `noise_${v}.raw`,
      plot: 'Noise Spectral Density',
      variables: ['onoise_spectrum'],
      points: 81,
    })),
    points: (plots) => plots.reduce((sum, { points }) => sum + points, 0),
    of: 'spectral density at every frequency and bias',
    limit: 0.01,
    // The density is in V/sqrt(Hz) through 1 ohm: its square is S_I.
    pairs: (own, theirs) =>
      own.flatMap((plot, k) => {
        const [a, b] = [plot.real.get('onoise_spectrum')!, theirs[k].real.get('onoise_spectrum')!];
        return Array.from(a, (value, i): [number, number] => [value ** 2, b[i] ** 2]);
      }),
  };
  const cells = 64;
  const transient: Definition = {
    name: 'transient',
    what: `step of a 36 kohm tap with ${cells} gates, drains on one clamp of 1 kohm`,
    deck: deckOf(
      'settling of a row and a column',
      `${OPTIONS.replace('1e-18 reltol', '1e-15 reltol')}\nvin in 0 pulse(0.1 0.27 1n 0.1n 0.1n 1 2)\nrtap in g 36k\nvclamp supply 0 0.4\nrclamp supply d 1k\n${Array.from({ length: cells }, (_, i) => `m${i} d g 0 0 ${DEVICE}`).join('\n')}`,
      'save v(g) i(vclamp)\ntran 0.05n 60n\nwrite tran.raw',
    ),
    outputs: [
      {
        file: 'tran.raw',
        plot: 'Transient Analysis',
        variables: ['time', 'v(g)', 'i(vclamp)'],
        points: { min: 200, max: 1e6 },
      },
    ],
    points: ([plot]) => plot.points,
    of: 'times at which gate and current cross 50, 90 and 99 %',
    limit: 0.01,
    pairs: ([a], [b]) =>
      ['v(g)', 'i(vclamp)'].flatMap((name) =>
        [0.5, 0.9, 0.99].map((share): [number, number] => [
          crossing(a, name, share),
          crossing(b, name, share),
        ]),
      ),
  };
  return [dc, monteCarlo, noise, transient];
}

/** Time from the input step at 1 ns to a share of the swing of a signal, linear between time points. */
function crossing(plot: RawPlot, name: string, share: number): number {
  const time = plot.real.get('time')!;
  const y = plot.real.get(name)!;
  const target = y[0] + share * (y[y.length - 1] - y[0]);
  const rising = y[y.length - 1] > y[0];
  for (let i = 1; i < y.length; i++) {
    if (rising ? y[i] >= target : y[i] <= target) {
      const fraction = (target - y[i - 1]) / (y[i] - y[i - 1]);
      const at = time[i - 1] + fraction * (time[i] - time[i - 1]) - 1e-9;
      if (at > 0) return at;
    }
  }
  throw new OnefetError('simulation', 'BENCH_NATIVE', `${name} never crosses ${share} of its swing`);
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
      `${c.agreement.largestRelative.toExponential(1)} (limit ${c.agreement.limit}, ${c.agreement.compared} values)${c.agreement.within ? '' : ' EXCEEDED'}`,
    ].join('  '),
  );
  return [
    ...head,
    `start   ${result.ownStartS?.toFixed(2)} s for our simulator until its first result, once`,
    `${'case'.padEnd(12)}  ${'points'.padStart(7)}  ${'native'.padStart(10)}  ${'own'.padStart(10)}  ${'speed'.padStart(8)}  ${'best'.padStart(8)}  largest relative difference`,
    ...rows,
  ].join('\n');
}
