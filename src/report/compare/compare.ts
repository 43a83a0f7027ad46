/** A page of several runs: a table, what each costs for its accuracy, and paired differences where the texts are the same. */
import { headlineOf } from '../../experiment/headline.ts';
import { writeFileAtomic } from '../../files.ts';
import { formatSi, plain } from '../../format.ts';
import { comparePoints } from '../../sweep/compare.ts';
import type { Figure } from '../figure.ts';
import { intervalText } from '../figures-accuracy.ts';
import { areaText } from '../figures-cost.ts';
import { escapeHtml, tableHtml } from '../html.ts';
import { type Part, pageHtml, sectionOf } from '../page.ts';
import { accuracyByRun, differenceFigure, paretoByRun, type RunDifference, runLabel } from './figures.ts';
import type { ComparedRun } from './runs.ts';

export function writeRunComparison(path: string, runs: readonly ComparedRun[]): void {
  writeFileAtomic(path, renderRunComparison(runs));
}

export function renderRunComparison(runs: readonly ComparedRun[]): string {
  return pageHtml(
    `onefet: ${runs.length} runs side by side`,
    [...new Set(runs.map(({ result }) => result.design.name))].join(', '),
    `<p class="answer">${escapeHtml(answerOf(runs))}</p>${warningsHtml(runs)}`,
    partsOf(runs).map(sectionOf),
  );
}

/** Every figure of the page. */
export const comparisonFigures = (runs: readonly ComparedRun[]): Figure[] =>
  partsOf(runs).flatMap(({ figures = [] }) => figures);

function partsOf(runs: readonly ComparedRun[]): Part[] {
  const differences = differencesOf(runs);
  const difference = differenceFigure(runs, differences);
  const unpaired = runs.length - 1 - differences.length;
  return [
    {
      id: 'runs',
      title: 'The runs',
      open: true,
      before: tableHtml(runTable(runs)),
      figures: [accuracyByRun(runs), ...paretoByRun(runs)],
    },
    {
      id: 'paired',
      title: 'Paired differences',
      open: true,
      before:
        unpaired > 0
          ? `<p>${escapeHtml(`${unpaired} of ${runs.length - 1} runs cannot be paired with ${runLabel(runs[0], runs)}: another model or text, or no chip in common.`)}</p>`
          : '',
      figures: difference ? [difference] : [],
    },
    { id: 'provenance', title: 'Provenance', before: tableHtml(provenanceTable(runs)) },
  ];
}

/** Runs against the first; those of another text or model have none. */
export function differencesOf(runs: readonly ComparedRun[]): RunDifference[] {
  const [first, ...others] = runs;
  if (first.comparable === null) return [];
  const comparable = others.flatMap(({ comparable: one }) => one ?? []);
  const found = comparePoints(comparable, first.comparable, { compared: ['kl'], binary: [] });
  return others.flatMap((run) => {
    const comparison = run.comparable && found.get(run.comparable.point)?.[0];
    return comparison ? [{ run, comparison }] : [];
  });
}

const leastBy = (runs: readonly ComparedRun[], of: (run: ComparedRun) => number): ComparedRun =>
  runs.reduce((a, b) => (of(b) < of(a) ? b : a));

function answerOf(runs: readonly ComparedRun[]): string {
  const kl = (run: ComparedRun) => headlineOf(run.result).kl.mean;
  const energy = ({ result }: ComparedRun) => result.projection.perTokenJ;
  const area = ({ result }: ComparedRun) => result.projection.areaMm2;
  const [nearest, frugal, small] = [leastBy(runs, kl), leastBy(runs, energy), leastBy(runs, area)];
  const near = sameText(runs)
    ? `Nearest to the digital model is ${runLabel(nearest, runs)} (KL ${plain(kl(nearest))} nats)`
    : 'The runs are on different models or texts, so that their accuracy does not compare';
  return `${near}; ${runs[0].result.projection.shape.name} would take least energy on ${runLabel(frugal, runs)} (${formatSi(energy(frugal), 'J')} per token) and least silicon on ${runLabel(small, runs)} (${areaText(area(small))}), both projected.`;
}

const textOf = ({ result: { model, text } }: ComparedRun): string =>
  JSON.stringify([model.sha256, text.sha256, text.scored, text.contextTokens, text.scoring]);

const sameText = (runs: readonly ComparedRun[]): boolean => new Set(runs.map(textOf)).size === 1;

function warningsHtml(runs: readonly ComparedRun[]): string {
  return sameText(runs)
    ? ''
    : '<p class="banner"><strong>Different models or texts.</strong> Compare energy, area and speed; accuracy only among runs on the same model and text.</p>';
}

function runTable(runs: readonly ComparedRun[]) {
  return {
    caption:
      'Means over chips with 95 % intervals; energy, area and speed of the projection with their bands',
    headers: [
      'Run',
      'Changed',
      'KL (nats)',
      'Perplexity',
      'Energy per token',
      'Area',
      'Speed (tokens/s)',
      'Model and text',
    ],
    rows: runs.map((run) => {
      const { design, model, text, projection } = run.result;
      const { kl, perplexity } = headlineOf(run.result);
      const { bands } = projection;
      const changes = Object.entries(design.overrides).map(
        ([key, value]) => `${key} ${JSON.stringify(value)}`,
      );
      return [
        runLabel(run, runs),
        changes.join(', ') || '-',
        intervalText(kl, 3),
        model.synthetic ? 'made-up weights' : intervalText(perplexity),
        `${formatSi(projection.perTokenJ, 'J')} (${formatSi(bands.perTokenJ.low, 'J')} to ${formatSi(bands.perTokenJ.high, 'J')})`,
        `${areaText(projection.areaMm2)} (${plain(bands.areaMm2.low)} to ${plain(bands.areaMm2.high)})`,
        `${plain(projection.tokensPerSecondPerUser)} (${plain(bands.tokensPerSecondPerUser.low)} to ${plain(bands.tokensPerSecondPerUser.high)})`,
        `${model.name}, ${text.scored.toLocaleString('en-US')} predictions`,
      ];
    }),
  };
}

function provenanceTable(runs: readonly ComparedRun[]) {
  return {
    caption: 'Where each run stands, and the command that made it',
    headers: ['Run', 'Folder', 'Command', 'Model SHA-256', 'Text SHA-256', 'onefet'],
    rows: runs.map((run) => {
      const { emulation, model, text, provenance } = run.result;
      return [
        runLabel(run, runs),
        run.name,
        `onefet ${emulation.command.join(' ')}`,
        model.sha256.slice(0, 12),
        text.sha256.slice(0, 12),
        provenance.onefet,
      ];
    }),
  };
}
