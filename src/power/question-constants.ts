/** Constants of the standing questions: experiments/questions.yaml, the working folder before the package. */
import { z } from 'zod';
import { parseDataFile } from '../cost/constants.ts';
import { readTextFile, requireDataFile } from '../files.ts';
import { bandedValue } from '../provenance.ts';

const positive = bandedValue(z.number().positive());

const questionSchema = z.strictObject({
  wiring: z.strictObject({
    pitchM: positive,
    metalLayers: positive,
    signalShare: bandedValue(z.number().positive().max(1)),
    romTracks: positive,
    adderTracks: positive,
  }),
  stick: z.strictObject({
    supplyW: positive,
    /** From the die to the air. */
    thermalKPerW: positive,
    ambientK: positive,
    surfaceLimitK: positive,
    contextTokens: bandedValue(z.int().positive()),
  }),
});

export type QuestionConstants = z.infer<typeof questionSchema>;

/** Errors: QUESTION_CONSTANTS (input). */
export function loadQuestionConstants(): QuestionConstants {
  const file = requireDataFile('experiments/questions.yaml', 'constants of questions');
  return parseDataFile(
    readTextFile(file, 'constants of questions'),
    file,
    questionSchema,
    'QUESTION_CONSTANTS',
  );
}
