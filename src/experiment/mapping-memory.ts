/** Memory that a mapping takes at its peak: `map --dry-run` says it, and a run that has to map first needs it too. */
import type { EngineNeeds } from '../engine/backend.ts';
import { chooseBackend } from '../engine/create.ts';
import type { EngineChoice } from '../engine/names.ts';
import { estimateMapping } from '../mapping/estimate.ts';
import { METHODS } from '../mapping/method.ts';
import { shapePart } from '../model/model.ts';
import type { ModelShape } from '../model/shape.ts';
import { followBytes } from './follow-pass.ts';
import { blocksPerPass, bytesPerBlock } from './input-statistics.ts';
import { type MappingPlan, namedMethod, withSettings } from './mapping-plan.ts';

/** Heaps of the mapping's threads and the tokenizer of a large vocabulary; Node itself is in what the engine takes. */
const PROGRAM_BYTES = 1.5e8;

export interface MappingNeeds {
  /** GGUF types by tensor, where they are known. */
  readonly model: { readonly shape: ModelShape; readonly codecs?: ReadonlyMap<string, string> };
  readonly fabric: EngineNeeds['fabric'];
  readonly threads: number;
  readonly engine: EngineChoice;
}

/** Bytes: the workspaces of the threads, the second moments of a pass, its streams, and the engine of the digital pass. */
export function mappingMemory({ model, fabric, threads, engine }: MappingNeeds, plan: MappingPlan): number {
  const { shape, ...types } = model;
  const { tokens, windows } = plan.text;
  const method = namedMethod(plan) ?? withSettings(METHODS.rotated, plan.settings);
  const { follow } = plan.settings;
  const { memoryBytes } = estimateMapping(shape, method, plan.tileRows, tokens, threads, follow);
  const perPass = follow ? 1 : blocksPerPass(shape);
  const contextTokens = Math.max(...windows.map((ids) => ids.length));
  const part = { ...types, shape: shapePart(shape, 0, perPass) };
  const pass = chooseBackend(engine, { model: part, fabric, threads, contextTokens }, ['digital']);
  const streamBytes = follow
    ? followBytes(shape, tokens)
    : perPass * bytesPerBlock(shape) + (perPass < shape.layers ? 4 * tokens * shape.dim : 0);
  return PROGRAM_BYTES + memoryBytes + streamBytes + pass.memoryBytes;
}
