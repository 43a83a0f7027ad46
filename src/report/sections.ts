/**
 * The text sections of the report: headline, cost tables, economics, limits, provenance.
 */
import { stringify } from 'yaml';
import type { Comparators } from '../cost/comparators.ts';
import { type EconomicsReport, SCENARIOS } from '../cost/economics.ts';
import type { CostBand, CostLine, CostReport } from '../cost/report.ts';
import { headlineOf } from '../experiment/headline.ts';
import type { Interval, RunResult } from '../experiment/result.ts';
import { answerOf, gradeOf } from '../experiment/verdict.ts';
import { count, formatSi, plain } from '../format.ts';
import { cellDrawing } from './cell-drawing.ts';
import { type Figure, figureHtml } from './figure.ts';
import { accuracyFigure, intervalText } from './figures-accuracy.ts';
import type { CalibrationFigures } from './figures-cell.ts';
import { areaText, label } from './figures-cost.ts';
import { taskFigure } from './figures-task.ts';
import { escapeHtml, factsHtml, tableHtml } from './html.ts';
import { costStrip } from './strip.ts';
import { tagBadge } from './tags.ts';

/**
 * The first screen: the answer in a sentence, accuracy in one figure, energy, area and speed with their bands, and a drawing
 * of the cell where there is one.
 */
export function firstScreenHtml(result: RunResult, calibration: CalibrationFigures | null): string {
  const banner = result.model.synthetic
    ? '<p class="banner"><strong>Synthetic weights.</strong> This model was never trained: perplexity and verdicts about accuracy do not exist for it. Energy, speed and divergence from the digital model do.</p>'
    : '';
  const warnings = result.warnings
    .map((text) => `<p class="banner"><strong>Warning.</strong> ${escapeHtml(text)}</p>`)
    .join('');
  const drawing =
    calibration === null ? undefined : cellDrawing(calibration, result.design.resolved.fullScaleA);
  const figure = figureHtml(firstFigure(result));
  const grade = gradeOf(result);
  return `${banner}<p class="answer ${grade}">${escapeHtml(answerOf(result))}</p>
<div class="${drawing ? 'first' : 'first single'}"><div>${figure}${costStrip(result.projection)}</div>${drawing ?? ''}</div>
${warnings}`;
}

/** Accuracy: of questions their shares, of a text its perplexity. */
export const firstFigure = (result: RunResult): Figure =>
  result.task && !result.model.synthetic ? taskFigure(result, result.task) : accuracyFigure(result);

/** The verdict in full, and the numbers behind the first screen. */
export function verdictHtml(result: RunResult): string {
  const { model, digital, recoded, summary, chips, cost } = result;
  const task = model.synthetic ? null : result.task;
  const headline = headlineOf(result);
  const over = !result.fabric.chipsDiffer
    ? 'all the same, no interval'
    : chips.length === 1
      ? 'one chip: no interval'
      : `${chips.length} chips, mean and 95 % interval`;
  const share = ({ mean, ci95 }: Interval) =>
    intervalText({ mean: 100 * mean, ci95: ci95 && [100 * ci95[0], 100 * ci95[1]] });
  const facts: [string, string][] = [
    ...(task
      ? ([
          [
            'Right answers',
            `digital ${share(task.digital.acc)} %, recoded weights ${share(task.recoded.acc)} %, chip ${share(task.chips.acc)} % of ${task.questions} questions (${task.kind}); chip less digital ${share(task.chipsLessDigital.acc)} points`,
          ],
        ] as [string, string][])
      : []),
    ...(model.synthetic || task
      ? []
      : ([
          [
            'Perplexity',
            `digital ${plain(digital.perplexity, 4)}, recoded weights ${plain(recoded.perplexity, 4)}, chip ${intervalText(headline.perplexity)}`,
          ],
          [
            'Yield',
            `${(result.yield.share * 100).toFixed(0)} % ${yieldOf(result)} within ${plain(result.yield.perplexityRatio)} times the digital perplexity`,
          ],
        ] as [string, string][])),
    [
      'KL(digital ‖ chip)',
      `${intervalText(headline.kl)} nats per token; over chips on this text alone ${intervalText(summary.kl)}`,
    ],
    ['Same most likely token', `${share(headline.top1)} % of positions`],
    [
      'Energy per token, this model',
      `${formatSi(cost.perTokenJ, 'J')} at ${cost.contextTokens} tokens of context; ${bandText(cost.bands.perTokenJ, (v) => formatSi(v, 'J'))}`,
    ],
  ];
  const verdict = result.verdict.map((s) => `<p>${escapeHtml(s)}</p>`).join('');
  const covers = headline.kl.ci95 ? ` Intervals of accuracy are of 95 % and cover ${headline.covers}.` : '';
  return `<div class="verdict ${gradeOf(result)}">${verdict}</div>${factsHtml(facts)}
<p>${escapeHtml(
    `Chips: ${over}. ${result.text.scored.toLocaleString('en-US')} positions of ${result.text.file} were scored (${result.text.scoring}, context ${result.text.contextTokens})${rangesOf(result)}.${covers}`,
  )}</p>`;
}

