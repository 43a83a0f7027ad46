/**
 * Bands: how far the cost moves while every constant that is not chosen moves between its low and its high.
 *
 *   draw     log-triangular between low and high with its peak at the value (triangular where low is 0), each constant by
 *            itself: what is wrong with one is taken as unrelated to what is wrong with another
 *   band     5th and 95th percentile of a figure over the draws
 *   tornado  one constant at its low and at its high, the others as they are
 *
 * Deterministic: a draw depends on the seed, its number and the constant's name alone.
 */
import { count, formatSi } from '../format.ts';
import { nameCoordinate, streamKey, uniform } from '../random.ts';
import type { Constant, CostConstants } from './constants.ts';
import type { CostBand, CostBands, CostReport, CostSensitivity } from './report.ts';

type Group = Readonly<Record<string, Constant>>;

/** Groups of cost.yaml whose constants go into energy, area and time: all but the money and what is only compared. */
function groupsOf(constants: CostConstants): [name: string, members: Group][] {
  return Object.entries(constants).filter(
    (entry): entry is [string, Group] =>
      typeof entry[1] === 'object' && !['bound', 'economics'].includes(entry[0]),
  );
}

/** Draws of a band: its ends are then the 4th to 6th and 94th to 96th percentile. */
export const BAND_DRAWS = 500;
const BAND_SEED = 1;

/** Figures that have a band. */
const FIGURES = [
  'perTokenJ',
  'areaMm2',
  'tokensPerSecondPerUser',
  'perTokenAggregateJ',
  'tokensPerSecondAggregate',
  'powerW',
] as const;

type Figures = Pick<CostReport, (typeof FIGURES)[number]>;
type Evaluate = (constants: CostConstants) => Figures;

/** Quantile u of the triangular law on low .. high with its peak at `peak`. */
export function triangular(u: number, low: number, peak: number, high: number): number {
  if (high === low) return low;
  const left = (peak - low) / (high - low);
  return u < left
    ? low + Math.sqrt(u * (high - low) * (peak - low))
    : high - Math.sqrt((1 - u) * (high - low) * (high - peak));
}

/** A constant's value at quantile u of its band; what has no band keeps its value. */
export function bandQuantile({ low, value, high }: Constant, u: number): number {
  if (low === undefined || high === undefined) return value;
  if (low <= 0) return triangular(u, low, value, high);
  return Math.exp(triangular(u, Math.log(low), Math.log(value), Math.log(high)));
}

/** Returns what gives all constants as draw number `draw` has them. */
export function constantDraws(constants: CostConstants): (draw: number) => CostConstants {
  const groups = groupsOf(constants).map(([group, members]) => ({
    ...{ group, members },
    drawn: Object.entries(members)
      .filter(([, { low }]) => low !== undefined)
      .map(([key, constant]) => ({ key, constant, coordinate: nameCoordinate(`${group}.${key}`) })),
  }));
  return (draw) => {
    const stream = streamKey(BAND_SEED, draw);
    const changed: Record<string, Record<string, Constant>> = {};
    for (const { group, members, drawn } of groups) {
      changed[group] = { ...members };
      for (const { key, constant, coordinate } of drawn) {
        const value = bandQuantile(constant, uniform(stream, coordinate));
        changed[group][key] = { ...constant, value };
      }
    }
    return { ...constants, ...changed };
  };
}

/** Bands of the figures of a cost. */
export function costBands(constants: CostConstants, evaluate: Evaluate, number = BAND_DRAWS): CostBands {
  const drawn = constantDraws(constants);
  const draws = Array.from({ length: number }, (_, draw): Figures => {
    const { perTokenJ, areaMm2, powerW, ...rates } = evaluate(drawn(draw));
    const { tokensPerSecondPerUser, perTokenAggregateJ, tokensPerSecondAggregate } = rates;
    return {
      ...{ perTokenJ, areaMm2, powerW },
      ...{ tokensPerSecondPerUser, perTokenAggregateJ, tokensPerSecondAggregate },
    };
  });
  const band = (figure: (typeof FIGURES)[number]): CostBand => {
    const sorted = draws.map((one) => one[figure]).sort((a, b) => a - b);
    const at = (quantile: number) => sorted[Math.round(quantile * (sorted.length - 1))];
    return { low: at(0.05), median: at(0.5), high: at(0.95) };
  };
  return {
    draws: number,
    seed: BAND_SEED,
    perTokenJ: band('perTokenJ'),
    areaMm2: band('areaMm2'),
    tokensPerSecondPerUser: band('tokensPerSecondPerUser'),
    perTokenAggregateJ: band('perTokenAggregateJ'),
    tokensPerSecondAggregate: band('tokensPerSecondAggregate'),
    powerW: band('powerW'),
  };
}

