/**
 * Campaign of SPICE faults: good jobs among jobs that fail in every way that the failure table knows, in random order. A good
 * job must always return its own numbers, a bad one always its own error; and memory must not grow with the number of jobs.
 */
import { memoryUsage } from 'node:process';
import { OnefetError } from '../error.ts';
import { streamKey, uniform } from '../random.ts';
import type { SpiceJob } from '../spice/job.ts';
import { createSpicePool } from '../spice/pool.ts';

export interface SpiceCampaign {
  /** Kind of job -> outcome (`ok` or the code of the error) -> count. */
  readonly outcomes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Jobs whose outcome was not the one of their kind, with what came instead. */
  readonly wrong: readonly string[];
  readonly threadsStarted: number;
}

interface Kind {
  readonly name: string;
  readonly outcome: string;
  readonly job: (ohm: number) => Partial<SpiceJob>;
  /** Ends the job from outside after so many seconds. */
  readonly abortS?: number;
}

const deck = (body: string) => `t\nv1 in 0 2\nr1 in out 1k\n${body}\n.end\n`;
const good = (ohm: number) => deck(`r2 out 0 ${ohm}\n.op`);
const endless = deck('r2 out 0 1\n.control\ndowhile 1\nend\n.endc\n.op');

/** Every row of the failure table: what must come out. */
const FAULTS: readonly Kind[] = [
  {
    name: 'singular matrix',
    outcome: 'SPICE_SINGULAR_MATRIX',
    job: () => ({ netlist: deck('v2 in 0 3\n.op') }),
  },
  { name: 'no circuit', outcome: 'SPICE_NO_CIRCUIT', job: () => ({ netlist: 't\n.end\n' }) },
  {
    name: 'missing model',
    outcome: 'SPICE_MODEL',
    job: (r) => ({ netlist: deck(`r2 out 0 ${r}\nm1 out out 0 0 none\n.op`) }),
  },
  {
    name: 'unknown command',
    outcome: 'SPICE_DOT_COMMAND',
    job: (r) => ({ netlist: deck(`r2 out 0 ${r}\n.wibble\n.op`) }),
  },
  {
    name: 'ignored line',
    outcome: 'SPICE_LINE_IGNORED',
    job: (r) => ({ netlist: deck(`r2 out 0 ${r}\nr3 out 0\n.op`) }),
  },
  {
    name: 'overflow',
    outcome: 'SPICE_OVERFLOW',
    job: () => ({ netlist: deck('b1 out 0 v=exp(1000*v(in))\n.op') }),
  },
  {
    name: 'undefined parameter',
    outcome: 'SPICE_PARAMETER',
    job: () => ({ netlist: deck('r2 out 0 {nothing}\n.op') }),
  },
  {
    name: 'missing include',
    outcome: 'SPICE_INCLUDE_MISSING',
    job: (r) => ({ netlist: deck(`r2 out 0 ${r}\n.include gone.inc\n.op`) }),
  },
  {
    name: 'quit',
    outcome: 'SPICE_ENGINE_DIED',
    job: (r) => ({ netlist: deck(`r2 out 0 ${r}\n.control\nquit\n.endc\n.op`) }),
  },
  { name: 'time limit', outcome: 'SPICE_TIMEOUT', job: () => ({ netlist: endless, timeoutS: 0.3 }) },
  { name: 'abort', outcome: 'INTERRUPTED', job: () => ({ netlist: endless }), abortS: 0.2 },
  { name: 'no result', outcome: 'SPICE_NO_RESULT', job: (r) => ({ netlist: good(r), commands: ['run'] }) },
  {
    name: 'another plot',
    outcome: 'SPICE_PLOT',
    job: (r) => ({ netlist: deck(`r2 out 0 ${r}\n.tran 1m 2m`) }),
  },
  {
    name: 'truncated result',
    outcome: 'RAW_FILE_DAMAGED',
    job: (r) => ({ netlist: good(r), commands: ['run', 'set filetype=ascii', 'write result.raw'] }),
  },
  {
    name: 'state left behind',
    outcome: 'ok',
    job: (r) => ({
      netlist: deck(`r2 out 0 ${r}\n.control\nalias run quit\n.endc\n.op`),
      commands: ['op', 'write result.raw'],
    }),
  },
];

/** Runs `jobs` jobs on `threads` simulators; about one in `faultEvery` is a fault, each kind in turn first. */
export async function spiceCampaign(options: {
  jobs: number;
  threads: number;
  seed: number;
  faultEvery: number;
}): Promise<SpiceCampaign> {
  const key = streamKey(options.seed);
  const pool = createSpicePool({ threads: options.threads });
  const outcomes: Record<string, Record<string, number>> = {};
  const wrong: string[] = [];
  const one = async (i: number) => {
    const faulty = i % options.faultEvery === options.faultEvery - 1;
    const turn = Math.floor(i / options.faultEvery);
    const kind: Kind = faulty
      ? FAULTS[turn < FAULTS.length ? turn : Math.floor(uniform(key, 2 * i) * FAULTS.length)]
      : { name: 'good', outcome: 'ok', job: (r) => ({ netlist: good(r) }) };
    const ohm = Math.ceil(uniform(key, 2 * i + 1) * 1e5);
    const { outcome, value } = await outcomeOf(pool, kind, ohm);
    outcomes[kind.name] ??= {};
    outcomes[kind.name][outcome] = (outcomes[kind.name][outcome] ?? 0) + 1;
    const expected = (2 * ohm) / (1000 + ohm);
    if (outcome !== kind.outcome) wrong.push(`job ${i}, ${kind.name}: ${outcome}`);
    else if (value !== undefined && !(Math.abs(value / expected - 1) < 1e-6)) {
      wrong.push(`job ${i}, ${kind.name}: ${value} V instead of ${expected}`);
    }
  };
  let next = 0;
  const lane = async () => {
    while (next < options.jobs) await one(next++);
  };
  await Promise.all(Array.from({ length: 2 * options.threads }, lane));
  const { threadsStarted } = pool;
  await pool.close();
  return { outcomes, wrong, threadsStarted };
}

async function outcomeOf(
  pool: ReturnType<typeof createSpicePool>,
  kind: Kind,
  ohm: number,
): Promise<{ outcome: string; value?: number }> {
  const job: SpiceJob = {
    label: kind.name,
    netlist: '',
    commands: ['run', 'write result.raw'],
    outputs: [{ file: 'result.raw', plot: 'Operating Point', variables: ['v(out)'], points: 1 }],
    ...kind.job(ohm),
  };
  const signal = kind.abortS === undefined ? undefined : AbortSignal.timeout(1000 * kind.abortS);
  try {
    const { plots } = await pool.run(job, signal);
    return { outcome: 'ok', value: plots[0].real.get('v(out)')![0] };
  } catch (error) {
    if (error instanceof OnefetError) return { outcome: error.code };
    throw error;
  }
}

/** Runs good jobs one after the other; returns the resident memory, MiB, after each tenth of them. */
export async function memoryOfJobs(jobs: number): Promise<number[]> {
  const pool = createSpicePool({ threads: 1 });
  const mib: number[] = [];
  for (let i = 0; i < jobs; i++) {
    await outcomeOf(pool, { name: 'good', outcome: 'ok', job: (r) => ({ netlist: good(r) }) }, 1000 + i);
    if (Math.floor((10 * (i + 1)) / jobs) > mib.length) mib.push(memoryUsage.rss() / 2 ** 20);
  }
  await pool.close();
  return mib;
}
