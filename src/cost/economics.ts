/**
 * What a million tokens cost: silicon, masks, electricity, as three bands.
 *
 *   good dies per wafer = (pi (d/2)^2 / A - pi d / sqrt(2 A)) Y,   Y = ((1 - e^(-A D)) / (A D))^2   (Murphy)
 *   $ / Mtoken = [chip + masks and design / chips] / (rate x utilisation x lifetime) + power x price / rate
 *
 * `low` takes the cheap end of every input, `high` the dear end, together: the truth is unlikely outside. A chip is
 * all the dies that the model needs. The whole die counts for yield, although an array could carry spare columns.
 */
import { OnefetError } from '../error.ts';
import { count, plain } from '../format.ts';
import type { Band, CostConstants } from './constants.ts';
import type { CostReport } from './report.ts';

export const SCENARIOS = ['low', 'mid', 'high'] as const;
type Scenario = (typeof SCENARIOS)[number];

interface EconomicsScenario {
  yield: number;
  goodDiesPerWafer: number;
  chipUsd: number;
  /** Masks and design per chip. */
  nreUsdPerChip: number;
  tokensPerChipLifetime: number;
  siliconUsdPerMtoken: number;
  nreUsdPerMtoken: number;
  electricityUsdPerMtoken: number;
  usdPerMtoken: number;
  gpuUsdPerMtoken: number;
  /** Chips that must be sold for masks and design to be paid back against the GPU; null: never. */
  breakEvenChips: number | null;
  formula: string;
}

export type EconomicsReport = Record<Scenario, EconomicsScenario>;

/** Murphy's yield of a die of `areaCm2` at `defectsPerCm2`. */
export function murphyYield(areaCm2: number, defectsPerCm2: number): number {
  const ad = areaCm2 * defectsPerCm2;
  // The limit at ad -> 0 is 1; expm1 keeps the digits on the way.
  return ad === 0 ? 1 : (-Math.expm1(-ad) / ad) ** 2;
}

/** Whole dies on a round wafer (de Vries' approximation). */
export function grossDies(waferDiameterMm: number, dieMm2: number): number {
  const gross =
    (Math.PI * (waferDiameterMm / 2) ** 2) / dieMm2 - (Math.PI * waferDiameterMm) / Math.sqrt(2 * dieMm2);
  return Math.max(0, Math.floor(gross));
}

export function economicsOf(report: CostReport, constants: CostConstants): EconomicsReport {
  const of = (scenario: Scenario) => scenarioOf(report, constants, scenario);
  return { low: of('low'), mid: of('mid'), high: of('high') };
}

function scenarioOf(report: CostReport, constants: CostConstants, scenario: Scenario): EconomicsScenario {
  const inputs = constants.economics;
  const mirror = { low: 'high', mid: 'mid', high: 'low' } as const;
  /** Quantities that make tokens dearer when they grow, and those that make them cheaper. */
  const dear = (band: Band) => band[scenario];
  const cheap = (band: Band) => band[mirror[scenario]];

  const dieMm2 = report.areaMm2 / report.dies;
  const dieYield = murphyYield(dieMm2 / 100, dear(inputs.defectsPerCm2));
  const goodDiesPerWafer = grossDies(inputs.waferDiameterMm.mid, dieMm2) * dieYield;
  if (!(goodDiesPerWafer > 0)) {
    throw new OnefetError(
      'usage',
      'NO_GOOD_DIE',
      `economics: a die of ${plain(dieMm2)} mm2 does not fit on a wafer of ${inputs.waferDiameterMm.mid} mm`,
    );
  }
  if (!(report.tokensPerSecondAggregate > 0)) {
    throw new OnefetError(
      'usage',
      'NO_TOKENS',
      `economics: the chip makes no tokens (${report.binding} binds)`,
    );
  }
  const dieUsd = dear(inputs.waferPriceUsd) / goodDiesPerWafer + dear(inputs.packagingUsdPerDie);
  const chipUsd = dieUsd * report.dies;
  const nreUsd = dear(inputs.modelMasks) * dear(inputs.maskUsd) + dear(inputs.modelNreUsd);
  const nreUsdPerChip = nreUsd / cheap(inputs.chipsPerModel);
  const rate = report.tokensPerSecondAggregate;
  const years = cheap(inputs.modelLifetimeYears);
  const utilisation = cheap(inputs.utilisation);
  const tokens = rate * utilisation * years * 365.25 * 86400;
  const busyShare = 1 / utilisation;
  // Static power flows while the chip waits, too.
  const joulePerToken = report.perTokenAggregateJ + (report.staticPowerW / rate) * (busyShare - 1);
  const electricity =
    (joulePerToken / 3.6e6) * dear(inputs.electricityUsdPerKwh) * dear(inputs.facilityFactor) * 1e6;
  const silicon = (chipUsd / tokens) * 1e6;
  const nre = (nreUsdPerChip / tokens) * 1e6;
  // The GPU is taken at its cheap end in the chip's dear scenario, so that the bands bracket the comparison.
  const gpu = (cheap(inputs.gpuUsdPerHour) / 3600 / dear(inputs.gpuTokensPerSecond)) * 1e6;
  const savedPerChip = ((gpu - silicon - electricity) / 1e6) * tokens;
  return {
    yield: dieYield,
    goodDiesPerWafer,
    chipUsd,
    nreUsdPerChip,
    tokensPerChipLifetime: tokens,
    siliconUsdPerMtoken: silicon,
    nreUsdPerMtoken: nre,
    electricityUsdPerMtoken: electricity,
    usdPerMtoken: silicon + nre + electricity,
    gpuUsdPerMtoken: gpu,
    breakEvenChips: savedPerChip > 0 ? Math.ceil(nreUsd / savedPerChip) : null,
    formula: `${report.dies} dies x ($${plain(dear(inputs.waferPriceUsd))} / ${plain(goodDiesPerWafer)} good dies + $${plain(dear(inputs.packagingUsdPerDie))}) + $${count(nreUsd)} / ${count(cheap(inputs.chipsPerModel))} chips, over ${plain(years)} years x ${plain(utilisation)} x ${count(rate)} tokens/s`,
  };
}
