/** `optimise`: a front of accuracy against energy, area and money. */
import { type Command, Option } from 'commander';
import { formatSi, plain } from '../format.ts';
import { MINIMISED, type Minimised, OPTIMISE_DEFAULTS, type OptimiseOptions } from '../optimise/options.ts';
import { missedTarget, type OptimisedPoint, type OptimiseResult } from '../optimise/result.ts';
import {
  type CliContext,
  collect,
  designOptions,
  integer,
  jsonOption,
  number,
  seedOption,
  threadsOption,
} from './options.ts';
import { printJson, printLines } from './print.ts';

interface OptimiseFlags {
  kl: number;
  minimise: Minimised;
  over: string;
  levels: string[];
  design: string;
  set: string[];
  model: string;
  text: string;
  selectText: string;
  rangeText?: string;
  context?: number;
  chips: number;
  maxWindows: number;
  reportChips: number;
  reportWindows?: number;
  points: number;
  rungs: number;
  keep: number;
  rounds: number;
  seed: number;
  threads: number;
  out: string;
  report: boolean;
  json?: boolean;
  dryRun?: boolean;
}

export function addOptimiseCommand(root: Command, context: CliContext): void {
  const defaults = OPTIMISE_DEFAULTS;
  designOptions(
    root
      .command('optimise')
      .description('search designs for the front of accuracy against energy, area and money; resumes'),
  )
    .option('--kl <nats>', 'largest KL to the digital model that will do', number(1e-6, 10), defaults.kl)
    .addOption(
      new Option('--minimise <price>', 'of the projected 8B: J per token, mm2, or $ per million tokens')
        .choices(MINIMISED)
        .default(defaults.minimise),
    )
    .option(
      '--over <axes>',
      'what is varied: device, tile.rows, adc, sharing, fullScaleA, trim, process, or a key with --levels',
      defaults.over.join(),
    )
    .option(
      '--levels <key=a,b,c>',
      'levels of an axis, as in --levels gate=0.5,0.7,1 (repeatable)',
      collect,
      [],
    )
    .option('-m, --model <file>', 'GGUF model', String(defaults.base.model))
    .option('--select-text <file>', 'text that points are chosen on', defaults.selectText)
    .option('-f, --text <file>', 'text that is reported, disjoint from --select-text', defaults.text)
    .option('--range-text <file>', 'text that sets the converter ranges, disjoint from both')
    .option('-c, --context <tokens>', 'window length', integer(4, 2 ** 20))
    .option('--chips <n>', 'chips of the last rung', integer(1, 100_000), defaults.chips)
    .option('--max-windows <n>', 'windows of the last rung', integer(1, 2 ** 30), defaults.maxWindows)
    .option('--report-chips <n>', 'chips on the reported text', integer(1, 100_000), defaults.reportChips)
    .option('--report-windows <n>', 'windows of the reported text (default: all)', integer(1, 2 ** 30))
    .option('--points <n>', 'points of the first rung', integer(1, 10_000), defaults.points)
    .option(
      '--rungs <n>',
      'each has twice the chips and windows of the one before',
      integer(1, 10),
      defaults.rungs,
    )
    .option('--keep <share>', 'share of a rung that goes on to the next', number(0.01, 1), defaults.kept)
    .option('--rounds <n>', 'rounds of refinement around the front', integer(0, 100), defaults.rounds)
    .addOption(seedOption())
    .addOption(threadsOption())
    .option('--out <folder>', 'where run folders and the folder of the search are made', defaults.out)
    .option('--no-report', 'do not write report.html')
    .option('--dry-run', 'check options and texts, print what is searched, and stop')
    .addOption(jsonOption())
    .action(async (flags: OptimiseFlags) => optimiseCommand(flags, context));
}

