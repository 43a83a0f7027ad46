/**
 * Energy per token, area, latency and throughput of a model on a chip of one design.
 *
 * Energy and latency are of one user; the aggregate rate is that of a full pipeline, the smallest of four limits.
 * Extra users' caches fill what is left of the last die.
 */
import { OnefetError } from '../error.ts';
import type { Activity, TileActivity } from '../fabric/activity.ts';
import { formatSi, plain } from '../format.ts';
import { areaLines, cellArea, diesOf, kvBytes, sramMm2 } from './area.ts';
import { census } from './census.ts';
import type { CostConstants } from './constants.ts';
import { energyOf, referenceLines } from './energy.ts';
import { latencyOf } from './latency.ts';
import { sumOf } from './lines.ts';
import { type CostDesign, checkDesign } from './priced-design.ts';
import type { CostReport } from './report.ts';
import { sensitivityOf } from './sensitivity.ts';
import type { CostShape } from './shape.ts';
import { macPerToken } from './shape.ts';

export type { CostDesign } from './priced-design.ts';

export function costOf(
  activity: Activity<TileActivity>,
  shape: CostShape,
  design: CostDesign,
  constants: CostConstants,
  options: { contextTokens: number },
): CostReport {
  const { contextTokens } = options;
  if (!Number.isInteger(contextTokens) || contextTokens < 1) {
    throw new OnefetError(
      'usage',
      'COST_CONTEXT',
      `cost: context of ${contextTokens} tokens, it must be 1 or more`,
    );
  }
  checkDesign(design);
  const evaluate = (changed: CostConstants) => costWith(activity, shape, design, changed, contextTokens);
  const report = evaluate(constants);
  checkClamps(activity, design);
  return { ...report, sensitivity: sensitivityOf(constants, report.perTokenJ, evaluate) };
}

function costWith(
  activity: Activity<TileActivity>,
  shape: CostShape,
  design: CostDesign,
  constants: CostConstants,
  contextTokens: number,
): Omit<CostReport, 'sensitivity'> {
  const counts = census(activity, design);
  if (counts.hasHead !== (design.headFabric === 'analog')) {
    throw new OnefetError(
      'input',
      'COST_HEAD',
      `cost: the design has ${design.headFabric} heads but the activity ${counts.hasHead ? 'contains' : 'lacks'} the head`,
    );
  }
  const area = areaLines(counts, shape, design, constants, contextTokens);
  const areaMm2 = sumOf(area);
  const dies = diesOf(areaMm2, constants);
  const latency = latencyOf(shape, design, constants, contextTokens, areaMm2, dies);
  const tokenTimeS = sumOf(latency.lines);
  const energy = energyOf(counts, shape, design, constants, contextTokens, area, tokenTimeS, dies);
  const perTokenJ = sumOf(energy.lines);
  const dynamicJ = perTokenJ - energy.staticPowerW * tokenTimeS;

  const reticleMm2 = constants.layout.reticleMm2.value;
  const userMm2 = sramMm2(kvBytes(shape, design.kvBits, contextTokens), constants);
  const overhead = 1 + constants.layout.overheadShare.value;
  const extraUsers = Math.floor((dies * reticleMm2 - areaMm2) / (userMm2 * overhead));
  const usersHeld = 1 + extraUsers;
  const stageS = Math.max(latency.stepS, latency.headS);
  const limitW = dies * constants.power.limitWPerDie.value;
  const limits = [
    {
      name: 'latency of a pipeline stage',
      tokensPerSecond: 1 / stageS,
      formula: `1 / max(analog step ${formatSi(latency.stepS, 's')}, head ${formatSi(latency.headS, 's')})`,
    },
    {
      name: 'KV capacity',
      tokensPerSecond: usersHeld / tokenTimeS,
      formula: `${usersHeld} users whose cache fits on ${dies} dies / ${formatSi(tokenTimeS, 's')}`,
    },
    {
      name: 'KV bandwidth',
      tokensPerSecond: 1 / latency.kvReadPerLayerS,
      formula: `one attention unit per layer: 1 / ${formatSi(latency.kvReadPerLayerS, 's')} to read a layer's cache`,
    },
    {
      name: 'power',
      tokensPerSecond: Math.max(0, limitW - energy.staticPowerW) / dynamicJ,
      formula: `(${dies} dies x ${constants.power.limitWPerDie.value} W - ${plain(energy.staticPowerW)} W static) / ${formatSi(dynamicJ, 'J')}`,
    },
  ].sort((a, b) => a.tokensPerSecond - b.tokensPerSecond);
  const tokensPerSecondAggregate = limits[0].tokensPerSecond;
  const perTokenAggregateJ =
    dynamicJ + (tokensPerSecondAggregate > 0 ? energy.staticPowerW / tokensPerSecondAggregate : 0);
  return {
    shape: { name: shape.name, layers: shape.layers, macPerToken: macPerToken(shape) },
    contextTokens,
    energyJ: energy.lines,
    perTokenJ,
    areaLinesMm2: area,
    areaMm2,
    dies,
    latencyS: latency.lines,
    tokenTimeS,
    tokensPerSecondPerUser: 1 / tokenTimeS,
    binding: limits[0].name,
    tokensPerSecondAggregate,
    powerW: energy.staticPowerW + dynamicJ * tokensPerSecondAggregate,
    perTokenAggregateJ,
    staticPowerW: energy.staticPowerW,
    limits,
    usersHeld,
    weights: counts.formats.map(({ bits, taps, tensors, cells, columnEnds, adcConversions }) => {
      const { um2 } = cellArea(design, constants, taps);
      return {
        bits,
        taps,
        tensors,
        cells,
        columnEnds,
        adcConversions,
        cellUm2: um2,
        cellsMm2: (cells * um2) / 1e6,
      };
    }),
    warnings: warningsOf(design),
    references: referenceLines(counts, shape, design, constants, energy.lines),
  };
}

/** The clamps are priced for design.clampMaxA: columns that carried more on average cannot have been held by them. */
function checkClamps(activity: Activity<TileActivity>, design: CostDesign): void {
  for (const one of activity.layers) {
    const meanA = one.sumCurrentA / (one.tokens * one.tiles * one.columns * one.phases);
    if (meanA > design.clampMaxA) {
      throw new OnefetError(
        'usage',
        'COST_CLAMP',
        `cost: the columns of layer ${one.layer} ${one.tensor} carried ${formatSi(meanA, 'A')} on average, their clamps are priced for at most ${formatSi(design.clampMaxA, 'A')}`,
        { hint: 'raise column.clampMaxA, or lower fullScaleA or tile.rows' },
      );
    }
  }
}

function warningsOf(design: CostDesign): string[] {
  const warnings: string[] = [];
  const { rowDriver, ladderCurrentA, settleTimeS } = design;
  if (rowDriver && rowDriver.currentA < ladderCurrentA) {
    // The time constant of a tap goes as one over the current that its resistors are drawn for.
    warnings.push(
      `The simulated row driver draws ${formatSi(rowDriver.currentA, 'A')}, less than the ${formatSi(ladderCurrentA, 'A')} of ladder.currentA that timing.settleTimeS (${formatSi(settleTimeS, 's')}) was chosen for: its rows settle at least ${plain(ladderCurrentA / rowDriver.currentA, 2)} times slower, which is in neither the latency nor the accuracy.`,
    );
  }
  return warnings;
}
