/** experiments/synth/weight-statistics.yaml: how the made-up weights are distributed. */
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import { readTextFile, reasonOf, requireDataFile, sha256 } from '../files.ts';
import { provenanceShape } from '../provenance.ts';

const matrix = z.strictObject({
  /** Exponent of the generalised normal law: 2 Gaussian, 1 Laplace. The quantile table holds within these bounds. */
  shape: z.number().min(0.8).max(4),
  /** Standard deviation in matrices of fanIn inputs. */
  sigma: z.number().positive().max(1e3),
  fanIn: z.int().positive(),
  ...provenanceShape,
});

const schema = z.strictObject({
  schema: z.literal('onefet.weight-statistics/1'),
  description: z.string(),
  tensors: z.strictObject({
    attn_q: matrix,
    attn_k: matrix,
    attn_v: matrix,
    attn_output: matrix,
    ffn_gate: matrix,
    ffn_up: matrix,
    ffn_down: matrix,
    token_embd: matrix,
    output: matrix,
  }),
  norms: z.strictObject({
    gain: z.number().positive().max(1e3),
    /** Standard deviation of the gains. */
    sigma: z.number().min(0).max(1e3),
    ...provenanceShape,
  }),
  outliers: z.strictObject({
    channelsPer4096: z.number().min(0).max(4096),
    factor: z.number().min(1).max(1e4),
    ...provenanceShape,
  }),
});

export type MatrixKind = keyof z.infer<typeof schema>['tensors'];
export type WeightStatistics = z.infer<typeof schema> & {
  /** Of the file's text: it is part of what a synthetic model depends on. */
  readonly sha256: string;
};

/** The working folder's file before the package's; errors are OnefetError('input', 'SYNTH_STATISTICS'). */
export function loadWeightStatistics(): WeightStatistics {
  const path = requireDataFile('experiments/synth/weight-statistics.yaml', 'weight statistics');
  const text = readTextFile(path, 'weight statistics');
  let data: unknown;
  try {
    const document = parseDocument(text);
    if (document.errors.length > 0) throw document.errors[0];
    data = document.toJS({ maxAliasCount: 20 });
  } catch (cause) {
    throw new OnefetError('input', 'SYNTH_STATISTICS', `${path}: ${reasonOf(cause)}`, { cause });
  }
  const result = schema.safeParse(data);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = issue.path.join('.') || 'top level';
    throw new OnefetError('input', 'SYNTH_STATISTICS', `${path}: ${where}: ${issue.message}`);
  }
  return { ...result.data, sha256: sha256(text) };
}
