/**
 * Energy per token, area, latency and throughput of a model on a chip of one design.
 *
 *   components of the fabric + digital units  ->  area  ->  latency  ->  energy  ->  limits of a full pipeline
 *
 * Energy and latency are of one user: what is biased all the time is paid by this user's token alone. The aggregate rate
 * is that of a full pipeline, the smallest of four limits. Extra users' caches fill what is left of the last die.
 */
import { OnefetError } from '../error.ts';
import { formatSi, plain } from '../format.ts';
import type { NamedShape } from '../model/shapes.ts';
import { costBands, outsideBands, rankSensitivity } from './bands.ts';
import { attentionStep, digital, kvBytes, sramMm2 } from './components/digital.ts';
import {
  clockLine,
  leakageLine,
  leakageW,
  overheadLine,
  railLines,
  regulatorLine,
  regulatorLossShare,
} from './components/static.ts';
import type { CostConstants } from './constants.ts';
import { planFloor } from './floorplan.ts';
import { limitLine, onSilicon, sumLines, valuesAlone } from './lines.ts';
import type {
  ChipCost,
  CostComponent,
  LatencyPart,
  PlacedSystem,
  PricedDesign,
  PricedSystem,
  TimedSystem,
} from './priced-design.ts';
import type { CostLine, CostReport } from './report.ts';
import { macPerToken } from './shape.ts';

/** Prices a model of `shape` on a chip of `design`. Errors: COST_CONTEXT, ADC_RANGE. */
export function priceModel(
  design: PricedDesign,
  shape: NamedShape,
  constants: CostConstants,
  options: {
    readonly contextTokens: number;
    /** Of the bands; the default is BAND_DRAWS. */
    readonly draws?: number;
  },
): CostReport {
  const { contextTokens } = options;
  const evaluate = (changed: CostConstants) => priceAtPoint(design, shape, changed, contextTokens);
  const report = evaluate(constants);
  const figures = (changed: CostConstants) => valuesAlone(() => evaluate(changed));
  const bands = costBands(constants, figures, options.draws);
  return {
    ...report,
    sensitivity: rankSensitivity(constants, report, figures),
    bands,
    warnings: [...report.warnings, ...outsideBands(report, bands)],
  };
}

/** The cost at one set of constants, without bands. Errors: COST_CONTEXT, ADC_RANGE. */
export function priceAtPoint(
  design: PricedDesign,
  shape: NamedShape,
  constants: CostConstants,
  contextTokens: number,
): ChipCost {
  if (!Number.isInteger(contextTokens) || contextTokens < 1) {
    throw new OnefetError(
      'usage',
      'COST_CONTEXT',
      `cost: context of ${contextTokens} tokens, it must be 1 or more`,
    );
  }
  return priceChip(design, { shape, constants, contextTokens });
}

function priceChip(design: PricedDesign, system: PricedSystem): ChipCost {
  if (design.whole) return design.whole(system);
  const components = [...design.components, digital(design)];
  const placed = priceArea(components, system);
  const latency = priceLatency(components, placed);
  const tokenTimeS = sumLines(latency.lines);
  const energy = priceEnergy(components, { ...placed, tokenTimeS });
  const perTokenJ = sumLines(energy.lines);
  const dynamicJ = perTokenJ - energy.staticPowerW * tokenTimeS;
  const usersHeld = countUsers(design.kvBits, placed);
  const limits = throughputLimits(placed, {
    kvBits: design.kvBits,
    stages: latency.stages,
    usersHeld,
    tokenTimeS,
    staticPowerW: energy.staticPowerW,
    dynamicJ,
  });
  const tokensPerSecondAggregate = limits[0].tokensPerSecond;
  const { shape, constants, contextTokens } = system;
  return {
    shape: { name: shape.name, layers: shape.layers, macPerToken: macPerToken(shape) },
    contextTokens,
    energyJ: energy.lines,
    perTokenJ,
    areaLinesMm2: placed.area.map(({ line }) => line),
    areaMm2: placed.areaMm2,
    dies: placed.dies,
    dieAspect: constants.layout.dieAspect.value,
    latencyS: [...latency.lines],
    tokenTimeS,
    tokensPerSecondPerUser: 1 / tokenTimeS,
    binding: limits[0].name,
    tokensPerSecondAggregate,
    powerW: energy.staticPowerW + dynamicJ * tokensPerSecondAggregate,
    perTokenAggregateJ:
      dynamicJ + (tokensPerSecondAggregate > 0 ? energy.staticPowerW / tokensPerSecondAggregate : 0),
    staticPowerW: energy.staticPowerW,
    limits,
    usersHeld,
    weights: design.weights(constants),
    warnings: [...design.warnings, ...(hasAnalog(placed) ? nodeWarnings(constants) : [])],
    references: design.references?.(system, energy.lines) ?? [],
  };
}

const hasAnalog = ({ area }: PlacedSystem): boolean => area.some(({ silicon }) => silicon === 'analog');

