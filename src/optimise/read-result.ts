/** Reads what an optimisation wrote. */
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { readTextFile } from '../files.ts';
import { decodeResult } from '../sources.ts';
import { OPTIMISE_FILE, OPTIMISE_SCHEMA, type OptimiseResult } from './result.ts';

/** Reads optimise.json of a folder: sealed, so that it is what this program wrote. Error: OPTIMISE_INVALID (input). */
export function readOptimise(folder: string): OptimiseResult {
  const path = join(folder, OPTIMISE_FILE);
  const refuse = (reason: string, cause?: unknown) =>
    new OnefetError('input', 'OPTIMISE_INVALID', `${path} ${reason}`, {
      ...{ cause, hint: 'give the command of the optimisation again: its runs are kept' },
    });
  const text = readTextFile(path, 'optimisation');
  let value: unknown;
  try {
    value = decodeResult(text);
  } catch (cause) {
    throw refuse('is not valid JSON', cause);
  }
  if (value === undefined) throw refuse('is not what was written: its SHA-256 is missing or does not hold');
  const { schema } = value as Partial<OptimiseResult>;
  if (schema !== OPTIMISE_SCHEMA) throw refuse(`is of another version: its schema is ${String(schema)}`);
  return value as OptimiseResult;
}
