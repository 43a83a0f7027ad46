/** Which errors say something about a point of a sweep, and which would end every point. */
import type { OnefetError } from '../error.ts';

/** A point asks for what model, cell or engine cannot be. */
const REFUSALS = new Set([
  'OUT_OF_RANGE',
  'BIAS_OUT_OF_RANGE',
  'NO_CELL_LAW',
  'NO_PRODUCT_TABLE',
  'TECHNOLOGY_RANGE',
]);

/**
 * `refused`: the point cannot be; `failed`: it went wrong while it ran; undefined: a full disk, a damaged or missing file or
 * a bug, which is not about the point.
 */
export function pointStatus({ kind, code }: OnefetError): 'refused' | 'failed' | undefined {
  if (kind === 'usage' || REFUSALS.has(code)) return 'refused';
  return kind === 'simulation' || code === 'NOT_FINITE' ? 'failed' : undefined;
}

/** The error on one line, with how to mend it. */
export const reasonText = ({ message, hint }: OnefetError): string =>
  hint === undefined ? message : `${message} (${hint})`;