/** "low to high" of a band; what it is stands in the table of constants that matter. */
function bandText({ low, high }: CostBand, text: (value: number) => string): string {
  return `band ${text(low)} to ${text(high)}`;
}

function yieldOf({ chips, yield: { ci95 } }: RunResult): string {
  if (ci95 === null) return 'of the chips, which are all the same,';
  const [low, high] = ci95.map((x) => (x * 100).toFixed(0));
  return `of ${chips.length} ${chips.length === 1 ? 'chip' : 'chips'} (95 %: ${low} to ${high} %)`;
}

function rangesOf({ text: { rangeFile, rangeTokens } }: RunResult): string {
  if (rangeFile === null) return '';
  return `; the converters' ranges come from ${rangeTokens.toLocaleString('en-US')} tokens of ${rangeFile}`;
}

/** Every line of one cost report; `onPaper`: printed too; `id`: a place inside, for links. */
export function costTablesHtml(name: string, report: CostReport, onPaper: boolean, id?: string): string {
  const table = (caption: string, lines: readonly CostLine[], format: (v: number) => string) =>
    tableHtml({
      caption,
      headers: ['Component', 'Value', 'Formula', 'Source', 'Provenance'],
      rows: lines.map((line) => [
        label(line.name),
        format(line.value),
        { html: `<span class="formula">${escapeHtml(line.formula)}</span>` },
        line.source,
        tagBadge(line.tag),
      ]),
    });
  const limits = tableHtml({
    caption: `Rate of a full pipeline, ${name}: the lowest limit binds`,
    headers: ['Limit', 'Tokens/s', 'Formula'],
    rows: report.limits.map((l) => [l.name, count(l.tokensPerSecond), l.formula]),
  });
  const weights = weightsTable(name, report.weights);
  const tables = [
    table(`Energy per token, ${name}: ${formatSi(report.perTokenJ, 'J')}`, report.energyJ, (v) =>
      formatSi(v, 'J'),
    ),
    table('Beside it, not part of the sum', report.references, (v) => formatSi(v, 'J')),
    table(`Area, ${name}: ${areaText(report.areaMm2)}, ${report.dies} dies`, report.areaLinesMm2, areaText),
    table(`Time per token, ${name}: ${formatSi(report.tokenTimeS, 's')}`, report.latencyS, (v) =>
      formatSi(v, 's'),
    ),
    weights,
    limits,
  ];
  const lines = `<details${onPaper ? ' open' : ' class="screen"'}><summary>Lines of ${escapeHtml(name)}</summary>${id === undefined ? '' : `<a id="${escapeHtml(id)}"></a>`}${tables.join('\n')}</details>`;
  return onPaper
    ? lines
    : `${lines}<p class="paper">${escapeHtml(`The lines of ${name} are not printed: they stand in the page and in result.json.`)}</p>`;
}

