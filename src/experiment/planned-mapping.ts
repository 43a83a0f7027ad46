/** What a mapping costs before there is one: from the design's keys, for what is priced without a run of its own. */
import type { MappingWork } from '../cost/components/mapping.ts';
import { OnefetError } from '../error.ts';
import { type CommonDesign, wantedCorrection } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { allowedRotations } from '../mapping/plan.ts';
import type { ModelShape } from '../model/shape.ts';
import { readSeconds } from '../tile/read-cells.ts';

/** The mapping of a run that is already known. */
export interface SeenMapping {
  readonly method: string;
  readonly work: MappingWork | null;
}

/**
 * What the digital part will do around the mapping that a design asks for; null: nothing. Methods are those of
 * src/mapping/method.ts. What `auto` chooses is taken from `seen` where that is of `auto`, else it is all that it may choose: an
 * upper bound.
 */
export function plannedMappingWork(
  design: CommonDesign,
  shape: ModelShape,
  seen: SeenMapping,
): MappingWork | null {
  const { method, side, principal } = design.mapping;
  if (method === 'round') return null;
  const known = method === 'auto' && seen.method === 'auto' ? seen.work : null;
  const allowed = allowedRotations(shape);
  const rotates = method === 'rotated' || method === 'auto';
  return {
    centred: true,
    rotatedOnline: known?.rotatedOnline ?? (rotates && allowed.hidden),
    residualRotated: known?.residualRotated ?? (rotates && allowed.residual),
    side: wantedCorrection(design)?.rank ?? side,
    principal,
  };
}

/** Refuses a correction of single chips where there is nothing to read, or no way. Error: MAPPING_CORRECTION (usage). */
export function requireCorrectable({ design, kind, chipsDiffer, physics }: Fabric): void {
  if (!wantedCorrection(design) || (chipsDiffer && physics)) return;
  const why = chipsDiffer
    ? `cells of the ${kind} fabric give codes and no currents: they cannot be read`
    : `chips of the ${kind} fabric are all alike, there is nothing to read`;
  throw new OnefetError('usage', 'MAPPING_CORRECTION', `design ${design.name}: ${why}`, {
    hint: 'set mapping.correction.source to none',
  });
}

/** Seconds in which a chip is read, all tiles at once. */
export function readingSeconds({ physics, design }: Fabric, ranges: RangeTable): number | null {
  const correction = wantedCorrection(design);
  if (!correction || !physics) return null;
  const largest = Math.max(...Object.values(ranges).flat(2));
  return readSeconds(physics, design.tile.rows, largest, correction.reads);
}
