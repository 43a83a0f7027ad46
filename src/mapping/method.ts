/**
 * `mapping: { method: auto }`: the method that suits a design, chosen by the predicted output error of the whole chip
 * (predict.ts) on a few probed blocks, without a forward pass.
 *
 * Three choices are made, each over all that it touches:
 *   stream   inputs of attention and feed-forward: centred; with loudness scales; with the residual stream rotated
 *   heads    inputs of attention-output: centred; with the heads rotated
 *   hidden   inputs of the feed-forward's second matrix: centred; rotated online
 * Score: the mean over the probed matrices of the relative error, each weighed by what an error of its stage costs the model
 * (mixed-bits.ts). Rotation makes coding, input and converter errors
 * smaller and mismatch larger, so it wins on a chip of well-matched cells and loses on one of small ones (break-even near
 * sigma(ln I) = 0.1 on SmolLM2-135M).
 */

import type { LinearName } from '../fabric/linear.ts';
import type { Stage } from '../model/architecture.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { LOUDNESS_EXPONENT } from './fold.ts';
import { GPTQ_PLUS, ROUND } from './map-matrix.ts';
import { workspaceLimits } from './map-model.ts';
import type { Sensitivity } from './mixed-bits.ts';
import { momentsFactor } from './moments-factor.ts';
import { newWorkspace, type Workspace } from './numerics/workspace.ts';
import { allowedRotations, allowsLoudness, type MappingMethod } from './plan.ts';
import { type ChipErrors, type PredictedError, predictError } from './predict.ts';
import { type MappingSource, runStageJob, stageJob } from './stage-job.ts';

const NO_ROTATION = { residual: false, heads: false, hidden: false };

/** Methods by name; `auto` is chosen among variants of `centred`. */
export const METHODS = {
  /** Rounding with an unweighted search of clipping: what the project did first, for comparison. */
  round: {
    name: 'round',
    centre: false,
    loudness: 0,
    rotate: NO_ROTATION,
    principal: 0,
    coding: ROUND,
    seed: 1,
  },
  centred: {
    name: 'centred',
    centre: true,
    loudness: 0,
    rotate: NO_ROTATION,
    principal: 0,
    coding: GPTQ_PLUS,
    seed: 1,
  },
  scaled: {
    name: 'scaled',
    centre: true,
    loudness: LOUDNESS_EXPONENT,
    rotate: NO_ROTATION,
    principal: 0,
    coding: GPTQ_PLUS,
    seed: 1,
  },
  rotated: {
    name: 'rotated',
    centre: true,
    loudness: 0,
    rotate: { residual: true, heads: true, hidden: true },
    principal: 0,
    coding: GPTQ_PLUS,
    seed: 1,
  },
} as const satisfies Record<string, MappingMethod>;

export interface MethodTrial {
  readonly choice: 'stream' | 'heads' | 'hidden';
  readonly variant: string;
  /** Weighed means over the probed matrices. */
  readonly error: PredictedError;
  readonly chosen: boolean;
}

export interface ChosenMethod {
  readonly method: MappingMethod;
  readonly trials: readonly MethodTrial[];
  /** One sentence per choice. */
  readonly reasons: readonly string[];
}

interface Choice {
  readonly choice: MethodTrial['choice'];
  readonly stages: readonly Stage[];
  readonly variants: readonly { readonly name: string; readonly method: MappingMethod }[];
}

function choicesOf(allowed: MappingMethod['rotate'], loudness: boolean, base: MappingMethod): Choice[] {
  const rotate = (part: keyof MappingMethod['rotate'], name: string) =>
    allowed[part] ? [{ name, method: { ...base, rotate: { ...NO_ROTATION, [part]: true } } }] : [];
  const plain = { name: 'centred', method: base };
  return [
    {
      choice: 'stream',
      stages: ['attention-input', 'feed-forward-input'],
      variants: [
        plain,
        ...(loudness ? [{ name: 'scaled', method: { ...base, loudness: LOUDNESS_EXPONENT } }] : []),
        ...rotate('residual', 'rotated'),
      ],
    },
    { choice: 'heads', stages: ['attention-output'], variants: [plain, ...rotate('heads', 'rotated')] },
    {
      choice: 'hidden',
      stages: ['feed-forward-hidden'],
      variants: [plain, ...rotate('hidden', 'rotated online')],
    },
  ];
}

/** A third, the middle and two thirds of the way: first and last blocks are unlike the others. */
export function probedBlocks(layers: number): number[] {
  const blocks = [1 / 3, 1 / 2, 2 / 3].map((share) => Math.min(layers - 1, Math.floor(share * layers)));
  return [...new Set(blocks)];
}