async function optimiseCommand(
  flags: OptimiseFlags,
  { signal, argv, progress, notice }: CliContext,
): Promise<void> {
  const { estimateOptimise, planOptimise } = await import('../optimise/plan.ts');
  const plan = planOptimise(await readFlags(flags));
  for (const warning of plan.warnings) notice(warning);
  if (flags.dryRun) {
    const estimate = estimateOptimise(plan);
    const axes = [...plan.axes, ...plan.pricedAxes];
    if (flags.json) printJson({ folder: plan.folder, axes, rungs: plan.rungs, ...estimate });
    else {
      printLines([
        ...axes.map(({ name, levels }) => `axis          ${name}: ${levels.join(', ')}`),
        ...plan.rungs.map(
          ({ chips, maxWindows }, i) =>
            `rung ${i + 1}        at most ${estimate.candidates[i]} points at first, ${chips} chips, ${maxWindows} windows`,
        ),
        `chip tokens   ${estimate.chipTokens} at most before refinement and report`,
        `folder        ${plan.folder}`,
      ]);
    }
    return;
  }
  const { optimise } = await import('../optimise/optimise.ts');
  const bar = progress();
  try {
    const { folder, result } = await optimise(plan, {
      signal,
      command: argv,
      onNotice: notice,
      onProgress: (done, total, label, leftS) => bar.update(done, total, label, leftS),
    });
    bar.finish();
    const page = flags.report
      ? (await import('../report/optimise/optimise.ts')).writeOptimiseReport(folder, result)
      : undefined;
    if (flags.json) printJson({ folder, ...result });
    else
      printLines([
        ...resultLines(result),
        '',
        `results  ${folder}/results.csv`,
        ...(page ? [`report   ${page}`] : []),
      ]);
  } finally {
    bar.finish();
  }
}

async function readFlags(flags: OptimiseFlags): Promise<OptimiseOptions> {
  const { listChanges } = await import('../config.ts');
  const { design, model, rangeText, context, set } = flags;
  const base = {
    design,
    model,
    ...(rangeText === undefined ? {} : { rangeText }),
    ...(context === undefined ? {} : { contextTokens: context }),
    seed: flags.seed,
    ...listChanges(set),
  };
  const { kl, minimise, levels, selectText, text, chips, maxWindows, reportChips } = flags;
  const { points, rungs, keep: kept, rounds } = flags;
  return {
    ...{
      kl,
      minimise,
      levels,
      selectText,
      text,
      chips,
      maxWindows,
      reportChips,
      points,
      rungs,
      kept,
      rounds,
      base,
    },
    over: flags.over.split(',').flatMap((word) => word.trim() || []),
    reportWindows: flags.reportWindows,
    ...{ seed: flags.seed, threads: flags.threads, out: flags.out },
  };
}

/** The front, and what was chosen. */
function resultLines(result: OptimiseResult): string[] {
  const { points, choice, kl, minimise, evaluated, refused, text, selectText } = result;
  const missed = missedTarget(result);
  const rows = points.filter(({ report }) => report !== null);
  const head = ['', 'KL select', 'KL report', 'mJ', 'mm2', '$/Mtoken', 'settings'];
  const table = [head, ...rows.map((point) => cells(point, points.indexOf(point) === choice))];
  const widths = head.map((_, i) => Math.max(...table.map((line) => line[i].length)));
  const chosen = choice === null ? undefined : points[choice];
  return [
    `${evaluated} points, ${refused.length} refused; chosen on ${selectText}, reported on ${text}`,
    '',
    ...table.map((line) =>
      line.map((cell, i) => (i === head.length - 1 ? cell : cell.padStart(widths[i]))).join('  '),
    ),
    '',
    chosen
      ? `least ${minimise} of KL up to ${kl} nats: ${chosen.command}`
      : `no point has a KL up to ${kl} nats on ${selectText}`,
    ...(missed ? [`WARNING: ${missed}`] : []),
  ];
}

function cells({ settings, base, selection, report }: OptimisedPoint, chosen: boolean): string[] {
  const { kl, prices } = report!;
  const interval = kl.textAndChipsCi95 ?? kl.chipsCi95;
  const settingWords = Object.entries(settings).map(
    ([key, value]) =>
      `${key}=${typeof value === 'number' && Math.abs(value) < 1e-3 ? formatSi(value, '') : value}`,
  );
  return [
    `${chosen ? '>' : ''}${base ? 'base' : ''}`,
    plain(selection.kl.mean, 3),
    interval
      ? `${plain(kl.mean, 3)} (${plain(interval[0], 3)} to ${plain(interval[1], 3)})`
      : plain(kl.mean, 3),
    plain(prices.energyJ * 1e3, 3),
    plain(prices.areaMm2, 4),
    plain(prices.usdPerMtoken, 3),
    settingWords.join(' ') || '(none)',
  ];
}
