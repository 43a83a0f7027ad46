import { expect, test, vi } from 'vitest';
import { type OracleAnswer, sameAnswer } from './oracle.ts';

const answer = (scale: number, greedy = 'once') =>
  ({
    vocabulary: 3,
    tokens: [[1, 2]],
    tokenizer: [],
    greedy,
    score: [{ nll: [2 * scale, 1, 3] }],
    sketches: [[[4, -5 * scale, 6]]],
  }) as unknown as OracleAnswer;

test('a live answer is taken where it is the recorded one, the recorded one where a processor rounds, neither where it is another', () => {
  const said = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const recorded = answer(1);
  const near = answer(1 + 1e-4);
  expect(sameAnswer('x', recorded, near, false)).toBe(near);
  expect(said).not.toHaveBeenCalled();
  expect(sameAnswer('x', recorded, answer(1.01), true)).toBe(recorded);
  expect(said.mock.calls[0][0]).toMatch(/rounds otherwise on this processor \(0\.00/);
  expect(() => sameAnswer('x', recorded, answer(1.1), true)).toThrow(/numbers are not those recorded/);
  expect(() => sameAnswer('x', recorded, answer(Number.NaN), true)).toThrow(/numbers/);
  expect(() => sameAnswer('x', recorded, answer(1, 'twice'), true)).toThrow(/greedy/);
  // A processor without such units has no excuse.
  expect(() => sameAnswer('x', recorded, answer(1.01), false)).toThrow(/numbers/);
  said.mockRestore();
});
