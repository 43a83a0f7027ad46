/**
 * The command line: parses, calls and prints. Data goes to stdout, progress and logs to stderr; exit codes are in
 * error.ts. No physics here.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { printCalibration, printGenerated, printInspection, printRun } from './cli-print.ts';
import { EXIT_CODES, OnefetError } from './error.ts';
import type { RunOptions } from './experiment/plan.ts';
import { parseRequirement, requireResult } from './experiment/require.ts';
import type { RunResult } from './experiment/result.ts';
import { packageVersion, requireDataFile } from './files.ts';
import { stderrProgress } from './progress.ts';

/** What `onefet start` and the defaults of the other commands use. */
const EMBEDDED_MODEL = 'experiments/models/onefet-stories-f16.gguf';
const EMBEDDED_TEXT = 'experiments/texts/stories.txt';
const RANGE_TEXT = 'experiments/texts/range.txt';

const EXIT_CODE_HELP = `
Exit codes: 0 ok, 1 internal error, 2 usage or configuration, 3 input missing or invalid, 4 simulation or fit
failed, 5 result below --require, 130 interrupted.`;

/** Runs the command line and sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const interrupt = new AbortController();
  const onSignal = () => {
    // The first Ctrl-C stops in order, the second at once.
    if (interrupt.signal.aborted) process.exit(EXIT_CODES.interrupted);
    interrupt.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // A reader that closes the pipe early (head, less) is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    await program(interrupt.signal, argv).parseAsync([...argv], { from: 'user' });
  } catch (error) {
    process.exitCode = reportError(error);
  } finally {
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onSignal);
  }
}

function reportError(error: unknown): number {
  if (error instanceof CommanderError) {
    // commander has printed its message; --help and --version end with 0.
    return error.exitCode === 0 ? 0 : EXIT_CODES.usage;
  }
  if (error instanceof OnefetError) {
    process.stderr.write(`onefet: ${error.message}\n`);
    if (error.hint) process.stderr.write(`  mend: ${error.hint}\n`);
    if (error.kind === 'internal' || process.env.ONEFET_DEBUG) process.stderr.write(`${error.stack}\n`);
    return error.exitCode;
  }
  process.stderr.write(
    `onefet: internal error: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`,
  );
  return EXIT_CODES.internal;
}

const collect = (value: string, previous: string[]) => [...previous, value];

/** Collects --require, and finds a typo before the run and not after it. */
function collectRequirement(value: string, previous: string[]): string[] {
  parseRequirement(value);
  return [...previous, value];
}

function integer(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new InvalidArgumentError(`expected a number from ${low} to ${high}.`);
    }
    return value;
  };
}