/** Tries the variants on probed blocks; `principal` is the rank that the design affords, 0 for none. */
export async function chooseMethod(
  source: MappingSource,
  chip: ChipErrors,
  options: {
    readonly tileRows: number;
    readonly principal: number;
    /** Rank of the side path that the design affords; a correction of single chips takes its place. */
    readonly side?: number;
    bits(name: LinearName): WeightBits;
    readonly klPerError: Sensitivity['klPerError'];
    readonly blocks?: readonly number[];
  },
): Promise<ChosenMethod> {
  const { shape } = source;
  // A sweep of descent improves all variants alike: probes do without.
  const base: MappingMethod = {
    ...METHODS.centred,
    principal: options.principal,
    coding: { ...GPTQ_PLUS, sweeps: 0, rank: chip.correctionRank ?? options.side ?? 0 },
  };
  const workspace = await newWorkspace(workspaceLimits(shape, options.tileRows));
  const blocks = options.blocks ?? probedBlocks(shape.layers);
  const trials: MethodTrial[] = [];
  let method: MappingMethod = { ...base, name: 'auto', coding: GPTQ_PLUS };
  const reasons: string[] = [];
  for (const { choice, stages, variants } of choicesOf(
    allowedRotations(shape),
    allowsLoudness(shape),
    base,
  )) {
    const errors: PredictedError[] = [];
    for (const variant of variants) {
      const found: WeighedError[] = [];
      for (const layer of blocks) {
        for (const stage of stages) {
          const own = await probe(workspace, source, chip, variant.method, layer, stage, options.bits);
          found.push(...own.map((error) => ({ error, weight: options.klPerError[stage] })));
        }
      }
      errors.push(meanError(found));
    }
    const best = errors.reduce((at, error, i) => (error.total < errors[at].total ? i : at), 0);
    variants.forEach((variant, i) => {
      trials.push({ choice, variant: variant.name, error: errors[i], chosen: i === best });
    });
    const { loudness, rotate } = variants[best].method;
    method = {
      ...method,
      loudness: loudness || method.loudness,
      rotate: {
        residual: method.rotate.residual || rotate.residual,
        heads: method.rotate.heads || rotate.heads,
        hidden: method.rotate.hidden || rotate.hidden,
      },
    };
    reasons.push(reasonFor(choice, variants, errors, best));
  }
  return { method, trials, reasons };
}

/** Predicted errors of the matrices that read at a stage. */
async function probe(
  workspace: Workspace,
  source: MappingSource,
  chip: ChipErrors,
  method: MappingMethod,
  layer: number,
  stage: Stage,
  bits: (name: LinearName) => WeightBits,
): Promise<PredictedError[]> {
  const { input, coded } = runStageJob(workspace, await stageJob(source, method, layer, stage, bits));
  const rank = Math.min(chip.correctionRank ?? 0, input.statistics.inputs);
  if (rank === 0) return coded.map(({ mapped, report }) => predictError(input, mapped, report, chip));
  const left = momentsFactor(workspace, input.moments, rank).subarray(rank * input.statistics.inputs);
  return coded.map(({ mapped, report }) => predictError(input, mapped, report, chip, left));
}

interface WeighedError {
  readonly error: PredictedError;
  readonly weight: number;
}

function meanError(errors: readonly WeighedError[]): PredictedError {
  const total = errors.reduce((sum, { weight }) => sum + weight, 0);
  const mean = (part: keyof PredictedError): number =>
    errors.reduce((sum, { error, weight }) => sum + weight * error[part], 0) / total;
  return {
    coding: mean('coding'),
    input: mean('input'),
    mismatch: mean('mismatch'),
    converter: mean('converter'),
    total: mean('total'),
  };
}

function reasonFor(
  choice: string,
  variants: readonly { readonly name: string }[],
  errors: readonly PredictedError[],
  best: number,
): string {
  const percent = (x: number): string => `${(100 * x).toPrecision(3)} %`;
  const said = variants.map(({ name }, i) => {
    const { coding, input, mismatch, converter, total } = errors[i];
    return `${name} ${percent(total)} (coding ${percent(coding)}, input ${percent(input)}, mismatch ${percent(mismatch)}, converter ${percent(converter)})`;
  });
  const [first] = said.splice(best, 1);
  return `${choice}: ${first}${said.length > 0 ? `, against ${said.join(', ')}` : ''}`;
}
