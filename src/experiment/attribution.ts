import type { ErrorSource } from '../fabric/fabric.ts';

/** Chips on which a source runs, of those that are asked for. */
export function attributionSeeds(
  { sameOnEveryChip }: ErrorSource,
  seeds: readonly number[],
  chips: number,
): number[] {
  return seeds.slice(0, sameOnEveryChip ? Math.min(1, chips) : chips);
}
