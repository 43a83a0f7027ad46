/**
 * Inputs of a run, opened once for any number of designs: the model's shape and hash, the text that is scored in windows,
 * and the text that sets the converters' ranges.
 *
 *     const inputs = openInputs({ model, text, rangeText, ... });
 *     const plans = designs.map((design) => planDesign(inputs, { design, ... }));
 */
import { OnefetError } from '../error.ts';
import { displayPath, findDataFile, readTextFile, requireDataFile, sha256 } from '../files.ts';
import { type Model, openModel } from '../model/model.ts';
import {
  documentWindows,
  type ScoredUnit,
  type ScoringWindow,
  scoredPositions,
  scoringWindows,
} from '../model/scoring.ts';
import { type AdaptedModel, adaptModel } from './adapters.ts';
import {
  defaultScoring,
  INPUT_DEFAULTS,
  type InputOptions,
  RANGE_TEXT,
  type TaskKind,
  withDefaults,
} from './options.ts';
import { checkRangeText } from './overlap.ts';
import { readTaskFile } from './task-file.ts';
import { taskWindows } from './task-windows.ts';

export interface ModelInputs {
  /** As it was given, to open it again. */
  readonly path: string;
  /** As people know it. */
  readonly file: string;
  readonly name: string;
  /** Where LoRA adapters are merged in. */
  readonly adapted?: AdaptedModel | undefined;
  readonly sha256: string;
  readonly parameters: number;
  readonly fileType: string;
  readonly synthetic: boolean;
  /** GGUF types by tensor: what memory an engine takes depends on them. */
  readonly codecs: ReadonlyMap<string, string>;
  readonly shape: Model['shape'];
}

export interface TextInputs {
  readonly file: string;
  readonly sha256: string;
  /** Of the whole text; of the range text those that are run. */
  readonly tokens: number;
}

/** Questions that are scored in place of a text: one unit each, a window for each choice, of the question's number. */
export interface TaskInputs {
  readonly file: string;
  readonly kind: TaskKind;
  /** Numbers of the right choices, and the length of each choice in UTF-8. */
  readonly questions: readonly { readonly answers: readonly number[]; readonly bytes: readonly number[] }[];
  /** Choices whose context was cut to fit. */
  readonly cut: number;
}

export interface RunInputs {
  readonly model: ModelInputs;
  readonly contextTokens: number;
  readonly scoring: 'window' | 'all' | 'choices';
  /** Where the scored text is the choices of questions. */
  readonly task: TaskInputs | undefined;
  readonly text: TextInputs & { readonly scored: number };
  readonly rangeText: TextInputs & {
    /** Asked for by name: ranges in an image are not taken. */
    readonly given: boolean;
  };
  /** The scored text. */
  readonly windows: readonly ScoringWindow[];
  /** The same windows by unit, and the units that are one job. */
  readonly groups: readonly (readonly ScoredUnit[])[];
  /** The scored tokens in unbroken passages: a text that sets anything must hold none of them. */
  readonly passages: Int32Array;
  /** The text that sets the ranges. */
  readonly rangeWindows: readonly ScoringWindow[];
  /** Warnings for a reader of the result. */
  readonly warnings: readonly string[];
}

/** llama.cpp's default window of its perplexity tool. */
const DEFAULT_CONTEXT_TOKENS = 512;
/** Enough |D| values (tokens times columns) for a 99.99 % quantile of every tile. */
const RANGE_TOKENS = 512;
/** Texts are tokenised in memory; 256 MiB is a hundred times WikiText-2. */
const MAX_TEXT_BYTES = 256 << 20;

/**
 * Reads, tokenises and hashes model and texts. The model is closed again: only its shape is kept.
 * Errors: CONTEXT_RANGE, SCORE_TEXT_SHORT, RANGE_TEXT (usage); TEXT_SIZE, TEXT_EMPTY, unreadable files (input).
 */
export function openInputs(asked: Partial<InputOptions> = {}): RunInputs {
  const options = withDefaults({ ...INPUT_DEFAULTS, scoring: defaultScoring(asked) }, asked);
  const basePath = findDataFile(options.model) ?? options.model;
  const adapted = adaptModel(basePath, options.adapters);
  const modelPath = adapted?.path ?? basePath;
  const model = openModel(modelPath);
  try {
    const contextTokens = chooseContext(model, options.contextTokens);
    const bos = model.tokenizer.addBos ? model.tokenizer.bosId : undefined;
    const scored =
      options.task === undefined
        ? scoredText(model, options, contextTokens, bos)
        : scoredTask(model, options, options.task, contextTokens);
    const rangeFile = options.rangeText ?? RANGE_TEXT;
    const rangePath = requireDataFile(rangeFile, 'range text');
    const rangeText = boundedText(rangePath, 'range text');
    const rangeTokens = model.tokenizer.encode(rangeText).subarray(0, RANGE_TOKENS);
    const warning = checkRangeText(rangeTokens, scored.passages);
    const rangeWindows = cutRangeWindows(rangeTokens, contextTokens, bos);
    return {
      model: {
        path: modelPath,
        file: adapted?.file ?? displayPath(modelPath),
        adapted,
        name: model.name,
        sha256: model.sha256(),
        parameters: model.parameterCount,
        fileType: model.fileType,
        synthetic: model.synthetic,
        codecs: new Map([...model.file.tensors].map(([name, { codec }]) => [name, codec.name])),
        shape: model.shape,
      },
      contextTokens,
      scoring: scored.task ? 'choices' : options.scoring,
      task: scored.task,
      text: scored.text,
      rangeText: {
        file: displayPath(rangeFile),
        given: options.rangeText !== undefined,
        sha256: sha256(rangeText),
        tokens: rangeWindows.reduce((sum, window) => sum + window.scoreTo, 0),
      },
      windows: scored.groups.flat(2),
      groups: scored.groups,
      passages: scored.passages,
      rangeWindows,
      warnings: warning === null ? [] : [warning],
    };
  } finally {
    model.close();
  }
}

