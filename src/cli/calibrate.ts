/** `calibrate` and `datasheet`: cells in SPICE or from a lab. */
import type { Command } from 'commander';
import { findDataFile } from '../files.ts';
import { type CliContext, jsonOption, number, threadsOption } from './options.ts';
import { printCalibration, printJson, printLines } from './print.ts';

interface CalibrateFlags {
  process?: string;
  cell: string;
  all?: boolean;
  html?: string;
  studies?: boolean;
  csv?: string;
  constants?: string;
  supplement?: string;
  threads: number;
  timeout?: number;
  json?: boolean;
}

const DEFAULT_PROCESS = 'planar32lp';
const DEFAULT_CELL = 't1-large';

export function addCalibrateCommands(root: Command, context: CliContext): void {
  root
    .command('calibrate')
    .description('simulate a cell in SPICE, fit it and write calibration/<process>/<cell>.json')
    .option('--process <name>', `folder below spice/ (default: ${DEFAULT_PROCESS}; with --all: every one)`)
    .option('--cell <name>', 'cell of that process', DEFAULT_CELL)
    .option('--all', 'every cell, converter, selector and ROM of the process, and a comparison of the cells')
    .option('--html <folder>', 'with --all: write comparison-<process>.html there', 'runs')
    .option('--studies', 'also column, statistics, noise and transient studies of the cell')
    .option(
      '--csv <file>',
      'measured data in place of SPICE: vgs_v,vds_v,temp_c,id_a[,ig_a][,corner][,device]',
    )
    .option('--constants <file>', 'with --csv: YAML with noise and capacitance')
    .option('--supplement <cell>', 'with --csv: simulated cell of the same size for what was not measured')
    .addOption(threadsOption())
    .option(
      '--timeout <s>',
      'limit of each simulation, s (default: 60, of studies up to 240)',
      number(0.1, 86_400),
    )
    .addOption(jsonOption())
    .action(async (flags: CalibrateFlags) => {
      if (flags.all) await calibrateEverything(flags, context);
      else if (flags.csv !== undefined) await calibrateMeasured(flags, flags.csv);
      else await calibrateCell(flags, context);
    });

  root
    .command('datasheet')
    .description('check a calibration against its specifications; Markdown and HTML with every sweep')
    .option('--process <name>', 'folder below spice/', DEFAULT_PROCESS)
    .option('--cell <name>', 'cell of that process', DEFAULT_CELL)
    .option('--spec <file>', 'specifications (default: calibration/datasheets/<process>/<cell>.yaml)')
    .option('--out <folder>', 'where the pages are written', 'runs/datasheets')
    .option('--strict', 'fail with exit code 5 when a specification does not hold')
    .addOption(jsonOption())
    .action(
      async (flags: {
        process: string;
        cell: string;
        spec?: string;
        out: string;
        strict?: boolean;
        json?: boolean;
      }) => {
        const { writeDatasheet, requireDatasheet } = await import('../report/datasheet.ts');
        const result = writeDatasheet({
          process: flags.process,
          cell: flags.cell,
          outFolder: flags.out,
          ...(flags.spec === undefined ? {} : { specPath: flags.spec }),
        });
        const { sheet, markdownPath, htmlPath } = result;
        if (flags.json) printJson({ ...result });
        else {
          printLines([
            `${flags.process}/${flags.cell}: ${sheet.passed} specifications hold, ${sheet.failed} do not`,
            ...sheet.rows
              .filter(({ verdict }) => verdict === 'fail')
              .map(
                (row) =>
                  `  fails: ${[row.title, row.condition].filter(Boolean).join(', ')}${row.remark ? `: ${row.remark}` : ''}`,
              ),
            `datasheet  ${markdownPath}`,
            `page       ${htmlPath}`,
          ]);
        }
        if (flags.strict) requireDatasheet(result);
      },
    );
}

/** The time limit of a simulation, where one was given. */
const limit = ({ timeout }: CalibrateFlags) => (timeout === undefined ? {} : { timeoutS: timeout });

