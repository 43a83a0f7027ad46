/** The command line as a user meets it: started through the launcher, in a folder of its own. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-cli-'));
const model = join(packageRoot, 'experiments/models/onefet-stories-q8_0.gguf');

function onefet(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(packageRoot, 'src/onefet.js'), ...args],
      { cwd: folder, maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : -1) : 0;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

const file = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

test('help and version end with 0', async () => {
  const help = await onefet('--help');
  expect(help.code).toBe(0);
  expect(help.stdout).toContain('Exit codes');
  const version = await onefet('--version');
  expect(version.stdout.trim()).toBe(
    JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')).version,
  );
});

test('usage errors end with 2 and say what was meant', async () => {
  const command = await onefet('rum');
  expect(command.code).toBe(2);
  expect(command.stderr).toContain('Did you mean run?');
  expect((await onefet('run', '--chips', 'x')).code).toBe(2);
  const key = await onefet('run', '--set', 'adc.bitz=6');
  expect(key.code).toBe(2);
  expect(key.stderr).toMatch(/unknown key adc\.bitz\n.*did you mean adc\.bits\?/);
  const context = await onefet('run', '--model', model, '--context', '100000');
  expect(context.code).toBe(2);
  expect(context.stderr).toMatch(/context of 100000 tokens is out of range: .* takes 4 to 512/);
  const requirement = await onefet('run', '--require', 'top2>=0.5');
  expect(requirement.code).toBe(2);
  expect(requirement.stderr).toContain('metrics: nll');
  const design = await onefet('run', '--design', 'log-domian');
  expect(design.code).toBe(3);
  expect(design.stderr).toContain('did you mean experiments/designs/log-domain.yaml?');
});

test('missing and damaged inputs end with 3 in one line and a way to mend', async () => {
  const missing = await onefet('run', '--model', 'nowhere.gguf');
  expect(missing.code).toBe(3);
  expect(missing.stderr.split('\n')[0]).toContain('nowhere.gguf');
  const bytes = readFileSync(model);
  const cut = await onefet('run', '--model', file('cut.gguf', bytes.subarray(0, bytes.length - 1000)));
  expect(cut.code).toBe(3);
  expect(cut.stderr.split('\n')[0]).toMatch(/cut\.gguf: /);
  const garbage = await onefet('inspect', file('garbage.gguf', 'this is not a model'));
  expect(garbage.code).toBe(3);
  expect(garbage.stderr).toContain('not a GGUF file');
  const text = await onefet('run', '--model', model, '--text', 'nowhere.txt');
  expect(text.code).toBe(3);
  const short = await onefet('run', '--model', model, '--text', file('short.txt', 'Once upon a time.'));
  expect(short.code).toBe(2);
  expect(short.stderr).toMatch(/the text has \d+ tokens; a window needs 512/);
});

test('a tensor type that is not supported is named', async () => {
  const bytes = Buffer.from(readFileSync(model));
  // The type of a tensor follows its dimensions: find "blk.0.attn_q.weight", 2 dimensions of 8 bytes, then the type.
  const at = bytes.indexOf('blk.0.attn_q.weight') + 'blk.0.attn_q.weight'.length + 4 + 16;
  expect(bytes.readUInt32LE(at)).toBe(8); // Q8_0
  bytes.writeUInt32LE(19, at); // IQ1_S
  const result = await onefet('inspect', file('type.gguf', bytes));
  expect(result.code).toBe(3);
  expect(result.stderr).toMatch(/blk\.0\.attn_q\.weight.*IQ1_S|IQ1_S.*blk\.0\.attn_q\.weight/);
});

const small = ['run', '--model', model, '--context', '32', '--max-windows', '2', '--quiet', '--no-report'];

test('the same seed gives the same object whatever the threads; a finished run is not done again', {
  timeout: 120_000,
}, async () => {
  const one = await onefet(...small, '--chips', '2', '--threads', '1', '--out', 'one', '--json');
  const two = await onefet(...small, '--chips', '2', '--threads', '2', '--out', 'two', '--json');
  expect(one.stderr).toBe('');
  const strip = (json: string) => {
    const { emulation, ...rest } = JSON.parse(json);
    expect(emulation.tokensPerSecond).toBeGreaterThan(0);
    return rest;
  };
  const first = strip(one.stdout);
  expect(strip(two.stdout)).toEqual(first);
  expect(first.chips).toHaveLength(2);
  expect(first.summary.nll.ci95[0]).toBeLessThan(first.summary.nll.mean);
  const sum = Object.values(first.energy.breakdownJ as Record<string, number>).reduce((a, b) => a + b, 0);
  expect(sum).toBeCloseTo(first.energy.perTokenJ, 12);
  // Three chips in the same folder: only the third is computed, the first two stay as they were.
  const three = await onefet(...small, '--chips', '3', '--threads', '2', '--out', 'one', '--json');
  expect(JSON.parse(three.stdout).chips.slice(0, 2)).toEqual(first.chips);
  expect(JSON.parse(three.stdout).projection.shape.macPerToken).toBe(7_504_658_432);
  const again = await onefet(...small, '--chips', '3', '--out', 'one', '--json');
  expect(JSON.parse(again.stdout).emulation.tokensPerSecond).toBe(0);
});

test('Ctrl-C ends with 130 and loses nothing; the same command takes up where it stopped', {
  timeout: 120_000,
}, async () => {
  const args = [...small, '--chips', '6', '--threads', '1', '--out', 'stopped', '--json'];
  const child = spawn(process.execPath, [join(packageRoot, 'src/onefet.js'), ...args], {
    cwd: folder,
    stdio: 'ignore',
  });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const results = () => {
    const out = join(folder, 'stopped');
    const [run] = existsSync(out) ? readdirSync(out) : [];
    const path = run ? join(out, run, 'results.jsonl') : '';
    return path && existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0;
  };
  // Two digital windows, the ranges and a first chip.
  while (results() < 5) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGINT');
  expect(await ended).toBe(130);
  const kept = results();
  expect(kept).toBeGreaterThanOrEqual(5);
  expect(kept).toBeLessThan(17);
  // A line that was cut in half by a crash is done again.
  const [run] = readdirSync(join(folder, 'stopped'));
  const path = join(folder, 'stopped', run, 'results.jsonl');
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.slice(0, -20));
  const resumed = await onefet(...args);
  expect(resumed.code).toBe(0);
  const whole = await onefet(...small, '--chips', '6', '--out', 'whole', '--json');
  expect(JSON.parse(resumed.stdout).chips).toEqual(JSON.parse(whole.stdout).chips);
  // Seventeen jobs: 2 digital, 1 range, 2 recoded, 12 of chips.
  expect(results()).toBe(17);
});

test('--require decides the exit code (of the run that the test above left)', async () => {
  const met = await onefet(...small, '--chips', '2', '--out', 'one', '--require', 'top1>=0.01', '--json');
  expect(met.code).toBe(0);
  const unmet = await onefet(
    ...small,
    '--chips',
    '2',
    '--out',
    'one',
    '--require',
    'perplexity<=1.01',
    '--json',
  );
  expect(unmet.code).toBe(5);
  expect(unmet.stderr).toMatch(/required perplexity <= 1\.01, the result is/);
});

test('generate puts the digital text beside the chip', async () => {
  const result = await onefet(
    'generate',
    '--model',
    model,
    '--prompt',
    'Once upon a time',
    '--tokens',
    '8',
    '--chips',
    '1',
    '--json',
  );
  expect(result.code).toBe(0);
  const { texts } = JSON.parse(result.stdout);
  expect(texts.map((text: { name: string }) => text.name)).toEqual(['digital', 'recoded', 'chip']);
  expect(texts[0].tokens.length).toBeGreaterThan(0);
});

test('an output folder that cannot be written is one error', async () => {
  file('occupied', 'a file');
  mkdirSync(join(folder, 'x'), { recursive: true });
  const result = await onefet(...small, '--chips', '1', '--out', 'occupied');
  expect(result.code).toBe(2);
  expect(result.stderr).toContain('cannot create the run folder');
});
