/** Which predictions are scored: the rules of llama.cpp's perplexity tool, written out for small cases. */
import { describe, expect, test } from 'vitest';
import { EMBEDDED_F16 } from '../testing/models.ts';
import { negativeLogLikelihood } from '../testing/scoring.ts';
import { openModel } from './model.ts';
import { computedTokens, documentWindows, keptTokens, scoringWindows, splitDocuments } from './scoring.ts';

const model = openModel(EMBEDDED_F16);
model.close();
const { tokenizer } = model;

describe('windows', () => {
  const tokens = Int32Array.from({ length: 19 }, (_, i) => 100 + i);

  test('n tokens each, BOS over the first, positions n/2 .. n-2, the rest dropped', () => {
    // llama.cpp: first = n_ctx / 2; n_ctx - 1 - first predictions of tokens first + 1 .. n_ctx - 1 in each chunk.
    expect(scoringWindows(tokens, { contextTokens: 8, bos: 1 })).toEqual([
      { window: 0, ids: Int32Array.of(1, 101, 102, 103, 104, 105, 106, 107), scoreFrom: 4, scoreTo: 7 },
      { window: 1, ids: Int32Array.of(1, 109, 110, 111, 112, 113, 114, 115), scoreFrom: 4, scoreTo: 7 },
    ]);
    expect(tokens[0]).toBe(100); // the input is not touched
  });

  test('without BOS the first token stays; odd windows round the half down', () => {
    const [window] = scoringWindows(tokens, { contextTokens: 5, bos: undefined });
    expect(window).toEqual({
      window: 0,
      ids: Int32Array.of(100, 101, 102, 103, 104),
      scoreFrom: 2,
      scoreTo: 4,
    });
  });

  test('a text without a window is refused with the numbers', () => {
    expect(() => scoringWindows(tokens, { contextTokens: 20, bos: 1 })).toThrowError(
      expect.objectContaining({ kind: 'usage', message: 'the text has 19 tokens; a window needs 20' }),
    );
    expect(scoringWindows(tokens, { contextTokens: 19, bos: 1 }).length).toBe(1);
    expect(() => scoringWindows(tokens, { contextTokens: 1, bos: 1 })).toThrowError(/context of 1/);
  });
});

test('a window keeps what it shares with the one before, up to what is scored', () => {
  const of = (window: number, scoreFrom: number, ...ids: number[]) => ({
    ...{ window, ids: Int32Array.from(ids), scoreFrom, scoreTo: ids.length - 1 },
  });
  const first = of(4, 2, 1, 2, 3, 4, 5);
  expect(keptTokens(of(4, 2, 1, 2, 3, 9), first)).toBe(2);
  expect(keptTokens(of(4, 3, 1, 2, 3, 4, 9), first)).toBe(3);
  expect(keptTokens(of(4, 2, 1, 8, 3, 9), first)).toBe(1);
  // The last token of a window is not computed; a window of another number shares nothing.
  expect(keptTokens(of(4, 6, 1, 2, 3, 4, 5, 6, 7, 8), first)).toBe(4);
  expect(keptTokens(of(5, 2, 1, 2, 3, 9), first)).toBe(0);
  expect(keptTokens(first, undefined)).toBe(0);
  expect(computedTokens([first, of(4, 2, 1, 2, 3, 9), of(5, 2, 1, 2, 3, 9)])).toBe(4 + 1 + 3);
});

describe('documents', () => {
  const text =
    'One day.\n<|endoftext|>\n\n  Two <|endoftext|> days.\nLong.\r\n<|endoftext|>\r\n<|endoftext|>\n \n<|endoftext|>\nEnd';

  test('separated by lines, ends trimmed, empty ones left out', () => {
    expect(splitDocuments(text)).toEqual(['One day.', 'Two <|endoftext|> days.\nLong.', 'End']);
  });

  test('BOS first, every token scored, cut at the context', () => {
    const windows = documentWindows(text, tokenizer, { contextTokens: 6 });
    expect(windows.every(({ ids }) => ids[0] === 1022 && ids.length <= 6)).toBe(true);
    expect(windows.map(({ window }) => window)).toEqual(windows.map((_, i) => i));
    const second = tokenizer.encode('Two <|endoftext|> days.\nLong.');
    expect(windows.find(({ ids }) => ids[1] === second[1])!.ids).toEqual(second.slice(0, 6));
    expect(windows.filter(({ scoreFrom }) => scoreFrom === 0)).toHaveLength(3);
  });

  test.each([2, 3, 6, 7, 100])(
    'every token but the first of a document is predicted once, context %i',
    (context) => {
      const text = 'Once upon a time there was a little girl who lived in a small house near the woods.';
      const tokens = tokenizer.encode(text);
      const windows = documentWindows(text, tokenizer, { contextTokens: context });
      const predicted = windows.flatMap(({ ids, scoreFrom, scoreTo }) => [
        ...ids.subarray(scoreFrom + 1, scoreTo + 1),
      ]);
      expect(predicted).toEqual([...tokens.subarray(1)]);
      // Behind the first window at least half of the context stands in front of what is predicted.
      for (const { scoreFrom } of windows.slice(1)) expect(scoreFrom + 1).toBe(Math.floor(context / 2));
      expect(windows).toHaveLength(
        tokens.length <= context ? 1 : 1 + Math.ceil((tokens.length - context) / Math.ceil(context / 2)),
      );
    },
  );

  test('nothing to score is refused', () => {
    expect(() => documentWindows('\n<|endoftext|>\n', tokenizer, { contextTokens: 6 })).toThrowError(
      expect.objectContaining({ kind: 'usage', code: 'SCORE_TEXT_SHORT' }),
    );
  });
});

test('negative log-likelihood: -ln softmax, also where exp would overflow', () => {
  const probabilities = [0.5, 0.125, 0.375];
  for (const offset of [0, 80, -90]) {
    const logits = Float64Array.from(probabilities, (p) => Math.log(p) + offset);
    for (const [id, p] of probabilities.entries()) {
      // Float32 logits near 90 resolve 7.6e-6.
      expect(Math.abs(negativeLogLikelihood(Float32Array.from(logits), id) + Math.log(p))).toBeLessThan(2e-5);
    }
  }
  expect(negativeLogLikelihood(Float32Array.of(1000, 0), 1)).toBe(1000);
  for (const bad of [Number.NaN, Infinity]) {
    expect(() => negativeLogLikelihood(Float32Array.of(0, bad), 0)).toThrowError(/not finite/);
  }
});
