/** The plan of an engine with given options, before it is built. */

import type { Fabric } from '../../../fabric/fabric.ts';
import { matricesReading, STAGES } from '../../../model/architecture.ts';
import type { ModelShape } from '../../../model/shape.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import { type EngineMode, type EngineNeeds, int8Terms } from '../../backend.ts';
import { type CellFormat, cellFormat } from '../../cell-format.ts';
import { usedImage } from '../../image.ts';
import { integerResponse, integerResponses } from '../../integer-response.ts';
import { INPUT_TOP } from '../../integers.ts';
import type { Precision } from '../../names.ts';
import { layerCodec } from '../source.ts';
import type { LayoutChoice } from './layout.ts';
import { type Operation, sameInputs } from './operations.ts';
import { planOperations } from './plan-operations.ts';

const DEFAULT_BATCH = 252;
/** Of chips whose cells are made for every batch: half as often. */
const CELLS_BATCH = 504;

export interface EnginePlan {
  /** Of modes with analog tiles. */
  readonly physics: TilePhysics | undefined;
  readonly operations: readonly Operation[];
  readonly layout: LayoutChoice;
}

/** A request that the capabilities admit (backend.ts). */
export function planEngine(needs: EngineNeeds): EnginePlan {
  const { model, fabric, mode, contextTokens, threads, tuning = {} } = needs;
  const { refined = false } = tuning;
  const { shape } = model;
  const { design } = fabric;
  const physics = analogPhysics(mode, fabric);
  // Full scales are the design's and not of how its chips are computed.
  const precision = mode === 'range' ? 'exact' : (tuning.precision ?? defaultPrecision(physics));
  const varied = mode === 'chip' && physics !== undefined && variesByCell(physics);
  // From the drawn current KL of ten chips differs by 0.00002 +- 0.0002 of 0.045 nats (paired), and costs a second product.
  const noise = mode === 'chip' && physics && isNoisy(physics) ? (tuning.noise ?? 'column') : 'off';
  const ranks = new Map<number, number>();
  const operations = planOperations(shape, {
    mode,
    fabric,
    precision,
    refined,
    int8Terms: tuning.int8Terms ?? (refined ? 2 : int8Terms(shape)),
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
  const usual = operations.some(({ source }) => source === 'cells') ? CELLS_BATCH : DEFAULT_BATCH;
  const texts = needs.texts ?? 1;
  const tokens = Math.max(texts, Math.min(tuning.batchTokens ?? usual, contextTokens));
  return {
    physics,
    operations,
    layout: {
      shape,
      operations,
      integerResponses: coding,
      cellFormats: formats,
      ladderColumns: physics?.design.ladder.columns ?? 0,
      // Without full scales there is nothing to trim against: real-valued converters may have none.
      trimVectors: mode === 'chip' ? (physics?.design.adc.trimVectors ?? 0) : 0,
      contextTokens,
      texts,
      tokens,
      headTokens: Math.min(tokens, 64),
      threads,
      residual: usedImage(needs)?.header.residual ?? undefined,
      cache: design.kvBits === 8 ? 'i8' : refined ? 'f32' : 'f16',
      ownInputs: noisyRows || hasMixedGroups(shape, operations),
    },
  };
}

/** Of modes with analog tiles. */
export const analogPhysics = (mode: EngineMode, fabric: Fabric): TilePhysics | undefined =>
  mode === 'chip' || mode === 'range' ? fabric.physics : undefined;

/** Sigma of ln of a cell's current up to which `fast` is taken: the default cell's 0.12 was compared, a small one's 0.49 was not. */
const FAST_SPREAD = 0.25;

/**
 * `fast` where what it leaves out is below what it keeps: a DAC of at most 6 bits and a sign fits its inputs, the noise of a
 * row is below their rounding, and cells do not spread so far that few units are left for a median one. On ten chips of the
 * default design and the embedded model KL is higher by 0.0015 +- 0.0019 of 0.118 nats than with `exact`.
 */
export function defaultPrecision(physics: TilePhysics | undefined): Precision {
  if (!physics) return 'exact';
  const { input, rowSlopePerV, design, gmOverIPerV, sigmaVtV, sigmaBeta } = physics;
  const rounding = 1 / (INPUT_TOP[1] * Math.sqrt(12));
  const fits =
    !input.float &&
    input.magnitudes.length - 1 <= INPUT_TOP[1] &&
    rowSlopePerV * design.driver.noiseV <= rounding &&
    Math.hypot(gmOverIPerV * sigmaVtV, sigmaBeta) <= FAST_SPREAD;
  return fits ? 'fast' : 'exact';
}

const planeCount = (precision: Precision): 1 | 2 => (precision === 'fast' ? 1 : 2);

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
