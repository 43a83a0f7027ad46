/** Energy per token against context and against users: single points, without bands. */
import type { ChipCost } from '../cost/priced-design.ts';
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

/** What a token of one of `users` costs, and how many there are. */
export interface UserLoad {
  /** At most those whose caches are held. */
  readonly users: number;
  readonly perTokenJ: number;
  /** Of all users together. */
  readonly tokensPerSecond: number;
  /** What keeps it from being more. */
  readonly binding: string;
}

/** Against users at a time, up to those whose caches are held. */
export function userCurves(rows: readonly PowerRow[]): Curve[] {
  return rows.map((row) => {
    const { cost, subject } = row;
    const users = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].filter((n) => n < cost.usersHeld);
    if (cost.usersHeld > 0) users.push(cost.usersHeld);
    return {
      name: subject.name,
      points: users.map((x) => ({ x, oneUserJ: cost.perTokenJ, fullJ: loadAt(row, x).perTokenJ })),
    };
  });
}

/**
 * The load of users at a time: rate = min(users / time of a token, limits but the caches'), static power shared by all. A GPU
 * computes their tokens together.
 */
export function loadAt(
  row: Pick<PowerRow, 'subject' | 'shape'> & { readonly cost: ChipCost },
  asked: number,
): UserLoad {
  const users = Math.max(1, Math.min(asked, row.cost.usersHeld));
  return row.subject.fabric.kind === 'gpu' ? batched(row, users) : pipelined(row.cost, users);
}

function pipelined(cost: ChipCost, users: number): UserLoad {
  const dynamicJ = cost.perTokenJ - cost.staticPowerW * cost.tokenTimeS;
  const inFlight = {
    name: users < cost.usersHeld ? 'users: each waits for its own token' : 'KV capacity',
    tokensPerSecond: users / cost.tokenTimeS,
  };
  const others = cost.limits.filter(({ name }) => name !== 'KV capacity');
  const [{ name, tokensPerSecond }] = [inFlight, ...others].sort(
    (a, b) => a.tokensPerSecond - b.tokensPerSecond,
  );
  return {
    ...{ users, tokensPerSecond, binding: name },
    perTokenJ: dynamicJ + cost.staticPowerW / tokensPerSecond,
  };
}

function batched({ subject, shape, cost }: Parameters<typeof loadAt>[0], users: number): UserLoad {
  const { fabric } = bindNamed(subject.design, [...subject.settings, `gpu.batch=${users}`]);
  const at = costAt({ ...subject, fabric, run: { ...subject.run, fabric } }, shape, cost.contextTokens);
  return {
    users,
    perTokenJ: at.perTokenJ,
    tokensPerSecond: users / at.tokenTimeS,
    binding:
      users < cost.usersHeld ? 'users: a step reads all weights for their tokens' : 'memory for caches',
  };
}
