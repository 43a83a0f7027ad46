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
  files: {},
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
      { ...job, files: { 'a.inc': '' } },
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
    files: {},
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