/** How messages call the figures, and how they print them. */
const FIGURE_WORDS: Readonly<Record<(typeof FIGURES)[number], readonly [string, (value: number) => string]>> =
  {
    perTokenJ: ['energy of a token of one user', (value) => formatSi(value, 'J')],
    areaMm2: ['area', (value) => `${count(value)} mm2`],
    tokensPerSecondPerUser: ['rate of one user', (value) => `${count(value)} tokens/s`],
    perTokenAggregateJ: ['energy of a token of the full pipeline', (value) => formatSi(value, 'J')],
    tokensPerSecondAggregate: ['rate of the full pipeline', (value) => `${count(value)} tokens/s`],
    powerW: ['power of the full pipeline', (value) => formatSi(value, 'W')],
  };

/** Figures of the full pipeline: its users are those whose cache fits on what the last die leaves. */
const OF_THE_PIPELINE: readonly string[] = ['perTokenAggregateJ', 'tokensPerSecondAggregate', 'powerW'];

/**
 * Says which figures at the likely constants lie outside their own bands, and why. Dies come whole, so what the last one leaves
 * jumps where the area crosses a die; and constants whose likely value is an end of their band can move to one side only.
 */
export function outsideBands(at: Figures & Pick<CostReport, 'dies' | 'binding'>, bands: CostBands): string[] {
  const outside = FIGURES.filter(
    (figure) => at[figure] < bands[figure].low || at[figure] > bands[figure].high,
  );
  if (outside.length === 0) return [];
  const named = outside.map((figure) => {
    const [words, print] = FIGURE_WORDS[figure];
    const { low, median, high } = bands[figure];
    return `${words}, ${print(at[figure])} (${print(low)} to ${print(high)}, median ${print(median)})`;
  });
  const ofThePipeline = outside.some((figure) => OF_THE_PIPELINE.includes(figure));
  const why = [
    ...(ofThePipeline && at.binding === 'KV capacity'
      ? [
          `the likely area leaves an unusual share of the last of ${at.dies} dies to the caches of users, and most draws do not`,
        ]
      : []),
    ...(ofThePipeline && at.binding !== 'KV capacity'
      ? ['what limits the pipeline changes between the draws']
      : []),
    ...(outside.every((figure) => OF_THE_PIPELINE.includes(figure))
      ? []
      : ['constants whose likely value is an end of their band can only move to the other side']),
  ].join('; ');
  return [`At the likely constants outside its own band: ${named.join('; ')}: ${why}. Take the median.`];
}

/** Energy, area and time with each constant at either end of its band, largest effect on the energy first. */
export function rankSensitivity(
  constants: CostConstants,
  base: Figures,
  evaluate: Evaluate,
): CostSensitivity[] {
  const all: CostSensitivity[] = [];
  for (const [group, members] of groupsOf(constants)) {
    for (const [key, constant] of Object.entries(members)) {
      const { tag, value, low, high } = constant;
      if (low === undefined || high === undefined || low === high) continue;
      const name = `${group}.${key}`;
      const at = (v: number) =>
        evaluate({ ...constants, [group]: { ...members, [key]: { ...constant, value: v } } });
      const [atLow, atHigh] = [at(low), at(high)];
      all.push({
        constant: name,
        tag,
        value,
        lowValue: low,
        highValue: high,
        lowPerTokenJ: atLow.perTokenJ,
        highPerTokenJ: atHigh.perTokenJ,
        lowAreaMm2: atLow.areaMm2,
        highAreaMm2: atHigh.areaMm2,
      });
    }
  }
  const effect = (s: CostSensitivity) =>
    Math.max(Math.abs(s.lowPerTokenJ - base.perTokenJ), Math.abs(s.highPerTokenJ - base.perTokenJ));
  const areaEffect = (s: CostSensitivity) =>
    Math.max(Math.abs(s.lowAreaMm2 - base.areaMm2), Math.abs(s.highAreaMm2 - base.areaMm2));
  return all
    .filter((s) => effect(s) > 1e-6 * base.perTokenJ || areaEffect(s) > 1e-6 * base.areaMm2)
    .sort((a, b) => effect(b) - effect(a) || (a.constant < b.constant ? -1 : 1));
}
