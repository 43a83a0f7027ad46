/**
 * The search for a front over a lattice: each axis has levels in an order, a candidate is one level of each.
 *
 *   1. start       the given candidates and a Latin hypercube over the levels (seeded)
 *   2. halving     rung after rung with more windows and chips: the better share goes on (half, unless asked otherwise), by rank of
 *                  front, then by error
 *   3. refinement  neighbours of the front (one level up or down on one axis) go from rung to rung while nothing that was seen
 *                  at a rung beats them, until a round finds nothing new or the rounds are used up
 *
 * The result is what reached the last rung: errors of different rungs are never compared. It depends on the seed and on what
 * `evaluate` says, and on nothing else. Successive halving: Jamieson and Talwalkar 2016 (AISTATS).
 */
import { bits32, streamKey, uniform } from '../random.ts';
import { frontOf, frontRanks } from './pareto.ts';

/** Level by axis. */
export type Candidate = readonly number[];

/** To be small, both; a candidate that cannot be has no score. */
export interface Score {
  readonly error: number;
  readonly price: number;
}

export interface SearchOptions {
  /** Levels of each axis. */
  readonly levels: readonly number[];
  readonly start: readonly Candidate[];
  readonly seed: number;
  /** Candidates of the hypercube. */
  readonly first: number;
  readonly rungs: number;
  /** Share of the first candidates of a rung that goes on to the next. */
  readonly kept: number;
  /** Rounds of refinement. */
  readonly rounds: number;
  /** Neighbours of front points beyond this error are not looked at. */
  readonly largestError: number;
}

export interface Scored extends Score {
  readonly candidate: Candidate;
}

/** Scores of candidates at a rung, in their order. */
export type Evaluate = (
  candidates: readonly Candidate[],
  rung: number,
) => Promise<readonly (Score | undefined)[]>;

export async function searchFront(options: SearchOptions, evaluate: Evaluate): Promise<Scored[]> {
  const seen = new Set<string>();
  const fresh = (candidates: readonly Candidate[]): Candidate[] =>
    candidates.filter((one) => {
      const key = one.join();
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
  /** All that were scored, by rung. */
  const byRung: Scored[][] = Array.from({ length: options.rungs }, () => []);
  const finished = byRung[options.rungs - 1];
  const climb = async (
    candidates: readonly Candidate[],
    choose: (scored: readonly Scored[], all: readonly Scored[]) => Candidate[],
  ) => {
    let left = candidates;
    for (let rung = 0; rung < options.rungs && left.length > 0; rung++) {
      const scores = await evaluate(left, rung);
      const scored = left.flatMap((candidate, i) => {
        const score = scores[i];
        return score ? [{ candidate, ...score }] : [];
      });
      byRung[rung].push(...scored);
      left = choose(scored, byRung[rung]);
    }
  };
  await climb(fresh([...options.start, ...hypercube(options)]), (scored) => betterShare(scored, options));
  for (let round = 0; round < options.rounds; round++) {
    const near = fresh(neighbours(finished, options));
    if (near.length === 0) break;
    await climb(near, unbeaten);
  }
  return finished;
}

/** The better share in the order in which they came, by rank of front and then by error; the start stays. */
function betterShare(scored: readonly Scored[], { start, kept: share }: SearchOptions): Candidate[] {
  const ranks = frontRanks(scored.map(vector));
  const order = scored
    .map((_, i) => i)
    .sort((a, b) => ranks[a] - ranks[b] || scored[a].error - scored[b].error || a - b);
  const kept = new Set(order.slice(0, Math.ceil(share * order.length)));
  const stays = new Set(start.map((one) => one.join()));
  return scored
    .filter(({ candidate }, i) => kept.has(i) || stays.has(candidate.join()))
    .map((one) => one.candidate);
}

/** Those that are on the front of all that were seen at their rung. */
function unbeaten(scored: readonly Scored[], all: readonly Scored[]): Candidate[] {
  const front = new Set(frontOf(all.map(vector)).map((i) => all[i]));
  return scored.filter((one) => front.has(one)).map(({ candidate }) => candidate);
}

const vector = ({ error, price }: Score): number[] => [error, price];

/** One point in each stratum of every axis, cut to its levels. */
function hypercube({ levels, seed, first }: SearchOptions): Candidate[] {
  const columns = levels.map((count, axis) => {
    const [orderKey, placeKey] = [streamKey(seed, axis, 1), streamKey(seed, axis, 2)];
    const order = Array.from({ length: first }, (_, i) => i);
    // Fisher and Yates.
    for (let i = first - 1; i > 0; i--) {
      const j = Math.floor((bits32(orderKey, i) / 2 ** 32) * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order.map((stratum, i) =>
      Math.min(count - 1, Math.floor((count * (stratum + uniform(placeKey, i))) / first)),
    );
  });
  return Array.from({ length: first }, (_, i) => columns.map((column) => column[i]));
}

/** One level up or down on one axis from the front's points of at most the largest error. */
function neighbours(finished: readonly Scored[], { levels, largestError }: SearchOptions): Candidate[] {
  const front = frontOf(finished.map(vector)).map((i) => finished[i]);
  return front
    .filter(({ error }) => error <= largestError)
    .flatMap(({ candidate }) =>
      candidate.flatMap((level, axis) =>
        [level - 1, level + 1]
          .filter((next) => next >= 0 && next < levels[axis])
          .map((next) => candidate.map((own, i) => (i === axis ? next : own))),
      ),
    );
}
