import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { engineId, jobHash, type SpiceJob } from './job.ts';
import { createSpicePool } from './pool.ts';

const cacheFolder = mkdtempSync(join(tmpdir(), 'onefet-cache-'));
const pool = createSpicePool({ threads: 1, cacheFolder });
afterAll(() => pool.close());

const job: SpiceJob = {
  label: 'divider',
  netlist: 'divider\nv1 in 0 2\nr1 in out 3k\nr2 out 0 1k\n.op\n.end\n',
  commands: ['run', 'write result.raw'],
  outputs: [{ file: 'result.raw', plot: 'Operating Point', variables: ['v(out)'], points: 1 }],
};

describe('result cache', () => {
  const entry = () => {
    const [folder] = readdirSync(cacheFolder);
    return join(cacheFolder, folder, readdirSync(join(cacheFolder, folder))[0]);
  };

  test('the second run comes from the cache, without the simulator', async () => {
    const first = await pool.run(job);
    const second = await pool.run(job);
    expect([first.fromCache, second.fromCache]).toEqual([false, true]);
    expect(second.plots[0].real.get('v(out)')![0]).toBeCloseTo(0.5, 6);
  });

  test.each([
    [
      'a flipped bit in the numbers',
      (bytes: Buffer) => bytes.fill(bytes[bytes.length - 1] ^ 1, bytes.length - 1),
    ],
    ['a truncated file', (bytes: Buffer) => bytes.subarray(0, bytes.length - 8)],
    ['another format', () => Buffer.from('{"schema":"else"}\n')],
    ['an empty file', () => Buffer.alloc(0)],
  ])('%s is noticed and simulated again', async (_, damage) => {
    await pool.run(job);
    writeFileSync(entry(), damage(readFileSync(entry())));
    const result = await pool.run(job);
    expect(result.fromCache).toBe(false);
    expect(result.plots[0].real.get('v(out)')![0]).toBeCloseTo(0.5, 6);
    expect((await pool.run(job)).fromCache).toBe(true);
  });

  test('anything that decides the result changes the key; the label does not', () => {
    const engine = engineId();
    const base = jobHash(job, engine);
    expect(jobHash({ ...job, label: 'else', timeoutS: 3 }, engine)).toBe(base);
    for (const other of [
      { ...job, netlist: `${job.netlist} ` },
      { ...job, commands: ['run'] },
      { ...job, outputs: [{ ...job.outputs[0], points: 2 }] },
    ]) {
      expect(jobHash(other, engine)).not.toBe(base);
    }
    expect(jobHash(job, 'another engine')).not.toBe(base);
  });
});

test('a complex AC result: the corner of an RC low-pass', async () => {
  const { plots } = await pool.run({
    label: 'rc',
    netlist: 'rc\nv1 in 0 ac 1\nr1 in out 1k\nc1 out 0 1n\n.ac lin 1 159154.943 159154.943\n.end\n',
    commands: ['run', 'write result.raw'],
    outputs: [{ file: 'result.raw', plot: 'AC Analysis', variables: ['v(out)'], points: 1 }],
  });
  // 1 / (1 + j) at f = 1 / (2 pi R C).
  expect(plots[0].real.get('v(out)')![0]).toBeCloseTo(0.5, 6);
  expect(plots[0].imaginary.get('v(out)')![0]).toBeCloseTo(-0.5, 6);
});

test('threads must be a sensible number', () => {
  expect(() => createSpicePool({ threads: 0 })).toThrow(expect.objectContaining({ code: 'SPICE_THREADS' }));
});

test('a simulator is replaced after its share of runs, and jobs that wait for it go on', async () => {
  const short = createSpicePool({ threads: 1, runsPerThread: 3 });
  const values = await Promise.all(
    Array.from({ length: 7 }, (_, i) =>
      short
        .run({ ...job, netlist: job.netlist.replace('3k', `${i + 1}k`) })
        .then(({ plots }) => plots[0].real.get('v(out)')![0]),
    ),
  );
  values.forEach((value, i) => {
    expect(value).toBeCloseTo(2 / (i + 2), 6);
  });
  expect(short.threadsStarted).toBe(3);
  await short.close();
});

