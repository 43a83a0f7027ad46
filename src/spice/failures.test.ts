/**
 * Every failure mode that was measured on the plain simulator API, as a table: what it does when left alone, and the
 * typed error that has to come out here. Each bad job runs after a good one whose numbers it must not return.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { assembleText } from './deck.ts';
import type { SpiceJob } from './job.ts';
import { createSpicePool, type SpicePool } from './pool.ts';
import { SpiceError } from './spice-error.ts';

let pool: SpicePool;
beforeAll(() => {
  pool = createSpicePool({ threads: 1 });
});
afterAll(() => pool.close());

/** A divider with an operating point: v(out) of the given resistors at 2 V. */
const divider = (top: string, bottom: string) =>
  `divider\nv1 in 0 2\nr1 in out ${top}\nr2 out 0 ${bottom}\n.op\n.end\n`;

function operatingPoint(netlist: string, more: Partial<SpiceJob> = {}): SpiceJob {
  return {
    label: 'test',
    netlist,
    commands: ['run', 'write result.raw'],
    outputs: [{ file: 'result.raw', plot: 'Operating Point', variables: ['v(out)'], points: 1 }],
    ...more,
  };
}

async function volts(job: SpiceJob): Promise<number> {
  const { plots } = await pool.run(job);
  return plots[0].real.get('v(out)')![0];
}

