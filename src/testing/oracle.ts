/**
 * llama.cpp for the tests, through experiments/oracle: its own package, installed at the first use, never by the
 * product. Without it (another platform, no network) the tests that need it skip with a printed reason, except in CI
 * on linux-x64, where a missing oracle is a failure.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../files.ts';

export interface OracleRequest {
  /** Tokenised without BOS and without parsing special tokens. */
  texts?: string[];
  /** Sequences of ids, BOS included; every token but the first is scored. */
  score?: number[][];
  /** Sequences of ids; all logits behind every token are wanted. */
  logits?: number[][];
  /** Prompts as ids. */
  greedy?: number[][];
  /** Tokens per greedy continuation. */
  steps?: number;
}

export interface OracleAnswer {
  vocabulary: { bos: number | null; eos: number | null };
  tokens: number[][];
  /** Nats per prediction. */
  score: { nll: number[] }[];
  /** [sequence][position][vocabulary]. */
  logits: number[][][];
  greedy: number[][];
}

export interface Oracle {
  ask(modelPath: string, request: OracleRequest): Promise<OracleAnswer>;
}

const folder = join(packageRoot, 'experiments/oracle');
const marker = join(folder, 'node_modules/.package-lock.json');
const lock = join(folder, '.installing');

/** The oracle, or undefined after printing why there is none. */
export async function openOracle(): Promise<Oracle | undefined> {
  const reason = await install();
  if (reason === undefined) return { ask };
  if (process.env.CI === 'true' && process.platform === 'linux' && process.arch === 'x64') {
    throw new Error(`the llama.cpp oracle is required in CI: ${reason}`);
  }
  console.log(`skipped: llama.cpp comparison (${reason})`);
  return undefined;
}

async function ask(modelPath: string, request: OracleRequest): Promise<OracleAnswer> {
  const scratch = mkdtempSync(join(tmpdir(), 'onefet-oracle-'));
  try {
    const requestPath = join(scratch, 'request.json');
    const answerPath = join(scratch, 'answer.json');
    writeFileSync(requestPath, JSON.stringify(request));
    await run(process.execPath, [join(folder, 'oracle.mjs'), modelPath, requestPath, answerPath]);
    return JSON.parse(readFileSync(answerPath, 'utf8'));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Installs unless done; a reason when it cannot be. Test files run in parallel: one installs, the others wait. */
async function install(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `there is a pinned build for linux-x64 only, this is ${process.platform}-${process.arch}`;
  }
  const deadlineMs = Date.now() + 110_000;
  while (!existsSync(marker)) {
    if (takeLock()) {
      try {
        console.log('installing the llama.cpp oracle once: npm ci in experiments/oracle (85 MB)');
        // Options on the command line: those of the surrounding `npm test` arrive in the environment and would win
        // over the .npmrc there.
        const options = [
          '--prefix',
          folder,
          '--omit=optional',
          '--ignore-scripts',
          '--no-audit',
          '--no-fund',
        ];
        await run('npm', ['ci', ...options, '--loglevel=error']);
      } catch (error) {
        return `npm ci failed: ${error instanceof Error ? error.message : error}`;
      } finally {
        rmSync(lock, { recursive: true, force: true });
      }
      if (!existsSync(marker)) return 'npm ci left no node_modules';
    } else if (Date.now() > deadlineMs) {
      return `another process has been installing for long; remove ${lock} if it is gone`;
    } else {
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
  return undefined;
}

function takeLock(): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    // A lock that outlived its process is taken over.
    const ageMs = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (ageMs > 300_000) rmSync(lock, { recursive: true, force: true });
    return false;
  }
}

/** Runs a program to its end without blocking the test runner; rejects with the first lines of its output, on one line. */
function run(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output = (output + chunk).slice(0, 4000);
      });
    }
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ended with ${signal ?? code}: ${summary(output)}`));
    });
  });
}

function summary(output: string): string {
  const lines = output.split('\n').map((line) => line.replace(/^npm error\s*/, '').trim());
  return lines
    .filter((line) => line !== '' && !line.startsWith('npm warn'))
    .slice(0, 4)
    .join('; ');
}
