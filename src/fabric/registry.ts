/** The fabrics that there are: one line each. */
import { z } from 'zod';
import type { Calibration } from '../cell/calibration.ts';
import type { SizedCell } from '../cell/sized-calibration.ts';
import { nearestName, OnefetError } from '../error.ts';
import type { CommonDesign } from './common-design.ts';
import { digitalFabric } from './digital.ts';
import type { Fabric, FabricModule } from './fabric.ts';
import { gpuFabric } from './gpu.ts';
import { hardwiredFabric } from './hardwired.ts';
import { logDomainFabric } from './log-domain.ts';
import { maskRomFabric } from './mask-rom.ts';
import { routedFabric } from './routed.ts';

/** A fabric that is not here does not exist for the rest of the program. */
const MODULES = {
  'log-domain': logDomainFabric,
  digital: digitalFabric,
  routed: routedFabric,
  'mask-rom': maskRomFabric,
  hardwired: hardwiredFabric,
  gpu: gpuFabric,
} as const;

const FABRICS: Readonly<Record<string, FabricModule>> = MODULES;

export type Design = z.infer<(typeof MODULES)[keyof typeof MODULES]['schema']>;

/** Of a design that does not say. */
export const DEFAULT_FABRIC = 'log-domain';

/** Words that a design's `fabric` may be. */
export const FABRIC_WORDS: readonly string[] = Object.keys(FABRICS);

/** Throws OnefetError('usage', 'FABRIC') for a word that names none; `where` is for the message. */
export function fabricModule(word: unknown, where: string): FabricModule {
  const module = typeof word === 'string' && Object.hasOwn(FABRICS, word) ? FABRICS[word] : undefined;
  if (module) return module;
  const nearest = typeof word === 'string' ? nearestName(word, FABRIC_WORDS) : undefined;
  throw new OnefetError('usage', 'FABRIC', `${where}: there is no fabric ${JSON.stringify(word)}`, {
    hint: nearest ? `did you mean ${nearest}?` : `fabrics are ${FABRIC_WORDS.join(', ')}`,
  });
}

/** A design of any fabric, as its YAML file says it. */
export const designSchema = z.unknown().transform((data, context): Design => {
  const word = (data as { fabric?: unknown } | null)?.fabric ?? DEFAULT_FABRIC;
  const parsed = fabricModule(word, 'the design').schema.safeParse(data);
  if (parsed.success) return parsed.data as Design;
  for (const { path, message } of parsed.error.issues) {
    context.issues.push({ code: 'custom', path: [...path], message, input: data });
  }
  return z.NEVER;
});

/** Binds a design to what it needs. `calibration`: one that was just made; by default the one on file, refused if stale. */
export function loadFabric(design: CommonDesign, calibration?: Calibration): Fabric {
  return fabricModule(design.fabric, `design ${design.name}`).load(design, calibration);
}

/** The calibrated cell that a design rests on, or undefined. */
export const calibratedCell = (design: CommonDesign): SizedCell | undefined =>
  fabricModule(design.fabric, `design ${design.name}`).cell?.(design);
