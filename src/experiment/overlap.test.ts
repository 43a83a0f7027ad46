/** Shared passages against a search without hashes, and what a run does about them. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bits32, streamKey } from '../random.ts';
import { checkRangeText, findOverlap, PASSAGE_TOKENS } from './overlap.ts';

const text = (seed: number, length: number): Int32Array =>
  Int32Array.from({ length }, (_, i) => bits32(streamKey(seed), i) % 1000);

/** `passage` tokens of `from` planted into `into`. */
function plant(into: Int32Array, at: number, from: Int32Array, start: number, passage: number): Int32Array {
  const planted = into.slice();
  planted.set(from.subarray(start, start + passage), at);
  return planted;
}

/** Every pair of windows compared: what the hashes must find. */
function naive(first: Int32Array, second: Int32Array, length: number): number {
  const shared = new Set<number>();
  for (let a = 0; a + length <= first.length; a++) {
    for (let b = 0; b + length <= second.length; b++) {
      if (first.subarray(a, a + length).every((token, j) => token === second[b + j])) {
        for (let j = 0; j < length; j++) shared.add(a + j);
      }
    }
  }
  return shared.size;
}

describe('shared passages', () => {
  it('are those that a comparison of every pair of windows finds (property)', () => {
    // Two tokens and windows of three: repeats, overlaps and many hash hits.
    const tokens = fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 40 });
    fc.assert(
      fc.property(tokens, tokens, fc.integer({ min: 1, max: 6 }), (a, b, length) => {
        const [first, second] = [Int32Array.from(a), Int32Array.from(b)];
        const { tokens: found, at } = findOverlap(first, second, length);
        expect(found).toBe(naive(first, second, length));
        expect(at === null).toBe(found === 0);
      }),
    );
  });

  it('are found wherever they stand, and one token less is none', () => {
    const range = text(1, 512);
    const scored = plant(text(2, 4000), 1717, range, 300, PASSAGE_TOKENS);
    expect(findOverlap(range, scored)).toMatchObject({
      tokens: PASSAGE_TOKENS,
      at: { first: 300, second: 1717 },
    });
    const shorter = plant(text(2, 4000), 1717, range, 300, PASSAGE_TOKENS - 1);
    expect(findOverlap(range, shorter).at).toBeNull();
  });
});

describe('the range text', () => {
  const range = text(1, 512);
  const scored = text(2, 4000);

  it('may be disjoint; a shared passage is a warning, a tenth of it is refused', () => {
    expect(checkRangeText(range, scored)).toBeNull();
    expect(checkRangeText(range, plant(scored, 100, range, 8, 40))).toMatch(
      /^40 of the 512 tokens of the range text \(8 %\) .* token 8 of the range text and token 100 of the scored one/,
    );
    expect(() => checkRangeText(range, plant(scored, 100, range, 8, 52))).toThrow(/52 of the 512 tokens/);
    // The scored text with a new title, cut at another place: no longer the same file, still the same text.
    expect(() => checkRangeText(range, plant(scored, 0, range, 5, 507))).toThrow(/\(99 %\)/);
  });

  it('shorter than a passage is compared as a whole', () => {
    const short = text(3, 20);
    expect(() => checkRangeText(short, plant(scored, 50, short, 0, 20))).toThrow(/20 of the 20 tokens/);
    expect(checkRangeText(short, scored)).toBeNull();
  });

  it('that ships shares no passage with the text that ships, letter by letter', () => {
    const codes = (name: string) =>
      Int32Array.from(
        readFileSync(new URL(`../../experiments/texts/${name}`, import.meta.url), 'utf8'),
        (letter) => letter.codePointAt(0)!,
      );
    // 64 letters are about a third of 32 tokens: stricter than what a run asks for.
    expect(findOverlap(codes('range.txt'), codes('stories.txt'), 64).at).toBeNull();
  });
});
