/** Published compute-in-memory macros: experiments/macros.yaml, the working folder before the package. */
import { z } from 'zod';
import { parseDataFile } from '../cost/constants.ts';
import { readTextFile, requireDataFile } from '../files.ts';
import { provenanceShape } from '../provenance.ts';

const positive = z.number().positive();

const macroSchema = z.strictObject({
  name: z.string(),
  ...provenanceShape,
  nodeNm: positive,
  /** Inputs that a column adds up, and columns, each with a converter of its own. */
  rows: positive,
  columns: positive,
  enobBits: positive,
  /** Supply, V, of the parts' energies. */
  at: positive,
  /** The parts are shares of the efficiency there, and say nothing of it. */
  partsAreShares: z.boolean().default(false),
  /** Energy of each part for one column and one conversion, J; `macs`: it is in the published efficiency. */
  partsJ: z.record(
    z.string(),
    z.strictObject({ value: positive, law: z.enum(['CV2', 'V2t']), macs: z.boolean() }),
  ),
  /** Of all converters, and of what the published density counts. */
  areaMm2: z.strictObject({ converters: positive, macs: positive }),
  /** R-2R ladders of one input. */
  dac: z
    .strictObject({ bits: z.int().positive(), unitOhm: positive, ladders: positive, supplyShare: positive })
    .optional(),
  points: z.array(
    z.strictObject({
      supplyV: positive,
      /** null: not known. */
      cycleS: positive.nullable(),
      /** The cycle was fitted to the rate, and says nothing of it. */
      fitted: z.boolean().default(false),
      tops: positive,
      topsPerW: positive,
      topsPerMm2: positive.optional(),
      /** Parts that are published at this supply too. */
      partsJ: z.record(z.string(), positive),
    }),
  ),
  explanations: z.record(z.string(), z.string()),
});

export type Macro = z.infer<typeof macroSchema>;

const macrosSchema = z.strictObject({ schema: z.literal('onefet.macros/1'), macros: z.array(macroSchema) });

/** Errors: MACROS (input). */
export function loadMacros(): Macro[] {
  const file = requireDataFile('experiments/macros.yaml', 'macros');
  return parseDataFile(readTextFile(file, 'macros'), file, macrosSchema, 'MACROS').macros;
}
