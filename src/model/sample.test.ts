/** Sampling against the distribution that it is defined by. */
import { describe, expect, test } from 'vitest';
import { streamKey } from '../random.ts';
import { greedyToken, sampleToken } from './sample.ts';

const key = streamKey(1, 2);
const draws = 20_000;

function frequencies(logits: Float32Array, options: { temperature: number; topP: number }): number[] {
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
    expect(sampleToken(logits, { temperature: 0, topP: 1 }, key, 0)).toBe(1);
  });

  test('temperature 1 draws the model distribution', () => {
    expectNear(frequencies(logits, { temperature: 1, topP: 1 }), probabilities);
  });

  test('temperature t draws p^(1/t)', () => {
    const powers = probabilities.map((p) => p ** 2);
    const sum = powers.reduce((a, b) => a + b);
    expectNear(
      frequencies(logits, { temperature: 0.5, topP: 1 }),
      powers.map((p) => p / sum),
    );
  });

  test('top-p keeps the fewest tokens that reach p', () => {
    // 0.4 + 0.25 < 0.7 <= 0.4 + 0.25 + 0.2.
    expectNear(frequencies(logits, { temperature: 1, topP: 0.7 }), [
      0,
      0.4 / 0.85,
      0,
      0.25 / 0.85,
      0.2 / 0.85,
    ]);
    expect(frequencies(logits, { temperature: 1, topP: 1e-9 })[1]).toBe(1);
  });

  test('a draw depends on its stream and index only', () => {
    const options = { temperature: 1, topP: 0.9 };
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
    for (const options of [
      { temperature: -1, topP: 1 },
      { temperature: Number.NaN, topP: 1 },
      { temperature: 1, topP: 0 },
      { temperature: 1, topP: 1.1 },
    ]) {
      expect(() => sampleToken(logits, options, key, 0)).toThrowError(
        expect.objectContaining({ kind: 'usage' }),
      );
    }
  });
});