/** Places of weights by format; columns of analog cells only where there are any. */
function weightsTable(name: string, weights: CostReport['weights']): string {
  const analog = weights.some(({ taps }) => taps !== undefined);
  const number = (value: number | undefined) => (value === undefined ? '' : count(value));
  return tableHtml({
    caption: `${analog ? 'Cells by weight format' : 'Weights by format'}, ${name}`,
    headers: analog
      ? [
          'Bits',
          'Taps',
          'Tensors',
          'Cells',
          'Column ends',
          'Conversions per token',
          'Cell (um²)',
          'Cells (mm²)',
        ]
      : ['Bits', 'Tensors', 'Weights', 'Weight (um²)', 'Weights (mm²)'],
    rows: weights.map((w) => [
      w.bits,
      ...(analog ? [w.taps ?? ''] : []),
      w.tensors.join(', '),
      count(w.cells),
      ...(analog ? [number(w.columnEnds), number(w.adcConversions)] : []),
      plain(w.cellUm2),
      plain(w.cellsMm2),
    ]),
  });
}

export function economicsHtml(economics: EconomicsReport): string {
  const row = (name: string, of: (e: EconomicsReport['mid']) => string) => [
    name,
    ...SCENARIOS.map((s) => of(economics[s])),
  ];
  const usd = (v: number) => `$${plain(v)}`;
  const { low, mid, high } = economics;
  return `<p>${escapeHtml(
    `A million tokens cost ${usd(mid.usdPerMtoken)} in the middle case, from ${usd(low.usdPerMtoken)} with every input at its low end to ${usd(high.usdPerMtoken)} with every input at its high end; an H100 is between ${usd(Math.min(low.gpuUsdPerMtoken, high.gpuUsdPerMtoken))} and ${usd(Math.max(low.gpuUsdPerMtoken, high.gpuUsdPerMtoken))} by the same kind of band. The chip stands at its cost of manufacture, the GPU at market rent; most of these inputs are assumed.`,
  )}</p>${tableHtml({
    caption: 'Cost of the projected 8B chip, low, middle and high end of all inputs together',
    headers: ['Quantity', 'Low', 'Middle', 'High'],
    rows: [
      row('Yield of a die (Murphy)', (e) => `${(e.yield * 100).toFixed(0)} %`),
      row('Good dies per wafer', (e) => plain(e.goodDiesPerWafer)),
      row('Chip (all dies, packaged)', (e) => usd(e.chipUsd)),
      row('Masks and design per chip', (e) => usd(e.nreUsdPerChip)),
      row('Tokens in its life', (e) => count(e.tokensPerChipLifetime)),
      row('Silicon per million tokens', (e) => usd(e.siliconUsdPerMtoken)),
      row('Masks and design per million tokens', (e) => usd(e.nreUsdPerMtoken)),
      row('Electricity per million tokens', (e) => usd(e.electricityUsdPerMtoken)),
      row('Together per million tokens', (e) => usd(e.usdPerMtoken)),
      row('H100 per million tokens (its opposite end)', (e) => usd(e.gpuUsdPerMtoken)),
      row('Chips to pay back masks and design', (e) =>
        e.breakEvenChips === null ? 'never' : e.breakEvenChips.toLocaleString('en-US'),
      ),
      row('How', (e) => e.formula),
    ],
  })}`;
}

export function accuracyReferencesHtml(comparators: Comparators): string {
  return tableHtml({
    caption:
      'Published accuracies of the same model family, for orientation (another text and another model size)',
    headers: ['Format', 'Model', 'Metric', 'Value', 'Source', 'Provenance'],
    rows: comparators.accuracy.map((a) => [a.name, a.model, a.metric, a.value, a.source, tagBadge(a.tag)]),
  });
}

/** Of fabrics without an analog cell. */
function exactLimits({ circuit, coding, fabric }: RunResult): string[] {
  if (coding.length === 0) {
    return ['The model is computed as its file has it: no error of the machine is emulated.'];
  }
  const others = 'errors of circuits (timing, soft errors, wear) are not emulated.';
  if (!fabric.chipsDiffer) return [`Arithmetic is exact but for the codes of weights and inputs: ${others}`];
  return [
    `Arithmetic is exact but for the codes of weights and inputs and for cells that a chip misreads: other ${others}`,
    ...(circuit
      ? [
          `Misreads follow from the margins of ${circuit.process}/${circuit.circuit} in SPICE at TT and 27 °C and from the mismatch of its gate; sense circuits have no offset of their own, and no silicon of this cell was measured.`,
        ]
      : []),
  ];
}

