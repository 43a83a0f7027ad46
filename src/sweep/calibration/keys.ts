/** Keys that a calibration experiment may set and vary. */
import { z } from 'zod';
import { CORNERS } from '../../cell/technology.ts';

const metres = z.number().min(1e-9).max(1e-3);

export const CALIBRATION_KEYS = {
  /** A folder below spice/: processes and variants of a PDK. */
  process: z.string().min(1),
  cell: z.string().min(1),
  widthM: metres,
  lengthM: metres,
  vdsV: z.number().positive(),
  fullScaleA: z.number().min(1e-12).max(1e-3),
  supplyV: z.number().positive(),
  /** Where the fitted cell is evaluated: one calibration has every corner and temperature. */
  corner: z.enum(CORNERS),
  tempK: z.number().positive(),
} as const satisfies Readonly<Record<string, z.ZodType>>;
