/**
 * llama.cpp for the tests. Its answers are recorded below experiments/oracle/recorded, so that a test run needs no
 * llama.cpp; ONEFET_ORACLE=live asks it again and checks the recorded answers, =record also writes them
 * (`npm run oracle`, `npm run oracle:record`). Live, it is its own package in experiments/oracle, never one of the
 * product's.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, execPath } from 'node:process';
import { packageRoot, sha256 } from '../files.ts';
import { bits32, nameCoordinate, streamKey } from '../random.ts';

export interface OracleRequest {
  /** Tokenised without BOS and without parsing special tokens. */
  texts?: string[];
  /** Lists of texts, tokenised like `texts`, of which a digest is enough, see digestOfTokens. */
  digests?: string[][];
  /** Ids of which those are wanted that end a generation; only with `digests`. */
  ends?: number[];
  /** Sequences of ids, BOS included; every token but the first is scored. */
  score?: number[][];
  /** Sequences of ids; sketches of all logits behind every token are wanted. */
  logits?: number[][];
  /** Only the first logits of these, by default all. */
  logitsTo?: number;
  /** Prompts as ids. */
  greedy?: number[][];
  /** Tokens per greedy continuation. */
  steps?: number;
  /** LoRA adapters on the model. */
  adapters?: { filePath: string; scale: number }[];
}

export interface OracleAnswer {
  vocabulary: { bos: number | null; eos: number | null };
  tokens: number[][];
  /** Only where digests are asked for. */
  tokenizer?: { addsBos: boolean; digests: string[]; ends?: number[] };
  /** Nats per prediction. */
  score: { nll: number[] }[];
  /** [sequence][position] sketch of the logits, see logitSketch. */
  sketches: number[][][];
  greedy: number[][];
}

export interface Oracle {
  /** The answer to a request about a model file; `name` finds it among the recorded ones. */
  ask(name: string, modelPath: string, request: OracleRequest): Promise<OracleAnswer>;
  /**
   * The same about a file that is written for llama.cpp only, from what `identity` names; asked for when answers are
   * recorded and not in every live run, for what takes llama.cpp minutes.
   */
  recorded(
    name: string,
    identity: string,
    write: (path: string) => void,
    request: OracleRequest,
  ): Promise<OracleAnswer>;
}

/** Is llama.cpp itself asked in this run? */
export const oracleIsLive = env.ONEFET_ORACLE === 'live' || env.ONEFET_ORACLE === 'record';

const folder = join(packageRoot, 'experiments/oracle');
const SCHEMA = 'onefet.oracle/1';

interface Recorded {
  schema: string;
  /** By name: the hash of model file and request, and what llama.cpp said. */
  answers: Record<string, { question: string; answer: OracleAnswer }>;
}

/** The oracle whose answers are in experiments/oracle/recorded/<file>.json. */
export function openOracle(file: string): Oracle {
  const path = join(folder, 'recorded', `${file}.json`);
  const record = (name: string, question: string, answer: OracleAnswer): OracleAnswer => {
    const recorded = read(path);
    recorded.answers[name] = { question, answer };
    writeFileSync(path, printRecorded(recorded));
    return answer;
  };
  const knownAnswer = (name: string, question: string): OracleAnswer => {
    const known = read(path).answers[name];
    if (known?.question === question) return known.answer;
    throw new Error(
      `${path} has no answer about ${name} as it is now: the model file or the request has changed; npm run oracle:record asks llama.cpp again`,
    );
  };
  return {
    async ask(name, modelPath, request) {
      // Adapters are known by their bytes.
      const adapters = request.adapters?.map(({ filePath, scale }) => [
        sha256(readFileSync(filePath)),
        scale,
      ]);
      const question = sha256(
        readFileSync(modelPath),
        JSON.stringify(adapters ? { ...request, adapters } : request),
      );
      if (env.ONEFET_ORACLE === 'record') return record(name, question, await askLive(modelPath, request));
      const known = knownAnswer(name, question);
      if (!oracleIsLive) return known;
      const live = await askLive(modelPath, request);
      return sameAnswer(name, known, live, hasRoundingUnits());
    },
    async recorded(name, identity, write, request) {
      const question = sha256(identity, JSON.stringify(request));
      if (env.ONEFET_ORACLE !== 'record') return knownAnswer(name, question);
      const scratch = mkdtempSync(join(tmpdir(), 'onefet-oracle-'));
      try {
        const modelPath = join(scratch, 'model.gguf');
        write(modelPath);
        return record(name, question, await askLive(modelPath, request));
      } finally {
        rmSync(scratch, { recursive: true, force: true });
      }
    },
  };
}

/** Sums up the ids of texts as their number and a hash, which oracle.mjs computes likewise. */
export function digestOfTokens(texts: readonly ArrayLike<number>[]): string {
  const numbers = texts.flatMap((ids) => [ids.length, ...Array.from(ids)]);
  const bytes = new Uint8Array(Int32Array.from(numbers).buffer);
  return `${numbers.length - texts.length} ${sha256(bytes).slice(0, 16)}`;
}

