/** `start`, `run` and `generate`: a model on chips. */
import { stdout } from 'node:process';
import { type Command, Option } from 'commander';
import { OnefetError } from '../error.ts';
import {
  DESIGN_DEFAULTS,
  defaultScoring,
  GENERATE_DEFAULTS,
  INPUT_DEFAULTS,
  RANGE_TEXT,
  RESOLVED_NATS,
  type RunOptions,
  TASK_KINDS,
  type TaskKind,
} from '../experiment/options.ts';
import { requireResult } from '../experiment/require.ts';
import type { RunResult } from '../experiment/result.ts';
import type { AdapterChoice } from '../model/adapter-choice.ts';
import {
  type CliContext,
  collectRequirement,
  designOptions,
  embedded,
  engineOption,
  integer,
  jsonOption,
  loraOption,
  number,
  precisionOption,
  seedOption,
  threadsOption,
} from './options.ts';
import { printDescription, printGenerated, printRun } from './print.ts';

interface RunFlags {
  model?: string;
  text?: string;
  rangeText?: string;
  image?: string;
  design: string;
  set: string[];
  chips: number;
  seed: number;
  threads: number;
  context?: number;
  costContext: number;
  score?: 'window' | 'all';
  maxWindows?: number;
  task?: string;
  kind?: TaskKind;
  maxQuestions?: number;
  engine: RunOptions['engine'];
  precision: NonNullable<RunOptions['precision']>;
  attribution?: boolean | number;
  yieldRatio: number;
  resolve: number;
  lora?: AdapterChoice[];
  out: string;
  report: boolean;
  require: string[];
  json?: boolean;
  dryRun?: boolean;
}

export function addRunCommands(root: Command, context: CliContext): void {
  addStart(root, context);
  addRun(root, context);
  addEval(root, context);
  addGenerate(root, context);
}

/** All of the embedded text on fewer chips: the text leaves more open than they do. */
const START_CHIPS = 5;

function addStart(root: Command, { signal, argv, progress, notice }: CliContext): void {
  addRunOptions(
    root
      .command('start')
      .description(
        'calibrate from SPICE, run the embedded model on chips, write the report: the whole chain',
      ),
    START_CHIPS,
  ).action(async (flags: RunFlags) => {
    const { startRun } = await import('./work.ts');
    const finished = await startRun(
      readRunFlags({ ...flags, ...embedded(), score: defaultScoring({}), attribution: true }),
      {
        progress: progress(),
        signal,
        command: argv,
        report: flags.report,
        notice,
      },
    );
    printRun(finished, flags.json === true);
    checkRequirements(flags.require, finished.result);
  });
}

function addRun(root: Command, context: CliContext): void {
  addModelRun(
    root
      .command('run')
      .description('accuracy of chips against the digital model, and what a token costs')
      .option('--task <file>', 'questions with choices to score in place of a text: see onefet eval'),
    context,
  );
}

function addEval(root: Command, context: CliContext): void {
  addModelRun(
    root
      .command('eval')
      .description(
        'multiple choice by likelihood, as lm-eval scores it: digital model, recoded weights and chips on the same questions',
      )
      .requiredOption(
        '--task <file>',
        'JSON lines with centerpiece, options, correct_options_idx (ARC, HellaSwag), or sentence_good, sentence_bad (BLiMP)',
      ),
    context,
  );
}

