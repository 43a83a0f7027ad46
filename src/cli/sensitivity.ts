/** `sensitivity`: what each matrix of a chip image costs its model. */
import type { Command } from 'commander';
import type { EngineChoice } from '../engine/names.ts';
import { OnefetError } from '../error.ts';
import { type CliContext, embedded, engineOption, integer, jsonOption, threadsOption } from './options.ts';
import { printSensitivity, printSensitivityPlan } from './print.ts';

interface SensitivityFlags {
  image: string;
  model?: string;
  text?: string;
  tokens: number;
  every: number;
  out?: string;
  threads: number;
  engine: EngineChoice;
  json?: boolean;
  dryRun?: boolean;
}

export function addSensitivityCommand(root: Command, { signal, progress }: CliContext): void {
  root
    .command('sensitivity')
    .description(
      'measure what each matrix of a chip image costs its model: where mapping.cellsPerWeight goes',
    )
    .requiredOption('--image <file>', 'chip image of onefet map, of 3 or of 4 bits')
    .option('-m, --model <file>', 'GGUF model (default: the embedded one)')
    .option('--text <file>', 'text, disjoint from what is scored (default: as mapping.text)')
    .option('--tokens <n>', 'tokens of it, half of them scored', integer(64, 2 ** 16), 512)
    .option(
      '--every <n>',
      'measure every so many blocks, the first two and the last two, and take the rest between them',
      integer(1, 64),
      1,
    )
    .option('--out <file>', 'file to write, for --set mapping.sensitivity=<file>')
    .option('--dry-run', 'print time and memory that it will take, and stop')
    .addOption(threadsOption())
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(async (flags: SensitivityFlags) => {
      const { describeSensitivity, measureSensitivity } = await import(
        '../experiment/sensitivity-command.ts'
      );
      const options = { ...flags, model: flags.model ?? embedded().model };
      if (flags.dryRun) {
        printSensitivityPlan(await describeSensitivity(options), flags.json === true);
        return;
      }
      const { out } = flags;
      if (out === undefined) {
        throw new OnefetError('usage', 'SENSITIVITY_OUT', 'sensitivity needs --out: the file to write', {
          hint: '--out sensitivity.yaml, or --dry-run to see what it takes',
        });
      }
      const bar = progress();
      try {
        const onProgress = (share: number, label: string) => bar.update(share, 1, label);
        const measured = await measureSensitivity({ ...options, out }, { signal, onProgress });
        bar.finish();
        printSensitivity(out, measured, flags.json === true);
      } finally {
        bar.finish();
      }
    });
}
