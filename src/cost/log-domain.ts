/**
 * The log-domain fabric as the cost sees it: what a run counted, put into components.
 */
import { OnefetError } from '../error.ts';
import type { Activity, TileActivity } from '../fabric/activity.ts';
import { count, formatSi, plain } from '../format.ts';
import { ELEMENTARY_CHARGE_C } from '../physical-constants.ts';
import { type Census, census } from './census.ts';
import { array, designCellArea } from './components/array.ts';
import { accumulators, columns, columnTraffic } from './components/columns.ts';
import { rowDrivers } from './components/row-drivers.ts';
import { scaleStore } from './components/scales.ts';
import type { CostConstants } from './constants.ts';
import { costLine, lineValue, UM2_PER_MM2, UNPROVEN } from './lines.ts';
import { checkDesign, type LogDomainCostDesign } from './log-domain-design.ts';
import type { PricedDesign, PricedSystem } from './priced-design.ts';
import type { CostLine, WeightCost } from './report.ts';
import { dependentSteps, macPerToken } from './shape.ts';

/**
 * Prices a log-domain design at the activity of a run.
 * Errors: COST_DESIGN, COST_CLAMP, COST_HEAD, COST_ACTIVITY, NO_ACTIVITY.
 */
export function priceLogDomain(activity: Activity<TileActivity>, design: LogDomainCostDesign): PricedDesign {
  checkDesign(design);
  const counts = census(activity, design);
  if (counts.hasHead !== (design.headFabric === 'analog')) {
    throw new OnefetError(
      'input',
      'COST_HEAD',
      `cost: the design has ${design.headFabric} heads but the activity ${counts.hasHead ? 'contains' : 'lacks'} the head`,
    );
  }
  checkClamps(activity, design);
  return {
    kvBits: design.kvBits,
    headInFabric: design.headFabric === 'analog',
    components: [
      array(counts, design),
      rowDrivers(counts, design),
      columns(counts, design),
      accumulators(counts, design),
      scaleStore(counts, design.correctedScales),
    ],
    traffic: ({ constants }) => columnTraffic(counts, design, constants),
    weights: (constants) => weightCosts(counts, design, constants),
    references: (system, energy) => referenceLines(counts, design, system, energy),
    warnings: warningsOf(design),
  };
}

/** The clamps are priced for design.clampMaxA: columns that carried more on average cannot have been held by them. */
function checkClamps(activity: Activity<TileActivity>, design: LogDomainCostDesign): void {
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

function warningsOf(design: LogDomainCostDesign): string[] {
  return [...supplyWarnings(design), ...unpricedWarnings(design)];
}

const supplyWarnings = ({ supplyV, processSupplyV }: LogDomainCostDesign): string[] =>
  supplyV === processSupplyV
    ? []
    : [
        `supplyV of the design is ${supplyV} V, that of its process ${processSupplyV} V: the cell and its circuits were measured at the latter, energies are of the former.`,
      ];

const unpricedWarnings = ({ unpriced }: LogDomainCostDesign): string[] =>
  unpriced.map(
    (key) =>
      `${key} is ${key === 'column.clamp' ? 'resistance: an ideal clamp' : 'float: a real-valued converter'} has no price, so energy and area are of the rest of the chip.`,
  );

function weightCosts(counts: Census, design: LogDomainCostDesign, constants: CostConstants): WeightCost[] {
  return counts.formats.map(({ bits, taps, tensors, cells, columnEnds, adcConversions }) => {
    const { um2 } = designCellArea(design, constants, taps);
    return {
      bits,
      taps,
      tensors,
      cells,
      columnEnds,
      adcConversions,
      cellUm2: um2,
      cellsMm2: (cells * um2) / UM2_PER_MM2,
    };
  });
}

/**
 * Computes the physical lower bound of current-mode multiplication, J per product: E = Vdd q SNR / s^2, s^2 the
 * normalised variance of the products and B = 1 / 2T (0.7 V, s^2 = 0.1, 20 dB: 0.11 fJ). Shown beside the array's
 * energy: an array below it multiplies with less than the stated SNR, and the line says with how much.
 */
export function shotNoiseBoundJ(supplyV: number, snrDb: number, productVariance: number): number {
  return (supplyV * ELEMENTARY_CHARGE_C * 10 ** (snrDb / 10)) / productVariance;
}

function referenceLines(
  counts: Census,
  design: LogDomainCostDesign,
  { shape, constants: { bound } }: PricedSystem,
  energy: readonly CostLine[],
): CostLine[] {
  const { supplyV, rowDriver, ladderCurrentA, buffer } = design;
  const perMacJ = shotNoiseBoundJ(supplyV, bound.snrDb.value, bound.productVariance.value);
  const drawnJ = (counts.currentA * supplyV * design.integrationTimeS) / counts.macs;
  const drawnDb = 10 * Math.log10(drawnJ / shotNoiseBoundJ(supplyV, 0, bound.productVariance.value));
  const assumedA = ladderCurrentA + buffer.biasA;
  const assumed =
    rowDriver === null
      ? []
      : [
          costLine(
            'row-drivers-assumed',
            (lineValue(energy, 'row-drivers') * assumedA) / rowDriver.currentA,
            () =>
              `the row drivers at the assumed ${formatSi(ladderCurrentA, 'A')} per ladder and ${formatSi(buffer.biasA, 'A')} per buffer instead of the simulated ${formatSi(rowDriver.currentA, 'A')}`,
            [UNPROVEN],
          ),
        ];
  return [
    ...assumed,
    costLine(
      'shot-noise-bound',
      counts.macs * perMacJ,
      () =>
        `${count(counts.macs)} analog MAC (of ${count(macPerToken(shape))}, ${dependentSteps(shape)} steps) x ${supplyV} V x q x 10^(${bound.snrDb.value}/10) / ${bound.productVariance.value} = ${formatSi(perMacJ, 'J')} each; the current drawn is ${formatSi(drawnJ, 'J')} each, enough for ${plain(drawnDb)} dB per product`,
      [bound.snrDb, bound.productVariance],
    ),
  ];
}
