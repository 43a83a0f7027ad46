/**
 * The measured surface of accuracy: designs that ran, by every key that decides their results, and the look-up of one in it.
 * Nothing is interpolated: a design was measured, or it was not and its nearest neighbour is named.
 */
import { gateChanges } from '../cell/sized-calibration.ts';
import type { CommonDesign } from '../fabric/common-design.ts';
import { calibratedCell } from '../fabric/registry.ts';

/** Values by key with dots, as in `adc.bits`. */
export type FlatDesign = Readonly<Record<string, string | number | boolean | null>>;

/** A design whose accuracy was measured. */
export interface AccuracyPoint {
  readonly design: FlatDesign;
  /** Nats a prediction to the digital model; the interval is null where there was one chip and one window. */
  readonly kl: number;
  readonly ci95: readonly [number, number] | null;
  /** What the interval is over. */
  readonly covers: string;
  /** Perplexity over that of the digital model. */
  readonly perplexityRatio: number;
  readonly model: string;
  readonly predictions: number;
  readonly chips: number;
  /** Where it can be found. */
  readonly source: string;
}

export interface Difference {
  readonly key: string;
  readonly asked: string;
  readonly measured: string;
}

/** `differences` is empty where this very design was measured. */
export interface FoundAccuracy {
  readonly point: AccuracyPoint;
  readonly differences: readonly Difference[];
}

/** Names, sources and money. */
const LEFT_OUT = new Set(['name', 'description', 'sources', 'costs']);

/** Every key that decides what a chip computes; a gate that is the cell's own has no numbers. */
export function flatDesign(design: CommonDesign): FlatDesign {
  const flat: Record<string, string | number | boolean | null> = {};
  const walk = (value: unknown, path: string): void => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) {
        if (path !== '' || !LEFT_OUT.has(key)) walk(inner, path === '' ? key : `${path}.${key}`);
      }
    } else {
      flat[path] = Array.isArray(value) ? JSON.stringify(value) : (value as string | number | boolean | null);
    }
  };
  walk(design, '');
  const cell = calibratedCell(design);
  if (cell?.gate !== undefined && gateChanges(cell) === undefined) {
    flat['gate.widthM'] = 'cell';
    flat['gate.lengthM'] = 'cell';
  }
  return flat;
}

/** Keys in which two designs differ, in the order of the first. */
export function differencesOf(asked: FlatDesign, measured: FlatDesign): Difference[] {
  const text = (value: FlatDesign[string] | undefined) => (value === undefined ? 'absent' : String(value));
  return [...new Set([...Object.keys(asked), ...Object.keys(measured)])]
    .filter((key) => asked[key] !== measured[key])
    .map((key) => ({ key, asked: text(asked[key]), measured: text(measured[key]) }));
}

/**
 * The measured point that is nearest: of the same fabric, on the model asked for, with the fewest keys that differ; of equals the
 * one with more predictions, then the one that comes first.
 */
export function findAccuracy(
  asked: FlatDesign,
  points: readonly AccuracyPoint[],
  model: string,
): FoundAccuracy | undefined {
  let best: FoundAccuracy | undefined;
  for (const point of points) {
    if (point.model !== model || point.design.fabric !== asked.fabric) continue;
    const differences = differencesOf(asked, point.design);
    const fewer = best === undefined ? -1 : differences.length - best.differences.length;
    if (fewer < 0 || (fewer === 0 && point.predictions > best!.point.predictions))
      best = { point, differences };
  }
  return best;
}
