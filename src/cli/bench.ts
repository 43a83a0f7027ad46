/** `bench`: this engine and this simulator against the machine and their native peers. */
import type { Command } from 'commander';
import { type CliContext, designOptions, jsonOption, threadsOption } from './options.ts';
import { printEngineBench, printJson, printLines } from './print.ts';

export function addBenchCommands(root: Command, { signal, progress }: CliContext): void {
  const bench = root.command('bench').description('how fast: the SPICE path, the engine');

  bench
    .command('spice')
    .description('the same sweeps here and in native ngspice: points per second and agreement')
    .option('--ngspice <path>', 'native simulator', 'ngspice')
    .addOption(jsonOption())
    .action(async (flags: { ngspice: string; json?: boolean }) => {
      const { benchSpice, benchSpiceText } = await import('../spice/bench.ts');
      const bar = progress();
      try {
        const result = await benchSpice({
          ngspice: flags.ngspice,
          signal,
          onProgress: ({ done, total, label }) => bar.update(done, total, label),
        });
        bar.finish();
        if (flags.json) printJson(result);
        else printLines([benchSpiceText(result).trimEnd()]);
      } finally {
        bar.finish();
      }
    });

  designOptions(
    bench
      .command('engine')
      .description('kernels against the limits of the machine; prefill and decode of the 8B layers')
      .addOption(threadsOption()),
  )
    .addOption(jsonOption())
    .action(async (flags: { design: string; set: string[]; threads: number; json?: boolean }) => {
      const { bench: benchEngine, BENCH_VARIANTS } = await import('../engine/bench.ts');
      const { loadDesign } = await import('../fabric/design.ts');
      const { loadCalibration } = await import('../cell/calibration.ts');
      const { design } = loadDesign(flags.design, flags.set);
      const bar = progress();
      let done = 0;
      bar.update(0, BENCH_VARIANTS.length, 'engine');
      try {
        const result = await benchEngine(
          { design, calibration: loadCalibration(design.process, design.cell), threads: flags.threads },
          ({ name }) => bar.update(++done, BENCH_VARIANTS.length, name),
        );
        bar.finish();
        if (flags.json) printJson(result);
        else printEngineBench(result);
      } finally {
        bar.finish();
      }
    });
}
