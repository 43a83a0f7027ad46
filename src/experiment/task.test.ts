/** Tasks: what a line says, which tokens are scored, and scores against sums on paper and a token-by-token forward pass. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import { newSession } from '../model/forward.ts';
import { buildLayers, openModel } from '../model/model.ts';
import { onefet } from '../testing/cli.ts';
import { withEngine } from '../testing/engines.ts';
import { writeFixture } from '../testing/models.ts';
import { missingShared, needs, sharedPath } from '../testing/needs.ts';
import { negativeLogLikelihood, runWindow } from '../testing/scoring.ts';
import { openInputs } from './inputs.ts';
import { planDesign } from './plan.ts';
import { executeRun } from './run.ts';
import { mcnemarP } from './statistics.ts';
import { readTaskFile } from './task-file.ts';
import { discordance, scoreQuestion } from './task-result.ts';
import { encodeChoice } from './task-windows.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-task-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, lines: readonly unknown[]): string => {
  const path = join(folder, name);
  writeFileSync(
    path,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  return path;
};
const question = (centerpiece: string, options: readonly string[], answer: number) => ({
  centerpiece,
  options,
  correct_options_idx: [answer],
  more: 'ignored',
});
const pair = (good: string, bad: string) => ({ sentence_good: good, sentence_bad: bad, pairID: '7' });

const PAIRS = [
  pair('The dogs run home.', 'The dogs runs home.'),
  pair('Tom likes himself.', 'Tom likes herself.'),
  pair('She saw the cat.', 'She saw the cats cat.'),
  pair('A boy was sad.', 'A boy were sad.'),
  pair('Mia has a red ball.', 'Mia have a red ball.'),
];
const QUESTIONS = [
  question('What is red?', ['a ball', 'the sea', 'milk'], 0),
  question('Who can bark?', ['a fish', 'a dog', 'a stone', 'the wind'], 1),
  question('Where do birds sleep?', ['in a tree', 'in the sea'], 0),
];

describe('a line', () => {
  test('of a pair, a question, and a text that goes on', () => {
    const pairs = readTaskFile(file('pairs.jsonl', PAIRS), undefined);
    expect(pairs.kind).toBe('blimp');
    expect(pairs.questions[1]).toEqual({
      context: '',
      choices: ['Tom likes himself.', 'Tom likes herself.'],
      answers: [0],
      line: 2,
    });
    const path = file('questions.jsonl', [QUESTIONS[0], '', QUESTIONS[1], QUESTIONS[2]]);
    const { kind, questions } = readTaskFile(path, undefined);
    expect(kind).toBe('mcq');
    expect(questions[1]).toMatchObject({
      context: 'Question: Who can bark?\nAnswer:',
      answers: [1],
      line: 3,
    });
    expect(readTaskFile(path, undefined, 2).questions).toHaveLength(2);
    expect(readTaskFile(path, 'completion').questions[0].context).toBe('What is red?');
    const goesOn = readTaskFile(
      file('texts.jsonl', [
        question('Bake a cake [title] Mix  it [step] well', ['and  eat.', 'fly [x] off'], 1),
      ]),
      undefined,
    );
    expect(goesOn.kind).toBe('completion');
    expect(goesOn.questions[0]).toMatchObject({
      context: 'Bake a cake. Mix it well',
      choices: ['and eat.', 'fly off'],
    });
  });

  test.each([
    ['{"centerpiece": ', /bad\.jsonl:2: not valid JSON/],
    [{ centerpiece: 'x', options: ['a'], correct_options_idx: [0] }, /bad\.jsonl:2: options: /],
    [question('x', ['a', 'b'], 2), /bad\.jsonl:2: correct_options_idx: 2 is none of 2 options/],
    [{ question: 'x' }, /bad\.jsonl:2: centerpiece: /],
    [pair('x', 'y'), /bad\.jsonl:2: centerpiece: /],
  ])('that is wrong is one error with its place: %j', (line, message) => {
    const path = file('bad.jsonl', [QUESTIONS[0], line]);
    expect(() => readTaskFile(path, undefined)).toThrowError(
      expect.objectContaining({ kind: 'input', code: 'TASK_LINE', message: expect.stringMatching(message) }),
    );
  });
});

describe('tokens', () => {
  const path = join(folder, 'model.gguf');
  beforeAll(() => writeFixture(path, { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 }));

  test('the space belongs to the continuation, and context and continuation are those of the whole', () => {
    const { tokenizer } = openModel(path);
    const context = 'Question: Who can bark?\nAnswer:';
    const { ids, from } = encodeChoice({ context, line: 1 }, 'a dog', tokenizer);
    expect(ids).toEqual(tokenizer.encode(`${context} a dog`));
    expect(ids[0]).toBe(tokenizer.bosId);
    expect(tokenizer.decode(ids.subarray(from + 1)).trim()).toBe('a dog');
    expect(tokenizer.decode(ids.subarray(0, from + 1)).trim()).toBe(context);
    // A space at the end of the context is the continuation's too.
    const spaced = encodeChoice({ context: 'Who barks? ', line: 1 }, 'a dog', tokenizer);
    expect(spaced.from).toBe(tokenizer.encode('Who barks?').length - 1);
  });

  test('a sentence without a context is scored from its first token on, behind BOS', () => {
    const { tokenizer } = openModel(path);
    const { ids, from } = encodeChoice({ context: '', line: 1 }, 'Tom ran.', tokenizer);
    expect(from).toBe(0);
    expect(ids).toEqual(
      Int32Array.of(tokenizer.bosId!, ...tokenizer.encode(' Tom ran.', { addSpecial: false })),
    );
  });

  test('a context that is too long loses tokens from the left, a choice that is too long is refused', () => {
    const long = file('long.jsonl', [
      question('Once there was a boy who went far away?', ['a dog', 'cat'], 0),
    ]);
    const inputs = openInputs({ model: path, task: long, contextTokens: 12 });
    expect(inputs.task?.cut).toBe(2);
    for (const { ids, scoreTo } of inputs.windows) {
      expect(ids).toHaveLength(13);
      expect(scoreTo).toBe(12);
    }
    expect(() => openInputs({ model: path, task: long, contextTokens: 4 })).not.toThrow();
    const choice = file('choice.jsonl', [
      question('Who?', ['a dog', 'a very long answer that never ends'], 0),
    ]);
    expect(() => openInputs({ model: path, task: choice, contextTokens: 5 })).toThrowError(
      expect.objectContaining({
        code: 'TASK_LONG',
        message: expect.stringMatching(/choice\.jsonl:1: a choice of \d+ tokens/),
      }),
    );
  });
});

describe('scores on paper', () => {
  test('the likeliest choice, the likeliest per byte, the first of equal ones', () => {
    const of = (losses: number[], bytes: number[], ...answers: number[]) =>
      scoreQuestion(losses, { answers, bytes });
    // Per byte: 2.0, 1.5, 1.4.
    expect(of([4, 6, 14], [2, 4, 10], 0)).toEqual({ right: 1, rightNorm: 0, answerNll: 4 });
    expect(of([4, 6, 14], [2, 4, 10], 2)).toEqual({ right: 0, rightNorm: 1, answerNll: 14 });
    expect(of([5, 5], [1, 1], 1)).toEqual({ right: 0, rightNorm: 0, answerNll: 5 });
    expect(of([4, 6, 14], [2, 4, 10], 1, 2)).toEqual({ right: 0, rightNorm: 1, answerNll: 6 });
  });

  test("McNemar's exact test: tails of a fair coin", () => {
    expect(discordance([1, 1, 0, 0, 1], [1, 0, 1, 0, 0])).toEqual({ onlyDigital: 2, onlyThis: 1, p: 1 });
    expect(mcnemarP(0, 0)).toBe(1);
    // 2 (1/2)^5, 2 (1 + 10) (1/2)^10, 2 (1 + 12 + 66) (1/2)^12.
    expect(mcnemarP(0, 5)).toBeCloseTo(2 / 32, 9);
    expect(mcnemarP(9, 1)).toBeCloseTo(22 / 1024, 9);
    expect(mcnemarP(2, 10)).toBeCloseTo(158 / 4096, 9);
  });
});

describe('a run', () => {
  const model = join(folder, 'small.gguf');
  beforeAll(() => writeFixture(model, { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 }));
  const planOf = (task: string) =>
    planDesign(openInputs({ model, task, contextTokens: 64 }), {
      ...{ chips: 2, threads: 1, engine: 'scalar', out: join(folder, 'runs') },
      overrides: { 'mapping.method': 'round' },
    });

  // The independent case: every choice token by token in the scalar forward pass, sums and argmax done here.
  test.each([
    [
      'blimp',
      PAIRS.map((line) => ({ context: '', choices: [line.sentence_good, line.sentence_bad], answer: 0 })),
      PAIRS,
    ],
    [
      'mcq',
      QUESTIONS.map((line) => ({
        context: `Question: ${line.centerpiece}\nAnswer:`,
        choices: line.options,
        answer: line.correct_options_idx[0],
      })),
      QUESTIONS,
    ],
  ])('of %s has the scores of a token-by-token pass', async (kind, expected, lines) => {
    const plan = planOf(file(`${kind}.jsonl`, lines));
    const result = await executeRun(plan);
    const opened = openModel(model);
    const session = newSession(opened, buildLayers(opened, buildDigital), 64);
    const { tokenizer } = opened;
    let [right, rightNorm, answerNll] = [0, 0, 0];
    for (const { context, choices, answer } of expected) {
      const losses = choices.map((choice) => {
        const before = context === '' ? 1 : tokenizer.encode(context).length;
        const ids =
          context === ''
            ? Int32Array.of(tokenizer.bosId!, ...tokenizer.encode(` ${choice}`, { addSpecial: false }))
            : tokenizer.encode(`${context} ${choice}`);
        let loss = 0;
        const window = { window: 0, ids, scoreFrom: before - 1, scoreTo: ids.length - 1 };
        runWindow(session, window, (_position, logits, target) => {
          loss += negativeLogLikelihood(logits, target);
        });
        return loss;
      });
      const best = (values: readonly number[]) => values.indexOf(Math.min(...values));
      if (best(losses) === answer) right++;
      if (best(losses.map((loss, i) => loss / choices[i].length)) === answer) rightNorm++;
      answerNll += losses[answer];
    }
    const n = expected.length;
    const { task } = result;
    expect(task).toMatchObject({ kind, questions: n });
    expect(task!.digital.acc.mean).toBe(right / n);
    expect(task!.digital.accNorm.mean).toBe(rightNorm / n);
    expect(task!.digital.answerNll.mean).toBeCloseTo(answerNll / n, 4);
    expect(result.text.scoring).toBe('choices');
    const chipMean = task!.eachChip.reduce((sum, { acc }) => sum + acc, 0) / 2;
    expect(task!.chips.acc.mean).toBeCloseTo(chipMean, 12);
    expect(task!.chipsLessDigital.acc.mean).toBeCloseTo(chipMean - right / n, 12);
    expect(result.overText.windows).toBe(n);
  });

  test('of chips has, for each choice, what a pass over all of it has, with the noise of its question', async () => {
    const plan = planOf(join(folder, 'mcq.jsonl'));
    const { task } = await executeRun(plan);
    const jobs = readFileSync(join(plan.folder, 'results.jsonl'), 'utf8').trim().split('\n');
    const { ranges } = jobs.map((line) => JSON.parse(line)).find(({ key }) => key === 'range/all');
    const opened = openModel(model);
    const request = { model: opened, fabric: plan.fabric, ranges, mode: 'chip', contextTokens: 64 } as const;
    const wholeNll = (number: (question: number, choice: number) => number) =>
      withEngine('scalar', { ...request, chipSeed: plan.chipSeeds[1] }, async (engine) => {
        let sum = 0;
        for (const [q, unit] of plan.inputs.groups.flat().entries()) {
          const right = plan.inputs.task!.questions[q].answers[0];
          const { ids, scoreFrom, scoreTo } = unit[right];
          const visit = (position: number, logits: Float32Array) => {
            sum += negativeLogLikelihood(logits, ids[position + 1]);
          };
          await engine.prefill(ids.subarray(0, scoreTo), number(q, right), visit, scoreFrom);
        }
        return sum / QUESTIONS.length;
      });
    const found = task!.eachChip[1].answerNll;
    expect(found).toBeCloseTo(await wholeNll((q) => q), 4);
    // The noise of another window is another result: the comparison sees it.
    expect(Math.abs(found - (await wholeNll((q, choice) => 100 + 10 * q + choice)))).toBeGreaterThan(1e-3);
    opened.close();
  });

  test('is kept by content: the same questions are not run again, fewer are another run', async () => {
    const path = join(folder, 'blimp.jsonl');
    const computed: string[] = [];
    const again = {
      onJob: ({ key }: { key: string }, from: string) => void (from === 'computed' && computed.push(key)),
    };
    const plan = planOf(path);
    const { task } = await executeRun(plan, again);
    expect(computed).toEqual([]);
    expect(task?.questions).toBe(5);
    const fewer = openInputs({ model, task: path, contextTokens: 64, maxQuestions: 4 });
    expect(planDesign(fewer, { ...plan.options }).folder).not.toBe(plan.folder);
  });

  test('on the command line prints shares and tests, and refuses windows', async () => {
    const args = ['--model', model, '--task', join(folder, 'blimp.jsonl'), '--context', '64', '--chips', '2'];
    const rounded = ['--set', 'mapping.method=round'];
    const more = ['--engine', 'scalar', '--threads', '1', '--out', join(folder, 'runs'), ...rounded];
    const { code, stdout, stderr } = await onefet('.', 'eval', ...args, ...more);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/5 questions \(blimp\)/);
    expect(stdout).toMatch(/\ndigital +\d+\.\d % \(/);
    expect(stdout).toMatch(/McNemar +recoded: right on the digital model alone \d/);
    const refused = await onefet('.', 'eval', ...args, ...more, '--max-windows', '2');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--max-questions');
  });

  test('in a sweep is a table of shares, points compared on the same questions', async () => {
    writeFileSync(
      join(folder, 'task.yaml'),
      `schema: onefet.experiment/1
kind: accuracy
name: task
base: { model: ${model}, task: ${join(folder, 'blimp.jsonl')}, contextTokens: 64, chips: 2, engine: scalar, mapping.method: round }
grid: { adc.bits: [4, 8] }
reference: { adc.bits: 8 }
`,
    );
    const { code, stdout } = await onefet(folder, 'sweep', 'task.yaml', '--threads', '1', '--json');
    expect(code).toBe(0);
    const [{ acc_share, acc_share_less_reference_mcnemar_p_first_chip: p, windows, ...row }, second] =
      JSON.parse(stdout).rows;
    expect(acc_share).toBeGreaterThanOrEqual(0);
    expect(p).toBeGreaterThan(0);
    expect(windows).toBe(5);
    // Beside the digital model, which is the same at every point: as `eval` has it of the same chips.
    const args = ['--model', model, '--task', join(folder, 'blimp.jsonl'), '--context', '64', '--chips', '2'];
    const more = [
      '--engine',
      'scalar',
      '--threads',
      '1',
      '--set',
      'mapping.method=round',
      '--set',
      'adc.bits=4',
    ];
    const alone = JSON.parse((await onefet(folder, 'eval', ...args, ...more, '--json')).stdout).task;
    expect(row.digital_acc_share).toBe(alone.digital.acc.mean);
    expect(second.digital_acc_share).toBe(alone.digital.acc.mean);
    expect(row.acc_less_digital_share).toBeCloseTo(alone.chipsLessDigital.acc.mean, 12);
    expect(row.acc_less_digital_share_ci95_text_and_chips_low).toBe(alone.chipsLessDigital.acc.ci95[0]);
    expect(row.acc_mcnemar_p_first_chip).toBe(alone.eachChip[0].mcnemar.p);
  });
});

test('the shared files are read', needs(missingShared('text/mcq'), missingShared('text/blimp')), () => {
  const kinds = (path: string) => {
    const { kind, questions } = readTaskFile(sharedPath(path), undefined);
    return [kind, questions.length];
  };
  expect(kinds('text/mcq/arc-easy.jsonl')).toEqual(['mcq', 300]);
  expect(kinds('text/mcq/hellaswag-100.jsonl')).toEqual(['completion', 100]);
  expect(kinds('text/blimp/wh_questions_subject_gap.jsonl')).toEqual(['blimp', 400]);
  const lines = readFileSync(sharedPath('text/mcq/arc-easy.jsonl'), 'utf8').split('\n');
  expect(readTaskFile(sharedPath('text/mcq/arc-easy.jsonl'), undefined).questions[0].choices).toEqual(
    JSON.parse(lines[0]).options,
  );
});
