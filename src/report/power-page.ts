/** The page of `onefet power`: one self-contained file. */
import type { Comparators } from '../cost/comparators.ts';
import { displayPath, writeFileAtomic } from '../files.ts';
import { formatSi, plain } from '../format.ts';
import type { Answer } from '../power/answer.ts';
import type { Curve } from '../power/curves.ts';
import type { PowerRow } from '../power/power.ts';
import { seenAccuracy } from '../power/records.ts';
import { costFigures, sensitivityFigure } from './figures-cost.ts';
import { curveFigure, mapFigure, stackFigure, treeFigure } from './figures-power.ts';
import { floorplanHtml } from './floorplan.ts';
import { type Cell, escapeHtml, tableHtml } from './html.ts';
import { figuresHtml, pageHtml } from './page.ts';
import { costTablesHtml } from './sections.ts';
import { tagBadge } from './tags.ts';

export interface PowerPage {
  readonly rows: readonly PowerRow[];
  readonly comparators: Comparators;
  /** Published systems stand beside the designs. */
  readonly compare: boolean;
  readonly answers: readonly Answer[];
  readonly byContext: readonly Curve[];
  readonly byUsers: readonly Curve[];
}

/** Writes the page, whole or not at all. */
export function writePowerPage(path: string, page: PowerPage): void {
  writeFileAtomic(path, renderPowerPage(page));
}

export function renderPowerPage(page: PowerPage): string {
  const { rows, comparators, answers } = page;
  const [first] = rows;
  const context = first.cost.contextTokens;
  const atContext = rows.filter(({ cost }) => cost.contextTokens === context);
  const chips = atContext.filter(({ subject }) => subject.fabric.kind !== 'gpu');
  const lead = chips[0] ?? first;
  const systems = page.compare ? comparators.systems : [];
  const figures = [
    mapFigure(atContext, { ...comparators, systems }),
    ...(chips.length > 0 ? [stackFigure(atContext), treeFigure(lead)] : []),
  ];
  const curves = [
    curveFigure(page.byContext, {
      ...{
        id: 'context',
        title: 'Energy per token of one user against context',
        axis: 'Tokens of context',
        key: 'oneUserJ',
      },
      caption: contextCaption(page.byContext),
    }),
    curveFigure(page.byUsers, {
      ...{
        id: 'users',
        title: `Energy per token against users at a time, ${context.toLocaleString('en-US')} tokens of context`,
        axis: 'Users',
        key: 'fullJ',
      },
      caption:
        'Up to the users whose caches are held. A GPU shares each read of its weights; a chip with the weights in it has only its static power to share.',
    }),
  ];
  return pageHtml(
    `onefet: what a token costs, ${first.cost.shape.name}`,
    `${rows.length} ${rows.length === 1 ? 'row' : 'rows'}, from stored counts: no weights were run for this page`,
    '',
    [
      { id: 'table', title: 'Designs', open: true, html: `${designTable(rows)}${warningsHtml(rows)}` },
      { id: 'figures', title: 'Energy', open: true, html: figuresHtml(figures) },
      { id: 'curves', title: 'Context and users', html: figuresHtml(curves) },
      {
        id: 'constants',
        title: 'Which constants matter',
        html: figuresHtml([sensitivityFigure('tornado', lead.subject.name, lead.cost)]),
      },
      {
        id: 'ground',
        title: 'Plan of the ground',
        html: `<div class="figures">${chips.map(({ subject, cost }, i) => floorplanHtml(`ground-${i}`, subject.name, cost)).join('\n')}</div>`,
      },
      {
        id: 'area',
        title: `Area and time, ${lead.subject.name}`,
        html: figuresHtml(costFigures('lead', lead.subject.name, lead.cost).slice(1)),
      },
      ...(answers.length > 0
        ? [{ id: 'questions', title: 'Standing questions', html: answers.map(answerHtml).join('\n') }]
        : []),
      {
        id: 'lines',
        title: 'Every line of the cost',
        html: rows
          .map(({ subject, cost }, i) =>
            costTablesHtml(rowName(subject.name, cost.contextTokens), cost, i === 0, `lines-${i}`),
          )
          .join('\n'),
      },
      { id: 'sources', title: 'Where the counts are from', html: sourcesHtml(page) },
    ],
  );
}

/** What the first curve does from end to end. */
function contextCaption([{ points, name }]: readonly Curve[]): string {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || first === last) return 'A token reads the whole cache.';
  return `A token reads the whole cache, which a chip holds in its own SRAM: from ${first.x.toLocaleString('en-US')} to ${last.x.toLocaleString('en-US')} tokens of context the energy of ${name} grows ${plain(last.oneUserJ / first.oneUserJ, 2)} times.`;
}

