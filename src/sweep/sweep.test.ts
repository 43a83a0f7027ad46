/** Sweeps on a small model: shards, interruptions, what is shared, and points that cannot be. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetReadObjects } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromCsv } from '../csv.ts';
import { onefet as commandLine } from '../testing/cli.ts';
import { writeFixture } from '../testing/models.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-sweep-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** One thread: it runs the jobs itself, where others would load everything again for each point. */
const onefet = (command: string, ...args: string[]) =>
  commandLine(folder, command, ...args, ...(command === 'merge' ? [] : ['--threads', '1']));

const EXPERIMENT = `schema: onefet.experiment/1
kind: accuracy
name: small
base: { model: model.gguf, contextTokens: 16, maxWindows: 2, chips: 2, engine: scalar, mapping.method: round }
grid:
  adc.bits: [5, 8]
  tempK: [300.15, 500]
reference: { adc.bits: 8, tempK: 300.15 }
`;

beforeAll(() => {
  writeFixture(join(folder, 'model.gguf'), { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 });
  writeFileSync(join(folder, 'small.yaml'), EXPERIMENT);
});

/** results.csv and results.jsonl of the one sweep below a folder. */
function resultsOf(out: string): string[] {
  const name = readdirSync(join(folder, out)).find((entry) => entry.startsWith('sweep-'))!;
  return ['results.csv', 'results.jsonl'].map((file) => readFileSync(join(folder, out, name, file), 'utf8'));
}

const sweepFolder = (out: string) =>
  join(out, readdirSync(join(folder, out)).find((entry) => entry.startsWith('sweep-'))!);

