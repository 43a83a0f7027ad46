/** What an engine with given options will do and hold, before it is built. */

import { availableParallelism } from 'node:os';
import { OnefetError } from '../../../error.ts';
import { readersOf, STAGES } from '../../../model/architecture.ts';
import { blockWeights, type Feature, type ModelShape, missingFeatures } from '../../../model/shape.ts';
import { type TilePhysics, tilePhysics } from '../../../tile/physics.ts';
import { codingsOf, requireSupported } from '../../chip-coding.ts';
import type { EngineOptions, EngineSource } from '../engine.ts';
import { estimateMemory, type LayoutChoice, type MemoryEstimate } from './layout.ts';
import {
  isAnalogMode,
  type Operation,
  type OperationChoice,
  planOperations,
  sameInputs,
} from './operations.ts';

const DEFAULT_BATCH = 252;
/** Above this many weights a second byte per digital weight is not taken by default. */
const TWO_TERMS_WEIGHTS = 2 ** 28;

/** What the forward pass of run/forward.ts can do beyond a plain Llama. */
export const WASM_FEATURES: readonly Feature[] = [];

export interface Plan {
  readonly physics: TilePhysics | undefined;
  readonly operations: Operation[];
  readonly choice: LayoutChoice;
  readonly varied: boolean;
  readonly noise: OperationChoice['noise'];
  readonly precision: 'fast' | 'exact';
}

export type PlanOptions = Omit<EngineOptions, 'model'>;

export function planEngine(
  shape: ModelShape,
  options: PlanOptions,
  codecOf: EngineSource['codecOf'] = () => undefined,
): Plan {
  const { design, mode, calibration, contextTokens } = options;
  const precision = options.precision ?? 'exact';
  const missing = missingFeatures(shape, WASM_FEATURES);
  if (missing !== undefined) {
    throw new OnefetError('usage', 'ENGINE_MODEL', `${missing}: the fast engine cannot compute them`, {
      hint: 'use the scalar kernel',
    });
  }
  if (shape.headDim % 16 !== 0) {
    throw new OnefetError(
      'usage',
      'ENGINE_MODEL',
      `heads of ${shape.headDim} elements: the fast engine needs multiples of 16`,
      {
        hint: 'use the scalar kernel',
      },
    );
  }
  if (!Number.isInteger(contextTokens) || contextTokens < 1 || contextTokens > shape.contextTokens) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a context of ${contextTokens} tokens is impossible: the model takes 1 to ${shape.contextTokens}`,
    );
  }
  const physics = isAnalogMode(mode) ? tilePhysics(calibration, design) : undefined;
  if (physics) requireSupported(physics);
  if (physics?.input.float && precision === 'fast') {
    throw new OnefetError('usage', 'ENGINE_PRECISION', 'real-valued inputs need precision exact');
  }
  const chip = mode === 'chip';
  const varied =
    chip &&
    physics !== undefined &&
    physics.sigmaVtV + physics.sigmaBeta + design.driver.offsetSigmaV + design.driver.resistorSigma > 0;
  const dynamic =
    chip &&
    physics !== undefined &&
    physics.whiteVariance + physics.clampVariance + physics.samplingVariance + physics.lowFrequencyVariance >
      0;
  const noise = dynamic ? (options.noise ?? 'product') : 'off';
  const cache = new Map<number, number>();
  const operations = planOperations(shape, {
    mode,
    design,
    precision,
    int8Terms:
      options.int8Terms ?? (blockWeights(shape) + shape.dim * shape.vocab <= TWO_TERMS_WEIGHTS ? 2 : 1),
    noise,
    floatConverter: physics?.adc.bits === 'float',
    varied,
    codecOf,
    rankOf(taps) {
      let rank = cache.get(taps);
      if (rank === undefined) {
        rank = codingsOf(physics!, [taps], precision, varied).get(taps)!.rank;
        cache.set(taps, rank);
      }
      return rank;
    },
  });
  const taps = operations.filter((o) => o.kind === 'tile').map((o) => o.taps);
  const noisyRows = chip && physics !== undefined && design.driver.noiseV > 0 && precision === 'exact';
  const groups = STAGES.map((stage) => readersOf(shape.architecture, stage));
  const mixed = groups.some((group) => group.some((i) => !sameInputs(operations[group[0]], operations[i])));
  const tokens = Math.max(1, Math.min(options.batchTokens ?? DEFAULT_BATCH, contextTokens));
  return {
    physics,
    operations,
    varied,
    noise,
    precision,
    choice: {
      shape,
      operations,
      codings: physics ? codingsOf(physics, taps, precision, varied) : new Map(),
      contextTokens,
      tokens,
      headTokens: Math.min(tokens, 64),
      threads: options.threads ?? availableParallelism(),
      cache: design.kvBits === 8 ? 'i8' : 'f16',
      ownInputs: noisyRows || mixed,
    },
  };
}

/** What an engine with these options would take, without building it. */
export function estimateEngineMemory(shape: ModelShape, options: PlanOptions): MemoryEstimate {
  return estimateMemory(planEngine(shape, options).choice);
}
