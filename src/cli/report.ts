/** `report`: pages of finished runs and sweeps, and single figures of them. */
import { extname } from 'node:path';
import { stdout } from 'node:process';
import { type Command, Option } from 'commander';
import { OnefetError } from '../error.ts';
import { FIGURE_FORMATS, type FigureFormat } from '../report/figure-spec.ts';
import type { CliContext } from './options.ts';

interface ReportFlags {
  figure?: string;
  figures?: boolean;
  format?: FigureFormat;
  out?: string;
}

export function addReport(root: Command, { notice }: CliContext): void {
  root
    .command('report')
    .description(
      'write report.html of a run, a sweep or an optimisation again; of several runs, a page that compares them',
    )
    .argument('<folders...>', 'folders below runs/, as in runs/latest')
    .option('--figures', 'list the figures of the page')
    .option('--figure <name>', 'write one figure')
    .addOption(
      new Option(
        '--format <format>',
        'of the figure: svg and png need chromium (default: that of --out, or svg)',
      ).choices(FIGURE_FORMATS),
    )
    .option('--out <file>', 'where the page or the figure is written')
    .action(async (folders: string[], flags: ReportFlags) => {
      const { reportPage, writePage } = await import('./report-work.ts');
      const page = reportPage(folders, notice);
      if (flags.figures) {
        for (const { id, title } of page.figures()) stdout.write(`${id.padEnd(26)} ${title}\n`);
        return;
      }
      if (flags.figure === undefined) {
        if (flags.format) throw formatWithoutFigure();
        stdout.write(`${writePage(page, flags.out)}\n`);
        return;
      }
      const { exportFigure, pickFigure } = await import('../report/export.ts');
      const format = flags.format ?? formatOf(flags.out);
      const path = flags.out ?? `${flags.figure}.${format}`;
      exportFigure(pickFigure(page.figures(), flags.figure), format, path);
      stdout.write(`${path}\n`);
    });
}

const formatWithoutFigure = () =>
  new OnefetError('usage', 'FORMAT_ALONE', '--format is of one figure', {
    hint: 'add --figure NAME; --figures lists them',
  });

function formatOf(out: string | undefined): FigureFormat {
  const end = out === undefined ? 'svg' : extname(out).slice(1).toLowerCase();
  const known = FIGURE_FORMATS.find((format) => format === end);
  if (known) return known;
  throw new OnefetError('usage', 'FIGURE_FORMAT', `${out} does not say what format it is to have`, {
    hint: `end it in ${FIGURE_FORMATS.map((format) => `.${format}`).join(', ')}, or say --format`,
  });
}
