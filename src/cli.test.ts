/** The command line as a user meets it, in a folder of its own; what the launcher adds is tested through it. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, platform } from 'node:process';
import { afterAll, describe, expect, test } from 'vitest';
import { packageRoot } from './files.ts';
import { onefet as commandLine } from './testing/cli.ts';
import { LAUNCHER, launch as launchIn } from './testing/launcher.ts';
import { EMBEDDED_Q8_0, fixtureModel } from './testing/models.ts';
import { needs } from './testing/needs.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const tiny = fixtureModel('tiny');
const small = fixtureModel('small');
/** No chip image is made first: that is tested in experiment/map.test.ts. */
const ROUNDED = ['--set', 'mapping.method=round'];

const onefet = (...args: string[]) => commandLine(folder, ...args);

const file = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

/** Node options that have the launcher believe in an older Node: it starts the one of the package. */
const OLD_NODE = [
  '--import',
  'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.0.0"}})',
];

const launch = (node: readonly string[], ...args: string[]) => launchIn({ folder, node }, ...args);

describe('the launcher', () => {
  const version = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')).version;

  test.each([
    ['this Node', []],
    ['an older Node', OLD_NODE],
  ])('ends as the command does: %s', async (_, nodeOptions) => {
    const [good, bad] = [launch(nodeOptions, '--version'), launch(nodeOptions, 'rum')];
    expect(await good.ended).toEqual({ code: 0, signal: null, stdout: `${version}\n`, stderr: '' });
    const { code, stdout, stderr } = await bad.ended;
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('Did you mean run?');
  });

  const posix = needs(platform === 'win32' ? 'Windows has no signals' : undefined);
  const args = [
    'run',
    '--model',
    small,
    '--context',
    '32',
    '--max-windows',
    '2',
    '--quiet',
    '--no-report',
    ...ROUNDED,
  ];

  test(
    'Ctrl-C ends with 130 and loses nothing; the same command takes up where it stopped',
    posix,
    async () => {
      const chips = [...args, '--chips', '3', '--threads', '1', '--json', '--out'];
      // To the launcher alone, as `kill -INT` does it; it hands the signal on.
      const { child, ended } = launch(OLD_NODE, ...chips, 'stopped');
      // Two digital windows, the ranges and a first chip.
      await until(() => results('stopped') >= 5);
      child.kill('SIGINT');
      expect(await ended).toMatchObject({ code: 130, signal: null });
      const kept = results('stopped');
      expect(kept).toBeGreaterThanOrEqual(5);
      expect(kept).toBeLessThan(11);
      // A line that was cut in half by a crash is done again.
      const path = resultsPath('stopped');
      writeFileSync(path, readFileSync(path, 'utf8').slice(0, -20));
      const resumed = await onefet(...chips, 'stopped');
      expect(resumed.code).toBe(0);
      const whole = await onefet(...chips, 'whole');
      expect(JSON.parse(resumed.stdout).chips).toEqual(JSON.parse(whole.stdout).chips);
      // 2 digital jobs, 1 range, 2 recoded, 6 of chips.
      expect(results('stopped')).toBe(11);
    },
  );

  test('dies of the signal that its child died of', posix, async () => {
    const { child, ended } = launch(OLD_NODE, ...args, '--chips', '500', '--out', 'hung-up');
    await until(() => results('hung-up') >= 1);
    child.kill('SIGHUP');
    expect(await ended).toMatchObject({ code: null, signal: 'SIGHUP' });
  });

  test.each([
    ['this Node', []],
    ['an older Node', OLD_NODE],
  ])(
    'says what it cannot write and ends with 3; a reader that leaves ends nothing: %s',
    posix,
    async (_, options) => {
      const shell = (redirect: string, ...words: string[]) =>
        spawnSync('bash', ['-c', `"$@" ${redirect}`, 'bash', execPath, ...options, LAUNCHER, ...words], {
          cwd: folder,
          encoding: 'utf8',
        });
      const full = shell('> /dev/full', 'inspect', tiny, '--json');
      expect(full.status).toBe(3);
      expect(full.stderr).toMatch(/^onefet: error: cannot write the output: .*ENOSPC.*\n {2}hint: .*\n$/);
      // What an older Node adds is the launcher's second process: it hands on whatever the command ends with.
      if (options.length > 0) return;
      const noReader = '| true; exit $PIPESTATUS';
      expect(shell(noReader, 'inspect', tiny, '--json')).toMatchObject({ status: 0, stderr: '' });
      // Commander's own help, and an error whose reader has gone.
      expect(shell(noReader, '--help')).toMatchObject({ status: 0, stderr: '' });
      expect(shell(`2>&1 >/dev/null ${noReader}`, 'run', '--set', 'adc.bitz=6').status).toBe(2);
      expect(shell('2> /dev/full', 'run', '--set', 'adc.bitz=6').status).toBe(2);
    },
  );

  test('a run whose progress nobody reads any more goes on to its end', posix, async () => {
    const chips = [
      'run',
      '--model',
      tiny,
      '--context',
      '32',
      '--max-windows',
      '2',
      '--no-report',
      ...ROUNDED,
      '--chips',
      '1',
    ];
    const { child, ended } = launch([], ...chips, '--json', '--out', 'unread');
    child.stderr?.destroy();
    const { code, stdout } = await ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout).chips).toHaveLength(1);
  });

  const resultsPath = (out: string) => {
    const at = join(folder, out);
    const [run] = existsSync(at) ? readdirSync(at) : [];
    return run ? join(at, run, 'results.jsonl') : '';
  };
  const results = (out: string) => {
    const path = resultsPath(out);
    return path !== '' && existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0;
  };
  const until = async (done: () => boolean) => {
    while (!done()) await new Promise((resolve) => setTimeout(resolve, 20));
  };
});

