/** Cells of the points of an experiment that have a gate of their own, calibrated before the points are planned. */

import { OnefetError } from '../../error.ts';
import { readyCell } from '../../experiment/ready-cell.ts';
import type { Experiment } from '../experiment.ts';
import { loadDesignOf, type Settings } from '../keys.ts';
import type { SweepHooks } from '../runner.ts';

/** Keys without which a point has its design's own gate. */
const GATE_KEYS = ['gate', 'gate.widthM', 'gate.lengthM', 'cell', 'process', 'design'];

/**
 * Calibrates the gates of all points that were not calibrated here yet. A point whose design or size cannot be is left to
 * the plan, which refuses it by name. Errors: SPICE_*, FIT_* (simulation); `interrupted` by the signal.
 */
export async function readyCells(
  { kind, base, points }: Experiment,
  threads: number,
  { signal, onProgress }: Pick<SweepHooks, 'signal' | 'onProgress'>,
): Promise<void> {
  if (kind !== 'accuracy') return;
  const distinct = new Map<string, Settings>();
  for (const point of points) {
    const all = { ...base, ...point };
    distinct.set(JSON.stringify(GATE_KEYS.map((key) => all[key] ?? null)), all);
  }
  for (const all of distinct.values()) {
    try {
      await readyCell(loadDesignOf(all).design, {
        ...{ threads, signal },
        onProgress: ({ done, total, label }) =>
          onProgress?.(done, total, `SPICE calibration: ${label}`, undefined),
      });
    } catch (error) {
      // What is wrong with names and values the plan says for each point.
      if (!(error instanceof OnefetError) || (error.kind !== 'usage' && error.kind !== 'input')) throw error;
    }
  }
}
