/** The calibrated cell of a design, before a plan is made of it: a gate of its own is calibrated where it was not yet. */
import type { CalibrateSizedOptions } from '../calibrate/sized.ts';
import { findSized, gateChanges, isMissing } from '../cell/sized-calibration.ts';
import type { CommonDesign } from '../fabric/common-design.ts';
import { calibratedCell } from '../fabric/registry.ts';

/** A design whose gate is on file, or which has none, takes no time. Errors: those of loadCalibration and calibrate. */
export async function readyCell(
  design: CommonDesign,
  {
    signal,
    ...options
  }: Omit<CalibrateSizedOptions, 'signal'> & { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const sized = calibratedCell(design);
  if (sized === undefined || gateChanges(sized) === undefined || !isMissing(findSized(sized))) return;
  const { calibrateSized } = await import('../calibrate/sized.ts');
  await calibrateSized(sized, { ...options, ...(signal ? { signal } : {}) });
}
