/** The plan of an engine with given options, before it is built. */

import { matricesReading, STAGES } from '../../../model/architecture.ts';
import type { ModelShape } from '../../../model/shape.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import { type EngineNeeds, int8Terms } from '../../backend.ts';
import { type CellFormat, cellFormat } from '../../cell-format.ts';
import { usedImage } from '../../image.ts';
import { integerResponse, integerResponses } from '../../integer-response.ts';
import { layerCodec } from '../source.ts';
import type { LayoutChoice } from './layout.ts';
import { type Operation, sameInputs } from './operations.ts';
import { planOperations } from './plan-operations.ts';

const DEFAULT_BATCH = 252;

export interface EnginePlan {
  /** Of modes with analog tiles. */
  readonly physics: TilePhysics | undefined;
  readonly operations: readonly Operation[];
  readonly layout: LayoutChoice;
}

/** A request that the capabilities admit (backend.ts). */
export function planEngine(needs: EngineNeeds): EnginePlan {
  const { model, fabric, mode, contextTokens, threads, tuning = {} } = needs;
  const { shape } = model;
  const { design } = fabric;
  const physics = mode === 'chip' || mode === 'range' ? fabric.physics : undefined;
  const precision = tuning.precision ?? 'exact';
  const varied = mode === 'chip' && physics !== undefined && variesByCell(physics);
  const noise = mode === 'chip' && physics && isNoisy(physics) ? (tuning.noise ?? 'product') : 'off';
  const ranks = new Map<number, number>();
  const operations = planOperations(shape, {
    mode,
    fabric,
    precision,
    int8Terms: tuning.int8Terms ?? int8Terms(shape),
    noise,
    floatConverter: physics?.adc.bits === 'float',
    varied,
    baked: tuning.cells === 'baked',
    image: needs.image,
    codec: (name) => layerCodec(model, name),
    rankOf(taps) {
      const known = ranks.get(taps) ?? integerResponse(physics!, taps, planeCount(precision), varied).rank;
      ranks.set(taps, known);
      return known;
    },
  });
  const taps = operations.filter((o) => o.kind === 'tile').map((o) => o.taps);
  const coding = physics ? integerResponses(physics, taps, planeCount(precision), varied) : new Map();
  const formats = new Map<number, CellFormat>();
  if (varied) {
    for (const [count, response] of coding) {
      formats.set(count, cellFormat(physics, count, response, planeCount(precision)));
    }
  }
  const noisyRows =
    mode === 'chip' && physics !== undefined && physics.design.driver.noiseV > 0 && precision === 'exact';
  const tokens = Math.max(1, Math.min(tuning.batchTokens ?? DEFAULT_BATCH, contextTokens));
  return {
    physics,
    operations,
    layout: {
      shape,
      operations,
      integerResponses: coding,
      cellFormats: formats,
      ladderColumns: physics?.design.ladder.columns ?? 0,
      contextTokens,
      tokens,
      headTokens: Math.min(tokens, 64),
      threads,
      residual: usedImage(needs)?.header.residual ?? undefined,
      cache: design.kvBits === 8 ? 'i8' : 'f16',
      ownInputs: noisyRows || hasMixedGroups(shape, operations),
    },
  };
}

const planeCount = (precision: 'fast' | 'exact'): 1 | 2 => (precision === 'fast' ? 1 : 2);

/** Static errors differ from cell to cell. */
function variesByCell({ sigmaVtV, sigmaBeta, rowOffsetSigmaV, design }: TilePhysics): boolean {
  return sigmaVtV + sigmaBeta + rowOffsetSigmaV + design.driver.resistorSigma > 0;
}

function isNoisy(physics: TilePhysics): boolean {
  const { whiteVariance, clampVariance, samplingVariance, lineVariance, lowFrequencyVariance } = physics;
  return whiteVariance + clampVariance + samplingVariance + lineVariance + lowFrequencyVariance > 0;
}

/** Does an operation encode the inputs that it shares with others differently from them? */
function hasMixedGroups({ architecture }: ModelShape, operations: readonly Operation[]): boolean {
  return STAGES.map((stage) => matricesReading(architecture, stage)).some(([first, ...others]) =>
    others.some((i) => !sameInputs(operations[first], operations[i])),
  );
}
