/**
 * Provenance: how a number is known. Every value in a data file and every line of a cost carries one of these tags and a
 * source; this is the one place where they are declared.
 */
import { z } from 'zod';

/** Best first: a value is known no better than the last of the tags that went into it. */
export const TAGS = ['chosen', 'measured', 'simulated', 'fitted', 'cited', 'assumed'] as const;
export type Tag = (typeof TAGS)[number];

/** Meaning of each tag, for legends and messages. */
export const TAG_WORDS: Readonly<Record<Tag, string>> = {
  chosen: 'a choice of the design, true by definition',
  measured: 'read from hardware or from a real model',
  simulated: 'computed by SPICE, or counted while a run computed',
  fitted: 'from an equation or a law fitted to measured or simulated values',
  cited: 'from a source that a reader can open: an address, a DOI, or the file of a model card',
  assumed: 'an estimate or an assumption that nothing here supports',
};

/** `source` and `tag` of a value, to be spread into its schema. */
export const provenanceShape = { source: z.string().min(1), tag: z.enum(TAGS) };

export interface Provenance {
  source: string;
  tag: Tag;
}

/** A value with its provenance: { value, source, tag }. */
export function sourced<T extends z.ZodType>(value: T) {
  return z.strictObject({ value, ...provenanceShape });
}

/**
 * A value with its band and its provenance: { low, value, high, source, tag }, low <= value <= high; a value that is
 * `chosen` is true by definition and has no band.
 */
export function bandedValue(value: z.ZodType<number>) {
  return z
    .strictObject({
      value,
      low: value.optional(),
      high: value.optional(),
      ...provenanceShape,
      note: z.string().optional(),
    })
    .refine(
      ({ low, high, tag }) =>
        (tag === 'chosen') === (low === undefined) && (low === undefined) === (high === undefined),
      'give low and high, or the tag chosen, which has neither',
    )
    .refine(
      ({ low, value: likely, high }) =>
        low === undefined || high === undefined || (low <= likely && likely <= high),
      'low <= value <= high must hold',
    );
}

/** Returns the tag of a value made of others: it is known no better than its least known part. */
export function weakestTag(used: readonly { readonly tag: Tag }[]): Tag {
  let worst = 0;
  for (const { tag } of used) worst = Math.max(worst, TAGS.indexOf(tag));
  return TAGS[worst];
}