function read(path: string): Recorded {
  if (!existsSync(path)) return { schema: SCHEMA, answers: {} };
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** One line per answer, names sorted: a new recording changes only the lines it must. */
function printRecorded({ schema, answers }: Recorded): string {
  const lines = Object.keys(answers)
    .sort()
    .map((name) => `  ${JSON.stringify(name)}: ${JSON.stringify(answers[name])}`);
  return `{\n"schema": ${JSON.stringify(schema)},\n"answers": {\n${lines.join(',\n')}\n}\n}\n`;
}

/** The processor has matrix tiles or half-precision arithmetic, which llama.cpp uses where it finds them. */
function hasRoundingUnits(): boolean {
  const flags = '/proc/cpuinfo';
  return existsSync(flags) && /\b(amx_\w+|avx512_(bf16|fp16))\b/.test(readFileSync(flags, 'utf8'));
}

/** Seen: 0.0001 to 0.0074. Largest RMS of what live numbers are off the recorded ones, over the RMS of these, that another processor's arithmetic explains. */
const MOST_ROUNDING = 0.02;

/**
 * What our numbers are held against: words and ids must be those recorded, and numbers within 1e-3 of their size or 1e-4, then the
 * live answer is taken. A processor with units that round (`rounds`) is off by more than our bounds allow: up to MOST_ROUNDING the
 * recorded answer is taken there, which is said; beyond it, or where words differ, the recording is wrong.
 */
export function sameAnswer(
  name: string,
  recorded: OracleAnswer,
  live: OracleAnswer,
  rounds: boolean,
): OracleAnswer {
  const differ = (what: string) =>
    new Error(`${name}: llama.cpp's ${what} are not those recorded; npm run oracle:record writes them anew`);
  for (const what of ['vocabulary', 'tokens', 'tokenizer', 'greedy'] as const) {
    if (JSON.stringify(recorded[what]) !== JSON.stringify(live[what])) throw differ(what);
  }
  const numbers = (answer: OracleAnswer) => [
    ...answer.score.flatMap(({ nll }) => nll),
    ...answer.sketches.flat(2),
  ];
  const now = numbers(live);
  const then = numbers(recorded);
  if (then.length !== now.length) throw differ('numbers');
  const near = (x: number, i: number) => Math.abs(x - now[i]) <= 1e-4 + 1e-3 * Math.abs(x);
  if (then.every(near)) return live;
  const squares = (values: readonly number[]) => values.reduce((sum, x) => sum + x * x, 0);
  const rounding = Math.sqrt(squares(then.map((x, i) => x - now[i])) / squares(then));
  if (!rounds || !(rounding <= MOST_ROUNDING)) throw differ('numbers');
  console.warn(
    `${name}: llama.cpp rounds otherwise on this processor (${rounding.toPrecision(2)} of the RMS): the recorded answer is taken`,
  );
  return recorded;
}

/** Logits per sum of a sketch. */
const SKETCH_GROUP = 64;

/**
 * Sums logits with fixed random signs: [ceil(logits / SKETCH_GROUP)], group by group. The squared difference of two
 * sketches has the expectation of the squared difference of the logits, so that it finds errors as they do in a
 * sixty-fourth of the numbers.
 */
export function logitSketch(logits: ArrayLike<number>): number[] {
  const key = streamKey(nameCoordinate('oracle sketch'));
  const sums = new Array<number>(Math.ceil(logits.length / SKETCH_GROUP)).fill(0);
  for (let i = 0; i < logits.length; i++) {
    sums[Math.floor(i / SKETCH_GROUP)] += bits32(key, i) & 1 ? logits[i] : -logits[i];
  }
  return sums;
}

async function askLive(modelPath: string, request: OracleRequest): Promise<OracleAnswer> {
  if (!existsSync(join(folder, 'node_modules/node-llama-cpp'))) {
    throw new Error('llama.cpp is not installed: npm ci --prefix experiments/oracle');
  }
  const scratch = mkdtempSync(join(tmpdir(), 'onefet-oracle-'));
  try {
    const requestPath = join(scratch, 'request.json');
    const answerPath = join(scratch, 'answer.json');
    writeFileSync(requestPath, JSON.stringify(request));
    await run(execPath, [join(folder, 'oracle.mjs'), modelPath, requestPath, answerPath]);
    const { logits, score, ...rest } = JSON.parse(readFileSync(answerPath, 'utf8')) as Omit<
      OracleAnswer,
      'sketches'
    > & { logits: number[][][] };
    return {
      ...rest,
      score: score.map(({ nll }) => ({ nll: nll.map((x) => Number(x.toPrecision(9))) })),
      sketches: logits.map((positions) =>
        positions.map((all) =>
          logitSketch(all.slice(0, request.logitsTo)).map((x) => Number(x.toPrecision(8))),
        ),
      ),
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
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
  const lines = output.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '')
    .slice(0, 4)
    .join('; ');
}
