/**
 * Cost of a million tokens: silicon, masks, electricity, as three bands.
 *
 *   good dies per wafer = (pi (d/2)^2 / A - pi d / sqrt(2 A)) Y,   Y = ((1 - e^(-A D)) / (A D))^2   (Murphy)
 *   $ / Mtoken = [chip + masks and design / chips] / (rate x utilisation x lifetime) + power x price / rate
 *
 * `low` takes the favourable end of every input, `high` the unfavourable end, together: the truth is unlikely outside. A chip is
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

export function projectEconomics(report: CostReport, constants: CostConstants): EconomicsReport {
  const of = (scenario: Scenario) => scenarioOf(report, constants, scenario);
  return { low: of('low'), mid: of('mid'), high: of('high') };
}

function scenarioOf(report: CostReport, constants: CostConstants, scenario: Scenario): EconomicsScenario {
  const inputs = constants.economics;
  const mirror = { low: 'high', mid: 'mid', high: 'low' } as const;
  /** Quantities that raise the cost of tokens when they grow, and those that lower it. */
  const raising = (band: Band) => band[scenario];
  const lowering = (band: Band) => band[mirror[scenario]];

  const dieMm2 = report.areaMm2 / report.dies;
  const dieYield = murphyYield(dieMm2 / 100, raising(inputs.defectsPerCm2));
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
  const dieUsd = raising(inputs.waferPriceUsd) / goodDiesPerWafer + raising(inputs.packagingUsdPerDie);
  const chipUsd = dieUsd * report.dies;
  const nreUsd = raising(inputs.modelMasks) * raising(inputs.maskUsd) + raising(inputs.modelNreUsd);
  const nreUsdPerChip = nreUsd / lowering(inputs.chipsPerModel);
  const rate = report.tokensPerSecondAggregate;
  const years = lowering(inputs.modelLifetimeYears);
  const utilisation = lowering(inputs.utilisation);
  const tokens = rate * utilisation * years * 365.25 * 86400;
  const busyShare = 1 / utilisation;
  // Static power flows while the chip waits, too.
  const joulePerToken = report.perTokenAggregateJ + (report.staticPowerW / rate) * (busyShare - 1);
  const electricity =
    (joulePerToken / 3.6e6) * raising(inputs.electricityUsdPerKwh) * raising(inputs.facilityFactor) * 1e6;
  const silicon = (chipUsd / tokens) * 1e6;
  const nre = (nreUsdPerChip / tokens) * 1e6;
  // The GPU is taken at its cheapest in the chip's most expensive scenario, so that the bands bracket the comparison.
  const gpu = (lowering(inputs.gpuUsdPerHour) / 3600 / raising(inputs.gpuTokensPerSecond)) * 1e6;
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
    formula: `${report.dies} dies x ($${plain(raising(inputs.waferPriceUsd))} / ${plain(goodDiesPerWafer)} good dies + $${plain(raising(inputs.packagingUsdPerDie))}) + $${count(nreUsd)} / ${count(lowering(inputs.chipsPerModel))} chips, over ${plain(years)} years x ${plain(utilisation)} x ${count(rate)} tokens/s`,
  };
}
