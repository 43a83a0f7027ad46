/** Scoring of a window as its definition says: one token at a time by the scalar forward pass. */
import { OnefetError } from '../error.ts';
import { forward, resetSession, type Session } from '../model/forward.ts';
import type { ScoringWindow } from '../model/scoring.ts';

/**
 * -ln softmax(logits)[id], nats, without overflow. Throws OnefetError('internal', 'LOGITS_NOT_FINITE') where a NaN or
 * an infinity would otherwise spread through every mean.
 */
export function negativeLogLikelihood(logits: Float32Array, id: number): number {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) if (logits[i] > largest) largest = logits[i];
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i] - largest);
  if (!Number.isFinite(total)) {
    throw new OnefetError('internal', 'LOGITS_NOT_FINITE', 'the logits of a prediction are not finite');
  }
  return Math.log(total) + largest - logits[id];
}

/** Runs a window from an empty cache; `visit` sees the logits of each scored position and the token that came. */
export function runWindow(
  session: Session,
  { window, ids, scoreFrom, scoreTo }: ScoringWindow,
  visit: (position: number, logits: Float32Array, targetId: number) => void,
): void {
  resetSession(session);
  for (let position = 0; position < scoreTo; position++) {
    const logits = forward(session, ids[position], { window, position });
    if (position >= scoreFrom) visit(position, logits, ids[position + 1]);
  }
}
