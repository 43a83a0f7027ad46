/**
 * `onefet generate`: the same prompt continued by the digital model and by chips, side by side, so that one can read
 * what noise does.
 */
import type { Calibration } from '../cell/calibration.ts';
import { loadCalibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import { loadDesign } from '../fabric/design.ts';
import { rangesOf } from '../fabric/log-domain.ts';
import { readTextFile, requireDataFile } from '../files.ts';
import { forward, newSession } from '../model/llama.ts';
import { type LlamaModel, openModel } from '../model/model.ts';
import { sampleToken } from '../model/sample.ts';
import { streamKey } from '../random.ts';
import { tilePhysics } from '../tile/physics.ts';
import { chipSeed } from './plan.ts';
import {
  buildVariant,
  type HardwareCache,
  type Variant,
  type VariantLayers,
  type VariantParts,
} from './variant.ts';

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
  readonly calibration?: Calibration;
}

export interface Generated {
  readonly name: 'digital' | 'recoded' | 'chip';
  readonly seed: number | null;
  readonly text: string;
  readonly tokens: number[];
  /** Tokens from the start on which this agrees with the digital text. */
  readonly sameTokens: number;
}

/** Length of the range text that is run before the first chip speaks. */
const RANGE_TOKENS = 256;

export interface GenerateHooks {
  /** Called before each text begins and for each piece of it. */
  readonly onText?: (name: string, piece: string) => void;
  readonly signal?: AbortSignal;
}

export async function generate(options: GenerateOptions, hooks: GenerateHooks = {}): Promise<Generated[]> {
  const { design } = loadDesign(options.design, options.settings);
  const calibration = options.calibration ?? loadCalibration(design.process, design.cell);
  const model = openModel(options.model);
  try {
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
    const hardware: HardwareCache = new Map();
    const parts: VariantParts = { model, design, calibration, kernel: 'baked', hardware, ranges: undefined };
    const texts: Generated[] = [];
    const speak = async (variant: Variant, built: VariantLayers, seed: number | null) => {
      const name = variant.kind as Generated['name'];
      const label = seed === null ? name : `chip ${seed}`;
      hooks.onText?.(label, '');
      const tokens = await continueText(
        model,
        built,
        prompt,
        options,
        (piece) => hooks.onText?.(label, piece),
        hooks.signal,
      );
      const reference = texts[0]?.tokens ?? tokens;
      let same = 0;
      while (same < tokens.length && tokens[same] === reference[same]) same++;
      texts.push({ name, seed, text: model.tokenizer.decode(tokens), tokens, sameTokens: same });
    };
    await speak({ kind: 'digital' }, buildVariant({ kind: 'digital' }, parts), null);
    await speak({ kind: 'recoded' }, buildVariant({ kind: 'recoded' }, parts), null);
    const ranges = measureRanges(parts, options);
    for (let chip = 0; chip < options.chips; chip++) {
      const seed = chipSeed(options.seed, chip);
      const variant: Variant = { kind: 'chip', seed };
      await speak(variant, buildVariant(variant, { ...parts, ranges }), seed);
    }
    return texts;
  } finally {
    model.close();
  }
}

function measureRanges(parts: VariantParts, options: GenerateOptions) {
  const { model, design, calibration } = parts;
  const built = buildVariant({ kind: 'range' }, parts);
  const text = readTextFile(requireDataFile(options.rangeText, 'range text'), 'range text');
  const ids = model.tokenizer.encode(text).slice(0, Math.min(RANGE_TOKENS, model.shape.contextTokens));
  const session = newSession(model, built.layers, ids.length);
  ids.forEach((id, position) => {
    forward(session, id, { window: 0, position });
  });
  return rangesOf(built.record, tilePhysics(calibration, design));
}

async function continueText(
  model: LlamaModel,
  built: VariantLayers,
  prompt: Int32Array,
  options: GenerateOptions,
  onPiece: (piece: string) => void,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const session = newSession(model, built.layers, prompt.length + options.tokens);
  const decoder = model.tokenizer.newStream();
  const key = streamKey(options.seed, 0x73616d70);
  const tokens: number[] = [];
  let logits: Float32Array = new Float32Array(0);
  prompt.forEach((id, position) => {
    logits = forward(session, id, { window: 0, position });
  });
  while (tokens.length < options.tokens) {
    const next = sampleToken(logits, options, key, tokens.length);
    tokens.push(next);
    if (model.tokenizer.endIds.has(next)) break;
    onPiece(decoder.push(next));
    // Lets Ctrl-C in between two tokens.
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted) throw new OnefetError('interrupted', 'INTERRUPTED', 'interrupted');
    if (tokens.length < options.tokens)
      logits = forward(session, next, { window: 0, position: session.position });
  }
  onPiece(decoder.end());
  return tokens;
}
