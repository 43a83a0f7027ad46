/** result.json: sealed where it is written; where it is read back, anybody may have changed it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { COLUMN_BINS } from '../fabric/column-currents.ts';
import { readTextFile, reasonOf, writeFileAtomic } from '../files.ts';
import { TAGS } from '../provenance.ts';
import { encodeResult, unsealed } from '../sources.ts';
import { RESULT_SCHEMA, type RunResult } from './result.ts';

const RESULT_FILE = 'result.json';

const number = z.number();
const string = z.string();
const tag = z.enum(TAGS);
const object = z.looseObject;
const accuracy = { nll: number, perplexity: number, kl: number, top1: number };
const interval = object({ mean: number, ci95: z.tuple([number, number]).nullable() });
const intervals = { nll: interval, perplexity: interval, kl: interval, top1: interval };
const line = object({ name: string, value: number, formula: string, source: string, tag });
const lines = z.array(line);
const gateLength = z.union([number, z.literal('cell')]);
const band = object({ low: number, median: number, high: number });

const spread = object({
  ...{ median: number, p90: number, p99: number, max: number, histogram: z.array(number) },
});
const ofPositions = object({ kl: spread, top1Ci95: z.tuple([number, number]), perplexityError: number });
const positions = object({
  positions: number,
  histogramEdgesNats: z.array(number).min(1),
  digital: object({ perplexityError: number }),
  recoded: ofPositions,
  chips: ofPositions,
  alongText: object({
    ends: z.array(number).min(1),
    ...{ digitalNll: z.array(number), recodedNll: z.array(number), chipsNll: z.array(number) },
  }),
});

const taskAccuracy = { acc: interval, accNorm: interval, answerNll: interval };
const mcnemar = object({ onlyDigital: number, onlyThis: number, p: number });
const task = object({
  ...{ file: string, kind: string, questions: number, chance: number, cut: number },
  ...{ digital: object(taskAccuracy), recoded: object(taskAccuracy), chips: object(taskAccuracy) },
  eachChip: z
    .array(object({ seed: number, acc: number, accNorm: number, answerNll: number, mcnemar }))
    .min(1),
  recodedLessDigital: object({ ...taskAccuracy, mcnemar }),
  chipsLessDigital: object(taskAccuracy),
});

const matrixSnr = object({ localDb: number.nullable(), streamDb: number.nullable() });
const lowestSnr = object({
  matrix: object({ layer: number, tensor: string, snrDb: number }),
  layer: object({ layer: number, snrDb: number }),
});

const predicted = {
  ...{ error: number, predictedKl: number, kl: number, measuredOverPredicted: number.nullable() },
  linear: z.boolean(),
};
const prediction = object({
  ...{ klPerError: number, recodedError: number, chips: object(predicted) },
  sources: z.array(object({ source: string, ...predicted })),
});

const cost = object({
  shape: object({ name: string, layers: number, macPerToken: number }),
  contextTokens: number,
  energyJ: lines,
  perTokenJ: number,
  areaLinesMm2: lines,
  areaMm2: number,
  dies: number,
  dieAspect: number.optional(),
  latencyS: lines,
  tokenTimeS: number,
  tokensPerSecondPerUser: number,
  binding: string,
  tokensPerSecondAggregate: number,
  powerW: number,
  perTokenAggregateJ: number,
  staticPowerW: number,
  limits: z.array(object({ name: string, tokensPerSecond: number, formula: string })),
  usersHeld: number,
  sensitivity: z.array(
    object({
      ...{ constant: string, tag, value: number, lowValue: number, highValue: number },
      ...{ lowPerTokenJ: number, highPerTokenJ: number, lowAreaMm2: number, highAreaMm2: number },
    }),
  ),
  bands: object({
    ...{ draws: number, seed: number, perTokenJ: band, areaMm2: band, tokensPerSecondPerUser: band },
    ...{ perTokenAggregateJ: band, tokensPerSecondAggregate: band, powerW: band },
  }),
  weights: z.array(
    object({
      ...{ bits: number, tensors: z.array(string), cells: number, cellUm2: number, cellsMm2: number },
      ...{ taps: number.optional(), columnEnds: number.optional(), adcConversions: number.optional() },
    }),
  ),
  warnings: z.array(string),
  references: lines,
});

/** What is read of a result, loosely: more may stand there. */
const resultSchema = object({
  schema: z.literal(RESULT_SCHEMA),
  model: object({
    ...{ file: string, sha256: string, name: string, architecture: string, parameters: number },
    ...{ fileType: string, synthetic: z.boolean() },
  }),
  design: object({
    ...{ name: string, sha256: string, process: string },
    overrides: z.record(string, z.unknown()),
    resolved: object({ gate: object({ widthM: gateLength, lengthM: gateLength }).optional() }),
  }),
  fabric: object({ kind: string, chipsDiffer: z.boolean(), loss: string }),
  text: object({
    ...{ file: string, sha256: string, tokens: number, scored: number, contextTokens: number },
    ...{ scoring: z.enum(['window', 'all', 'choices']), rangeFile: string.nullable(), rangeTokens: number },
  }),
  seed: number,
  digital: object({ nll: number, perplexity: number }),
  recoded: object(accuracy),
  chips: z.array(object({ ...accuracy, seed: number, clipRate: number.nullable() })).min(1),
  summary: object(intervals),
  overText: object({
    windows: number,
    chips: number,
    resamples: number,
    ...intervals,
    nllDifference: interval,
    resolve: object({ nats: number, windows: number, predictions: number, chips: number }).nullable(),
  }),
  positions,
  task: task.nullable(),
  yield: object({ perplexityRatio: number, share: number, ci95: z.tuple([number, number]).nullable() }),
  attribution: z.array(
    object({
      ...{ source: string, description: string, chips: number, sameOnEveryChip: z.boolean() },
      ...{ excessKl: interval, ...intervals },
    }),
  ),
  // Empty where the model is computed as its file has it.
  coding: z.array(
    object({
      ...{ layer: number, tensor: string, outputs: number, inputs: number, bits: number },
      ...{ codingSnrDb: number.nullable(), zeroShare: number },
    }),
  ),
  mapping: object({
    ...{ method: string, reasons: z.array(string), imageSha256: string, cellsPerWeight: number },
    ...{ digitalNumbers: number, text: object({ file: string, sha256: string, tokens: number }) },
    matrices: z
      .array(
        object({
          ...{ name: string, outputs: number, inputs: number, bits: number, side: number, principal: number },
          steps: z.array(object({ step: string, error: number })),
        }),
      )
      .min(1),
  }).nullable(),
  blocks: object({
    positions: number,
    recodedDb: z.array(number.nullable()),
    chipDb: z.array(interval.nullable()),
  }).nullable(),
  layerSnr: object({
    positions: number,
    matrices: z.array(object({ layer: number, tensor: string, recoded: matrixSnr, chips: matrixSnr })),
    lowest: object({ local: lowestSnr.nullable(), stream: lowestSnr.nullable() }),
  }),
  prediction: prediction.nullable(),
  columns: z.array(number).length(COLUMN_BINS).nullable(),
  calibration: object({
    ...{ process: string, cell: string, sha256: string, rank: number, separableResidual: number },
    driver: string,
  }).nullable(),
  circuit: object({ process: string, circuit: string, sha256: string }).optional(),
  energy: object({ perTokenJ: number, breakdownJ: z.record(string, number) }),
  area: object({ mm2: number, breakdownMm2: z.record(string, number) }),
  throughput: object({ tokensPerSecondPerUser: number }),
  cost,
  emulation: object({
    ...{
      tokensPerSecond: number,
      seconds: number,
      peakRssBytes: number,
      engine: string,
      precision: string,
      threads: number,
    },
    command: z.array(string),
    ...{ date: string, cpu: string, commit: string.nullable() },
  }),
  projection: cost,
  verdict: z.array(string),
  warnings: z.array(string),
  provenance: object({ onefet: string, node: string, ngspice: string.nullable() }),
});

