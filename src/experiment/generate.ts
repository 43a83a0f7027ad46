/**
 * `onefet generate`: the same prompt continued by the digital model and by chips, side by side, so that one can read
 * what noise does.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, type EngineTuning, neededModes } from '../engine/backend.ts';
import { chooseBackend, createEngine } from '../engine/create.ts';
import type { BackendName } from '../engine/names.ts';
import { interrupted, OnefetError } from '../error.ts';
import { checkOverrides, wantedCorrection } from '../fabric/common-design.ts';
import { loadDesign } from '../fabric/design.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { loadFabric } from '../fabric/registry.ts';
import { findDataFile, readTextFile, requireDataFile } from '../files.ts';
import { type ImageReader, openImage } from '../mapping/image.ts';
import { tensorNames } from '../model/architecture.ts';
import { type Model, openModel } from '../model/model.ts';
import { sampleToken } from '../model/sample.ts';
import { chatPrompt } from '../model/tokenizer/chat-template.ts';
import { streamKey } from '../random.ts';
import { adaptModel, requireAdaptable } from './adapters.ts';
import { correctVariant, isCorrected, plannedCorrection } from './correction.ts';
import { CODES_FOLDER } from './execute.ts';
import { takenNotice, takenRanges } from './image-ranges.ts';
import type { MapHooks } from './map.ts';
import { planMapping } from './mapping-plan.ts';
import { GENERATE_DEFAULTS, type GenerateOptions, RANGE_TEXT, withDefaults } from './options.ts';
import { chipSeed } from './plan.ts';
import { readyCell } from './ready-cell.ts';
import { givenImage, makeImage, openGiven, partsOf, type ReadyImage } from './run-mapping.ts';
import { type Variant, variantRequest } from './variant.ts';

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
  readonly engine: BackendName;
  /** Why `auto` did not take another. */
  readonly engineReason: string | undefined;
  readonly texts: readonly Generated[];
}

/** Length of the range text that is run before the first chip speaks. */
const RANGE_TOKENS = 256;

