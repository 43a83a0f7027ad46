/** Where the matrices of a block read and give: rows of the state memory, one a token. */
import type { Part, Stage } from '../../../model/architecture.ts';
import type { EngineData } from '../plan/context.ts';
import { padded } from '../plan/operations.ts';

export interface Rows {
  /** Address of the first token's row. */
  readonly at: number;
  /** Elements from one token's row to the next. */
  readonly width: number;
}

/** What a stage reads: it stands there until the next stage. */
export function inputRows({ shape, layout }: Pick<EngineData, 'shape' | 'layout'>): Record<Stage, Rows> {
  const normed = { at: layout.normed, width: padded(shape.dim) };
  return {
    'attention-input': normed,
    'attention-output': { at: layout.attended, width: padded(shape.queryDim) },
    'feed-forward-input': normed,
    'feed-forward-hidden': { at: layout.gate, width: layout.widths.gate },
  };
}

/** What the matrices of a block give, by their place in it. */
export function outputRows({ shape, layout }: Pick<EngineData, 'shape' | 'layout'>): Rows[] {
  const { widths, q, k, v, gate, up, delta } = layout;
  const stream = { at: delta, width: padded(shape.dim) };
  const rows: Readonly<Record<Part, Rows>> = {
    query: { at: q, width: widths.q },
    key: { at: k, width: widths.k },
    value: { at: v, width: widths.v },
    gate: { at: gate, width: widths.gate },
    up: { at: up, width: widths.up },
    attention: stream,
    'feed-forward': stream,
  };
  // Of several parts in one matrix, the first has the row.
  return shape.architecture.matrices.map(({ gives }) => rows[gives[0]]);
}
