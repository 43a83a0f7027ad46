/** Calibrates cells with a gate of their own, each size once: what was made is kept by content (src/cell/sized-calibration.ts). */
import type { Calibration } from '../cell/calibration.ts';
import { findSized, isMissing, type SizedCell } from '../cell/sized-calibration.ts';
import { writeFileAtomic } from '../files.ts';
import { encodeResult } from '../sources.ts';
import { type CalibrateOptions, calibrate } from './calibrate.ts';

export type CalibrateSizedOptions = Omit<CalibrateOptions, 'process' | 'cell' | 'changes'>;

/** Reads the calibration of a sized cell, or makes and keeps it. Errors: those of loadCalibration and calibrate. */
export async function calibrateSized(
  sized: SizedCell,
  options: CalibrateSizedOptions = {},
): Promise<Calibration> {
  const found = findSized(sized);
  if (!isMissing(found)) return found;
  const { process, cell } = sized;
  const { changes, path } = found;
  const calibration = await calibrate({ ...options, process, cell, changes });
  writeFileAtomic(path, encodeResult(calibration, `calibration ${path}`));
  return calibration;
}
