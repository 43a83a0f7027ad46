/** `inspect`: model files. */
import type { Command } from 'commander';
import { embedded, jsonOption } from './options.ts';
import { printInspection } from './print.ts';

export function addModelCommands(root: Command): void {
  root
    .command('inspect')
    .description('what a GGUF model holds: shape, tensor types, tokenizer')
    .argument('[model]', 'GGUF file (default: the embedded one)')
    .addOption(jsonOption())
    .action(async (path: string | undefined, flags: { json?: boolean }) => {
      const { openModel } = await import('../model/model.ts');
      const model = openModel(path ?? embedded().model);
      try {
        printInspection(model, flags.json === true);
      } finally {
        model.close();
      }
    });
}