interface ScoredText extends Pick<RunInputs, 'task' | 'text' | 'groups'> {
  /** Its tokens as `checkRangeText` wants them: unbroken passages. */
  readonly passages: Int32Array;
}

/** The choices of a task's questions. Errors: those of readTaskFile and taskWindows; TASK_OPTIONS (usage). */
function scoredTask(
  { tokenizer }: Model,
  { taskKind, maxQuestions, maxWindows }: InputOptions,
  path: string,
  contextTokens: number,
): ScoredText {
  if (maxWindows !== undefined) {
    throw new OnefetError('usage', 'TASK_OPTIONS', 'a task has questions and no windows', {
      hint: 'say how many of them with --max-questions (maxQuestions)',
    });
  }
  const file = readTaskFile(path, taskKind, maxQuestions);
  const { groups, cut } = taskWindows(file, tokenizer, contextTokens, path);
  const windows = groups.flat(2);
  const bytes = (choice: string) => Buffer.byteLength(choice, 'utf8');
  return {
    task: {
      file: displayPath(path),
      kind: file.kind,
      questions: file.questions.map(({ answers, choices }) => ({ answers, bytes: choices.map(bytes) })),
      cut,
    },
    text: {
      file: displayPath(path),
      sha256: sha256(file.text),
      tokens: windows.reduce((sum, { ids }) => sum + ids.length, 0),
      scored: scoredPositions(windows),
    },
    groups,
    passages: documentTokens(windows),
  };
}

/** The text that is scored, in windows. */
function scoredText(
  { tokenizer }: Model,
  options: InputOptions,
  contextTokens: number,
  bos: number | undefined,
): ScoredText {
  const textPath = findDataFile(options.text) ?? options.text;
  const text = boundedText(textPath, 'text');
  const tokens = tokenizer.encode(text);
  const all =
    options.scoring === 'all'
      ? documentWindows(text, tokenizer, { contextTokens })
      : scoringWindows(tokens, { contextTokens, bos });
  const windows = all.slice(0, options.maxWindows ?? all.length);
  // Windows have BOS in place of their first token, which would cut a passage; documents are as they are.
  const passages =
    options.scoring === 'all' ? documentTokens(windows) : tokens.subarray(0, windows.length * contextTokens);
  return {
    text: {
      file: displayPath(options.text),
      sha256: sha256(text),
      tokens: tokens.length,
      scored: scoredPositions(windows),
    },
    task: undefined,
    groups: windows.map((window) => [[window]]),
    passages,
  };
}

/** The window length: what was asked for, checked, or llama.cpp's. */
function chooseContext({ name, shape }: Model, asked: number | undefined): number {
  const most = shape.contextTokens;
  const contextTokens = asked ?? Math.min(DEFAULT_CONTEXT_TOKENS, most);
  if (!Number.isInteger(contextTokens) || contextTokens < 4 || contextTokens > most) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a context of ${contextTokens} tokens is out of range: ${name} takes 4 to ${most}`,
    );
  }
  return contextTokens;
}

function boundedText(path: string, what: string): string {
  const text = readTextFile(path, what, { mostBytes: MAX_TEXT_BYTES });
  if (text.trim() === '') throw new OnefetError('input', 'TEXT_EMPTY', `${what} ${path} is empty`);
  return text;
}

/** What the documents hold, one after the other. */
function documentTokens(windows: readonly ScoringWindow[]): Int32Array {
  const all = new Int32Array(windows.reduce((sum, { ids }) => sum + ids.length, 0));
  let at = 0;
  for (const { ids } of windows) {
    all.set(ids, at);
    at += ids.length;
  }
  return all;
}

/** The range text in windows of the context. */
function cutRangeWindows(
  tokens: Int32Array,
  contextTokens: number,
  bos: number | undefined,
): ScoringWindow[] {
  const windows: ScoringWindow[] = [];
  for (let start = 0; start < tokens.length; start += contextTokens) {
    const ids = tokens.slice(start, start + contextTokens);
    if (bos !== undefined) ids[0] = bos;
    // All positions but the last predict a token that is known, so all of them can be run.
    if (ids.length >= 2) windows.push({ window: windows.length, ids, scoreFrom: 0, scoreTo: ids.length - 1 });
  }
  if (windows.length === 0)
    throw new OnefetError('input', 'TEXT_EMPTY', 'the range text has fewer than two tokens');
  return windows;
}
