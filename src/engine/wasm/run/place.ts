import type { Batch } from '../control.ts';
import type { WorkerContext } from '../plan/context.ts';
import { PLACE_WORDS } from '../plan/layout.ts';

/** Where a token of a batch stands: its position in its text. */
export function placeOf(
  { data, i32 }: Pick<WorkerContext, 'data' | 'i32'>,
  batch: Batch,
  token: number,
): { readonly position: number; readonly text: number } {
  if (batch.text >= 0) return { position: batch.position + token, text: batch.text };
  const at = data.layout.places / 4 + token * PLACE_WORDS;
  return { position: i32[at], text: i32[at + 1] };
}