test('help ends with 0 and lists the exit codes', async () => {
  const help = await onefet('--help');
  expect(help.code).toBe(0);
  expect(help.stdout).toContain('Exit codes');
});

test('usage errors end with 2 and say what was meant', async () => {
  expect((await onefet('run', '--chips', 'x')).code).toBe(2);
  const key = await onefet('run', '--set', 'adc.bitz=6');
  expect(key.code).toBe(2);
  expect(key.stderr).toMatch(
    /^onefet: error: --set adc\.bitz=6: unknown key adc\.bitz\n {2}hint: did you mean adc\.bits\?/,
  );
  const value = await onefet('run', '--set', 'adc.bits=0');
  expect(value.stderr).toMatch(
    /^onefet: error: --set adc\.bits=0: .*\n {2}hint: adc\.bits may be a whole number from 3 to 14 or float/,
  );
  const context = await onefet('run', '--model', tiny, '--context', '100000');
  expect(context.code).toBe(2);
  expect(context.stderr).toMatch(/context of 100000 tokens is out of range: .* takes 4 to 512/);
  const requirement = await onefet('run', '--require', 'top2>=0.5');
  expect(requirement.code).toBe(2);
  expect(requirement.stderr).toContain('metrics: nll');
  const design = await onefet('run', '--design', 'log-domian');
  expect(design.code).toBe(3);
  expect(design.stderr).toContain('did you mean experiments/designs/log-domain.yaml?');
});

test('missing and damaged inputs end with 3 in one line and a hint', async () => {
  const missing = await onefet('run', '--model', 'nowhere.gguf');
  expect(missing.code).toBe(3);
  expect(missing.stderr.split('\n')[0]).toContain('nowhere.gguf');
  const bytes = readFileSync(tiny);
  const cut = await onefet('run', '--model', file('cut.gguf', bytes.subarray(0, bytes.length - 1000)));
  expect(cut.code).toBe(3);
  expect(cut.stderr.split('\n')[0]).toMatch(/cut\.gguf: /);
  const garbage = await onefet('inspect', file('garbage.gguf', 'this is not a model'));
  expect(garbage.code).toBe(3);
  expect(garbage.stderr).toContain('not a GGUF file');
  const text = await onefet('run', '--model', tiny, '--text', 'nowhere.txt');
  expect(text.code).toBe(3);
  const short = await onefet('run', '--model', tiny, '--text', file('short.txt', 'Once upon a time.'));
  expect(short.code).toBe(2);
  expect(short.stderr).toMatch(/the text has \d+ tokens; a window needs 512/);
});

test('a tensor type that is not supported is named', async () => {
  const bytes = Buffer.from(readFileSync(EMBEDDED_Q8_0));
  // The type of a tensor follows its dimensions: find "blk.0.attn_q.weight", 2 dimensions of 8 bytes, then the type.
  const at = bytes.indexOf('blk.0.attn_q.weight') + 'blk.0.attn_q.weight'.length + 4 + 16;
  expect(bytes.readUInt32LE(at)).toBe(8); // Q8_0
  bytes.writeUInt32LE(19, at); // IQ1_S
  const odd = file('type.gguf', bytes);
  const named = /blk\.0\.attn_q\.weight.*IQ1_S|IQ1_S.*blk\.0\.attn_q\.weight/;
  const inspected = await onefet('inspect', odd);
  expect(inspected.code).toBe(0);
  expect(inspected.stdout).toMatch(named);
  const refused = await onefet('run', '--model', odd);
  expect(refused.code).toBe(3);
  expect(refused.stderr).toMatch(named);
});

