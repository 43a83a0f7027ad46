/**
 * Columns: what stands at the end of a tile's column and turns two bit-line currents into a code (clamps, integrator,
 * shared converter), the bit lines themselves, and the digital accumulator behind each converter.
 */
import { count, formatSi, plain } from '../../format.ts';
import { adcCost } from '../adc.ts';
import type { Census } from '../census.ts';
import type { CostConstants } from '../constants.ts';
import {
  CHOSEN,
  COUNTED,
  costLine,
  gatedSilicon,
  onSilicon,
  piecesLine,
  UM2_PER_MM2,
  UNPROVEN,
} from '../lines.ts';
import { countPhases, type LogDomainCostDesign } from '../log-domain-design.ts';
import type { CostComponent, LatencyPart, PricedSystem, Traffic } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { dependentSteps } from '../shape.ts';
import { currentEnergyJ, formatWires } from './array.ts';
import { switchedEnergyJ } from './row-drivers.ts';

// Physics.

/** Converters on the chip: each serves `shared` column ends. */
function adcCount(columnEnds: number, shared: number): number {
  return Math.ceil(columnEnds / shared);
}

/** One conversion, J, and one converter, um2: the survey's regression with the multipliers of the constants. */
function converterCost(bits: number, { adc }: CostConstants): { energyJ: number; areaUm2: number } {
  // The regression starts at 4 bits; a coarser converter is priced as one of 4.
  const one = adcCost(Math.max(4, bits), adc.rateHz.value, adc.technologyNm.value);
  return {
    energyJ: one.energyJ * adc.energyMultiplier.value,
    areaUm2: one.areaUm2 * adc.areaMultiplier.value,
  };
}

/** Times of one analog step, s: all phases settle and integrate, then `shared` columns convert one after the other. */
export function stepTimesS(
  design: LogDomainCostDesign,
  rateHz: number,
): { settleS: number; integrateS: number; convertS: number; stepS: number } {
  const { phases, conversions } = countPhases(design.sign);
  const convertS = (conversions * design.adcColumnsShared) / rateHz;
  return {
    settleS: phases * design.settleTimeS,
    integrateS: phases * design.integrationTimeS,
    convertS,
    stepS: phases * (design.settleTimeS + design.integrationTimeS) + convertS,
  };
}

// Lines.

export function columns(counts: Census, design: LogDomainCostDesign): CostComponent {
  return {
    name: 'columns',
    area: ({ constants }) => [
      ...onSilicon('analog', clampAreaLine(counts, constants)),
      ...onSilicon('passive', integratorAreaLine(counts, design, constants)),
      ...onSilicon('analog', converterAreaLine(counts, design, constants)),
    ],
    latency: (system) => stepLatency(design, system),
    energy: ({ constants }) => [
      clampLine(counts, design, constants),
      bitLineLine(counts, design, constants),
      integratorLine(counts, design),
      converterLine(counts, design, constants),
    ],
  };
}

/** Digital adders behind the converters: each result is scaled and added to those of the other tiles. */
export function accumulators(counts: Census, design: LogDomainCostDesign): CostComponent {
  return {
    name: 'accumulators',
    clocked: true,
    area: ({ constants: { layout, gating, adc } }) =>
      gatedSilicon(
        'logic',
        gating.accumulators.value,
        stepTimesS(design, adc.rateHz.value).stepS,
        piecesLine(
          'accumulators',
          adcCount(counts.columnEnds, design.adcColumnsShared),
          layout.accumulatorUm2.value,
          'accumulators',
          [layout.accumulatorUm2],
        ),
      ),
    energy: ({ constants: { digital } }) => [
      costLine(
        'accumulation',
        counts.adcConversions * (digital.accumulateJ.value + digital.scaleMultiplyJ.value),
        `${count(counts.adcConversions)} tile results x (${formatSi(digital.accumulateJ.value, 'J')} add + ${formatSi(digital.scaleMultiplyJ.value, 'J')} scale)`,
        [COUNTED, digital.accumulateJ, digital.scaleMultiplyJ],
      ),
    ],
  };
}

/** Bits that pass between rows, columns and the digital units: a result runs along its column. */
export function columnTraffic(
  counts: Census,
  design: LogDomainCostDesign,
  constants: CostConstants,
): Traffic {
  return {
    inputBits: counts.dacConversions * (design.dacBits + 1),
    resultBits: counts.adcConversions * design.adcBits,
    resultBitMm: formatWires(counts, design, constants).reduce(
      (sum, { adcConversions, sideM }) =>
        sum + adcConversions * design.adcBits * design.tileRows * sideM * 1e3,
      0,
    ),
  };
}

function clampAreaLine({ columnEnds }: Census, { layout }: CostConstants): CostLine {
  return costLine(
    'clamps',
    (columnEnds * 2 * layout.clampUm2.value) / UM2_PER_MM2,
    `${count(columnEnds)} column ends x 2 bit lines x ${layout.clampUm2.value} um2`,
    [layout.clampUm2],
  );
}

function integratorAreaLine(
  { columnEnds, integratorsF }: Census,
  design: LogDomainCostDesign,
  { layout }: CostConstants,
): CostLine {
  return costLine(
    'integrators',
    integratorsF / layout.capacitorFPerUm2.value / UM2_PER_MM2,
    `${count(columnEnds)} column ends x ${formatSi(integratorsF / columnEnds, 'F')} (mean full-scale current x ${formatSi(design.integrationTimeS, 's')} / ${design.swingV} V) / ${formatSi(layout.capacitorFPerUm2.value, 'F')} per um2`,
    [CHOSEN, layout.capacitorFPerUm2],
  );
}

