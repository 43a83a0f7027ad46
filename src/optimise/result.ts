/** What an optimisation found, as plain data: optimise.json, results.csv, and what the page is made of. */
import type { CsvValue } from '../csv.ts';
import { plain } from '../format.ts';
import type { Settings } from '../sweep/keys.ts';
import type { Measured } from '../sweep/task.ts';
import type { Axis } from './axes.ts';
import type { Prices } from './evaluate.ts';
import type { Minimised } from './options.ts';
import { frontOf } from './pareto.ts';
import type { Rung } from './plan.ts';

export const OPTIMISE_SCHEMA = 'onefet.optimise/1';
export const OPTIMISE_FILE = 'optimise.json';

/** On one text. */
export interface OnText {
  readonly kl: Measured;
  readonly perplexity: number;
  readonly top1: number;
  readonly chips: number;
  readonly scored: number;
  readonly prices: Prices;
}

export interface OptimisedPoint {
  /** What it sets beside the base. */
  readonly settings: Settings;
  /** The base's own design. */
  readonly base: boolean;
  readonly selection: OnText;
  /** null: on no front, so it was not run on the reported text. */
  readonly report: OnText | null;
  /** Fronts of KL against a price that it is on, on the text of the choice. */
  readonly fronts: readonly Minimised[];
  /** Makes it again on the reported text. */
  readonly command: string;
}

export interface OptimiseResult {
  readonly schema: typeof OPTIMISE_SCHEMA;
  readonly onefet: string;
  readonly kl: number;
  readonly minimise: Minimised;
  readonly axes: readonly Axis[];
  readonly rungs: readonly Rung[];
  readonly seed: number;
  readonly base: Settings;
  readonly model: string;
  readonly shape: string;
  readonly selectText: string;
  readonly text: string;
  /** Settings that were run, at any rung, and those that were refused. */
  readonly evaluated: number;
  readonly refused: readonly { readonly settings: string; readonly reason: string }[];
  readonly points: readonly OptimisedPoint[];
  /** Number of the point of the least price whose KL on the text of the choice will do; null: none will. */
  readonly choice: number | null;
  readonly warnings: readonly string[];
}

export const priceOf = (minimise: Minimised, { energyJ, areaMm2, usdPerMtoken }: Prices): number =>
  ({ energy: energyJ, area: areaMm2, cost: usdPerMtoken })[minimise];

/** Fronts of each point: KL against each price by itself. */
export function frontsOf(
  points: readonly { readonly kl: number; readonly prices: Prices }[],
  minimised: readonly Minimised[],
): Minimised[][] {
  const on = minimised.map(
    (price) => new Set(frontOf(points.map(({ kl, prices }) => [kl, priceOf(price, prices)]))),
  );
  return points.map((_, i) => minimised.filter((_, k) => on[k].has(i)));
}

/**
 * Says that the choice does on the text of the choice and not on the reported one: a text that was never looked at is the one to
 * believe. undefined where it does on both, or nothing was chosen.
 */
export function missedTarget({
  points,
  choice,
  kl,
  selectText,
  text,
}: Pick<OptimiseResult, 'points' | 'choice' | 'kl' | 'selectText' | 'text'>): string | undefined {
  const { selection, report } = points[choice ?? -1] ?? {};
  if (!selection || !report || report.kl.mean <= kl) return undefined;
  const ci = report.kl.textAndChipsCi95 ?? report.kl.chipsCi95;
  const interval = ci ? ` (${plain(ci[0])} to ${plain(ci[1])})` : '';
  return `The choice misses what was asked on the reported text: KL ${plain(report.kl.mean)}${interval} on ${text}, ${plain(selection.kl.mean)} on ${selectText}, at most ${plain(kl)} was asked. Ask for less, or choose on more windows of a text like the reported one.`;
}

export type OptimiseRow = Readonly<Record<string, CsvValue>>;

/** A line for each point, those of the least price first. */
export function optimiseRows({ points, choice }: OptimiseResult): OptimiseRow[] {
  const keys = [...new Set(points.flatMap(({ settings }) => Object.keys(settings)))];
  return points.map(({ settings, base, selection, report, fronts, command }, i) => ({
    point: i + 1,
    choice: i === choice,
    base,
    fronts: fronts.join(' '),
    ...Object.fromEntries(keys.map((key) => [key, valueText(settings[key])])),
    ...columns('select', selection),
    ...(report ? columns('report', report) : {}),
    command: report ? command : null,
  }));
}

function columns(prefix: string, { kl, perplexity, top1, chips, scored, prices }: OnText): OptimiseRow {
  const interval = (name: string, ci: readonly [number, number] | null) => ({
    [`${prefix}_kl_nats_ci95_${name}_low`]: ci?.[0] ?? null,
    [`${prefix}_kl_nats_ci95_${name}_high`]: ci?.[1] ?? null,
  });
  const { energyJ, energyBandJ, areaMm2, areaBandMm2, dies, usdPerMtoken, tokensPerSecondPerUser } = prices;
  const band = (name: string, ci: readonly [number, number] | null, unit: string) =>
    ci
      ? { [`${prefix}_${name}_band_low_${unit}`]: ci[0], [`${prefix}_${name}_band_high_${unit}`]: ci[1] }
      : {};
  return {
    [`${prefix}_chips`]: chips,
    [`${prefix}_scored_tokens`]: scored,
    [`${prefix}_kl_nats`]: kl.mean,
    ...interval('chips', kl.chipsCi95),
    ...interval('text_and_chips', kl.textAndChipsCi95),
    [`${prefix}_perplexity`]: perplexity,
    [`${prefix}_top1_share`]: top1,
    [`${prefix}_projected_energy_per_token_j`]: energyJ,
    ...band('projected_energy_per_token', energyBandJ, 'j'),
    [`${prefix}_projected_area_mm2`]: areaMm2,
    ...band('projected_area', areaBandMm2, 'mm2'),
    [`${prefix}_projected_dies`]: dies,
    [`${prefix}_projected_usd_per_mtoken`]: usdPerMtoken,
    [`${prefix}_projected_tokens_per_second_per_user`]: tokensPerSecondPerUser,
  };
}

const valueText = (value: unknown): CsvValue =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as CsvValue);
