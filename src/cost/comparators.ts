/**
 * Other systems and published accuracies: experiments/comparators.yaml, the working folder before the package.
 */
import { z } from 'zod';
import { readTextFile, requireDataFile } from '../files.ts';
import { provenanceShape } from '../provenance.ts';
import { parseDataFile } from './constants.ts';

const provenance = { ...provenanceShape, note: z.string().optional() };

const comparatorsSchema = z.strictObject({
  /** Note on how to read the comparison with the chip that the question is about. */
  statement: z.string(),
  systems: z.array(
    z.strictObject({
      name: z.string(),
      model: z.string(),
      /** silicon: measured or reported of hardware that exists; modelled: from a paper's model. */
      kind: z.enum(['silicon', 'modelled']),
      conditions: z.string(),
      tokensPerSecond: z.number().positive().nullable(),
      /** The rate is of one user, or of all users together. */
      rate: z.enum(['per-user', 'aggregate']),
      /** Lowest and highest energy per token; `bound` says that it is an upper bound (rate at full rated power). */
      jPerToken: z.tuple([z.number().positive(), z.number().positive()]).nullable(),
      bound: z.boolean(),
      ...provenance,
    }),
  ),
  accuracy: z.array(
    z.strictObject({
      name: z.string(),
      model: z.string(),
      metric: z.string(),
      value: z.number(),
      ...provenance,
    }),
  ),
  /** Loss of perplexity for each unit of relative variance of the outputs of a linear layer. */
  law: z.strictObject({
    model: z.string(),
    low: z.number().positive(),
    value: z.number().positive(),
    high: z.number().positive(),
    /** Variances beyond this are an extrapolation. */
    largestVariance: z.number().positive(),
    ...provenance,
  }),
});

export type Comparators = z.infer<typeof comparatorsSchema>;

export function loadComparators(): Comparators {
  const file = requireDataFile('experiments/comparators.yaml', 'comparators');
  return parseDataFile(readTextFile(file, 'comparators'), file, comparatorsSchema, 'COMPARATORS');
}
