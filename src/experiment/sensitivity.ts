/** Sensitivities for the choice of bits: experiments/sensitivity.yaml, the working folder before the package. */
import { z } from 'zod';
import { parseDataFile } from '../cost/constants.ts';
import { readTextFile, requireDataFile } from '../files.ts';
import type { Sensitivity } from '../mapping/mixed-bits.ts';
import { STAGES, type Stage } from '../model/architecture.ts';
import { bandedValue } from '../provenance.ts';

const positive = bandedValue(z.number().positive());

const sensitivitySchema = z.strictObject({
  klPerError: z.record(z.enum(STAGES), positive),
  errorOver4Bits: z.strictObject({ 3: positive, 6: positive }),
});

/** Errors: those of a data file. */
export function loadSensitivity(): Sensitivity {
  const file = requireDataFile('experiments/sensitivity.yaml', 'sensitivities');
  const text = readTextFile(file, 'sensitivities');
  const { klPerError, errorOver4Bits } = parseDataFile(text, file, sensitivitySchema, 'SENSITIVITY');
  const likely = Object.fromEntries(STAGES.map((stage) => [stage, klPerError[stage].value]));
  return {
    klPerError: likely as Record<Stage, number>,
    errorOver4Bits: { 3: errorOver4Bits[3].value, 4: 1, 6: errorOver4Bits[6].value },
  };
}
