/** `list`, `show`, `init` and `clean`: what there is, what it means, how to begin, and how to tidy up. */
import { stdout } from 'node:process';
import { Argument, type Command } from 'commander';
import { formatSi } from '../format.ts';
import type { ListRow } from '../workspace/list.ts';
import { designOptions, jsonOption, number } from './options.ts';
import { printJson, printLines } from './print.ts';

const LISTABLE = ['cells', 'processes', 'designs', 'keys', 'models', 'runs'] as const;
const TEMPLATES = ['design', 'process', 'cell', 'topology'] as const;

export function addWorkspaceCommands(root: Command): void {
  addList(root);
  addShow(root);
  addInit(root);
  addClean(root);
}

function addList(root: Command): void {
  root
    .command('list')
    .description('what there is: of the working folder and of the package')
    .addArgument(new Argument('<what>', 'kind of thing').choices(LISTABLE))
    .option('--process <name>', 'of cells: those of this process')
    .option('--design <name>', 'of keys: those of this design', 'log-domain')
    .option('--out <folder>', 'of runs: where run folders are', 'runs')
    .option('--csv', 'print as CSV')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  onefet list cells\n  onefet list keys --design digital\n  onefet list runs --csv > runs.csv',
    )
    .action(async (what: (typeof LISTABLE)[number], flags) => {
      const { listThings } = await import('../workspace/list.ts');
      const rows = listThings(what, { runs: flags.out, design: flags.design, process: flags.process });
      if (flags.json) printJson({ schema: 'onefet.list/1', what, rows });
      else if (flags.csv) stdout.write((await import('../csv.ts')).toCsv(rows));
      else printLines(rows.length === 0 ? [`no ${what}`] : table(rows));
    });
}

function addShow(root: Command): void {
  designOptions(
    root
      .command('show')
      .description('what a key of a design means and may be, its value, and where that comes from')
      .addArgument(new Argument('<what>', 'whose keys').choices(['design']))
      .argument('[key]', 'a key or a group of them, as in adc.bits or adc (default: all)'),
  )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  onefet show design adc.bits\n  onefet show design driver --set driver.offsetSigmaV=1e-3',
    )
    .action(async (_what: string, key: string | undefined, flags) => {
      const { showDesign } = await import('../workspace/show.ts');
      const { valueText } = await import('../workspace/list.ts');
      const keys = showDesign(flags.design, flags.set, key);
      if (flags.json) {
        printJson({ schema: 'onefet.keys/1', design: flags.design, keys });
        return;
      }
      for (const { key, value, unit, allowed, description, default: usual, source, tag } of keys) {
        printLines([
          `${key} = ${valueText(value)}${unit ? ` ${unit}` : ''}`,
          `  ${description}`,
          `  takes    ${allowed}${usual === undefined ? '' : `; default ${valueText(usual)}`}`,
          `  origin   ${tag}${source ? `: ${source}` : ''}`,
        ]);
      }
    });
}

function addInit(root: Command): void {
  root
    .command('init')
    .description('a copy in the working folder of something that works, to change')
    .addArgument(new Argument('<what>', 'kind of template').choices(TEMPLATES))
    .argument('<name>', 'name of the copy')
    .option('--from <name>', 'what is copied (default: what onefet start uses)')
    .option('--process <name>', 'of a cell: the process that it belongs to', 'planar32lp')
    .option('--width-um <w>', 'of a cell: gate width, um', number(1e-3, 1e3))
    .option('--length-um <l>', 'of a cell: gate length, um', number(1e-3, 1e3))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  onefet init design mine\n  onefet init process my28 --from planar32lp\n  onefet init cell t1-mid --width-um 0.4 --length-um 0.2',
    )
    .action(async (what: (typeof TEMPLATES)[number], name: string, flags) => {
      const { initTemplate } = await import('../workspace/init.ts');
      const metres = (um: number | undefined) => (um === undefined ? undefined : um * 1e-6);
      const made = initTemplate(what, {
        name,
        from: flags.from,
        process: flags.process,
        widthM: metres(flags.widthUm),
        lengthM: metres(flags.lengthUm),
      });
      if (flags.json) printJson(made);
      else
        printLines([
          ...made.files.map((file) => `wrote    ${file}`),
          ...(made.edit ?? []).map((line) => `edit     ${line}`),
          ...made.next.map((line) => `next     ${line}`),
        ]);
    });
}

function addClean(root: Command): void {
  root
    .command('clean')
    .description('remove the caches below .onefet/cache, which are made again; with --runs also run folders')
    .option('--runs [folder]', 'also every run folder there (default: runs)')
    .option('--dry-run', 'say what would be removed, and stop')
    .addOption(jsonOption())
    .action(async (flags: { runs?: string | true; dryRun?: boolean; json?: boolean }) => {
      const { clean } = await import('../workspace/clean.ts');
      const runs = flags.runs === true ? 'runs' : flags.runs;
      const cleaned = clean({ runs, dryRun: flags.dryRun === true });
      if (flags.json) {
        printJson({ schema: 'onefet.clean/1', dryRun: flags.dryRun === true, cleaned });
        return;
      }
      const bytes = cleaned.filter(({ reason }) => !reason).reduce((sum, each) => sum + each.bytes, 0);
      printLines([
        ...cleaned.map(
          ({ path, bytes, reason }) =>
            `${formatSi(bytes, 'B').padStart(8)}  ${path}${reason ? `  stays: ${reason}` : ''}`,
        ),
        `${formatSi(bytes, 'B')} ${flags.dryRun ? 'would be' : 'were'} freed`,
      ]);
    });
}

/** Most characters of a column but the last on a terminal. */
const WIDEST = 44;

/** Columns of the rows, in the order in which they first appear. */
function table(rows: readonly ListRow[]): string[] {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const text = (value: ListRow[string] | undefined) =>
    value === null || value === undefined ? '' : String(value);
  const lines = [names, ...rows.map((row) => names.map((name) => text(row[name])))];
  const widths = names.map((_, i) => Math.min(WIDEST, Math.max(...lines.map((line) => line[i].length))));
  return lines.map((line) =>
    line
      .map((cell, i) => (i === names.length - 1 ? cell : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}
