/**
 * `onefet generate`: the same prompt continued by the digital model and by chips, side by side, so that one can read
 * what noise does.
 */

import type { Calibration } from '../cell/calibration.ts';
import { loadCalibration } from '../cell/calibration.ts';
import { chooseKernel, type KernelChoice } from '../engine/create.ts';
import { interrupted, OnefetError } from '../error.ts';
import { checkOverrides } from '../fabric/common-design.ts';
import { loadLogDomainDesign } from '../fabric/design.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { readTextFile, requireDataFile } from '../files.ts';
import { tensorNames } from '../model/architecture.ts';
import { openModel } from '../model/model.ts';
import { sampleToken } from '../model/sample.ts';
import { streamKey } from '../random.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { chipSeed } from './plan.ts';
import { fastSpeakers, type Speaker, type SpeakerParts, scalarSpeakers } from './speaker.ts';
import type { Variant } from './variant.ts';

export interface GenerateOptions {
  readonly model: string;
  readonly prompt: string;
  readonly design: string;
  readonly settings: readonly string[];
  readonly rangeText: string;
  readonly tokens: number;
  readonly chips: number;
  readonly seed: number;
  readonly temperature: number;
  readonly topP: number;
  readonly kernel: KernelChoice;
  readonly threads: number;
  readonly calibration?: Calibration;
}

export interface Generated {
  readonly name: 'digital' | 'recoded' | 'chip';
  readonly seed: number | null;
  readonly text: string;
  readonly tokens: number[];
  /** Tokens from the start on which this agrees with the digital text. */
  readonly sameTokens: number;
  /** Of the tokens behind the prompt; the first comes with the prompt. */
  readonly tokensPerSecond: number | null;
}

export interface Generation {
  readonly kernel: TileKernel | 'fast';
  /** Why the fast engine was not taken, where `auto` looked. */
  readonly kernelReason: string | undefined;
  readonly texts: readonly Generated[];
}

/** Length of the range text that is run before the first chip speaks. */
const RANGE_TOKENS = 256;

export interface GenerateHooks {
  /** Called before each text begins and for each piece of it. */
  readonly onText?: (name: string, piece: string) => void;
  /** What is being prepared, before each text. */
  readonly onPrepare?: (what: string, done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export async function generate(options: GenerateOptions, hooks: GenerateHooks = {}): Promise<Generation> {
  const { design } = loadLogDomainDesign(options.design, options.settings);
  const calibration = options.calibration ?? loadCalibration(design.process, design.cell);
  const model = openModel(options.model);
  try {
    checkOverrides(design, tensorNames(model.shape.architecture));
    const prompt = model.tokenizer.encode(options.prompt);
    const contextTokens = prompt.length + options.tokens;
    if (contextTokens > model.shape.contextTokens) {
      throw new OnefetError(
        'usage',
        'CONTEXT_RANGE',
        `${prompt.length} prompt tokens and ${options.tokens} to generate exceed the context of ${model.shape.contextTokens}`,
        { hint: 'use fewer --tokens or a shorter prompt' },
      );
    }
    if (prompt.length === 0) throw new OnefetError('usage', 'PROMPT_EMPTY', 'the prompt has no tokens');
    const rangeText = readTextFile(requireDataFile(options.rangeText, 'range text'), 'range text');
    const rangeIds = model.tokenizer
      .encode(rangeText)
      .slice(0, Math.min(RANGE_TOKENS, model.shape.contextTokens));
    const { kernel, reason } = chooseKernel({
      kernel: options.kernel,
      shape: model.shape,
      design,
      calibration,
      threads: options.threads,
      contextTokens: Math.max(contextTokens, rangeIds.length),
    });
    const parts: SpeakerParts = {
      model,
      design,
      calibration,
      contextTokens: Math.max(contextTokens, rangeIds.length),
      threads: options.threads,
      signal: hooks.signal,
    };
    const speakers = kernel === 'fast' ? fastSpeakers(parts) : scalarSpeakers(parts, kernel);
    const texts: Generated[] = [];
    const total = 3 + options.chips;
    let done = 0;
    const withSpeaker = async <T>(
      variant: Variant,
      what: string,
      ranges: RangeTable | undefined,
      work: (speaker: Speaker) => Promise<T>,
    ): Promise<T> => {
      if (hooks.signal?.aborted) throw interrupted();
      hooks.onPrepare?.(what, done++, total);
      const speaker = await speakers(variant, ranges);
      try {
        return await work(speaker);
      } finally {
        await speaker.close();
      }
    };
    const speak = async (variant: Variant, seed: number | null, ranges?: RangeTable) => {
      const name = variant.kind as Generated['name'];
      const label = seed === null ? name : `chip ${seed}`;
      await withSpeaker(variant, label, ranges, async (speaker) => {
        hooks.onText?.(label, '');
        const onPiece = (piece: string) => hooks.onText?.(label, piece);
        const { tokens, seconds } = await continueText(
          model,
          speaker,
          prompt,
          options,
          onPiece,
          hooks.signal,
        );
        const reference = texts[0]?.tokens ?? tokens;
        let same = 0;
        while (same < tokens.length && tokens[same] === reference[same]) same++;
        texts.push({
          name,
          seed,
          text: model.tokenizer.decode(tokens),
          tokens,
          sameTokens: same,
          tokensPerSecond: tokens.length > 1 && seconds > 0 ? (tokens.length - 1) / seconds : null,
        });
      });
    };
    await speak({ kind: 'digital' }, null);
    await speak({ kind: 'recoded' }, null);
    const ranges = await withSpeaker({ kind: 'range' }, 'converter ranges', undefined, async (speaker) => {
      await speaker.prefill(rangeIds);
      return speaker.ranges();
    });
    for (let chip = 0; chip < options.chips; chip++) {
      const seed = chipSeed(options.seed, chip);
      await speak({ kind: 'chip', seed }, seed, ranges);
    }
    return { kernel, kernelReason: reason, texts };
  } finally {
    model.close();
  }
}

async function continueText(
  model: SpeakerParts['model'],
  speaker: Speaker,
  prompt: Int32Array,
  options: GenerateOptions,
  onPiece: (piece: string) => void,
  signal: AbortSignal | undefined,
): Promise<{ tokens: number[]; seconds: number }> {
  const decoder = model.tokenizer.newStream();
  const key = streamKey(options.seed, 0x73616d70);
  const tokens: number[] = [];
  let logits = await speaker.prefill(prompt);
  const started = performance.now();
  while (tokens.length < options.tokens) {
    const next = sampleToken(logits, options, key, tokens.length);
    tokens.push(next);
    if (model.tokenizer.endIds.has(next)) break;
    onPiece(decoder.push(next));
    // Lets Ctrl-C in between two tokens.
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted) throw interrupted();
    if (tokens.length < options.tokens) logits = await speaker.next(next);
  }
  onPiece(decoder.end());
  return { tokens, seconds: (performance.now() - started) / 1e3 };
}