/** A command that runs a model of choice on a text or a task of choice. */
function addModelRun(command: Command, context: CliContext): void {
  const { signal, argv, progress, notice } = context;
  addRunOptions(
    command
      .addOption(
        new Option(
          '--kind <kind>',
          'of a task: mcq (Question: ... Answer:), completion (the text itself), blimp (whole sentences); default: by its lines',
        ).choices(TASK_KINDS),
      )
      .option('--max-questions <n>', 'score only the first questions of a task', integer(1, 2 ** 30))
      .option('-m, --model <file>', 'GGUF model (default: the embedded one)')
      .addOption(loraOption())
      .option('-f, --text <file>', 'text to score (default: the embedded one)')
      .option(
        '--range-text <file>',
        `text that sets the converter ranges, disjoint from --text (default: the ranges in --image, or ${RANGE_TEXT})`,
      )
      .addOption(
        new Option(
          '--image <file>',
          'chip image of onefet map, in place of the mapping that the design asks for',
        ),
      )
      .addOption(
        new Option(
          '--score <mode>',
          "llama.cpp's windows, or every token of each document (default: all where no text is named, windows of a file)",
        ).choices(['window', 'all']),
      )
      .option(
        '--attribution [chips]',
        `also run every source of error alone on this many chips (default: ${ATTRIBUTION_CHIPS} or --chips): what limits the accuracy`,
        integer(1, 100_000),
      )
      .option('--dry-run', 'print jobs, memory and folder, and stop'),
  ).action(async (flags: RunFlags) => {
    const { settingValues } = await import('../config.ts');
    const lists = flags.set.flatMap((setting) => settingValues(setting) ?? []);
    if (lists.length > 0) {
      await sweepRun(flags, lists, context);
      return;
    }
    const { describePlan, planReadyRun, runToFolder } = await import('./work.ts');
    const defaults = flags.model && flags.text ? { model: '', text: '' } : embedded();
    const plan = await planReadyRun(
      readRunFlags({
        ...flags,
        score: flags.score ?? defaultScoring(flags),
        model: flags.model ?? defaults.model,
        text: flags.text ?? defaults.text,
      }),
      { progress: progress(), signal },
    );
    if (flags.dryRun) {
      printDescription(await describePlan(plan), flags.json === true);
      return;
    }
    const finished = await runToFolder(plan, {
      progress: progress(),
      signal,
      command: argv,
      report: flags.report,
      notice,
    });
    printRun(finished, flags.json === true);
    checkRequirements(flags.require, finished.result);
  });
}

/** `run --set a=1,2,3`: a small sweep, a grid of the keys that have several values. */
async function sweepRun(
  flags: RunFlags,
  lists: readonly { key: string; values: unknown[] }[],
  context: CliContext,
): Promise<void> {
  if (flags.require.length > 0) {
    throw new OnefetError(
      'usage',
      'SWEEP_REQUIRE',
      '--require asks one result, and several values of --set make many',
      {
        hint: 'give one value of each key, or leave --require out',
      },
    );
  }
  const { listChanges, settingValues } = await import('../config.ts');
  const { gridExperiment } = await import('../sweep/experiment.ts');
  const { sweepExperiment } = await import('./sweep.ts');
  const single = flags.set.filter((setting) => settingValues(setting) === undefined);
  const run = readRunFlags({
    ...flags,
    score: flags.score ?? defaultScoring(flags),
    model: flags.model ?? INPUT_DEFAULTS.model,
    text: flags.text ?? INPUT_DEFAULTS.text,
  });
  const { settings: _, threads, out, ...options } = run;
  const said = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const keys = lists.map(({ key }) => key);
  const grid = Object.fromEntries(lists.map(({ key, values }) => [key, values]));
  const experiment = gridExperiment(keys, { ...said, ...listChanges(single) }, grid);
  await sweepExperiment(
    experiment,
    {
      ...{ threads, out, report: flags.report },
      ...(flags.dryRun ? { dryRun: true } : {}),
      ...(flags.json ? { json: true } : {}),
    },
    context,
  );
}