/** Constants of nodes that no factory makes on one wafer, and converters smaller than any that the survey knows. */
function nodeWarnings({ nodesNm, adc }: CostConstants): string[] {
  const { cell, converters, digital } = nodesNm;
  const [least, most] = [Math.min(cell, converters, digital), Math.max(cell, converters, digital)];
  return [
    ...(most > SAME_NODE * least
      ? [
          `The constants of cost are of nodes that are not made together: cell ${cell} nm, converters ${converters} nm, digital ${digital} nm. log-domain-28 and log-domain-7 are of one node each.`,
        ]
      : []),
    ...(adc.technologyNm.value < SURVEYED_NM
      ? [
          `Converters at ${adc.technologyNm.value} nm are extrapolated: the converters that the regression was made from are mostly of ${SURVEYED_NM} nm and above.`,
        ]
      : []),
  ];
}

/** 32 and 28 nm are one class, 28 and 16 are not. */
const SAME_NODE = 1.3;
const SURVEYED_NM = 16;

function priceArea(components: readonly CostComponent[], system: PricedSystem): PlacedSystem {
  const used = components.flatMap((component) => component.area?.(system) ?? []);
  const usedMm2 = sumLines(used.map(({ line }) => line));
  const area = [...used, ...onSilicon('passive', overheadLine(usedMm2, system.constants))];
  const lines = area.map(({ line }) => line);
  const areaMm2 = sumLines(lines);
  const dies = countDies(areaMm2, system.constants);
  const aspect = system.constants.layout.dieAspect.value;
  return { ...system, area, areaMm2, dies, floorplan: planFloor(lines, system.shape.layers, dies, aspect) };
}

/** Dies of the reticle limit that an area needs. */
function countDies(areaMm2: number, { layout }: CostConstants): number {
  return Math.max(1, Math.ceil(areaMm2 / layout.reticleMm2.value));
}

function priceLatency(components: readonly CostComponent[], system: PlacedSystem): LatencyPart {
  const parts = components.flatMap((component) => component.latency?.(system) ?? []);
  return {
    lines: parts.flatMap(({ lines }) => lines),
    stages: parts.flatMap(({ stages }) => stages),
  };
}

/** Power that never stops, regulator loss included, stands beside the lines: it is a part of them. */
function priceEnergy(
  components: readonly CostComponent[],
  system: TimedSystem,
): { lines: CostLine[]; staticPowerW: number } {
  const { area, constants, tokenTimeS } = system;
  const priced = components.map((component) => ({ component, lines: component.energy?.(system) ?? [] }));
  const clocked = priced.filter(({ component }) => component.clocked).flatMap(({ lines }) => lines);
  const lines = [
    ...priced.flatMap((one) => one.lines),
    clockLine(sumLines(clocked), constants),
    leakageLine(area, tokenTimeS, constants),
    ...railLines(area, constants),
  ];
  const biasW = components.reduce((sum, component) => sum + (component.alwaysOnW?.(system) ?? 0), 0);
  return {
    lines: [...lines, regulatorLine(sumLines(lines), constants)],
    staticPowerW: (leakageW(area, constants) + biasW) * (1 + regulatorLossShare(constants)),
  };
}

/** Users whose cache of the stated context fits on the dies: one, and what the empty silicon of the last die holds. */
function countUsers(kvBits: number, system: PlacedSystem): number {
  const { shape, constants, contextTokens, dies, areaMm2 } = system;
  const { reticleMm2, overheadShare } = constants.layout;
  const userMm2 = sramMm2(kvBytes(shape, kvBits, contextTokens), constants);
  return 1 + Math.floor((dies * reticleMm2.value - areaMm2) / (userMm2 * (1 + overheadShare.value)));
}

/** Returns the bounds of the rate of a full pipeline, tokens/s, lowest first. */
function throughputLimits(
  { shape, constants, contextTokens, dies }: PlacedSystem,
  found: {
    readonly kvBits: number;
    readonly stages: LatencyPart['stages'];
    readonly usersHeld: number;
    readonly tokenTimeS: number;
    readonly staticPowerW: number;
    readonly dynamicJ: number;
  },
): CostReport['limits'] {
  const { stages, usersHeld, tokenTimeS, staticPowerW, dynamicJ } = found;
  const { power } = constants;
  const limitW = dies * power.limitWPerDie.value;
  const attentionS = attentionStep(found.kvBits, { shape, constants, contextTokens }).seconds;
  return [
    limitLine(
      'latency of a pipeline stage',
      1 / Math.max(...stages.map(({ seconds }) => seconds)),
      () => `1 / max(${stages.map(({ name, seconds }) => `${name} ${formatSi(seconds, 's')}`).join(', ')})`,
    ),
    limitLine(
      'KV capacity',
      usersHeld / tokenTimeS,
      () => `${usersHeld} users whose cache fits on ${dies} dies / ${formatSi(tokenTimeS, 's')}`,
    ),
    limitLine(
      'KV bandwidth',
      1 / attentionS,
      () =>
        `one attention unit per layer: 1 / ${formatSi(attentionS, 's')} to read a layer's cache and multiply by it`,
    ),
    limitLine(
      'power',
      Math.max(0, limitW - staticPowerW) / dynamicJ,
      () =>
        `(${dies} dies x ${power.limitWPerDie.value} W - ${plain(staticPowerW)} W static) / ${formatSi(dynamicJ, 'J')}`,
    ),
  ].sort((a, b) => a.tokensPerSecond - b.tokensPerSecond);
}