async function calibrateCell(flags: CalibrateFlags, { signal, progress }: CliContext): Promise<void> {
  const { calibrateToFile } = await import('../calibrate/calibrate.ts');
  const bar = progress();
  const process = flags.process ?? DEFAULT_PROCESS;
  if (flags.studies) (await import('../calibrate/studies/studies.ts')).requireStudies(process, flags.cell);
  try {
    const made = await calibrateToFile({
      process,
      cell: flags.cell,
      threads: flags.threads,
      ...limit(flags),
      signal,
      onProgress: ({ done, total, label }) => bar.update(done, total, label),
    });
    bar.finish();
    printCalibration(made, flags.json === true);
    if (!flags.json) await pointToDatasheet(process, flags.cell);
    if (!flags.studies) return;
    const { characteriseStudies } = await import('../calibrate/studies/studies.ts');
    let runs = 0;
    const paths = await characteriseStudies({
      process,
      cell: flags.cell,
      threads: flags.threads,
      ...limit(flags),
      signal,
      // The number of simulations is not known before: the label counts them.
      onRun: (label) => bar.update(0, 1, `${label} (simulation ${++runs})`),
    });
    bar.finish();
    printLines(paths.map((path) => `study        ${path}`));
  } finally {
    bar.finish();
  }
}

async function calibrateMeasured(flags: CalibrateFlags, csvPath: string): Promise<void> {
  const { calibrateFromCsvToFile } = await import('../calibrate/measured/measured.ts');
  const made = calibrateFromCsvToFile({
    process: flags.process ?? DEFAULT_PROCESS,
    cell: flags.cell,
    csvPath,
    ...(flags.constants === undefined ? {} : { constantsPath: flags.constants }),
    ...(flags.supplement === undefined ? {} : { supplementCell: flags.supplement }),
  });
  const { skipped, hysteresis, completed } = made.summary;
  if (!flags.json) {
    const percent = (x: number) => `${(100 * x).toFixed(2)} %`;
    printLines([
      ...skipped.map(({ reason, rows }) => `skipped  ${rows} ${rows === 1 ? 'row' : 'rows'}: ${reason}`),
      ...Object.entries(completed).map(
        ([corner, { measured, missing }]) =>
          `${corner}  ${measured} points above the floor move ${flags.supplement}; from it: ${missing.join(', ')}`,
      ),
      ...(hysteresis
        ? [
            `hysteresis  up and down are ${percent(hysteresis.rms)} RMS apart, ${percent(hysteresis.max)} at most, at ${hysteresis.points} points; they are averaged`,
          ]
        : []),
    ]);
  }
  printCalibration(made, flags.json === true, made.summary);
}

/** A fit alone does not say whether the cell is good enough: its datasheet does, where it has one. */
async function pointToDatasheet(process: string, cell: string): Promise<void> {
  const { datasheetPath } = await import('../cell/datasheet/datasheet.ts');
  if (findDataFile(datasheetPath(process, cell)))
    printLines([`next         onefet datasheet --process ${process} --cell ${cell}`]);
}

async function calibrateEverything(flags: CalibrateFlags, { signal, progress }: CliContext): Promise<void> {
  const { calibrateAll } = await import('../calibrate/calibrate-all.ts');
  const bar = progress();
  try {
    const { comparisons, paths } = await calibrateAll({
      threads: flags.threads,
      ...limit(flags),
      signal,
      onProgress: ({ done, total, label }) => bar.update(done, total, label),
      ...(flags.process === undefined ? {} : { process: flags.process }),
    });
    bar.finish();
    const { writeComparison } = await import('../report/cell-comparison.ts');
    const pages = comparisons.flatMap((comparison) => writeComparison(comparison, flags.html));
    if (flags.json) {
      printJson({ comparisons, paths: [...paths, ...pages] });
      return;
    }
    for (const { process, cells } of comparisons) {
      printLines([
        '',
        `${process}: error of the product (RMS / max), sigma of ln I from mismatch, area per weight`,
      ]);
      for (const cell of cells) {
        const percent = (x: number) => `${(100 * x).toFixed(2)} %`;
        const area = cell.areaM2 === undefined ? '-' : `${(cell.areaM2 * 1e12).toPrecision(3)} um2`;
        printLines([
          `  ${cell.cell.padEnd(12)} 27 C ${percent(cell.nominal.rms)} / ${percent(cell.nominal.max)}   worst to 85 C ${percent(cell.worstBelow85C.rms)}   sigma ${percent(cell.lnSigma)}   ${area}`,
        ]);
      }
    }
    printLines(['', ...[...paths, ...pages].map((path) => `wrote  ${path}`)]);
  } finally {
    bar.finish();
  }
}
