/** Every exit code that the README documents, produced by the real launcher. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { platform } from 'node:process';
import { afterAll, expect, test } from 'vitest';
import { EXIT_CODES } from './error.ts';
import { packageRoot } from './files.ts';
import { type Ended, launch } from './testing/launcher.ts';
import { fixtureModel } from './testing/models.ts';
import { needs } from './testing/needs.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-codes-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** No chip image is made first. */
const ROUNDED = ['--set', 'mapping.method=round'];
const tiny = [
  'run',
  '--model',
  fixtureModel('tiny'),
  '--context',
  '32',
  '--max-windows',
  '1',
  '--no-report',
  ...ROUNDED,
];

/** A fault of Node itself, of a kind that nothing in the program expects. */
const BROKEN_NODE = [
  '--import',
  'data:text/javascript,import os from "node:os"; import { syncBuiltinESMExports } from "node:module"; os.cpus = () => { throw new TypeError("injected"); }; syncBuiltinESMExports();',
];

/** A process whose model card is one that the simulator does not have. */
function unknownCard(): void {
  mkdirSync(join(folder, 'spice/mine'), { recursive: true });
  writeFileSync(
    join(folder, 'spice/mine/models.lib'),
    '* a FinFET\n.lib TT\n.model nch nmos level=72\n.endl TT\n',
  );
  const text = readFileSync(join(packageRoot, 'spice/planar130/technology.yaml'), 'utf8');
  writeFileSync(
    join(folder, 'spice/mine/technology.yaml'),
    text.replace('name: planar130', 'name: mine').replace(/corners: \{[^}]*\}/, 'corners: { TT: TT }'),
  );
}

const cases: Readonly<Record<number, { run: () => Promise<Ended>; says: RegExp }>> = {
  0: { run: () => launch({ folder }, 'inspect', fixtureModel('tiny')).ended, says: /^$/ },
  [EXIT_CODES.internal]: {
    run: () => launch({ folder, node: BROKEN_NODE }, 'doctor').ended,
    says: /internal error: TypeError: injected/,
  },
  [EXIT_CODES.usage]: {
    run: () => launch({ folder }, 'run', '--set', 'adc.bits=99').ended,
    says: /adc\.bits/,
  },
  [EXIT_CODES.input]: {
    run: () => launch({ folder }, 'inspect', 'nowhere.gguf').ended,
    says: /nowhere\.gguf/,
  },
  [EXIT_CODES.simulation]: {
    run: () => {
      unknownCard();
      return launch({ folder }, 'calibrate', '--process', 'mine', '--cell', 't1').ended;
    },
    says: /model nch is of level 72/,
  },
  [EXIT_CODES.requirement]: {
    run: () => launch({ folder }, ...tiny, '--chips', '1', '--require', 'perplexity<=1.01').ended,
    says: /required perplexity <= 1\.01/,
  },
  [EXIT_CODES.incomplete]: {
    run: () => launch({ folder }, ...tiny, '--chips', '1', '--set', 'tempK=300.15,500').ended,
    says: /1 of 2 points refused/,
  },
  [EXIT_CODES.interrupted]: {
    run: async () => {
      const { child, ended } = launch({ folder }, ...tiny, '--chips', '1000', '--out', 'stopped');
      const begun = () => {
        try {
          return readdirSync(join(folder, 'stopped')).length > 0;
        } catch {
          return false;
        }
      };
      while (!begun()) await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill('SIGINT');
      return ended;
    },
    says: /interrupted/,
  },
};

const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8');
const [sentence] = /^Exit codes: [\s\S]*?\.$/m.exec(readme) ?? [''];
const documented = [...sentence.matchAll(/(?<=[:,]\s)\d+(?= [a-z])/g)].map(([code]) => Number(code));

test('the README documents the codes that there are, and each has its case here', () => {
  expect(documented).toEqual([0, ...Object.values(EXIT_CODES)]);
  expect(Object.keys(cases).map(Number)).toEqual(documented);
});

const posix = needs(platform === 'win32' ? 'Windows has no signals' : undefined);

test.each(documented)('exit code %i', posix, async (code) => {
  const ended = await cases[code].run();
  expect(ended).toMatchObject({ code, signal: null });
  expect(ended.stderr).toMatch(cases[code].says);
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s ends a command that waits for its text: nothing is begun',
  posix,
  async (signal) => {
    const pipe = join(folder, signal);
    execFileSync('mkfifo', [pipe]);
    const { child, ended } = launch({ folder }, ...tiny, '--text', pipe);
    await new Promise((resolve) => setTimeout(resolve, 500));
    child.kill(signal);
    expect(await ended).toMatchObject({ code: null, signal });
  },
);