const rowName = (design: string, contextTokens: number): string =>
  `${design}, ${contextTokens.toLocaleString('en-US')} tokens`;

/** Every number leads to its lines. */
function designTable(rows: readonly PowerRow[]): string {
  const joule = (value: number) => formatSi(value, 'J');
  const whole = (value: number) => Math.round(value).toLocaleString('en-US');
  return tableHtml({
    caption:
      'Small: 5th to 95th percentile over the bands of all constants; of dollars every input at its low or high end. A number leads to its formula, inputs, source and tag',
    headers: [
      'Design',
      'Context',
      'J/token, one user',
      'Full pipeline',
      'Tokens/s, one user',
      'Full pipeline',
      'Limit',
      'Area, mm²',
      'Dies',
      '$/Mtoken',
    ],
    rows: rows.map(({ subject, cost, price }, i): Cell[] => {
      const { bands } = cost;
      const link = (text: string, low?: string, high?: string): Cell => ({
        html: `<a href="#lines-${i}">${escapeHtml(text)}</a>${low === undefined || low === high ? '' : `<br><small>${escapeHtml(`${low} to ${high}`)}</small>`}`,
      });
      const banded = (value: number, band: { low: number; high: number }, text: (v: number) => string) =>
        link(text(value), text(band.low), text(band.high));
      return [
        subject.name,
        cost.contextTokens.toLocaleString('en-US'),
        banded(cost.perTokenJ, bands.perTokenJ, joule),
        banded(cost.perTokenAggregateJ, bands.perTokenAggregateJ, joule),
        banded(cost.tokensPerSecondPerUser, bands.tokensPerSecondPerUser, whole),
        banded(cost.tokensPerSecondAggregate, bands.tokensPerSecondAggregate, whole),
        cost.binding,
        banded(cost.areaMm2, bands.areaMm2, whole),
        cost.dies,
        typeof price === 'string' ? price : banded(price.mid, price, (v) => `$${plain(v, 2)}`),
      ];
    }),
  });
}

function warningsHtml(rows: readonly PowerRow[]): string {
  const texts = new Set(
    rows.flatMap(({ subject, warnings }) => warnings.map((text) => `${subject.name}: ${text}`)),
  );
  return [...texts]
    .map((text) => `<p class="banner"><strong>Warning.</strong> ${escapeHtml(text)}</p>`)
    .join('');
}

function answerHtml({ question, sentences, tables, sources }: Answer): string {
  return `<h3>${escapeHtml(question)}</h3>${sentences.map((text) => `<p>${escapeHtml(text)}</p>`).join('')}${tables
    .map(({ caption, headers, rows }) =>
      tableHtml({ caption, headers: [...headers], rows: rows.map((row) => [...row]) }),
    )
    .join('')}${
    sources.length === 0
      ? ''
      : `<details><summary>Constants of this answer</summary>${tableHtml({
          caption: 'Value and band',
          headers: ['Constant', 'Value', 'Source', 'Provenance'],
          rows: sources.map(({ name, value, source, tag }) => [name, value, source, tagBadge(tag)]),
        })}</details>`
  }`;
}

function sourcesHtml({ rows, comparators }: PowerPage): string {
  const subjects = [...new Map(rows.map((row) => [row.subject.name, row])).values()];
  return `${tableHtml({
    caption: 'Counts and constants of each design, and what was seen of its accuracy',
    headers: ['Design', 'Counts', 'Constants', 'Accuracy seen', 'Llama 3.1 8B, estimated'],
    rows: subjects.map((row): Cell[] => {
      const seen = seenAccuracy(row, comparators);
      const estimate = seen?.estimate8B;
      return [
        row.subject.name,
        row.subject.found.source,
        displayPath(row.subject.constants.file),
        seen === null
          ? 'not known: no run of this very design is stored'
          : `${seen.model}, ${seen.predictions.toLocaleString('en-US')} predictions, ${seen.chips} ${seen.chips === 1 ? 'chip' : 'chips'}: KL ${plain(seen.kl, 2)}${seen.perplexityRatio === null ? '' : `, perplexity x ${seen.perplexityRatio.toFixed(3)}`}`,
        estimate
          ? `perplexity ${plain(estimate.digital)} to between ${plain(estimate.low)} and ${plain(estimate.high)}${estimate.extrapolated ? ' (errors beyond the small ones that the law is of)' : ''}`
          : '',
      ];
    }),
  })}<p>${escapeHtml(`Estimate: ${comparators.law.source} (${comparators.law.tag}).`)}</p>`;
}