function program(signal: AbortSignal, argv: readonly string[]): Command {
  const root = new Command('onefet')
    .description(
      'Could a chip multiply with one transistor? SPICE-calibrated log-domain cells run a Llama model,\nwith noise and process variation, and report accuracy, energy, area and speed.',
    )
    .version(packageVersion())
    .option('--quiet', 'no progress on stderr')
    .exitOverride()
    .showHelpAfterError('(onefet --help lists the commands)')
    .addHelpText(
      'after',
      `
Examples:
  onefet start                              the whole chain on the embedded model
  onefet run --chips 10 --json              accuracy of ten chips as one JSON object
  onefet run --model llama-3.1-8b.gguf --text wiki.test.raw --set adc.bits=7
  onefet generate --prompt "Once upon a time"
  onefet calibrate --process planar32lp --cell t1
${EXIT_CODE_HELP}`,
    );
  const progress = () => stderrProgress(!root.opts<{ quiet?: boolean }>().quiet);
  const threadsOption = () =>
    new Option('--threads <n>', 'worker threads; results do not depend on it')
      .argParser(integer(1, 256))
      .default(2);
  const seedOption = () =>
    new Option('--seed <n>', 'seed of all random draws').argParser(integer(0, 2 ** 48)).default(1);
  const designOptions = (command: Command) =>
    command
      .option('--design <name>', 'design: a name below experiments/designs, or a YAML file', 'log-domain')
      .option(
        '--set <key=value>',
        'override a key of the design, as in --set adc.bits=6 (repeatable)',
        collect,
        [],
      );

  const runOptions = (command: Command) =>
    designOptions(command)
      .option('--chips <n>', 'chip instances', integer(1, 100_000), 10)
      .addOption(seedOption())
      .addOption(threadsOption())
      .option(
        '--context <tokens>',
        'window length (default: 512 or the context of the model)',
        integer(4, 2 ** 20),
      )
      .option('--max-windows <n>', 'score only the first windows', integer(1, 2 ** 30))
      .option(
        '--yield-ratio <x>',
        'a chip passes with at most this many times the digital perplexity',
        number(1, 1000),
        1.1,
      )
      .addOption(
        new Option('--kernel <name>', 'tile kernel').choices(['baked', 'reference']).default('baked'),
      )
      .option('--out <folder>', 'where run folders are made', 'runs')
      .option('--no-report', 'do not write report.html')
      .option(
        '--require <condition>',
        'fail with exit code 5 unless it holds, as in "top1>=0.8" (repeatable)',
        collectRequirement,
        [],
      )
      .option('--json', 'print the result as one JSON object');

  runOptions(
    root
      .command('start')
      .description(
        'calibrate from SPICE, run the embedded model on chips, write the report: the whole chain',
      ),
  ).action(async (options: RunFlags) => {
    const { startRun } = await import('./commands.ts');
    const result = await startRun(runOptionsOf({ ...options, ...embedded(), attribution: true }), {
      progress: progress(),
      signal,
      command: argv,
      report: options.report,
    });
    printRun(result, options.json === true);
    checkRequirements(options.require, result.result);
  });

  runOptions(
    root
      .command('run')
      .description('accuracy of chips against the digital model, and what a token costs')
      .option('--model <file>', 'GGUF model (default: the embedded one)')
      .option('--text <file>', 'text to score (default: the embedded one)')
      .option('--range-text <file>', 'text that sets the converter ranges, disjoint from --text', RANGE_TEXT)
      .addOption(
        new Option('--score <mode>', "llama.cpp's windows, or every token of each document")
          .choices(['window', 'all'])
          .default('window'),
      )
      .option('--attribution', 'also run every source of error alone: what limits the accuracy')
      .option('--dry-run', 'print jobs, memory and folder, and stop'),
  ).action(async (options: RunFlags) => {
    const { runToFolder, describePlan } = await import('./commands.ts');
    const { planRun } = await import('./experiment/plan.ts');
    const defaults = embedded();
    const plan = planRun(
      runOptionsOf({
        ...options,
        model: options.model ?? defaults.model,
        text: options.text ?? defaults.text,
      }),
    );
    if (options.dryRun) {
      const description = describePlan(plan);
      process.stdout.write(
        options.json ? `${JSON.stringify(description)}\n` : `${formatPlain(description)}\n`,
      );
      return;
    }
    const result = await runToFolder(plan, {
      progress: progress(),
      signal,
      command: argv,
      report: options.report,
    });
    printRun(result, options.json === true);
    checkRequirements(options.require, result.result);
  });

  designOptions(
    root
      .command('generate')
      .description('text from a prompt: the digital model beside chips, to read what noise does')
      .option('--model <file>', 'GGUF model (default: the embedded one)')
      .requiredOption('--prompt <text>', 'how the text begins'),
  )
    .option('--tokens <n>', 'tokens to generate', integer(1, 2 ** 20), 60)
    .option('--chips <n>', 'chip instances', integer(1, 1000), 2)
    .option('--temperature <t>', '0 = the most likely token', number(0, 100), 0)
    .option('--top-p <p>', 'sample among the most likely tokens of this total probability', number(0, 1), 1)
    .option('--range-text <file>', 'text that sets the converter ranges', RANGE_TEXT)
    .addOption(seedOption())
    .option('--json', 'print one JSON object')
    .action(async (options) => {
      const { generate } = await import('./experiment/generate.ts');
      const streaming = !options.json && process.stdout.isTTY;
      const texts = await generate(
        { ...options, model: options.model ?? embedded().model, settings: options.set },
        {
          signal,
          ...(streaming
            ? {
                onText: (label, piece) =>
                  process.stdout.write(piece === '' ? `\n\n[${label}] ${options.prompt}` : piece),
              }
            : {}),
        },
      );
      printGenerated(options.prompt, texts, options.json === true, streaming === true);
    });

  root
    .command('calibrate')
    .description('simulate a cell in SPICE, fit it and write calibration/<process>/<cell>.json')
    .option('--process <name>', 'folder below spice/', 'planar32lp')
    .option('--cell <name>', 'cell of that process', 't1-large')
    .addOption(threadsOption())
    .option('--json', 'print the calibration summary as one JSON object')
    .action(async (options) => {
      const { calibrateToFile } = await import('./cell/calibrate.ts');
      const bar = progress();
      try {
        const made = await calibrateToFile({
          process: options.process,
          cell: options.cell,
          threads: options.threads,
          signal,
          onProgress: ({ done, total, label }) => bar.update(done, total, label),
        });
        bar.finish();
        printCalibration(made, options.json === true);
      } finally {
        bar.finish();
      }
    });

  root
    .command('report')
    .description('write report.html of a run folder again')
    .argument('<folder>', 'a folder below runs/')
    .action(async (folder: string) => {
      const { reportOfFolder } = await import('./commands.ts');
      process.stdout.write(`${await reportOfFolder(folder)}\n`);
    });

  root
    .command('inspect')
    .description('what a GGUF model holds: shape, tensor types, tokenizer')
    .argument('[model]', 'GGUF file (default: the embedded one)')
    .option('--json', 'print one JSON object')
    .action(async (path: string | undefined, options) => {
      const { openModel } = await import('./model/model.ts');
      const model = openModel(path ?? embedded().model);
      try {
        printInspection(model, options.json === true);
      } finally {
        model.close();
      }
    });
  return root;
}