async function failure(job: SpiceJob): Promise<SpiceError> {
  // A good run first: its 0.5 V is what a silent failure would hand out again.
  expect(await volts(operatingPoint(divider('3k', '1k')))).toBeCloseTo(0.5, 6);
  const error = await pool.run(job).then(
    (result) => {
      throw new Error(`no error, but ${[...result.plots[0].real.entries()].join()}`);
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SpiceError);
  const spice = error as SpiceError;
  expect(spice).toBeInstanceOf(OnefetError);
  expect(spice.kind).toBe('simulation');
  expect(spice.message).not.toContain('\n');
  expect(spice.netlistHash).toMatch(/^[0-9a-f]{64}$/);
  expect(spice.message).toContain(spice.netlistHash.slice(0, 12));
  return spice;
}

describe('a failed run never returns numbers', () => {
  const cases: readonly { name: string; netlist: string; code: string; stderr: RegExp }[] = [
    {
      name: 'two voltage sources in parallel',
      netlist: 't\nv1 out 0 1\nv2 out 0 2\nr1 out 0 1k\n.op\n.end\n',
      code: 'SPICE_SINGULAR_MATRIX',
      stderr: /singular matrix/,
    },
    {
      name: 'a node without a dc path (ngspice invents a value)',
      netlist: 't\ni1 0 out 1\nc1 out 0 1\n.op\n.end\n',
      code: 'SPICE_SINGULAR_MATRIX',
      stderr: /singular matrix/,
    },
    { name: 'an empty deck', netlist: 't\n.end\n', code: 'SPICE_NO_CIRCUIT', stderr: /not started/ },
    { name: 'no deck at all', netlist: '', code: 'SPICE_NO_CIRCUIT', stderr: /circuit/ },
    {
      name: 'a device without a model',
      netlist: 't\nv1 out 0 1\nm1 out out 0 0 nosuch w=1u l=1u\n.op\n.end\n',
      code: 'SPICE_MODEL',
      stderr: /nosuch/,
    },
    {
      name: 'a dot-command that does not exist',
      netlist: 't\nv1 out 0 1\nr1 out 0 1k\n.wibble 3\n.end\n',
      code: 'SPICE_DOT_COMMAND',
      stderr: /wibble/,
    },
    {
      name: '.tran with a step of zero',
      netlist: 't\nv1 out 0 1\nr1 out 0 1k\n.tran 0 0\n.end\n',
      code: 'SPICE_DOT_COMMAND',
      stderr: /TSTEP/,
    },
    {
      name: 'a resistor line without a value (ignored with a warning)',
      netlist: 't\nv1 out 0 1\nr1 out 0 1k\nr2 out 0\n.op\n.end\n',
      code: 'SPICE_LINE_IGNORED',
      stderr: /ignored/,
    },
    {
      name: 'a command in .control that does not exist',
      netlist: 't\nv1 out 0 1\nr1 out 0 1k\n.control\nwobble\n.endc\n.op\n.end\n',
      code: 'SPICE_DOT_COMMAND',
      stderr: /wobble/,
    },
  ];
  test.each(cases)('$name -> $code', async ({ netlist, code, stderr }) => {
    const error = await failure(operatingPoint(netlist));
    expect(error.code).toBe(code);
    expect(error.stderr).toMatch(stderr);
    // The same simulator goes on with the next job.
    expect(await volts(operatingPoint(divider('1k', '1k')))).toBeCloseTo(1, 6);
  });

  test('an overflowed expression is refused by its value: v(out) = 1e99', async () => {
    const error = await failure(
      operatingPoint('t\nv1 in 0 1\nb1 out 0 v=exp(1000*v(in))+5\nr1 out 0 1k\n.op\n.end\n'),
    );
    expect(error.code).toBe('SPICE_OVERFLOW');
  });
});

describe('the result must be what the job expects', () => {
  const netlist = divider('3k', '1k');
  const output = { file: 'result.raw', plot: 'Operating Point', variables: ['v(out)'], points: 1 };
  test.each([
    ['another plot', { ...output, plot: 'DC transfer' }, 'SPICE_PLOT'],
    ['a variable that is not there', { ...output, variables: ['v(nowhere)'] }, 'SPICE_VARIABLE'],
    ['another number of points', { ...output, points: 2 }, 'SPICE_POINTS'],
    ['a file that was not written', { ...output, file: 'other.raw' }, 'SPICE_NO_RESULT'],
  ])('%s', async (_, expected, code) => {
    expect((await failure(operatingPoint(netlist, { outputs: [expected] }))).code).toBe(code);
  });

  test('a job without expectations is refused', async () => {
    expect((await failure(operatingPoint(netlist, { outputs: [] }))).code).toBe('SPICE_NO_OUTPUT');
  });
});

describe('a simulator that cannot go on is ended at once, with what it said', () => {
  const cases: readonly { name: string; netlist: string; code: string; says: RegExp }[] = [
    {
      name: 'an undefined .param (it asks for ever)',
      netlist: 't\nv1 out 0 1\n.param a={nothing+1}\nr1 out 0 {a}\n.op\n.end\n',
      code: 'SPICE_PARAMETER',
      says: /line no\. 3 \(deck:3 "\.param a=\{nothing\+1\}"\); Undefined parameter \[nothing\].*line no\. 4/,
    },
    {
      name: 'an expression that is none',
      netlist: 't\nv1 out 0 1\n.param a = {1.0} + 2*(3)\nr1 out 0 {a}\n.op\n.end\n',
      code: 'SPICE_PARAMETER',
      says: /line no\. 3 \(deck:3 "\.param a = \{1\.0\} \+ 2\*\(3\)"\)/,
    },
    {
      name: 'a brace that does not close',
      netlist: 't\nv1 out 0 1\nr1 out 0 {{a}\n.op\n.end\n',
      code: 'SPICE_PARAMETER',
      says: /Closing "\}" not found in line fragment/,
    },
    {
      name: 'a missing include',
      netlist: 't\nv1 out 0 1\nr1 out 0 1k\n.include nowhere.inc\n.op\n.end\n',
      code: 'SPICE_INCLUDE_MISSING',
      says: /Could not find include file nowhere\.inc/,
    },
    {
      name: 'quit (it ends without a word)',
      netlist: 't\nv1 out 0 1\nr1 out 0 1k\n.control\nquit\n.endc\n.op\n.end\n',
      code: 'SPICE_ENGINE_DIED',
      says: /ended in the middle of the job/,
    },
  ];
  test.each(cases)('$name -> $code', async ({ netlist, code, says }) => {
    const before = pool.threadsStarted;
    const started = performance.now();
    const error = await failure(operatingPoint(netlist, { locate: (line) => `deck:${line}` }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(says);
    expect(performance.now() - started).toBeLessThan(15_000);
    // The next job gets a fresh simulator and its own numbers.
    expect(await volts(operatingPoint(divider('1k', '1k')))).toBeCloseTo(1, 6);
    expect(pool.threadsStarted).toBe(before + 1);
  });

  const endless = 't\nv1 out 0 1\nr1 out 0 1k\n.control\ndowhile 1\nend\n.endc\n.op\n.end\n';
  test('a loop without end is killed after the time of the job', async () => {
    const error = await failure(operatingPoint(endless, { timeoutS: 1 }));
    expect(error).toMatchObject({ code: 'SPICE_TIMEOUT', hint: expect.stringContaining('--timeout') });
    expect(await volts(operatingPoint(divider('1k', '1k')))).toBeCloseTo(1, 6);
  });

  test('the time limit of the pool stands in place of that of the job', async () => {
    const short = createSpicePool({ threads: 1, timeoutS: 0.5 });
    await expect(short.run(operatingPoint(endless, { timeoutS: 60 }))).rejects.toMatchObject({
      code: 'SPICE_TIMEOUT',
      message: expect.stringContaining('within 0.5 s'),
    });
    await short.close();
    expect(() => createSpicePool({ timeoutS: 0 })).toThrow(
      expect.objectContaining({ code: 'SPICE_TIMEOUT' }),
    );
  });
});

test('concurrent runs are queued: each gets its own numbers', async () => {
  const results = await Promise.all(
    Array.from({ length: 12 }, (_, i) => volts(operatingPoint(divider(`${i + 1}k`, '1k')))),
  );
  results.forEach((value, i) => {
    expect(value).toBeCloseTo(2 / (i + 2), 6);
  });
});

test('an abort signal ends a running job and the pool recovers', async () => {
  const controller = new AbortController();
  const endless = operatingPoint('t\nv1 out 0 1\nr1 out 0 1\n.control\ndowhile 1\nend\n.endc\n.op\n.end\n');
  const run = pool.run(endless, controller.signal);
  setTimeout(() => controller.abort(), 300);
  await expect(run).rejects.toMatchObject({ kind: 'interrupted', code: 'INTERRUPTED' });
  await expect(pool.run(endless, controller.signal)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(await volts(operatingPoint(divider('1k', '1k')))).toBeCloseTo(1, 6);
});

test('many lines of output do not slow the run down (the log is bounded)', async () => {
  // 20,000 iterations took 121 s with the engine's own log and 3.3 s with a bounded one.
  const netlist = `t\nv1 out 0 1\nr1 out 0 1k\n.control\nlet k=0\ndowhile k<5000\n  echo line $&k\n  let k=k+1\nend\n.endc\n.op\n.end\n`;
  const started = performance.now();
  expect(await volts(operatingPoint(netlist))).toBeCloseTo(1, 6);
  expect(performance.now() - started).toBeLessThan(10_000);
});

describe('what can be seen in the text is refused before it runs', () => {
  const refused = (netlist: string) => {
    try {
      assembleText(netlist, 'deck');
    } catch (error) {
      return (error as OnefetError).code;
    }
    return 'accepted';
  };
  test.each([
    ['no elements', 'title\n.op\n.end', 'SPICE_DECK_EMPTY'],
    ['an element only in the title line', 'r1 a 0 1k\n.op\n.end', 'SPICE_DECK_EMPTY'],
    ['quit', 't\nr1 a 0 1\n.control\nop\nquit\n.endc', 'SPICE_QUIT'],
    ['exit', 't\nr1 a 0 1\n.control\n  exit 0\n.endc', 'SPICE_QUIT'],
    ['exp of a voltage', 't\nb1 a 0 v=exp(1000*v(x))+5', 'SPICE_EXP_UNBOUNDED'],
    ['exp of a current, continued', 't\nb1 a 0\n+ i=2*(1+exp(i(vs)/3))', 'SPICE_EXP_UNBOUNDED'],
    ['bounded exp', 't\nb1 a 0 v=exp(min(v(x)/0.04, 100))', 'accepted'],
    ['exp of a constant', 't\nb1 a 0 v=exp(2)*v(x)', 'accepted'],
    ['a node called quit', 't\nr1 quit 0 1\n.op', 'accepted'],
  ])('%s', (_, netlist, code) => {
    expect(refused(netlist)).toBe(code);
  });

  test('a missing include names the file and where it was looked for', () => {
    expect(() => assembleText('t\n.include nowhere.inc\n', '/somewhere/deck.cir')).toThrow(
      expect.objectContaining({
        code: 'SPICE_INCLUDE_MISSING',
        message: expect.stringContaining('nowhere.inc'),
      }),
    );
  });
});
