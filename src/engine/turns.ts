/**
 * Checks that every engine makes around a text: one at a time, none after its end, within the context and the
 * vocabulary, numbers finite.
 */
import { OnefetError } from '../error.ts';
import { allFinite } from '../numbers.ts';
import type { EngineMode, Visitors } from './backend.ts';

export interface Turns {
  /** Does `work` unless another text is being done or the engine is closed. */
  take<T>(work: () => Promise<T>): Promise<T>;
  close(): void;
}

export function newTurns(): Turns {
  let busy = false;
  let closed = false;
  return {
    async take(work) {
      if (closed)
        throw new OnefetError('internal', 'ENGINE_CLOSED', 'an engine was used after it was closed');
      if (busy) throw new OnefetError('internal', 'ENGINE_BUSY', 'the engine does one text at a time');
      busy = true;
      try {
        return await work();
      } finally {
        busy = false;
      }
    },
    close() {
      closed = true;
    },
  };
}

/** Throws OnefetError('usage', 'CONTEXT_FULL') where `tokens` more do not fit behind `position`. */
export function requireSpace(position: number, tokens: number, contextTokens: number): void {
  if (position + tokens <= contextTokens) return;
  throw new OnefetError('usage', 'CONTEXT_FULL', `the context of ${contextTokens} tokens is full`, {
    hint: 'choose a longer context or a shorter text',
  });
}

/** Throws OnefetError('internal', 'TEXT_RANGE') unless an engine of so many texts has these, each named once. */
export function requireTexts(texts: readonly number[], count: number): void {
  const wrong = texts.find(
    (text, i) => !(Number.isInteger(text) && text >= 0 && text < count) || texts.indexOf(text) < i,
  );
  if (wrong === undefined) return;
  throw new OnefetError('internal', 'TEXT_RANGE', `text ${wrong} is named twice or is none of ${count}`);
}

/** Throws OnefetError('internal', 'KEPT_RANGE') unless the cache has so many tokens of the window, and the new text more. */
export function requireKept(
  kept: number,
  tokens: number,
  window: number,
  cached: { readonly position: number; readonly window: number },
): void {
  if (kept === 0) return;
  const isCached = window === cached.window && kept <= cached.position;
  if (Number.isInteger(kept) && kept > 0 && kept < tokens && isCached) return;
  const has = `${cached.position} of window ${cached.window}`;
  throw new OnefetError('internal', 'KEPT_RANGE', `${kept} tokens of window ${window}: the cache has ${has}`);
}

/** Throws OnefetError('internal', 'TOKEN_RANGE') where a token is not in the vocabulary. */
export function requireToken(id: number, vocabulary: number): void {
  if (Number.isInteger(id) && id >= 0 && id < vocabulary) return;
  throw new OnefetError('internal', 'TOKEN_RANGE', `token ${id} is outside the vocabulary of ${vocabulary}`);
}

/**
 * Throws OnefetError('input', 'NOT_FINITE') where numbers of a forward pass overflowed float32: weights are finite when they
 * are read, but their products need not be, and a quantiser would make a plausible code of what is no number.
 */
export function requireFinite(values: Float32Array, what: string, position: number): void {
  if (allFinite(values)) return;
  throw new OnefetError('input', 'NOT_FINITE', `${what} of position ${position} are not finite numbers`, {
    hint: 'the model has weights so large that float32 overflows: the file is damaged, or made for another arithmetic',
  });
}

/** Throws where visitors ask for what there is not: inputs that a chip's converters made; what lies behind given inputs. */
export function requireVisitors(mode: EngineMode, visitors: Visitors, readsLogits: boolean): void {
  const { inputs, states, stream, given } = visitors;
  if (inputs && mode !== 'digital' && mode !== 'mapped') {
    throw new OnefetError(
      'internal',
      'INPUTS_MODE',
      `inputs are shown in modes digital and mapped, not ${mode}`,
    );
  }
  if (given && (inputs || states || stream || readsLogits)) {
    throw new OnefetError(
      'internal',
      'GIVEN_INPUTS',
      'behind given inputs there are outputs of matrices alone',
    );
  }
}
