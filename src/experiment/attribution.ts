import { type ErrorSource, sameOnEveryChip } from '../tile/error-sources.ts';

/** Chips on which a source runs, of those that are asked for. */
export function attributionSeeds(source: ErrorSource, seeds: readonly number[], chips: number): number[] {
  return seeds.slice(0, sameOnEveryChip(source) ? Math.min(1, chips) : chips);
}
