/**
 * Which file holds the constants of the cost of a process: its own spice/<process>/cost.yaml, or the whole of another's,
 * which a file of three keys names:
 *
 *   process: sky130
 *   description: Everything of the 130 nm class at 1.8 V
 *   like: planar130
 */
import { join } from 'node:path';
import { z } from 'zod';
import { parseYaml, validate } from './config.ts';
import { OnefetError } from './error.ts';
import { findDataFile, readTextFile } from './files.ts';

export interface CostFile {
  readonly path: string;
  /** Whose constants they are; it stands in the file. */
  readonly process: string;
}

const likeSchema = z.strictObject({ process: z.string(), description: z.string(), like: z.string() });

/** Finds the file; undefined: the process has none. Errors: COST_CONSTANTS, COST_PROCESS. */
export function findCostFile(
  process: string,
  name = 'cost',
  asked: readonly string[] = [process],
): CostFile | undefined {
  const path = findDataFile(join('spice', process, `${name}.yaml`));
  if (path === undefined) return undefined;
  const as = { kind: 'input', code: 'COST_CONSTANTS' } as const;
  const data = parseYaml(readTextFile(path, 'cost constants'), path, as);
  if (typeof data !== 'object' || data === null || !Object.hasOwn(data, 'like')) return { path, process };
  const { process: stated, like } = validate(likeSchema, data, path, as);
  if (stated !== process) {
    throw new OnefetError('input', 'COST_PROCESS', `${path}: it says process ${stated}, not ${process}`);
  }
  if (asked.includes(like)) {
    throw new OnefetError('input', 'COST_CONSTANTS', `${path}: like: ${like} leads in a circle`);
  }
  const found = findCostFile(like, name, [...asked, like]);
  if (found !== undefined) return found;
  throw new OnefetError('input', 'COST_CONSTANTS', `${path}: like: ${like}, which has no ${name}.yaml`);
}
