import { expect, test } from 'vitest';
import type { Job } from './job.ts';
import { jobKey } from './job.ts';
import { byVariant, newWaiting } from './schedule.ts';

const job = (seed: number, window: number): Job => {
  const variant = { kind: 'chip', seed } as const;
  return { key: jobKey(variant, window), variant, number: window, windows: [], baselineRow: 0 };
};
/** Window by window, as if all chips were asked for at once. */
const mixed = (chips: number, windows: number): Job[] =>
  Array.from({ length: chips * windows }, (_, i) => job(i % chips, Math.floor(i / chips)));

test('jobs of a variant follow each other, variants in the order of their first job', () => {
  const order = [...byVariant(mixed(3, 2)).values()].flat().map(({ key }) => key);
  expect(order).toEqual(['chip-0/0', 'chip-0/1', 'chip-1/0', 'chip-1/1', 'chip-2/0', 'chip-2/1']);
});

test('a thread keeps its chip, then takes the one that the fewest work on; every job goes out once', () => {
  const jobs = mixed(4, 500);
  const waiting = newWaiting(jobs, 3);
  const seen = new Set<string>();
  const chips: string[][] = [[], [], []];
  for (let turn = 0; ; turn++) {
    const thread = turn % 3;
    const next = waiting.take(thread);
    if (!next) break;
    seen.add(next.key);
    const chip = next.key.split('/')[0];
    if (chips[thread].at(-1) !== chip) chips[thread].push(chip);
  }
  expect(seen.size).toBe(jobs.length);
  expect(chips.map((own) => own[0])).toEqual(['chip-0', 'chip-1', 'chip-2']);
  // The fourth chip is what is left when the first is done; whoever is free then shares it.
  for (const own of chips) expect(own.slice(1)).toEqual(['chip-3']);
});