export interface GenerateHooks {
  /** Called before each text begins and for each piece of it. */
  readonly onText?: (name: string, piece: string) => void;
  /** Called with the name of what is being prepared, before each text. */
  readonly onPrepare?: (what: string, done: number, total: number) => void;
  /** What a person should know: the method that was chosen, damage that was found. */
  readonly onNotice?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export async function generate(
  asked: Pick<GenerateOptions, 'prompt'> & Partial<GenerateOptions>,
  hooks: GenerateHooks = {},
): Promise<Generation> {
  const options: GenerateOptions = { ...withDefaults(GENERATE_DEFAULTS, asked), prompt: asked.prompt };
  const { design } = loadDesign(options.design, options.settings, options.overrides);
  if (!options.calibration) await readyCell(design, { threads: options.threads, signal: hooks.signal });
  const fabric = loadFabric(design, options.calibration);
  const basePath = findDataFile(options.model) ?? options.model;
  const adapted = adaptModel(basePath, options.adapters);
  const model = openModel(adapted?.path ?? basePath);
  let image: (ReadyImage & { readonly reader: ImageReader }) | undefined;
  const chips = wantedCorrection(design) && mkdtempSync(join(tmpdir(), 'onefet-chips-'));
  try {
    checkOverrides(design, tensorNames(model.shape.architecture));
    const { prompt, rangeIds, contextTokens } = await readInputs(model, options);
    const { threads } = options;
    if (adapted) requireAdaptable(fabric);
    const given = options.image === undefined ? undefined : givenImage(model.sha256(), options.image);
    const mapping = given ? undefined : planMapping(model, fabric, adapted);
    const whole = given?.parts ?? (mapping && partsOf(mapping, model.shape));
    const parts = whole && plannedCorrection({ parts: whole, path: given?.path }, fabric, model.shape).parts;
    const { precision = 'auto' } = options;
    const tuning: EngineTuning = precision === 'auto' ? {} : { precision };
    const needs = { model, fabric, threads, contextTokens };
    const { backend, reason } = chooseBackend(
      options.engine,
      { ...needs, image: parts, tuning },
      neededModes(fabric),
    );
    const ready = given
      ? openGiven(given.path!)
      : mapping &&
        (await makeImage(model, mapping, needs, backend, mapHooks(hooks), hooks.onNotice ?? (() => {})));
    image = ready && { ...ready, reader: openImage(ready.path) };
    const texts: Generated[] = [];
    const kept = options.rangeText === undefined ? takenRanges(given, fabric) : undefined;
    const total = 2 + (fabric.measuresRanges && !kept ? 1 : 0) + options.chips;
    let done = 0;
    /** One engine at a time: two of 8B do not fit beside each other. */
    const withEngine = async <T>(
      variant: Variant,
      what: string,
      ranges: RangeTable | undefined,
      work: (engine: Engine) => Promise<T>,
    ): Promise<T> => {
      if (hooks.signal?.aborted) throw interrupted();
      hooks.onPrepare?.(what, done++, total);
      const own =
        chips && image && ranges && isCorrected(variant)
          ? openImage(
              await correctVariant(model, image.reader, fabric, variant, ranges, chips, {
                signal: hooks.signal,
              }),
            )
          : undefined;
      const engine = await createEngine(backend.name, {
        ...needs,
        image: own ?? image?.reader,
        codesCache: { folder: CODES_FOLDER, modelSha256: model.sha256() },
        signal: hooks.signal,
        // Tokens come one at a time: cells that are made for each would take ten times as long as their products.
        tuning: { ...tuning, ...(backend.capabilities['tuning.cells'] ? {} : { cells: 'baked' }) },
        ...variantRequest(variant, fabric, ranges),
      });
      try {
        return await work(engine);
      } finally {
        await engine.close();
        own?.close();
      }
    };
    const write = async (variant: Variant, seed: number | null, ranges?: RangeTable) => {
      const name = variant.kind as Generated['name'];
      const label = seed === null ? name : `chip ${seed}`;
      await withEngine(variant, label, ranges, async (engine) => {
        hooks.onText?.(label, '');
        const onPiece = (piece: string) => hooks.onText?.(label, piece);
        const text = await continueText(model, engine, prompt, options, onPiece, hooks.signal);
        texts.push(generated(model, name, seed, text, texts[0]?.tokens));
      });
    };
    await write({ kind: 'digital' }, null);
    await write({ kind: 'recoded' }, null);
    let ranges = kept?.table;
    if (kept) hooks.onNotice?.(takenNotice(kept));
    else if (fabric.measuresRanges) {
      ranges = await withEngine({ kind: 'range' }, 'converter ranges', undefined, async (engine) => {
        await engine.prefill(rangeIds, 0);
        return engine.ranges();
      });
    }
    for (let chip = 0; chip < options.chips; chip++) {
      const seed = chipSeed(options.seed, chip);
      await write({ kind: 'chip', seed }, seed, ranges);
    }
    return { engine: backend.name, engineReason: reason, texts };
  } finally {
    image?.reader.close();
    image?.discard();
    if (chips) rmSync(chips, { recursive: true, force: true });
    model.close();
  }
}

/** The mapping's progress before the first text. */
const mapHooks = ({ onPrepare, signal }: GenerateHooks): MapHooks => ({
  signal,
  onProgress: onPrepare && ((done, total, what) => onPrepare(what, done, total)),
});

/** Tokens of the prompt and of the range text, and the context that both fit. */
async function readInputs(
  model: Model,
  options: GenerateOptions,
): Promise<{ prompt: Int32Array; rangeIds: Int32Array; contextTokens: number }> {
  const { tokenizer } = model;
  const text = options.chat
    ? await chatPrompt(model.file.metadata, tokenizer, options.prompt)
    : options.prompt;
  // As in llama-cli: a chat template's markers are its tokens. In text that is scored they are characters.
  const prompt = tokenizer.encode(text, { parseSpecial: true });
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
  const rangeText = readTextFile(
    requireDataFile(options.rangeText ?? RANGE_TEXT, 'range text'),
    'range text',
  );
  const rangeIds = tokenizer.encode(rangeText).slice(0, Math.min(RANGE_TOKENS, model.shape.contextTokens));
  return { prompt, rangeIds, contextTokens: Math.max(contextTokens, rangeIds.length) };
}

function generated(
  model: Model,
  name: Generated['name'],
  seed: number | null,
  { tokens, seconds }: { tokens: number[]; seconds: number },
  digital: readonly number[] = tokens,
): Generated {
  let sameTokens = 0;
  while (sameTokens < tokens.length && tokens[sameTokens] === digital[sameTokens]) sameTokens++;
  return {
    name,
    seed,
    text: model.tokenizer.decode(tokens),
    tokens,
    sameTokens,
    tokensPerSecond: tokens.length > 1 && seconds > 0 ? (tokens.length - 1) / seconds : null,
  };
}

async function continueText(
  model: Model,
  engine: Engine,
  prompt: Int32Array,
  options: GenerateOptions,
  onPiece: (piece: string) => void,
  signal: AbortSignal | undefined,
): Promise<{ tokens: number[]; seconds: number }> {
  const decoder = model.tokenizer.newStream();
  const key = streamKey(options.seed, 0x73616d70);
  const tokens: number[] = [];
  const before = [...prompt];
  let logits: Float32Array = new Float32Array(model.shape.vocab);
  await engine.prefill(prompt, 0, (_position, last) => logits.set(last), prompt.length - 1);
  const started = performance.now();
  while (tokens.length < options.tokens) {
    const next = sampleToken(logits, options, key, tokens.length, before);
    tokens.push(next);
    before.push(next);
    if (model.tokenizer.endIds.has(next)) break;
    onPiece(decoder.push(next));
    // Lets Ctrl-C in between two tokens.
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted) throw interrupted();
    if (tokens.length < options.tokens) logits = await engine.decode(next);
  }
  onPiece(decoder.end());
  return { tokens, seconds: (performance.now() - started) / 1e3 };
}
