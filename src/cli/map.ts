/** `map`: a chip image of a model for a design. */
import type { Command } from 'commander';
import type { EngineChoice } from '../engine/names.ts';
import { OnefetError } from '../error.ts';
import type { AdapterChoice } from '../model/adapter-choice.ts';
import {
  type CliContext,
  designOptions,
  embedded,
  engineOption,
  jsonOption,
  loraOption,
  threadsOption,
} from './options.ts';
import { printMapping, printMappingPlan } from './print.ts';

interface MapFlags {
  model?: string;
  design: string;
  set: string[];
  out?: string;
  lora?: AdapterChoice[];
  steps?: boolean;
  ranges: boolean;
  threads: number;
  engine: EngineChoice;
  json?: boolean;
  dryRun?: boolean;
}

export function addMapCommand(root: Command, { signal, progress, notice }: CliContext): void {
  designOptions(
    root
      .command('map')
      .description('map a trained model onto the hardware of a design: the chip image that run --image takes')
      .option('-m, --model <file>', 'GGUF model (default: the embedded one)')
      .addOption(loraOption()),
  )
    .option('--out <file>', 'image to write; one that was interrupted is gone on with')
    .option('--steps', 'measure the error after every step, which takes about twice as long')
    .option('--no-ranges', "do not measure the converters' ranges: a run on the image does")
    .option('--dry-run', 'print time and memory that it will take, and stop')
    .addOption(threadsOption())
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(async (flags: MapFlags) => {
      const { describeMapping, mapModelFile } = await import('../experiment/map-command.ts');
      const options = {
        ...flags,
        model: flags.model ?? embedded().model,
        settings: flags.set,
        adapters: flags.lora,
      };
      if (flags.dryRun) {
        printMappingPlan(await describeMapping(options), flags.json === true);
        return;
      }
      const { out } = flags;
      if (out === undefined) {
        throw new OnefetError('usage', 'MAP_OUT', 'map needs --out: the image to write', {
          hint: '--out model.image, or --dry-run to see what it takes',
        });
      }
      const bar = progress();
      try {
        const report = await mapModelFile(
          { ...options, out },
          {
            signal,
            onProgress: (done, total, label) => bar.update(done, total, label),
            onNotice: notice,
          },
        );
        bar.finish();
        printMapping(out, report, flags.json === true);
      } finally {
        bar.finish();
      }
    });
}
