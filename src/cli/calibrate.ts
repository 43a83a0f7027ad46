/** `calibrate`: cells in SPICE. */
import type { Command } from 'commander';
import { type CliContext, jsonOption, threadsOption } from './options.ts';
import { printCalibration } from './print.ts';

interface CalibrateFlags {
  process: string;
  cell: string;
  threads: number;
  json?: boolean;
}

export function addCalibrateCommands(root: Command, { signal, progress }: CliContext): void {
  root
    .command('calibrate')
    .description('simulate a cell in SPICE, fit it and write calibration/<process>/<cell>.json')
    .option('--process <name>', 'folder below spice/', 'planar32lp')
    .option('--cell <name>', 'cell of that process', 't1-large')
    .addOption(threadsOption())
    .addOption(jsonOption())
    .action(async (flags: CalibrateFlags) => {
      const { calibrateToFile } = await import('../cell/calibrate.ts');
      const bar = progress();
      try {
        const made = await calibrateToFile({
          process: flags.process,
          cell: flags.cell,
          threads: flags.threads,
          signal,
          onProgress: ({ done, total, label }) => bar.update(done, total, label),
        });
        bar.finish();
        printCalibration(made, flags.json === true);
      } finally {
        bar.finish();
      }
    });
}
