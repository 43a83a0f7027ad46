/**
 * Sensitivities for the choice of bits: by what a matrix reads, experiments/sensitivity.yaml, the working folder before the
 * package; or matrix by matrix of one model, a file of `onefet sensitivity`.
 */
import { z } from 'zod';
import { parseDataFile } from '../cost/constants.ts';
import { OnefetError } from '../error.ts';
import { tensorKey } from '../fabric/placement.ts';
import { displayPath, readTextFile, requireDataFile } from '../files.ts';
import type { MeasuredHarm, Sensitivity } from '../mapping/mixed-bits.ts';
import { STAGES, type Stage } from '../model/architecture.ts';
import type { Model } from '../model/model.ts';
import { blockMatrices } from '../model/shape.ts';
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

export const MEASURED_SCHEMA = 'onefet.sensitivity/1';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const measuredSchema = z.strictObject({
  schema: z.literal(MEASURED_SCHEMA),
  model: z.strictObject({ name: z.string().min(1), sha256: hash }),
  /** Whose codes were measured: name of the method, and bits of every matrix. */
  image: z.strictObject({ method: z.string().min(1), sha256: hash }),
  bits: z.union([z.literal(3), z.literal(4)]),
  text: z.strictObject({ name: z.string().min(1), sha256: hash, tokens: z.int().min(1) }),
  /** Those that were measured; what lies between them is on the line between theirs. */
  blocks: z.array(z.int().min(0)).min(1),
  /** Nats per prediction by tensor key. */
  kl: z.record(z.string(), z.number().min(0)),
});
export type MeasuredSensitivity = z.infer<typeof measuredSchema>;

/**
 * Reads what the matrices of a model were measured to cost. Errors: SENSITIVITY (input) for a file that is none, SENSITIVITY_MODEL
 * (usage) for one of another model.
 */
export function loadMeasured(name: string, model: Model): MeasuredHarm {
  const file = requireDataFile(name, 'measured sensitivities');
  const text = readTextFile(file, 'measured sensitivities');
  const measured = parseDataFile(text, file, measuredSchema, 'SENSITIVITY');
  const { shape } = model;
  const missing = Array.from({ length: shape.layers }, (_, layer) => blockMatrices(shape, layer))
    .flat()
    .map((matrix) => tensorKey(matrix.name))
    .filter((key) => measured.kl[key] === undefined);
  if (measured.model.sha256 !== model.sha256() || missing.length > 0) {
    const why =
      missing.length > 0
        ? `it has no ${missing[0]}`
        : `they are those of ${measured.model.name}, another file`;
    throw new OnefetError(
      'usage',
      'SENSITIVITY_MODEL',
      `the sensitivities in ${displayPath(file)} are not of this model: ${why}`,
      { hint: 'measure them with onefet sensitivity, or leave mapping.sensitivity out' },
    );
  }
  return measured;
}
