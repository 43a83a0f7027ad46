/**
 * Bits by matrix under a budget: every matrix starts with the fewest bits, and the next to get more is the one whose harm
 * falls most per added cost, until the budget is spent. Steps that a later one dominates (3 -> 4 -> 6 where 3 -> 6 falls
 * faster per cost) are taken together, so the result lies on the convex hull of what is possible (Shoham & Gersho 1988,
 * IEEE Trans. ASSP 36, bit allocation for an arbitrary set of quantisers).
 *
 * Harm is any number that adds up over matrices: relative output error times a matrix's sensitivity, or the KL of a model
 * in which it alone is coded. k and v come first on a real model: 6 % of the weights, 22 % of the single-matrix KL.
 */
import { OnefetError } from '../error.ts';
import type { Stage } from '../model/architecture.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { weightFormat } from '../tile/weight-code.ts';

export interface BitChoice {
  readonly key: string;
  readonly weights: number;
  /** Harm by bits; what is absent is not offered. */
  readonly harm: Partial<Record<WeightBits, number>>;
}

/** What an error of a matrix's outputs costs a model: measured, and read from a data file. */
export interface Sensitivity {
  /** KL per unit of relative output error, by what a matrix reads. */
  readonly klPerError: Readonly<Record<Stage, number>>;
  /** Error at some bits over that at 4. */
  readonly errorOver4Bits: Readonly<Record<WeightBits, number>>;
}

/** What a matrix's bits are expected to cost in KL, from its relative error at 4 bits. */
export function expectedHarm(
  { klPerError, errorOver4Bits }: Sensitivity,
  reads: Stage,
  errorAt4Bits: number,
): Record<WeightBits, number> {
  const harm = (bits: WeightBits): number => klPerError[reads] * errorAt4Bits * errorOver4Bits[bits];
  return { 3: harm(3), 4: harm(4), 6: harm(6) };
}

/** KL in nats per prediction of a model in which one matrix alone is coded, by tensor key: read off the model itself. */
export interface MeasuredHarm {
  readonly bits: WeightBits;
  readonly kl: Readonly<Record<string, number>>;
}

/**
 * What a matrix's bits are expected to cost from what its code at some bits was measured to: KL goes with the relative
 * error, harm(b) = KL errorOver4Bits(b) / errorOver4Bits(bits).
 */
export function scaledHarm(
  { errorOver4Bits }: Pick<Sensitivity, 'errorOver4Bits'>,
  { bits, kl }: MeasuredHarm,
  key: string,
): Record<WeightBits, number> {
  const harm = (other: WeightBits): number => (kl[key] * errorOver4Bits[other]) / errorOver4Bits[bits];
  return { 3: harm(3), 4: harm(4), 6: harm(6) };
}

export type BitBudget =
  /** Cells per weight: 3 and 4 bits cost one, 6 two. */
  | { readonly cellsPerWeight: number }
  /** Mean bits per weight. */
  | { readonly bitsPerWeight: number };

export interface BitAllocation {
  readonly bits: ReadonlyMap<string, WeightBits>;
  /** Cost per weight, in the budget's unit. */
  readonly spent: number;
  readonly harm: number;
}

interface Level {
  readonly bits: WeightBits;
  readonly cost: number;
  readonly harm: number;
}

/** Throws OnefetError('usage', 'BIT_BUDGET') where even the fewest bits cost more than the budget. */
export function allocateBits(choices: readonly BitChoice[], budget: BitBudget): BitAllocation {
  const inCells = 'cellsPerWeight' in budget;
  const limit = inCells ? budget.cellsPerWeight : budget.bitsPerWeight;
  const costPerWeight = (bits: WeightBits): number =>
    inCells ? weightFormat(bits).cellWeights.length : bits;
  const weights = choices.reduce((sum, choice) => sum + choice.weights, 0);
  const ladders = choices.map((choice) => hull(levelsOf(choice, costPerWeight)));
  const at = choices.map(() => 0);
  let cost = ladders.reduce((sum, ladder) => sum + ladder[0].cost, 0);
  if (cost > limit * weights * (1 + 1e-12)) {
    throw new OnefetError(
      'usage',
      'BIT_BUDGET',
      `a budget of ${limit} ${inCells ? 'cells' : 'bits'} per weight is below the ${cost / weights} of the fewest bits`,
    );
  }
  for (;;) {
    let best = -1;
    let bestSlope = 0;
    for (let i = 0; i < ladders.length; i++) {
      const step = nextStep(ladders[i], at[i]);
      if (step === undefined || cost + step.cost > limit * weights * (1 + 1e-12)) continue;
      const slope = step.gain / step.cost;
      if (slope > bestSlope) [best, bestSlope] = [i, slope];
    }
    if (best < 0) break;
    cost += nextStep(ladders[best], at[best])!.cost;
    at[best]++;
  }
  return {
    bits: new Map(choices.map(({ key }, i) => [key, ladders[i][at[i]].bits])),
    spent: weights > 0 ? cost / weights : 0,
    harm: ladders.reduce((sum, ladder, i) => sum + ladder[at[i]].harm, 0),
  };
}

function nextStep(ladder: readonly Level[], at: number): { cost: number; gain: number } | undefined {
  if (at + 1 >= ladder.length) return undefined;
  return { cost: ladder[at + 1].cost - ladder[at].cost, gain: ladder[at].harm - ladder[at + 1].harm };
}

/** By rising cost; of equal cost the least harm. */
function levelsOf(choice: BitChoice, costPerWeight: (bits: WeightBits) => number): Level[] {
  const levels = ([3, 4, 6] as const).flatMap((bits) => {
    const harm = choice.harm[bits];
    return harm === undefined ? [] : [{ bits, cost: costPerWeight(bits) * choice.weights, harm }];
  });
  if (levels.length === 0)
    throw new OnefetError('internal', 'BIT_BUDGET', `no bits offered for ${choice.key}`);
  levels.sort((a, b) => a.cost - b.cost || a.harm - b.harm);
  return levels.filter((level, i) => i === 0 || level.cost > levels[i - 1].cost);
}

/** The lower convex hull: harm falls, and ever more slowly. */
function hull(levels: readonly Level[]): Level[] {
  const kept: Level[] = [];
  for (const level of levels) {
    if (kept.length > 0 && level.harm >= kept[kept.length - 1].harm) continue;
    while (kept.length > 1) {
      const [a, b] = kept.slice(-2);
      if ((a.harm - b.harm) / (b.cost - a.cost) > (b.harm - level.harm) / (level.cost - b.cost)) break;
      kept.pop();
    }
    kept.push(level);
  }
  return kept;
}
