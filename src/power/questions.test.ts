/** The standing questions: the arithmetic by hand, and that each is answered from the design at hand. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../files.ts';
import { LLAMA_3_1_8B, MODEL_SHAPES, shapeByName } from '../model/shapes.ts';
import { heatLimitW, solveStick } from './answer-stick.ts';
import { wireLayer } from './answer-wiring.ts';
import { powerRows, subjectOf } from './power.ts';
import { answerLines, answerQuestions } from './questions.ts';
import { textTable } from './table.ts';

const NO_RUNS = 'no-such-folder';

test('wires of a layer: 100 weights on 1 mm2', () => {
  const one = wireLayer(100, 1, 2, { pitchM: 100e-9, signalShare: 0.5 });
  expect(one.sideM).toBeCloseTo(1e-4, 12);
  expect(one.sharedM).toBeCloseTo(100 * 2 * 1e-4, 12);
  expect(one.ownM).toBeCloseTo((100 * 2e-3) / 3, 12);
  // 20 mm of wire, of 5 m that a layer with 100 nm of pitch has for signals on 1 mm2.
  expect(one.sharedLayers).toBeCloseTo(0.02 / 5, 12);
});

test('a stick: rate, power and temperature belong together, and less heat is never slower per watt of supply', () => {
  const subject = subjectOf('routed', [], NO_RUNS);
  const asked = { supplyW: 2.5, thermalKPerW: 25, ambientK: 298, contextTokens: 1024 };
  const shape = MODEL_SHAPES['llama-3.2-1b'];
  const stick = solveStick(subject, shape, asked);
  expect(stick.junctionK).toBeCloseTo(298 + 25 * stick.drawnW, 9);
  expect(stick.drawnW).toBeLessThanOrEqual(2.5);
  expect(stick.tokensPerS).toBeGreaterThan(1000);
  expect(stick.tokensPerS).toBeLessThan(stick.fastestPerS);
  const cooled = solveStick(subject, shape, { ...asked, thermalKPerW: 10 });
  expect(cooled.tokensPerS).toBeGreaterThan(1.2 * stick.tokensPerS);
  // Nothing runs on less than what leaks at room temperature.
  expect(solveStick(subject, shape, { ...asked, supplyW: 0.01 }).tokensPerS).toBe(0);
  expect(heatLimitW({ surfaceLimitK: 348, ambientK: 298, thermalKPerW: 25 })).toBeCloseTo(2, 12);
});

test('every question has an answer with the numbers of the first design', () => {
  const rows = powerRows([subjectOf('log-domain', [], NO_RUNS), subjectOf('digital', [], NO_RUNS)], {
    shape: LLAMA_3_1_8B,
    contexts: [1024],
  });
  const answers = answerQuestions(rows, NO_RUNS);
  expect(answers.map(({ id }) => id)).toEqual(['rate', 'wiring', 'bits', 'stick', 'lifetime']);
  const lines = answerLines(answers, textTable);
  expect(lines.join('\n')).not.toMatch(/NaN|undefined|Infinity/);
  // The committed answers: onefet power --questions --design log-domain digital > experiments/results/questions.txt
  const committed = readFileSync(join(packageRoot, 'experiments/results/questions.txt'), 'utf8');
  expect(committed.trimEnd().endsWith(lines.join('\n').trim())).toBe(true);
  const [rate, wiring, bits] = answers;
  expect(rate.sentences[0]).toContain('129 steps');
  expect(rate.sentences[0]).toContain(
    Math.round(rows[0].cost.tokensPerSecondPerUser).toLocaleString('en-US'),
  );
  // Ten tracks of metal across a T1 cell: seven taps, two bit lines, a source line.
  expect(wiring.tables[0].rows[0][4]).toBe('10');
  // Six bits take two cells: the chip all but doubles.
  const mm2 = bits.tables[0].rows.slice(0, 3).map((row) => Number(row[2].replace(',', '')));
  expect(mm2[2] / mm2[1]).toBeGreaterThan(1.9);
  expect(mm2[2] / mm2[1]).toBeLessThan(2);
});

test('a gpu alone has no answers', () => {
  const rows = powerRows([subjectOf('gpu', [], NO_RUNS)], {
    shape: LLAMA_3_1_8B,
    contexts: [1024],
    draws: 2,
  });
  expect(() => answerQuestions(rows, NO_RUNS)).toThrow(/not about a gpu/);
});

test('Llama 3.2 3B has the parameters that its card says', () => {
  const { layers, dim, ffnDim, queryDim, kvDim, vocab } = shapeByName('llama-3.2-3b');
  const block = dim * (2 * queryDim + 2 * kvDim + 3 * ffnDim) + 2 * dim;
  expect(layers * block + vocab * dim + dim).toBe(3_212_749_824);
});
