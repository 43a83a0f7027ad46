/** A part of a sweep's points: every count-th, from number index on. */
import { OnefetError } from '../error.ts';

export interface Shard {
  /** From 0. */
  readonly index: number;
  readonly count: number;
}

export const WHOLE: Shard = { index: 0, count: 1 };

/** Reads "2/4", the second of four. Error: SHARD (usage). */
export function parseShard(text: string): Shard {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(text.trim());
  const [number, count] = [Number(match?.[1]), Number(match?.[2])];
  if (match && count >= 1 && number >= 1 && number <= count) return { index: number - 1, count };
  throw new OnefetError('usage', 'SHARD', `--shard ${text}: expected i/n with i from 1 to n`, {
    hint: 'for example --shard 2/4',
  });
}

export const shardText = ({ index, count }: Shard): string => `${index + 1}/${count}`;