const run = [
  'run',
  '--model',
  tiny,
  '--context',
  '32',
  '--max-windows',
  '2',
  '--quiet',
  '--no-report',
  ...ROUNDED,
];

test('the same seed gives the same object whatever the threads; a finished run is not done again', async () => {
  const one = await onefet(...run, '--chips', '2', '--threads', '1', '--out', 'one', '--json');
  const two = await onefet(...run, '--chips', '2', '--threads', '2', '--out', 'two', '--json');
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
  const three = await onefet(...run, '--chips', '3', '--threads', '2', '--out', 'one', '--json');
  expect(JSON.parse(three.stdout).chips.slice(0, 2)).toEqual(first.chips);
  expect(JSON.parse(three.stdout).projection.shape.macPerToken).toBe(7_504_658_432);
  const again = await onefet(...run, '--chips', '3', '--out', 'one', '--json');
  // The measured speed is that of the run that computed the last chips.
  const { tokensPerSecond } = JSON.parse(three.stdout).emulation;
  expect(JSON.parse(again.stdout).emulation.tokensPerSecond).toBe(tokensPerSecond);
});

test('--require decides the exit code', async () => {
  const judged = [...run, '--chips', '1', '--out', 'judged', '--json', '--require'];
  const met = await onefet(...judged, 'top1>=0.01');
  expect(met.code).toBe(0);
  const unmet = await onefet(...judged, 'perplexity<=1.01');
  expect(unmet.code).toBe(5);
  expect(unmet.stderr).toMatch(/required perplexity <= 1\.01, the result is/);
});

test('generate puts the digital text beside the chip', async () => {
  const prompt = ['--prompt', 'Once upon a time', '--tokens', '8', '--chips', '1', '--json', ...ROUNDED];
  const result = await onefet('generate', '--model', tiny, ...prompt);
  expect(result.code).toBe(0);
  const { texts } = JSON.parse(result.stdout);
  expect(texts.map((text: { name: string }) => text.name)).toEqual(['digital', 'recoded', 'chip']);
  expect(texts[0].tokens.length).toBeGreaterThan(0);
});

test('an output folder that cannot be written is one error', async () => {
  file('occupied', 'a file');
  mkdirSync(join(folder, 'x'), { recursive: true });
  const result = await onefet(...run, '--chips', '1', '--out', 'occupied');
  expect(result.code).toBe(2);
  expect(result.stderr).toContain('cannot create the run folder');
});

test('a message shows what control characters a name holds, and no terminal obeys them', async () => {
  const { code, stderr } = await onefet('sweep', 'a\u001b]0;b\u0007.yaml', '--dry-run');
  expect(code).toBe(3);
  expect(stderr).toContain('onefet: error: cannot read experiment a\\x1b]0;b\\x07.yaml');
});

test('more threads than the machine has are said to be fewer, and not a word of it with --quiet', async () => {
  const asked = ['run', '--dry-run', '--threads', '256'];
  expect((await onefet(...asked)).stderr).toMatch(/^onefet: --threads 256: this machine runs \d+ at a time/);
  const quiet = await onefet('--quiet', ...asked);
  expect([quiet.code, quiet.stderr]).toEqual([0, '']);
});

test('a wrong option points to the help of its own command', async () => {
  expect((await onefet('bench', 'engine', '--runds', '3')).stderr).toMatch(
    /hint: onefet bench engine --help shows/,
  );
  expect((await onefet('--runds')).stderr).toMatch(/hint: onefet --help lists the commands/);
});

test('every error has one form, those of the command line too', async () => {
  for (const args of [
    ['rnu'],
    ['run', '--chips', 'x'],
    ['run', '--set', 'adc.bitz=7'],
    ['power', '--threads', '3'],
  ]) {
    const { code, stderr } = await onefet(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^onefet: error: [^\n]+\n(\(Did you mean run\?\)\n)? {2}hint: /);
  }
});

test('node: a script runs on the Node of onefet, with its own words and exit code', async () => {
  const script = join(folder, 'words.mjs');
  writeFileSync(script, 'console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 3;');
  const words = ['--json', 'a b', '--quiet', '-h', 'node'];
  const { code, stdout } = await launchIn({ folder }, 'node', script, ...words).ended;
  expect([code, JSON.parse(stdout)]).toEqual([3, words]);
  const help = await launchIn({ folder }, 'node', '--help').ended;
  expect([help.code, help.stdout]).toEqual([0, expect.stringContaining('onefet node sweep.mjs')]);
});
