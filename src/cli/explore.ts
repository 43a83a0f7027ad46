/** `explore`: a page in which the cost model can be played with. */
import { stdout } from 'node:process';
import type { Command } from 'commander';
import type { CliContext } from './options.ts';

export function addExploreCommand(root: Command, { signal, progress }: CliContext): void {
  root
    .command('explore')
    .description(
      'write one page with the cost model and the measured accuracy in it: controls for design, node, gate, bits, sharing, context and users',
    )
    .argument(
      '[folders...]',
      'runs and sweeps below runs/ whose counts and accuracy it shows beside the shipped ones',
    )
    .option('--design <name...>', 'designs on the page (default: all of experiments/nodes.yaml)')
    .option('--out <file>', 'where the page is written', 'explorer.html')
    .addHelpText(
      'after',
      '\nExamples:\n  onefet explore\n  onefet explore runs/latest --out explorer.html\n\nThe page works offline; the address holds the state of its controls.',
    )
    .action(async (folders: string[], { out, design }: { out: string; design?: string[] }) => {
      const { explorerData } = await import('../explore/data.ts');
      const { renderExplorer } = await import('../explore/page.ts');
      const { writeFileAtomic } = await import('../files.ts');
      const bar = progress();
      try {
        const data = await explorerData(
          { folders, designs: design },
          {
            signal,
            onProgress: (done, total, label) => bar.update(done, total, label),
          },
        );
        writeFileAtomic(out, renderExplorer(data));
      } finally {
        bar.finish();
      }
      stdout.write(`${out}\n`);
    });
}
