/** The fabrics that there are: one line each. */
import { z } from 'zod';
import type { Calibration } from '../cell/calibration.ts';
import { nearestName, OnefetError } from '../error.ts';
import type { CommonDesign } from './common-design.ts';
import { digitalDesign, digitalFabric } from './digital.ts';
import type { Fabric, FabricModule } from './fabric.ts';
import { logDomainDesign, logDomainFabric } from './log-domain.ts';

const FABRICS: Readonly<Record<string, FabricModule>> = {
  'log-domain': logDomainFabric,
  digital: digitalFabric,
};

/** A design of any fabric, as its YAML file says it. */
export const designSchema = z.discriminatedUnion('fabric', [logDomainDesign, digitalDesign]);

export type Design = z.infer<typeof designSchema>;

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

/** Binds a design to what it needs. `calibration`: one that was just made; by default the one on file, refused if stale. */
export function loadFabric(design: CommonDesign, calibration?: Calibration): Fabric {
  return fabricModule(design.fabric, `design ${design.name}`).load(design, calibration);
}

/** The calibrated cell that a design rests on, or undefined. */
export function calibratedCell(design: CommonDesign): { process: string; cell: string } | undefined {
  const cell = fabricModule(design.fabric, `design ${design.name}`).cell?.(design);
  return cell === undefined ? undefined : { process: design.process, cell };
}
