/** Energy per token against context and against users: single points, without bands. */
import type { NamedShape } from '../model/shapes.ts';
import { bindNamed } from './find-activity.ts';
import { costAt, type PowerRow, type PowerSubject } from './power.ts';

export interface CurvePoint {
  /** Tokens of context, or users. */
  readonly x: number;
  readonly oneUserJ: number;
  readonly fullJ: number;
}

export interface Curve {
  readonly name: string;
  readonly points: readonly CurvePoint[];
}

const CONTEXTS = [128, 512, 2048, 8192, 32_768, 131_072];

/** Against context, as far as the model goes; a context that cannot be priced has no point. */
export function contextCurves(subjects: readonly PowerSubject[], shape: NamedShape): Curve[] {
  return subjects.map((subject) => ({
    name: subject.name,
    points: CONTEXTS.filter((tokens) => tokens <= shape.contextTokens).flatMap((x) => {
      const cost = costAt(subject, shape, x);
      // Without a token there is no energy of one.
      if (!(cost.tokensPerSecondAggregate > 0)) return [];
      return [{ x, oneUserJ: cost.perTokenJ, fullJ: cost.perTokenAggregateJ }];
    }),
  }));
}

/**
 * Against users at a time, up to those whose caches are held: rate = min(users / time of a token, limits but the caches'), static
 * power shared by all. A GPU computes their tokens together.
 */
export function userCurves(rows: readonly PowerRow[]): Curve[] {
  return rows.map((row) => {
    const { cost, subject } = row;
    const users = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].filter((n) => n < cost.usersHeld);
    if (cost.usersHeld > 0) users.push(cost.usersHeld);
    const each = subject.fabric.kind === 'gpu' ? batched(row) : pipelined(row);
    return {
      name: subject.name,
      points: users.map((x) => ({ x, oneUserJ: cost.perTokenJ, fullJ: each(x) })),
    };
  });
}

function pipelined({ cost }: PowerRow): (users: number) => number {
  const dynamicJ = cost.perTokenJ - cost.staticPowerW * cost.tokenTimeS;
  const others = cost.limits
    .filter(({ name }) => name !== 'KV capacity')
    .map(({ tokensPerSecond }) => tokensPerSecond);
  return (users) => dynamicJ + cost.staticPowerW / Math.min(users / cost.tokenTimeS, ...others);
}

function batched({ subject, shape, cost }: PowerRow): (users: number) => number {
  return (users) => {
    const { fabric } = bindNamed(subject.design, [...subject.settings, `gpu.batch=${users}`]);
    const at = costAt({ ...subject, fabric, run: { ...subject.run, fabric } }, shape, cost.contextTokens);
    return at.perTokenJ;
  };
}