describe('what one job leaves does not reach the next', () => {
  const own = createSpicePool({ threads: 1 });
  afterAll(() => own.close());
  const deck = (control: string) =>
    `t\nv1 out 0 1\nr1 out 0 1k tc1=0.01\n.control\n${control}\n.endc\n.end\n`;
  const measured = (control: string): SpiceJob => ({
    label: 'state',
    netlist: deck(`${control}\nwrite x.raw i(v1)`),
    commands: [],
    outputs: [{ file: 'x.raw', plot: 'Operating Point', variables: ['i(v1)'], points: 1 }],
  });

  test.each([
    ['an alias', 'alias op tran 1m 1m\necho', 'op'],
    ['a function', 'define twice(x) 2*x', 'op\nlet y = twice(1)'],
    ['a vector', 'let k = 1', 'op\nlet k = k + 1'],
    ['a variable', 'set filetype=ascii', 'op'],
    ['a temperature', 'set temp = 127', 'op'],
    ['the variable of a loop', 'foreach t 127\nset temp = $t\nend', 'op'],
  ])('%s', async (_, before, after) => {
    const outcome = (control: string) =>
      own.run(measured(control)).then(
        ({ plots }) => plots[0].real.get('i(v1)')![0],
        (error: unknown) => (error as { code: string }).code,
      );
    const fresh = await outcome(after);
    const spoiled = await outcome(`${before}\nop`);
    expect(typeof spoiled).toBe(/^alias|ascii/.test(before) ? 'string' : 'number');
    expect(await outcome(after)).toBe(fresh);
  });

  test('decks that leave nothing keep their simulator', async () => {
    await own.run(measured('op'));
    const before = own.threadsStarted;
    for (const control of ['op', 'foreach t 27 85\nset temp = $t\nend\nop', 'alter r1 = 2k\nop']) {
      await own.run(measured(control));
    }
    expect(own.threadsStarted).toBe(before);
    await own.run(measured('alias x op\nop'));
    await own.run(measured('op'));
    expect(own.threadsStarted).toBe(before + 1);
  });

  test('files of a job go with it', async () => {
    await own.run({ ...job, commands: [...job.commands, 'write leftover.raw'] });
    const next = { ...job, outputs: [...job.outputs, { ...job.outputs[0], file: 'leftover.raw' }] };
    await expect(own.run(next)).rejects.toMatchObject({
      code: 'SPICE_NO_RESULT',
      message: expect.stringContaining('1 of 2 results: leftover.raw: the simulation wrote no result'),
    });
  });
});

test('each result that fails is named, and each point', async () => {
  const output = { file: 'a.raw', plot: 'DC transfer', variables: ['v(b)'], points: 5 };
  const netlist = (law: string) =>
    `t\nv1 a 0 1\nr1 a 0 1\nb1 b 0 v=${law}\n.control\ndc v1 0 2 0.5\nwrite a.raw v(b)\nop\nwrite b.raw v(b)\n.endc\n.end\n`;
  const run = (law: string, outputs: SpiceJob['outputs']) =>
    pool.run({ label: 'sweep', netlist: netlist(law), commands: [], outputs });
  await expect(
    run('v(a)', [
      { ...output, points: 6 },
      { ...output, file: 'b.raw' },
      { ...output, file: 'c.raw' },
      output,
    ]),
  ).rejects.toMatchObject({
    code: 'SPICE_POINTS',
    message: expect.stringMatching(
      /sweep: 3 of 4 results: a\.raw: 5 points instead of 6; b\.raw: plot "Operating Point" instead of "DC transfer"; c\.raw: the simulation wrote no result/,
    ),
  });
  // One point of five is beyond what any circuit does: it is named, nothing is put in its place.
  await expect(run('v(a) > 1.9 ? 1e40 : v(a)', [output])).rejects.toMatchObject({
    code: 'SPICE_OVERFLOW',
    message: expect.stringMatching(/v\(b\) is 1e\+40 at point 5, v\(v-sweep\) 2/),
  });
});

test('a simulator that dies in the middle of a job is an error of that job', async () => {
  const own = createSpicePool({ threads: 1 });
  const endless = 't\nv1 out 0 1\nr1 out 0 1\n.control\ndowhile 1\nend\n.endc\n.op\n.end\n';
  await own.run(job);
  const running = own.run({ ...job, netlist: endless });
  setTimeout(() => void own.close(), 300);
  await expect(running).rejects.toMatchObject({
    code: 'SPICE_ENGINE_DIED',
    message: expect.stringContaining('the simulator died: thread ended with status 1'),
  });
  await expect(own.run(job)).rejects.toMatchObject({ code: 'SPICE_POOL_CLOSED' });
});
