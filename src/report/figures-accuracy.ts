/** The accuracy of a run in one figure: digital model, recoded weights, every chip with the interval, and the threshold. */
import { headlineOf } from '../experiment/headline.ts';
import type { Interval, RunResult } from '../experiment/result.ts';
import { evenly, plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';
import type { FigureRow } from './figure-spec.ts';
import { logTicks } from './ticks.ts';

/** "12.3 (11.9 to 12.7)", or the mean alone with one chip. */
export function intervalText(interval: Interval, digits = 4): string {
  if (interval.ci95 === null) return plain(interval.mean, digits);
  const [mean, low, high] = evenly([interval.mean, ...interval.ci95], digits);
  return `${mean} (${low} to ${high})`;
}

/** A row of the figure, from the top. */
interface Lane {
  readonly name: string;
  readonly values: readonly number[];
  readonly interval: Interval | null;
  readonly color: string;
  readonly symbol: string;
}

/** Perplexity, or the divergence where the weights were never trained. */
export function accuracyFigure(result: RunResult): Figure {
  const { model, digital, recoded, chips, fabric, calibration } = result;
  const { synthetic } = model;
  const headline = headlineOf(result);
  const pick = (accuracy: RunResult['recoded']) => (synthetic ? accuracy.kl : accuracy.perplexity);
  const lanes: Lane[] = [
    ...(synthetic ? [] : [lane('Digital model', [digital.perplexity], COLOURS.green, 'square')]),
    lane(
      calibration ? 'Recoded weights,<br>ideal analog' : 'Recoded weights,<br>exact',
      [pick(recoded)],
      COLOURS.amber,
      'diamond',
    ),
    {
      ...lane(
        fabric.chipsDiffer && chips.length > 1 ? `${chips.length} chips` : 'Chip',
        chips.map(pick),
        COLOURS.blue,
        'circle',
      ),
      interval: synthetic ? headline.kl : headline.perplexity,
    },
  ];
  const thresholds = synthetic ? [] : [result.yield.perplexityRatio * digital.perplexity];
  const drawn = [
    ...lanes.flatMap(({ values, interval }) => [...values, ...(interval?.ci95 ?? [])]),
    ...thresholds,
  ];
  const axis = synthetic ? 'KL divergence (nats per token)' : 'Perplexity (lower is better)';
  return {
    id: 'accuracy',
    title: synthetic
      ? 'Divergence of the chips from the digital model (synthetic weights)'
      : 'Accuracy: digital model, recoded weights, chips',
    caption: captionOf(result, headline.covers),
    data: lanes.flatMap((one, i) => laneTraces(one, lanes.length - 1 - i, result)),
    layout: {
      xaxis: { title: { text: axis }, zeroline: false, ...valueAxis(drawn, synthetic) },
      yaxis: {
        tickvals: lanes.map((_, i) => lanes.length - 1 - i),
        ticktext: lanes.map(({ name }) => `${name} `),
        range: [-0.6, lanes.length - 0.4],
        gridcolor: '#ffffff',
        zeroline: false,
      },
      ...thresholdShapes(thresholds, result),
      showlegend: false,
      hovermode: 'closest',
    },
    height: 90 + 62 * lanes.length,
    phoneHeight: 90 + 62 * lanes.length,
    table: accuracyTable(result),
    rows: rowsOf(result, headline),
  };
}

const lane = (name: string, values: readonly number[], color: string, symbol: string): Lane => ({
  name,
  values,
  interval: null,
  color,
  symbol,
});

/** Two decades of perplexity are not read on a linear axis. */
function valueAxis(drawn: readonly number[], fromZero: boolean): Record<string, unknown> {
  const [low, high] = [Math.min(...drawn), Math.max(...drawn)];
  if (!fromZero && high / low > 10) return { type: 'log', ...logTicks(low, high, (v) => plain(v), 6) };
  const room = 0.08 * (high - low || high);
  return { range: [fromZero ? 0 : low - room, high + 1.5 * room], nticks: 7 };
}

/** Dots of the chips stand a little apart; the interval is a bar under them. */
function laneTraces(
  { name, values, interval, color, symbol }: Lane,
  y: number,
  result: RunResult,
): Figure['data'] {
  const chips = interval !== null;
  const spread = (i: number) => (values.length === 1 ? 0 : 0.16 * ((i % 3) - 1));
  const dots = {
    type: 'scatter',
    mode: values.length === 1 ? 'markers+text' : 'markers',
    name: name.replace('<br>', ' '),
    x: values,
    y: values.map((_, i) => y + spread(i)),
    customdata: chips
      ? result.chips.map(({ seed }, i) => `chip ${i + 1}, seed ${seed}`)
      : values.map(() => name),
    marker: { color, size: chips ? 9 : 12, symbol, opacity: chips && values.length > 1 ? 0.7 : 1 },
    text: values.map((value) => evenly([value], 4)[0]),
    textposition: 'top center',
    textfont: { size: 12 },
    cliponaxis: false,
    hovertemplate: '%{customdata}<br>%{x:.5g}<extra></extra>',
  };
  if (interval?.ci95 == null) return [dots];
  const { mean, ci95 } = interval;
  const bar = {
    type: 'scatter',
    mode: 'markers',
    name: 'mean and 95 % interval',
    x: [mean],
    y: [y - 0.36],
    error_x: {
      type: 'data',
      symmetric: false,
      array: [ci95[1] - mean],
      arrayminus: [mean - ci95[0]],
      color,
      thickness: 2.5,
      width: 7,
    },
    marker: { color, size: 8, symbol: 'line-ns-open' },
    hovertemplate: `mean ${intervalText(interval, 5)}<extra></extra>`,
  };
  return [dots, bar];
}

function thresholdShapes(
  thresholds: readonly number[],
  { yield: { perplexityRatio } }: RunResult,
): Record<string, unknown> {
  return {
    shapes: thresholds.map((x) => ({
      type: 'line',
      x0: x,
      x1: x,
      yref: 'paper',
      y0: 0,
      y1: 1,
      line: { color: COLOURS.orange, width: 1.6, dash: 'dash' },
    })),
    annotations: thresholds.map((x) => ({
      x,
      y: 1,
      yref: 'paper',
      yanchor: 'bottom',
      showarrow: false,
      text: `threshold: ${plain(perplexityRatio)} × digital`,
      font: { color: COLOURS.orange, size: 11 },
    })),
    margin: { t: 30 },
  };
}

function captionOf(result: RunResult, covers: string): string {
  const { digital, recoded, chips, fabric, summary, model } = result;
  if (model.synthetic) {
    return `The weights are synthetic, so there is no accuracy; the chip's predictions differ from the digital ones by ${intervalText(summary.kl)} nats per token, of which coding alone makes ${plain(recoded.kl)}.`;
  }
  const { perplexity } = headlineOf(result);
  const within = result.yield.share * chips.length;
  const counted =
    fabric.chipsDiffer && chips.length > 1
      ? `; ${Math.round(within)} of ${chips.length} chips are left of the threshold`
      : '';
  return `Further left is better. Digital ${evenly([digital.perplexity], 4)[0]}, recoded weights alone ${evenly([recoded.perplexity], 4)[0]}, chip ${intervalText(perplexity)}${counted}. ${perplexity.ci95 ? `The bar is the 95 % interval of the mean; it covers ${covers}.` : `No interval: it would cover ${covers}.`}`;
}

function rowsOf(result: RunResult, headline: ReturnType<typeof headlineOf>): FigureRow[] {
  const { synthetic } = result.model;
  const numbers = (a: { nll: number; perplexity: number; kl: number; top1: number }) => ({
    ...(synthetic ? {} : { perplexity: a.perplexity, nll_nats: a.nll }),
    kl_nats: a.kl,
    top1_share: a.top1,
  });
  const { perplexity, nll, kl, top1 } = headline;
  const end = (side: 0 | 1): FigureRow[] =>
    perplexity.ci95 && nll.ci95 && kl.ci95 && top1.ci95
      ? [
          {
            model: `chips, 95 % ${side === 0 ? 'low' : 'high'}`,
            ...numbers({
              perplexity: perplexity.ci95[side],
              nll: nll.ci95[side],
              kl: kl.ci95[side],
              top1: top1.ci95[side],
            }),
          },
        ]
      : [];
  const mean = { perplexity: perplexity.mean, nll: nll.mean, kl: kl.mean, top1: top1.mean };
  return [
    ...(synthetic ? [] : [{ model: 'digital', ...numbers({ ...result.digital, kl: 0, top1: 1 }) }]),
    { model: 'recoded', ...numbers(result.recoded) },
    ...result.chips.map((chip, i) => ({
      model: `chip ${i + 1}`,
      seed: chip.seed,
      ...numbers(chip),
      clip_share: chip.clipRate,
    })),
    { model: 'chips, mean', ...numbers(mean) },
    ...end(0),
    ...end(1),
  ];
}

function accuracyTable(result: RunResult): Figure['table'] {
  const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
  const synthetic = result.model.synthetic;
  const clips = result.chips.some(({ clipRate }) => clipRate !== null);
  const clipHeader = clips ? ['ADC clip rate'] : [];
  return {
    caption: synthetic
      ? 'Divergence by chip (synthetic weights: no perplexity)'
      : 'Accuracy by chip; KL is KL(digital || chip)',
    headers: synthetic
      ? ['Model', 'Seed', 'KL (nats)', 'Top-1 agreement', ...clipHeader]
      : ['Model', 'Seed', 'Perplexity', 'NLL (nats)', 'KL (nats)', 'Top-1 agreement', ...clipHeader],
    rows: [
      ...(synthetic
        ? []
        : [
            [
              'digital',
              '',
              plainNumber(result.digital.perplexity),
              plainNumber(result.digital.nll),
              0,
              '100.00 %',
              ...(clips ? [''] : []),
            ],
          ]),
      row('recoded', '', result.recoded, ''),
      ...result.chips.map((c, i) =>
        row(
          `chip ${i + 1}`,
          String(c.seed),
          c,
          c.clipRate === null ? '' : `${(c.clipRate * 100).toFixed(3)} %`,
        ),
      ),
    ],
  };

  function row(name: string, seed: string, a: RunResult['recoded'], clip: string): (string | number)[] {
    const own = clips ? [clip] : [];
    return synthetic
      ? [name, seed, plainNumber(a.kl), percent(a.top1), ...own]
      : [
          name,
          seed,
          plainNumber(a.perplexity),
          plainNumber(a.nll),
          plainNumber(a.kl),
          percent(a.top1),
          ...own,
        ];
  }
}

const plainNumber = (value: number): number => Number(value.toPrecision(5));
