/**
 * A circuit beside the cell (converter, selector, mask ROM, auto-zero) as it was measured:
 * calibration/<process>/<circuit>.json. Its keys call it a block.
 */
import { z } from 'zod';
import { loadResult } from '../../sources.ts';
import { calibrationPath } from '../calibration.ts';
import { autoZeroSchema } from './auto-zero.ts';
import { converterSchema } from './converter.ts';
import { romSchema } from './rom.ts';
import { selectorSchema } from './selector.ts';

export const circuitSchema = z.strictObject({
  schema: z.literal('onefet.block/1'),
  process: z.string(),
  block: z.string(),
  kind: z.enum(['converter', 'selector', 'rom', 'auto-zero']),
  engine: z.string(),
  /** Path below the working folder or the package -> SHA-256. */
  sources: z.record(z.string(), z.string()),
  parameters: z.record(z.string(), z.number()),
  /** The one of its kind. */
  converter: converterSchema.optional(),
  selector: selectorSchema.optional(),
  rom: romSchema.optional(),
  autoZero: autoZeroSchema.optional(),
});

export type CircuitCalibration = z.infer<typeof circuitSchema>;

/**
 * Finds calibration/<process>/<circuit>.json (working folder first) and refuses one whose netlists or models have changed.
 * Errors: FILE_MISSING, CIRCUIT_INVALID, CIRCUIT_STALE.
 */
export function loadCircuit(process: string, circuit: string): CircuitCalibration {
  return loadResult({
    relative: calibrationPath(process, circuit),
    kind: 'circuit',
    name: `${process}/${circuit}`,
    schema: circuitSchema,
    code: 'CIRCUIT',
    hint: `run: onefet calibrate --all --process ${process}`,
  });
}
