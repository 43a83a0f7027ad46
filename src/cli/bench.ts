/** `bench`: this engine and this simulator against the machine and their native peers. */

import { type Command, Option } from 'commander';
import type { SpeedPeer } from '../bench/engine-rounds.ts';
import { RANGE_TEXT } from '../experiment/options.ts';
import { readTextFile, requireDataFile } from '../files.ts';
import type { Progress } from '../progress.ts';
import { type CliContext, designOptions, embedded, integer, jsonOption, threadsOption } from './options.ts';
import { printJson, printLines } from './print.ts';

export function addBenchCommands(root: Command, { signal, progress }: CliContext): void {
  const bench = root.command('bench').description('how fast: the SPICE path, the engine, a whole experiment');

  bench
    .command('spice')
    .description('the same sweeps here and in native ngspice: points per second and agreement')
    .option('--ngspice <path>', 'native simulator', 'ngspice')
    .addOption(jsonOption())
    .action(async (flags: { ngspice: string; json?: boolean }) => {
      const { benchSpice, benchSpiceText } = await import('../bench/spice.ts');
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
      .description('prefill and decode of the 8B shape against the limits of the machine and llama.cpp')
      .addOption(threadsOption())
      .option('--rounds <n>', 'rounds; figures are medians', integer(1, 100), 3)
      .option('--no-llama-cpp', 'leave llama.cpp out (it is found in experiments/oracle)')
      .addOption(withoutVnniOption()),
  )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
llama.cpp is installed with: npm ci --prefix experiments/oracle
It has as many threads as this engine, and waits for others in loops: on a machine that is shared, compare processor times with
--threads 1. It runs on two models of this shape that are written to the temporary folder for it (2.4 GB).`,
    )
    .action(async (flags: EngineFlags) => {
      await benchEngine(flags, signal, progress());
    });

  designOptions(
    bench
      .command('experiment')
      .description(
        'a whole experiment (digital, ranges, mapped weights, chips) against as many passes of llama.cpp',
      )
      .option(
        '-m, --model <file>',
        'a GGUF file that is run as it is; else the 8B shape, scaled from a few blocks',
      )
      .option('--tokens <n>', 'tokens of a pass', integer(2, 8191), 511)
      .option('--chips <n>', 'chip instances', integer(1, 100), 2)
      .addOption(threadsOption())
      .option('--rounds <n>', 'rounds; figures are medians', integer(1, 100), 1)
      .option('--no-llama-cpp', 'leave llama.cpp out (it is found in experiments/oracle)')
      .addOption(withoutVnniOption()),
  )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Loading is in the times: opening the file, mapping the weights, drawing the chips. Without --model two models are written
to the temporary folder (2.5 GB). llama.cpp is installed with: npm ci --prefix experiments/oracle`,
    )
    .action(async (flags: ExperimentFlags) => {
      await benchWholeExperiment(flags, signal, progress());
    });

  designOptions(
    bench
      .command('webgpu')
      .description("the panel product on this machine's GPU (WGSL, by the optional package webgpu)")
      .option('--tokens <n>', 'tokens of a product', integer(1, 4096), 512)
      .option('--rounds <n>', 'rounds; figures are medians', integer(1, 100), 5),
  )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
One panel of every matrix is compared with the scalar reference first. The package is added with: npm install --no-save webgpu@0.6`,
    )
    .action(async (flags: GpuFlags) => {
      await benchGpu(flags, signal, progress());
    });
}

const withoutVnniOption = (): Option =>
  new Option(
    '--without-vnni',
    'both as on a processor with AVX2 alone: kernels without VNNI, the build of llama.cpp for Haswell',
  );

interface GpuFlags {
  readonly design: string;
  readonly set: string[];
  readonly tokens: number;
  readonly rounds: number;
  readonly json?: boolean;
}

async function benchGpu(flags: GpuFlags, signal: AbortSignal, bar: Progress): Promise<void> {
  const { benchWebGpu, benchWebGpuText } = await import('../bench/webgpu.ts');
  const { loadDesign } = await import('../fabric/design.ts');
  const { loadFabric } = await import('../fabric/registry.ts');
  const { tokens, rounds } = flags;
  try {
    const result = await benchWebGpu({
      fabric: loadFabric(loadDesign(flags.design, flags.set).design),
      tokens,
      rounds,
      signal,
      onProgress: (done, total, label) => bar.update(done, total, label),
    });
    bar.finish();
    if (flags.json) printJson(result);
    else printLines([benchWebGpuText(result)]);
  } finally {
    bar.finish();
  }
}

interface ExperimentFlags {
  readonly design: string;
  readonly set: string[];
  readonly model?: string;
  readonly tokens: number;
  readonly chips: number;
  readonly threads: number;
  readonly rounds: number;
  readonly llamaCpp: boolean;
  readonly withoutVnni?: boolean;
  readonly json?: boolean;
}

async function benchWholeExperiment(
  flags: ExperimentFlags,
  signal: AbortSignal,
  bar: Progress,
): Promise<void> {
  const { benchExperiment, benchExperimentText } = await import('../bench/experiment.ts');
  const { llamaCppMissing } = await import('../bench/llama-cpp.ts');
  const { loadDesign } = await import('../fabric/design.ts');
  const { loadFabric } = await import('../fabric/registry.ts');
  const { threads, tokens, chips, rounds, model } = flags;
  const missing = flags.llamaCpp ? llamaCppMissing() : 'left out';
  try {
    const result = await benchExperiment({
      fabric: loadFabric(loadDesign(flags.design, flags.set).design),
      threads,
      tokens,
      chips,
      rounds,
      modelPath: model,
      peer: missing === undefined,
      withoutVnni: flags.withoutVnni ?? false,
      signal,
      onProgress: (done, total, label) => bar.update(done, total, label),
    });
    bar.finish();
    if (flags.json) printJson({ ...result, peerMissing: missing ?? null });
    else {
      printLines([benchExperimentText(result)]);
      if (missing !== undefined) printLines([`llama.cpp: ${missing}`]);
    }
  } finally {
    bar.finish();
  }
}

interface EngineFlags {
  readonly design: string;
  readonly set: string[];
  readonly threads: number;
  readonly rounds: number;
  readonly llamaCpp: boolean;
  readonly withoutVnni?: boolean;
  readonly json?: boolean;
}

async function benchEngine(flags: EngineFlags, signal: AbortSignal, bar: Progress): Promise<void> {
  const { bench: measure, BENCH_VARIANTS } = await import('../bench/engine.ts');
  const { loadDesign } = await import('../fabric/design.ts');
  const { loadFabric } = await import('../fabric/registry.ts');
  const { accuracyDifferences } = await import('../bench/accuracy.ts');
  const { llamaCppMissing, startLlamaCpp } = await import('../bench/llama-cpp.ts');
  const { benchEngineText } = await import('../bench/engine-text.ts');
  const { openModel } = await import('../model/model.ts');
  const { threads, rounds, withoutVnni = false } = flags;
  const { design } = loadDesign(flags.design, flags.set);
  const fabric = loadFabric(design);
  const [batchTokens, decodeTokens] = [252, 6];
  const missing = flags.llamaCpp ? llamaCppMissing() : 'left out';
  const onProgress = (done: number, total: number, label: string) => bar.update(done, total, label);
  const model = openModel(embedded().model);
  let peer: SpeedPeer | undefined;
  try {
    const text = readTextFile(requireDataFile(RANGE_TEXT, 'range text'), 'range text');
    const ids = model.tokenizer.encode(text).slice(0, 96);
    onProgress(0, 1, 'accuracy of the engines');
    const differences = await accuracyDifferences(model, ids, fabric, BENCH_VARIANTS);
    if (missing === undefined) {
      const build = withoutVnni ? 'haswell' : undefined;
      peer = await startLlamaCpp({ threads, batchTokens, decodeTokens, build, onProgress, signal });
    }
    let done = 0;
    onProgress(0, BENCH_VARIANTS.length, 'engine');
    const result = await measure(
      { fabric, threads, rounds, batchTokens, decodeTokens, peer, withoutVnni, signal },
      ({ name }) => onProgress(++done, BENCH_VARIANTS.length, name),
    );
    bar.finish();
    if (flags.json) {
      printJson({ ...result, differences, peerMissing: missing ?? null });
    } else {
      printLines([benchEngineText(result, differences)]);
      if (missing !== undefined) printLines([`llama.cpp: ${missing}`]);
    }
  } finally {
    bar.finish();
    await peer?.close();
    model.close();
  }
}
