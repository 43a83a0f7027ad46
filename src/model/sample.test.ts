/** Sampling against the distribution that it is defined by. */
import { describe, expect, test } from 'vitest';
import { streamKey } from '../random.ts';
import { greedyToken, REPEAT_TOKENS, type SampleOptions, sampleToken } from './sample.ts';

const key = streamKey(1, 2);
const draws = 20_000;
const plain: SampleOptions = { temperature: 1, topK: 0, topP: 1, minP: 0, repeatPenalty: 1 };

function frequencies(logits: Float32Array, changed: Partial<SampleOptions>): number[] {
  const options = { ...plain, ...changed };
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counts[sampleToken(logits, options, key, i)]++;
  return counts.map((count) => count / draws);
}

/** Every frequency within 4.5 standard deviations of its probability. */
function expectNear(observed: number[], probabilities: number[]): void {
  for (const [i, p] of probabilities.entries()) {
    expect(Math.abs(observed[i] - p)).toBeLessThanOrEqual(4.5 * Math.sqrt((p * (1 - p)) / draws));
  }
}

describe('sampling', () => {
  const probabilities = [0.1, 0.4, 0.05, 0.25, 0.2];
  const logits = Float32Array.from(probabilities, (p) => Math.log(p) + 7);

  test('greedy takes the largest, the first among equals', () => {
    expect(greedyToken(logits)).toBe(1);
    expect(greedyToken(Float32Array.of(1, 3, 3, 2))).toBe(1);
    expect(sampleToken(logits, { ...plain, temperature: 0 }, key, 0)).toBe(1);
  });

  test('temperature 1 draws the model distribution', () => {
    expectNear(frequencies(logits, {}), probabilities);
  });

  test('temperature t draws p^(1/t)', () => {
    const powers = probabilities.map((p) => p ** 2);
    const sum = powers.reduce((a, b) => a + b);
    expectNear(
      frequencies(logits, { temperature: 0.5 }),
      powers.map((p) => p / sum),
    );
  });

  test('top-p keeps the fewest tokens that reach p', () => {
    // 0.4 + 0.25 < 0.7 <= 0.4 + 0.25 + 0.2.
    expectNear(frequencies(logits, { topP: 0.7 }), [0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85]);
    expect(frequencies(logits, { topP: 1e-9 })[1]).toBe(1);
  });

  test('top-k keeps the k most likely, min-p those near the most likely one', () => {
    expectNear(frequencies(logits, { topK: 2 }), [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]);
    // 0.2 is half of 0.4, 0.1 a quarter of it.
    expectNear(frequencies(logits, { minP: 0.3 }), [0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85]);
    expect(frequencies(logits, { minP: 1 })[1]).toBe(1);
  });

  test('temperature comes last: it does not change which tokens are kept', () => {
    const [, a, , b, c] = probabilities.map((p) => p ** 2);
    const sum = a + b + c;
    expectNear(frequencies(logits, { topP: 0.7, temperature: 0.5 }), [0, a / sum, 0, b / sum, c / sum]);
  });

  test('what stood before is penalised once, by sign, and no further back than said', () => {
    const signed = Float32Array.of(2, 1.5, -1, -1.5);
    const greedy = (before: number[], repeatPenalty: number) =>
      sampleToken(signed, { ...plain, temperature: 0, repeatPenalty }, key, 0, before);
    expect(greedy([0, 0, 0], 1.3)).toBe(0); // 2 / 1.3 is still above 1.5
    expect(greedy([0], 1.4)).toBe(1);
    expect(greedy([0, 1, 2], 3)).toBe(0); // 2/3, 1/2, -3, -1.5
    expect(greedy([0, ...new Array<number>(REPEAT_TOKENS).fill(3)], 1.4)).toBe(0);
    expect(signed[0]).toBe(2);
  });

  test('a draw depends on its stream and index only', () => {
    const options = { ...plain, topP: 0.9 };
    const forwards = Array.from({ length: 50 }, (_, i) => sampleToken(logits, options, key, i));
    const backwards = Array.from({ length: 50 }, (_, i) =>
      sampleToken(logits, options, key, 49 - i),
    ).reverse();
    expect(backwards).toEqual(forwards);
    expect(
      Array.from({ length: 50 }, (_, i) => sampleToken(logits, options, streamKey(1, 3), i)),
    ).not.toEqual(forwards);
  });

  test('impossible options are usage errors', () => {
    for (const wrong of [
      { temperature: -1 },
      { temperature: Number.NaN },
      { topP: 0 },
      { topP: 1.1 },
      { topK: 1.5 },
      { topK: -1 },
      { minP: 2 },
      { repeatPenalty: 0 },
    ]) {
      expect(() => sampleToken(logits, { ...plain, ...wrong }, key, 0)).toThrowError(
        expect.objectContaining({ kind: 'usage' }),
      );
    }
  });
});