function addGenerate(root: Command, { signal, progress, notice }: CliContext): void {
  designOptions(
    root
      .command('generate')
      .description('text from a prompt: the digital model beside chips, to read what noise does')
      .option('-m, --model <file>', 'GGUF model (default: the embedded one)')
      .requiredOption('-p, --prompt <text>', 'how the text begins'),
  )
    .option('--chat', "the prompt is a user's, put into the chat template of an instruct model")
    .option('-n, --tokens <n>', 'tokens to generate', integer(1, 2 ** 20), GENERATE_DEFAULTS.tokens)
    .option(
      '--chips <n>',
      'chip instances, decoded one after the other',
      integer(1, 1000),
      GENERATE_DEFAULTS.chips,
    )
    .option('--temperature <t>', '0 = the most likely token', number(0, 100), GENERATE_DEFAULTS.temperature)
    .option(
      '--top-k <k>',
      'sample among the k most likely tokens; 0: all',
      integer(0, 2 ** 31),
      GENERATE_DEFAULTS.topK,
    )
    .option(
      '--top-p <p>',
      'sample among the most likely tokens of this total probability',
      number(0, 1),
      GENERATE_DEFAULTS.topP,
    )
    .option(
      '--min-p <p>',
      'sample among tokens of at least this share of the largest probability',
      number(0, 1),
      GENERATE_DEFAULTS.minP,
    )
    .option(
      '--repeat-penalty <x>',
      'weaken what the last 64 tokens have; 1: not',
      number(0, 100),
      GENERATE_DEFAULTS.repeatPenalty,
    )
    .option(
      '--range-text <file>',
      `text that sets the converter ranges (default: the ranges in --image, or ${RANGE_TEXT})`,
    )
    .addOption(loraOption())
    .option('--image <file>', 'chip image of onefet map, in place of the mapping that the design asks for')
    .addOption(seedOption())
    .addOption(threadsOption())
    .addOption(engineOption())
    .addOption(precisionOption())
    .addOption(jsonOption())
    .action(async (flags) => {
      const { generate } = await import('../experiment/generate.ts');
      const streaming = !flags.json && stdout.isTTY;
      const onText = (label: string, piece: string) =>
        stdout.write(piece === '' ? `\n\n[${label}] ${flags.prompt}` : piece);
      const bar = progress();
      const onPrepare = (what: string, done: number, total: number) => {
        if (!streaming) bar.update(done, total, what);
      };
      try {
        const generation = await generate(
          {
            ...flags,
            model: flags.model ?? embedded().model,
            settings: flags.set,
            adapters: flags.lora,
          },
          { signal, onPrepare, onNotice: notice, ...(streaming ? { onText } : {}) },
        );
        bar.finish();
        printGenerated(flags.prompt, generation, flags.json === true, streaming === true);
      } finally {
        bar.finish();
      }
    });
}

const addRunOptions = (command: Command, chips = DESIGN_DEFAULTS.chips): Command =>
  designOptions(command)
    .option('--chips <n>', 'chip instances', integer(1, 100_000), chips)
    .addOption(seedOption())
    .addOption(threadsOption())
    .option(
      '-c, --context <tokens>',
      'window length (default: 512 or the context of the model)',
      integer(4, 2 ** 20),
    )
    .option('--max-windows <n>', 'score only the first windows', integer(1, 2 ** 30))
    .option(
      '--yield-ratio <x>',
      'a chip passes with at most this many times the digital perplexity',
      number(1, 1000),
      DESIGN_DEFAULTS.yieldRatio,
    )
    .option(
      '--resolve <nats>',
      'say how much text and how many chips would tell such a difference of NLL from nothing',
      number(1e-5, 10),
      RESOLVED_NATS,
    )
    .addOption(engineOption())
    .addOption(precisionOption())
    .option('--out <folder>', 'where run folders are made', DESIGN_DEFAULTS.out)
    .option('--no-report', 'do not write report.html')
    .option(
      '--require <condition>',
      'fail with exit code 5 unless it holds, as in "top1>=0.8" (repeatable)',
      collectRequirement,
      [],
    )
    .option(
      '--cost-context <tokens>',
      'context at which the projection to the 8B is priced',
      integer(1, 2 ** 24),
      DESIGN_DEFAULTS.costContextTokens,
    )
    .addOption(jsonOption());

function readRunFlags(
  flags: RunFlags & { model: string; text: string; score: 'window' | 'all' },
): RunOptions {
  return {
    model: flags.model,
    text: flags.text,
    rangeText: flags.rangeText,
    image: flags.image,
    design: flags.design,
    settings: flags.set,
    chips: flags.chips,
    seed: flags.seed,
    threads: flags.threads,
    contextTokens: flags.context,
    costContextTokens: flags.costContext,
    scoring: flags.score,
    maxWindows: flags.maxWindows,
    task: flags.task,
    taskKind: flags.kind,
    maxQuestions: flags.maxQuestions,
    engine: flags.engine,
    precision: flags.precision,
    attributionChips: attributionChips(flags),
    yieldRatio: flags.yieldRatio,
    resolveNats: flags.resolve,
    adapters: flags.lora,
    out: flags.out,
  };
}

/** Chips of `start` and of `--attribution` without a number: an interval at a third of the run's time. */
const ATTRIBUTION_CHIPS = 4;

function attributionChips({ attribution, chips }: RunFlags): number {
  if (attribution === undefined || attribution === false) return 0;
  return Math.min(chips, attribution === true ? ATTRIBUTION_CHIPS : attribution);
}

function checkRequirements(conditions: readonly string[], result: RunResult): void {
  for (const condition of conditions) requireResult(condition, result);
}