describe('a sweep', () => {
  test('says what it would do, refuses points by name, and is one table', async () => {
    const dry = await onefet('sweep', 'small.yaml', '--out', 'whole', '--dry-run', '--json');
    expect(dry.code).toBe(0);
    const planned = JSON.parse(dry.stdout);
    // 2 points of 2 digital, 1 range, 4 chip and 2 recoded jobs.
    expect(planned).toMatchObject({ points: 4, refused: 2, jobs: 18, finishedJobs: 0 });
    expect(existsSync(join(folder, 'whole'))).toBe(false);
    const { code, stderr, stdout } = await onefet('sweep', 'small.yaml', '--out', 'whole', '--no-report');
    expect(code).toBe(6);
    expect(stderr).toContain('2 of 4 points refused');
    expect(stdout).toMatch(/refused: .*temperature of 500 K is outside/);
    const [csv, jsonl] = resultsOf('whole');
    const rows = csv
      .trim()
      .split('\n')
      .map((line) => line.split(','));
    expect(rows).toHaveLength(5);
    expect(rows[0].slice(0, 5)).toEqual(['point', 'status', 'reason', 'adc.bits', 'tempK']);
    const lines = jsonl
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ status }) => status)).toEqual(['done', 'refused', 'done', 'refused']);
    expect(lines[2].comparisons).toEqual([]);
    expect(lines[0].comparisons.map(({ metric }: { metric: string }) => metric)).toEqual(['kl', 'nll']);
    const kl = rows[0].indexOf('kl_nats');
    expect(Number(rows[1][kl])).toBe(lines[0].metrics.kl.mean);
    // The Parquet file has the values of the CSV.
    const { buffer, byteOffset, byteLength } = readFileSync(
      join(folder, sweepFolder('whole'), 'results.parquet'),
    );
    const typed = await parquetReadObjects({
      file: buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer,
    });
    const asText = typed.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value ?? '')])),
    );
    expect(asText).toEqual(fromCsv(csv));
    expect(typed[0]).toMatchObject({ point: 1n, tempK: 300.15, kl_nats: lines[0].metrics.kl.mean });
    // Everything is done: a second time nothing is computed.
    expect(
      JSON.parse((await onefet('sweep', 'small.yaml', '--out', 'whole', '--dry-run', '--json')).stdout),
    ).toMatchObject({
      jobs: 18,
      finishedJobs: 18,
    });
  });

  test('in shards comes to the same, on one machine or on several', async () => {
    for (const shard of ['2/3', '3/3']) {
      const { code } = await onefet(
        'sweep',
        'small.yaml',
        '--out',
        'shared',
        '--shard',
        shard,
        '--no-report',
      );
      expect([0, 6]).toContain(code);
    }
    const early = await onefet('merge', sweepFolder('shared'), '--no-report');
    expect(early.code).toBe(3);
    expect(early.stderr).toMatch(/2 of 4 points .* have no outcome: 1, 4/);
    await onefet('sweep', 'small.yaml', '--out', 'shared', '--shard', '1/3', '--no-report');
    expect(resultsOf('shared')).toEqual(resultsOf('whole'));
    for (const shard of ['1/2', '2/2'])
      await onefet('sweep', 'small.yaml', '--out', `own-${shard[0]}`, '--shard', shard, '--no-report');
    const merged = await onefet('merge', sweepFolder('own-1'), sweepFolder('own-2'), '--no-report');
    expect(merged.code).toBe(6);
    expect(resultsOf('own-1')).toEqual(resultsOf('whole'));
    // A digit that somebody changed in a point is no result; the sweep's own command makes it again.
    const point = join(folder, sweepFolder('own-1'), 'outcomes', '000003.json');
    const written = readFileSync(point, 'utf8');
    writeFileSync(point, written.replace(/"kl":\{"mean":(\d)/, '"kl":{"mean":9$1'));
    expect(readFileSync(point, 'utf8')).not.toBe(written);
    const refused = await onefet('merge', sweepFolder('own-1'), '--no-report');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(
      /000003\.json is not what was written: its SHA-256 .*\n {2}hint: run the sweep/,
    );
  });

  test('has the chips that it asks for, whatever its run folders have', async () => {
    const more = EXPERIMENT.replace('chips: 2', 'chips: 3').replace('[300.15, 500]', '[300.15]');
    writeFileSync(join(folder, 'more.yaml'), more);
    expect((await onefet('sweep', 'more.yaml', '--out', 'more', '--no-report')).code).toBe(0);
    expect(resultsOf('more')[0]).toContain(',scalar,3,2,');
    rmSync(join(folder, sweepFolder('more')), { recursive: true });
    expect((await onefet('sweep', 'small.yaml', '--out', 'more', '--no-report')).code).toBe(6);
    expect(resultsOf('more')).toEqual(resultsOf('whole'));
  });

  test('of lists on the command line, with a stop rule in a file', async () => {
    const base = [
      '--model',
      'model.gguf',
      '--context',
      '16',
      '--max-windows',
      '2',
      '--engine',
      'scalar',
      '--no-report',
      '--set',
      'mapping.method=round',
    ];
    const { code, stdout } = await onefet(
      'run',
      ...base,
      '--chips',
      '1',
      '--set',
      'adc.bits=5,8',
      '--out',
      'set',
      '--json',
    );
    expect(code).toBe(0);
    const { rows } = JSON.parse(stdout);
    expect(rows.map((row: Record<string, unknown>) => [row['adc.bits'], row.chips])).toEqual([
      [5, 1],
      [8, 1],
    ]);
    const bad = await onefet('run', ...base, '--set', 'adc.bitz=5,8');
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringMatching(/unknown key adc\.bitz/)]);
    writeFileSync(
      join(folder, 'stop.yaml'),
      `${EXPERIMENT.split('grid:')[0]}list: [{}]\nstop: { halfWidth: { kl: 0.001 }, minChips: 3, maxChips: 4 }\n`,
    );
    const stopped = await onefet('sweep', 'stop.yaml', '--out', 'stop', '--no-report', '--json');
    expect(JSON.parse(stopped.stdout).rows).toMatchObject([{ chips: 4, stop_reached: false }]);
  });

  test('names every file that is missing, before any work', async () => {
    writeFileSync(
      join(folder, 'missing.yaml'),
      `${EXPERIMENT.split('grid:')[0]}grid: { text: [a.txt, b.txt], tempK: [300.15] }\n`,
    );
    const { code, stderr } = await onefet('sweep', 'missing.yaml', '--out', 'missing');
    expect(code).toBe(3);
    expect(stderr).toMatch(/missing\.yaml: point 1 \(text=a\.txt, tempK=300\.15\): .*a\.txt/);
    expect(stderr).toMatch(/point 2 .*b\.txt/);
    expect(existsSync(join(folder, 'missing'))).toBe(false);
  });
});