function converterAreaLine(
  { columnEnds }: Census,
  design: LogDomainCostDesign,
  constants: CostConstants,
): CostLine {
  const { adc } = constants;
  const adcs = adcCount(columnEnds, design.adcColumnsShared);
  if (design.unpriced.includes('adc.bits')) return unpricedLine();
  const { areaUm2 } = converterCost(design.adcBits, constants);
  return costLine(
    'adcs',
    (adcs * areaUm2) / UM2_PER_MM2,
    `${count(columnEnds)} column ends / ${design.adcColumnsShared} shared = ${count(adcs)} converters x ${plain(areaUm2)} um2 (${design.adcBits} bit, ${formatSi(adc.rateHz.value, 'S/s')}, ${adc.technologyNm.value} nm)`,
    [CHOSEN, adc.areaMultiplier, adc.technologyNm, adc.rateHz],
  );
}

const unpricedLine = (): CostLine =>
  costLine('adcs', 0, 'adc.bits is float: a real-valued converter has no price', [CHOSEN]);

function stepLatency(design: LogDomainCostDesign, { shape, constants: { adc } }: PricedSystem): LatencyPart {
  const { phases, conversions } = countPhases(design.sign);
  const steps = dependentSteps(shape) - (design.headFabric === 'digital' ? 1 : 0);
  const { convertS, stepS } = stepTimesS(design, adc.rateHz.value);
  const phased = (name: string, seconds: number, used: typeof CHOSEN) =>
    costLine(
      name,
      steps * phases * seconds,
      `${steps} analog steps x ${phases} phases x ${formatSi(seconds, 's')}`,
      [used],
    );
  return {
    lines: [
      phased('settle', design.settleTimeS, UNPROVEN),
      phased('integrate', design.integrationTimeS, CHOSEN),
      costLine(
        'convert',
        steps * convertS,
        `${steps} analog steps x ${conversions} x ${design.adcColumnsShared} columns / ${formatSi(adc.rateHz.value, 'S/s')}`,
        [CHOSEN, adc.rateHz],
      ),
    ],
    stages: [{ name: 'analog step', seconds: stepS }],
  };
}

/** Class A: a clamp that takes up to I from its bit line is biased with at least I, whatever flows. */
function clampLine(
  { clampPhases, currentA }: Census,
  design: LogDomainCostDesign,
  { analog: { clampBiasRatio } }: CostConstants,
): CostLine {
  const biasA = clampBiasRatio.value * design.clampMaxA;
  const seconds = design.settleTimeS + design.integrationTimeS;
  return costLine(
    'clamps',
    currentEnergyJ(clampPhases * 2 * biasA, design.supplyV, seconds),
    `${count(clampPhases)} column ends and phases x 2 bit lines x ${clampBiasRatio.value} x ${formatSi(design.clampMaxA, 'A')} (the most that a column may carry; on average it carried ${formatSi(currentA / clampPhases, 'A')}) x ${design.supplyV} V x ${formatSi(seconds, 's')}`,
    [clampBiasRatio, UNPROVEN],
  );
}

function bitLineLine(counts: Census, design: LogDomainCostDesign, constants: CostConstants): CostLine {
  const { vdsV, supplyV, device } = design;
  const formats = formatWires(counts, design, constants);
  const wiresF = formats.reduce((sum, { cells, wireF }) => sum + cells * 2 * wireF, 0);
  const terms = formats.map(({ cells, wireF }) => `${count(cells)} cells x ${formatSi(2 * wireF, 'F')}`);
  return costLine(
    'bit-lines',
    switchedEnergyJ(counts.connectedCells * device.drainF + wiresF, vdsV, supplyV),
    `(${count(counts.connectedCells)} drains x ${formatSi(device.drainF, 'F')} + ${terms.join(' + ')} of two bit lines) charged once per token to ${vdsV} V from ${supplyV} V`,
    [CHOSEN, constants.analog.wireFPerM],
  );
}

function integratorLine(
  { adcConversions, convertedF }: Census,
  { swingV, supplyV }: LogDomainCostDesign,
): CostLine {
  return costLine(
    'integrators',
    switchedEnergyJ(convertedF, swingV, supplyV),
    `${count(adcConversions)} conversions x ${formatSi(convertedF / adcConversions, 'F')} x ${swingV} V x ${supplyV} V: restoring the charge of full scale once per conversion`,
    [COUNTED, CHOSEN],
  );
}

function converterLine(
  { adcConversions }: Census,
  { adcBits, unpriced }: LogDomainCostDesign,
  constants: CostConstants,
): CostLine {
  const { adc } = constants;
  if (unpriced.includes('adc.bits')) return unpricedLine();
  const { energyJ } = converterCost(adcBits, constants);
  return costLine(
    'adcs',
    adcConversions * energyJ,
    `${count(adcConversions)} conversions x ${formatSi(energyJ, 'J')} (${adcBits} bit, ${formatSi(adc.rateHz.value, 'S/s')}, ${adc.technologyNm.value} nm, multiplier ${adc.energyMultiplier.value})`,
    [COUNTED, adc.energyMultiplier, adc.technologyNm],
  );
}
