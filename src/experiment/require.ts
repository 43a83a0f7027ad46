/** `--require "top1>=0.8"`: a condition on the mean over chips, for scripts and CI. */
import { OnefetError } from '../error.ts';
import type { RunResult } from './result.ts';

const METRICS = {
  nll: (result: RunResult) => result.summary.nll.mean,
  perplexity: (result: RunResult) => result.summary.perplexity.mean,
  kl: (result: RunResult) => result.summary.kl.mean,
  top1: (result: RunResult) => result.summary.top1.mean,
  yield: (result: RunResult) => result.yield.share,
  energyJ: (result: RunResult) => result.energy.perTokenJ,
  areaMm2: (result: RunResult) => result.area.mm2,
} as const;

export interface Requirement {
  readonly metric: keyof typeof METRICS;
  readonly relation: '>=' | '<=' | '>' | '<';
  readonly bound: number;
}

export function parseRequirement(text: string): Requirement {
  const match = /^\s*(\w+)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*$/.exec(text);
  const bound = Number(match?.[3]);
  if (!match || !(match[1] in METRICS) || !Number.isFinite(bound)) {
    throw new OnefetError(
      'usage',
      'REQUIRE_SYNTAX',
      `--require ${text}: expected metric, relation and number`,
      {
        hint: `for example "top1>=0.8"; metrics: ${Object.keys(METRICS).join(', ')}`,
      },
    );
  }
  return { metric: match[1] as Requirement['metric'], relation: match[2] as Requirement['relation'], bound };
}

/** Throws OnefetError('requirement') when the result does not meet the condition. */
export function requireResult(text: string, result: RunResult): void {
  const { metric, relation, bound } = parseRequirement(text);
  const value = METRICS[metric](result);
  const holds =
    relation === '>='
      ? value >= bound
      : relation === '<='
        ? value <= bound
        : relation === '>'
          ? value > bound
          : value < bound;
  if (!holds) {
    throw new OnefetError(
      'requirement',
      'REQUIREMENT',
      `required ${metric} ${relation} ${bound}, the result is ${value}`,
    );
  }
}