/** Writes result.json of a run folder, sealed with its own hash. Error: NOT_FINITE (input). */
export function writeResult(folder: string, result: RunResult): void {
  const text = encodeResult(result, 'the result', { kind: 'input', indent: 2 });
  writeFileAtomic(join(folder, RESULT_FILE), text);
}

/**
 * Reads result.json of a run folder. Errors: RESULT_MISSING, RESULT_SCHEMA (of another version), RESULT_INVALID (not what
 * was written, or not all of it).
 */
export function readResult(folder: string): RunResult {
  const path = join(folder, RESULT_FILE);
  if (!existsSync(path)) {
    throw new OnefetError('input', 'RESULT_MISSING', `${folder} has no result.json`, {
      hint: 'name a run folder, as in onefet report runs/log-domain-0123456789ab',
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(readTextFile(path, 'result'));
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'RESULT_INVALID', `${path} is not valid JSON: ${reasonOf(cause)}`, {
      cause,
    });
  }
  const { schema, emulation } = (value ?? {}) as Partial<RunResult>;
  const command = emulation?.command;
  const hint = Array.isArray(command)
    ? `give its command again: onefet ${command.join(' ')}`
    : "give the run's command again";
  if (schema !== RESULT_SCHEMA) {
    throw new OnefetError(
      'input',
      'RESULT_SCHEMA',
      `${path} was written by another version of onefet: its schema is ${schema ?? 'missing'}, this version reads ${RESULT_SCHEMA}`,
      { hint },
    );
  }
  const result = unsealed(value);
  if (result === undefined) {
    const message = `${path} is not what was written: its SHA-256 is missing or does not hold`;
    throw new OnefetError('input', 'RESULT_INVALID', message, { hint });
  }
  validate(resultSchema, result, path, { kind: 'input', code: 'RESULT_INVALID' });
  return result as RunResult;
}