interface RunFlags {
  model?: string;
  text?: string;
  rangeText?: string;
  design: string;
  set: string[];
  chips: number;
  seed: number;
  threads: number;
  context?: number;
  score?: 'window' | 'all';
  maxWindows?: number;
  kernel: 'baked' | 'reference';
  attribution?: boolean;
  yieldRatio: number;
  out: string;
  report: boolean;
  require: string[];
  json?: boolean;
  dryRun?: boolean;
}

function embedded(): { model: string; text: string } {
  return {
    model: requireDataFile(EMBEDDED_MODEL, 'embedded model'),
    text: requireDataFile(EMBEDDED_TEXT, 'embedded text'),
  };
}

function runOptionsOf(flags: RunFlags & { model: string; text: string }): RunOptions {
  return {
    model: flags.model,
    text: flags.text,
    rangeText: flags.rangeText ?? RANGE_TEXT,
    design: flags.design,
    settings: flags.set,
    chips: flags.chips,
    seed: flags.seed,
    threads: flags.threads,
    contextTokens: flags.context,
    scoring: flags.score ?? 'window',
    maxWindows: flags.maxWindows,
    kernel: flags.kernel,
    attribution: flags.attribution === true,
    yieldRatio: flags.yieldRatio,
    out: flags.out,
  };
}

function checkRequirements(conditions: readonly string[], result: RunResult): void {
  for (const condition of conditions) requireResult(condition, result);
}

function formatPlain(description: Record<string, unknown>): string {
  return Object.entries(description)
    .map(([key, value]) => `${key.padEnd(16)} ${value}`)
    .join('\n');
}
