/** Rows of `onefet power` as plain data: for --json, --csv and the table. */
import type { Comparators } from '../cost/comparators.ts';
import { estimatePerplexity, type PerplexityEstimate } from '../experiment/loss-prediction.ts';
import { displayPath } from '../files.ts';
import type { PowerRow } from './power.ts';

/** What was seen of the accuracy, on which model; null where no run of this very design is stored. */
export interface SeenAccuracy {
  readonly model: string;
  readonly parameters: number;
  readonly predictions: number;
  readonly chips: number;
  /** null: the weights were never trained. */
  readonly perplexityRatio: number | null;
  readonly kl: number;
  readonly estimate8B: PerplexityEstimate | null;
}

export function seenAccuracy(
  { subject: { found } }: PowerRow,
  comparators: Comparators,
): SeenAccuracy | null {
  if (!found.sameDesign) return null;
  const { accuracy, model } = found.activity;
  return {
    model: model.name,
    parameters: model.parameters,
    predictions: accuracy.predictions,
    chips: accuracy.chips,
    perplexityRatio: model.synthetic ? null : accuracy.perplexity / accuracy.digitalPerplexity,
    kl: accuracy.kl,
    estimate8B: model.synthetic ? null : (estimatePerplexity(accuracy, comparators) ?? null),
  };
}

/** A row with every figure under a name with its unit; low and high are the 5th and 95th percentile of the bands. */
export function powerRecord(row: PowerRow, comparators: Comparators): Record<string, string | number | null> {
  const { subject, cost, price } = row;
  const seen = seenAccuracy(row, comparators);
  const { bands } = cost;
  const usd = typeof price === 'string' ? null : price;
  return {
    design: subject.name,
    kind: 'this project',
    model: cost.shape.name,
    contextTokens: cost.contextTokens,
    oneUserJPerToken: cost.perTokenJ,
    oneUserJPerToken_low: bands.perTokenJ.low,
    oneUserJPerToken_high: bands.perTokenJ.high,
    fullJPerToken: cost.perTokenAggregateJ,
    fullJPerToken_low: bands.perTokenAggregateJ.low,
    fullJPerToken_high: bands.perTokenAggregateJ.high,
    oneUserTokensPerSecond: cost.tokensPerSecondPerUser,
    oneUserTokensPerSecond_low: bands.tokensPerSecondPerUser.low,
    oneUserTokensPerSecond_high: bands.tokensPerSecondPerUser.high,
    fullTokensPerSecond: cost.tokensPerSecondAggregate,
    fullTokensPerSecond_low: bands.tokensPerSecondAggregate.low,
    fullTokensPerSecond_high: bands.tokensPerSecondAggregate.high,
    areaMm2: cost.areaMm2,
    areaMm2_low: bands.areaMm2.low,
    areaMm2_high: bands.areaMm2.high,
    dies: cost.dies,
    powerW: cost.powerW,
    usersHeld: cost.usersHeld,
    usdPerMtoken: usd?.mid ?? null,
    usdPerMtoken_low: usd?.low ?? null,
    usdPerMtoken_high: usd?.high ?? null,
    limit: cost.binding,
    klSeen: seen?.kl ?? null,
    perplexityRatioSeen: seen?.perplexityRatio ?? null,
    accuracySeenOn: seen?.model ?? null,
    perplexity8B_low: seen?.estimate8B?.low ?? null,
    perplexity8B_high: seen?.estimate8B?.high ?? null,
    constants: displayPath(subject.constants.file),
    source: subject.found.source,
  };
}

/** A published system as a row of the same columns: what is not published is empty. */
export function publishedRecord(
  system: Comparators['systems'][number],
): Record<string, string | number | null> {
  const perUser = system.rate === 'per-user';
  const [low, high] = system.jPerToken ?? [null, null];
  const joules = low === null || high === null ? null : Math.sqrt(low * high);
  const rate = system.tokensPerSecond;
  return {
    design: system.name,
    kind:
      system.kind === 'silicon' ? (system.bound ? 'silicon, upper bound' : 'silicon') : 'modelled by others',
    model: system.model,
    contextTokens: null,
    [`${perUser ? 'oneUser' : 'full'}JPerToken`]: joules,
    [`${perUser ? 'oneUser' : 'full'}JPerToken_low`]: low,
    [`${perUser ? 'oneUser' : 'full'}JPerToken_high`]: high,
    [`${perUser ? 'oneUser' : 'full'}TokensPerSecond`]: rate,
    source: `${system.conditions}; ${system.source} (${system.tag})`,
  };
}
