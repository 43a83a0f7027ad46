/**
 * Distance of a model from the points that it is compared with.
 */
import { z } from 'zod';

/** Deviation of ln I (about the relative error of I). */
export const residualSchema = z.strictObject({ points: z.int(), rms: z.number(), max: z.number() });

export type Residual = Readonly<z.infer<typeof residualSchema>>;
