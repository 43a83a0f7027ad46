/**
 * Converter ranges that stand in a chip image: measured by `onefet map` on the calibration text, when the image is made,
 * and taken by a run on it. They hold for the fabric and the nominal chip that they were measured on and for no other:
 * what of a design and its cell decides them stands beside them, key by key.
 */
import { existsSync, renameSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { EngineNeeds } from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import type { BackendName } from '../engine/names.ts';
import { interrupted, OnefetError } from '../error.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { sha256 } from '../files.ts';
import { createImage, openImage } from '../mapping/image.ts';
import type { RangesMeta } from '../mapping/image-format.ts';
import type { Model } from '../model/model.ts';
import type { CalibrationText } from './mapping-plan.ts';

/** Of the calibration text: four times the range text of a run, 0.05 % of which are 1000 values of each column. */
const RANGE_TOKENS = 2048;

/** Keys of a nominal design that no converter sees, or that the image itself settles. */
const OTHER_KEYS = ['fabric', 'costs', 'mapping', 'weights'];

/** What decides the ranges of an image on a fabric: its nominal design by path, and its cell. */
export function rangeConditions(fabric: Fabric): RangesMeta['conditions'] {
  const nominal = Object.entries(fabric.nominalDesign()).filter(([key]) => !OTHER_KEYS.includes(key));
  return {
    ...Object.fromEntries(nominal.flatMap(([key, value]) => leaves(key, value))),
    ...(fabric.cell ? { calibration: fabric.cell.sha256 } : {}),
  };
}

/** Values by path as JSON has them. */
function leaves(path: string, value: unknown): [string, RangesMeta['conditions'][string]][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) => leaves(`${path}.${key}`, inner));
  }
  return value === undefined ? [] : [[path, JSON.parse(JSON.stringify(value))]];
}

/** Most differences that a message lists. */
const MOST_LISTED = 4;

/** Throws OnefetError('usage', 'IMAGE_RANGES') for ranges of another fabric or nominal chip, and says which keys differ. */
function requireRangesFit(ranges: RangesMeta, fabric: Fabric): void {
  const own = rangeConditions(fabric);
  const word = (value: unknown): string =>
    value === undefined ? 'absent' : typeof value === 'string' ? value.slice(0, 12) : JSON.stringify(value);
  const differing =
    ranges.fabric === fabric.kind
      ? [...new Set([...Object.keys(own), ...Object.keys(ranges.conditions)])]
          .filter((key) => !isDeepStrictEqual(own[key], ranges.conditions[key]))
          .map((key) => `${key} is ${word(ranges.conditions[key])} there, ${word(own[key])} in the design`)
      : [`the fabric is ${ranges.fabric} there, ${fabric.kind} in the design`];
  if (differing.length === 0) return;
  const more = differing.length > MOST_LISTED ? [`and ${differing.length - MOST_LISTED} more`] : [];
  throw new OnefetError(
    'usage',
    'IMAGE_RANGES',
    `the converter ranges in the chip image are of another chip: ${[...differing.slice(0, MOST_LISTED), ...more].join('; ')}`,
    { hint: 'give --range-text to measure them anew for this design, or map the model for it' },
  );
}

/** Ranges that an image has. */
export interface ImageRanges {
  readonly about: RangesMeta;
  readonly table: RangeTable;
}

/**
 * The ranges that a run takes from the image it was given; undefined where it has none, or the fabric has no converters.
 * Errors: IMAGE_RANGES (usage) for those of another chip.
 */
export function takenRanges(
  given: { readonly ranges?: ImageRanges | undefined } | undefined,
  fabric: Fabric,
): ImageRanges | undefined {
  if (!given?.ranges || !fabric.measuresRanges) return undefined;
  requireRangesFit(given.ranges.about, fabric);
  return given.ranges;
}

export const takenNotice = ({ about: { text } }: ImageRanges): string =>
  `converter ranges are those of the image (${text.tokens} tokens of ${text.name}); --range-text measures them anew`;

export interface RangeHooks {
  readonly onProgress?: ((share: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Windows of the calibration text on which ranges are measured. */
export function rangeWindows({ windows }: CalibrationText): Int32Array[] {
  const taken: Int32Array[] = [];
  let left = RANGE_TOKENS;
  for (const ids of windows) {
    if (left > 0) taken.push(ids.subarray(0, left));
    left -= ids.length;
  }
  return taken;
}

/**
 * Runs the calibration text on the nominal chip of a finished image without ranges, and puts the full scales into it:
 * `from` becomes `out`. What an interrupted call leaves is taken up by the next.
 */
export async function addRanges(
  model: Model,
  text: CalibrationText,
  { fabric, threads }: Pick<EngineNeeds, 'fabric' | 'threads'>,
  backend: BackendName,
  from: string,
  out: string,
  hooks: RangeHooks,
): Promise<void> {
  const windows = rangeWindows(text);
  const tokens = windows.reduce((sum, ids) => sum + ids.length, 0);
  const image = openImage(from);
  const { header } = image;
  const measure = async () => {
    const engine = await createEngine(backend, {
      ...{ model, fabric, threads, mode: 'range', image, signal: hooks.signal },
      contextTokens: Math.max(...windows.map((ids) => ids.length)),
    });
    try {
      let done = 0;
      for (const [window, ids] of windows.entries()) {
        await engine.prefill(ids, window);
        done += ids.length;
        hooks.onProgress?.(done / tokens);
      }
      return engine.ranges();
    } finally {
      await engine.close();
    }
  };
  const table = await measure().finally(() => image.close());
  if (hooks.signal?.aborted) throw interrupted();
  renameSync(from, `${out}.part`);
  const writer = createImage(out, header);
  const ids = windows.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  writer.writeRanges(
    {
      fabric: fabric.kind,
      conditions: rangeConditions(fabric),
      text: { name: text.file, sha256: sha256(...ids), tokens },
    },
    table,
  );
  writer.finish();
}

/** Where the image of `out` lies until its ranges are measured. What an interrupted call left becomes the part to go on with. */
export function unmeasuredPath(out: string): string {
  const path = `${out}.unmeasured`;
  for (const left of [`${out}.part`, path]) if (existsSync(left)) renameSync(left, `${path}.part`);
  return path;
}
