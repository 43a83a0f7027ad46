/** `inspect` and `synth`: model files. */
import { type Command, Option } from 'commander';
import type { SynthType } from '../synth/recipe.ts';
import { type CliContext, embedded, jsonOption, seedOption, threadsOption } from './options.ts';
import { printDescription, printImage, printInspection } from './print.ts';

interface SynthFlags {
  type: SynthType;
  seed: number;
  threads: number;
  out?: string;
  force?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

export function addModelCommands(root: Command, { signal, progress }: CliContext): void {
  root
    .command('inspect')
    .description(
      'what a GGUF model holds: shape, tensor types, tokenizer, and what of it is not supported; or a chip image',
    )
    .argument('[file]', 'GGUF file or image of onefet map (default: the embedded model)')
    .addOption(jsonOption())
    .action(async (path: string | undefined, flags: { json?: boolean }) => {
      if (path !== undefined) {
        const { inspectImage } = await import('../experiment/run-mapping.ts');
        const image = inspectImage(path);
        if (image) {
          printImage(image, flags.json === true);
          return;
        }
      }
      const { inspectModel } = await import('../model/inspect.ts');
      printInspection(inspectModel(path ?? embedded().model), flags.json === true);
    });

  root
    .command('synth')
    .description('write a model of a named shape with seeded weights of realistic statistics (no accuracy)')
    .argument('<shape>', 'tiny, small, llama-3.2-1b, llama-3.2-3b or llama-3.1-8b')
    .addOption(
      new Option('--type <type>', 'tensor type')
        .choices(['F32', 'F16', 'Q8_0', 'Q4_0', 'Q4_K', 'Q6_K'])
        .default('Q4_0'),
    )
    .addOption(seedOption())
    .addOption(threadsOption())
    .option('--out <file>', 'file to write (default: <shape>-<type>.gguf)')
    .option('--force', 'overwrite an existing file')
    .option('--dry-run', 'print size and parameters, and stop')
    .addOption(jsonOption())
    .action(async (shape: string, flags: SynthFlags) => {
      const { planSynthesis, synthesise } = await import('../synth/synthesise.ts');
      const path = flags.out ?? `${shape}-${flags.type.toLowerCase()}.gguf`;
      const options = { shape, type: flags.type, seed: flags.seed, path };
      if (flags.dryRun) {
        printDescription({ ...planSynthesis(options) }, flags.json === true);
        return;
      }
      const bar = progress();
      try {
        const made = await synthesise({
          ...options,
          threads: flags.threads,
          signal,
          force: flags.force === true,
          onProgress: (done, total) => bar.update(done, total, `writing ${path}`),
        });
        bar.finish();
        printDescription({ ...made }, flags.json === true);
      } finally {
        bar.finish();
      }
    });
}