export function limitsHtml(result: RunResult): string {
  const { calibration, fabric } = result;
  const items = [
    ...(calibration
      ? [
          `The cell's response is fitted to SPICE of a compact-model card (${calibration.process}, driver: ${calibration.driver}); no silicon of this cell was measured.`,
          `The separable response leaves ${plain(calibration.separableResidual * 100)} % of full scale at rank ${calibration.rank}; what it leaves is not simulated.`,
          'The projection to 8B keeps averages per cell of the model that ran. The activations of a larger model have stronger outliers, which changes how many rows are driven high and how large the columns get.',
        ]
      : exactLimits(result)),
    'Energy is for one user, so that leakage of the whole chip is on one token; the figure for a full pipeline is given beside it.',
    'Not costed: test and repair, redundancy, clock generation, input and output of the package, cooling, the host.',
    'Constants tagged "assumed" are assumptions: change them in spice/<process>/cost.yaml of the working folder and run again.',
  ];
  if (fabric.chipsDiffer && result.chips.length < 2)
    items.unshift('Only one chip ran: there is no interval, and chip-to-chip spread is unknown.');
  if (result.chips.length >= 2 && result.chips.length < 10) {
    items.unshift(
      `The interval is over ${result.chips.length} chips (Student t): it covers the mean, not the spread, and not the choice of text.`,
    );
  }
  const { nllDifference, resolve } = result.overText;
  items.unshift(
    nllDifference.ci95 && resolve
      ? `The NLL is ${intervalText(nllDifference)} nats above the digital model's. To tell a difference of ${resolve.nats} nats from nothing would take about ${Number(resolve.predictions.toPrecision(2)).toLocaleString('en-US')} predictions${fabric.chipsDiffer ? ` and ${resolve.chips} ${resolve.chips === 1 ? 'chip' : 'chips'}` : ''}.`
      : 'One window was scored: no interval covers the choice of text.',
  );
  if (result.model.synthetic) items.unshift('The weights are synthetic: nothing here is about accuracy.');
  return `<ul>${items.map((i) => `<li>${escapeHtml(i)}</li>`).join('')}</ul>`;
}

export function provenanceHtml(result: RunResult): string {
  const { model, text, calibration, circuit, emulation, provenance, design } = result;
  const facts: [string, string][] = [
    ['Command', `onefet ${emulation.command.join(' ')}`],
    [
      'Versions',
      `onefet ${provenance.onefet}, Node ${provenance.node}${provenance.ngspice === null ? '' : `, ngspice ${provenance.ngspice}`}`,
    ],
    [
      'Run',
      `${emulation.date}, ${emulation.cpu}${emulation.commit === null ? '' : `, commit ${emulation.commit}`}`,
    ],
    ['Seed', `${result.seed}; chips ${result.chips.map((c) => c.seed).join(', ')}`],
    [
      'Model',
      `${model.file} (${model.name}, ${model.architecture}, ${count(model.parameters)} parameters, ${model.fileType})`,
    ],
    ['Model SHA-256', model.sha256],
    ['Text', `${text.file}, ${count(text.tokens)} tokens, SHA-256 ${text.sha256}`],
    ...factOf('Range text', text.rangeFile && `${text.rangeFile}, ${count(text.rangeTokens)} tokens`),
    ...factOf(
      'Calibration',
      calibration && `${calibration.process}/${calibration.cell}, SHA-256 ${calibration.sha256}`,
    ),
    ...factOf('Circuit', circuit ? `${circuit.process}/${circuit.circuit}, SHA-256 ${circuit.sha256}` : null),
    ['Design', `${design.name}, SHA-256 ${design.sha256}`],
    [
      'Emulation',
      `${plain(emulation.tokensPerSecond)} tokens/s for ${plain(emulation.seconds)} s, engine ${emulation.engine} (${emulation.precision}), ${emulation.threads} threads, ${formatSi(emulation.peakRssBytes, 'B')} peak memory`,
    ],
    ['Schema', result.schema],
  ];
  return `${factsHtml(facts)}<details class="screen"><summary>The design in full</summary><pre>${escapeHtml(stringify(design.resolved))}</pre></details>`;
}

/** A fact, or nothing where there is none to state. */
function factOf(name: string, value: string | null): [string, string][] {
  return value === null ? [] : [[name, value]];
}
