/**
 * The variants of a model that a run compares:
 *   digital   the model as shipped
 *   recoded   the mapped weights in exact arithmetic: the coding loss alone
 *   range     the nominal chip with its converters left open: where their ranges come from
 *   chip      one chip with everything that the design says
 *   source    one chip with a single group of errors, all others off: what limits the accuracy
 */
import type { EngineRequest } from '../engine/backend.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';

export type Variant =
  | { readonly kind: 'digital' }
  | { readonly kind: 'recoded' }
  | { readonly kind: 'range' }
  | { readonly kind: 'chip'; readonly seed: number }
  | { readonly kind: 'source'; readonly source: string; readonly seed: number };

/** Stable name of a variant: part of the key of its jobs. */
export function variantKey(variant: Variant): string {
  switch (variant.kind) {
    case 'chip':
      return `chip-${variant.seed}`;
    case 'source':
      return `source-${variant.source}-${variant.seed}`;
    default:
      return variant.kind;
  }
}

/** Returns what an engine is asked to do for a variant; `ranges` are those measured on the whole design. */
export function variantRequest(
  variant: Variant,
  fabric: Fabric,
  ranges: RangeTable | undefined,
): Pick<EngineRequest, 'mode' | 'fabric' | 'chipSeed' | 'ranges'> {
  switch (variant.kind) {
    case 'recoded':
      return { mode: 'mapped', fabric };
    case 'chip':
    case 'source': {
      const own = variant.kind === 'source' ? fabric.withOnly(variant.source) : fabric;
      return {
        mode: 'chip',
        fabric: own,
        chipSeed: variant.seed,
        ...(ranges ? { ranges: own.converterRanges(ranges) } : {}),
      };
    }
    default:
      return { mode: variant.kind, fabric };
  }
}
