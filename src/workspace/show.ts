/** Keys of one design: what each means and may be, what it is there, and where that comes from. */
import { loadDesign } from '../fabric/design.ts';
import { type DesignKey, designKey, designKeys } from '../fabric/design-keys.ts';

export interface ShownKey extends DesignKey {
  /** In this design, with the changes that were asked for. */
  readonly value: unknown;
  readonly source: string | undefined;
  /** measured, simulated, cited, assumed ... or chosen: a decision of the design. */
  readonly tag: string;
}

/** Shows one key, or all without one. Errors: CONFIG_KEY (usage), those of the design. */
export function showDesign(name: string, settings: readonly string[], key?: string): ShownKey[] {
  const { design } = loadDesign(name, settings);
  const keys = key === undefined ? designKeys(design.fabric) : keysUnder(design.fabric, key);
  return keys.map((each) => {
    const known = design.sources[each.key];
    return {
      ...each,
      value: valueAt(design, each.key),
      source: known?.source,
      tag: known?.tag ?? 'chosen',
    };
  });
}

/** A key, or all of a group: `adc`. */
function keysUnder(fabric: string, key: string): DesignKey[] {
  const group = designKeys(fabric).filter((each) => each.key.startsWith(`${key}.`));
  return group.length > 0 ? group : [designKey(fabric, key)];
}

const valueAt = (design: object, key: string): unknown =>
  key.split('.').reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], design);
