/**
 * Columns: what stands at the end of a tile's column and turns two bit-line currents into a code (clamps, integrator,
 * shared converter), the bit lines themselves, and the digital accumulator behind each converter.
 */
import { count, formatSi, plain } from '../../format.ts';
import type { Provenance } from '../../provenance.ts';
import type { BitLine } from '../../tile/bit-line.ts';
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
import { currentEnergyJ, deviceUm2, formatWires } from './array.ts';
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
      ...onSilicon('analog', clampAreaLine(counts, design, constants)),
      ...onSilicon('passive', integratorAreaLine(counts, design, constants)),
      ...onSilicon('analog', converterAreaLine(counts, design, constants)),
    ],
    latency: (system) => stepLatency(design, system),
    energy: ({ constants }) => [
      clampLine(counts, design),
      bitLineLine(counts, design),
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
        () =>
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

/** Transistors of the clamp of one bit line and its switches, laid out, um2. */
export function clampUm2({ devices }: BitLine, { layout }: CostConstants): number {
  const transistors = devices.reduce((sum, device) => sum + device.count * deviceUm2(device, layout), 0);
  return transistors * layout.analogSpread.value + layout.clampSwitchesUm2.value;
}

function clampAreaLine(
  { columnEnds }: Census,
  { bitLine, unpriced }: LogDomainCostDesign,
  constants: CostConstants,
): CostLine {
  if (unpriced.includes('column.clamp')) return unpricedClamps();
  const { layout } = constants;
  const um2 = clampUm2(bitLine, constants);
  const devices = bitLine.devices
    .map(({ count: n, widthM, lengthM }) => `${n} x ${plain(widthM * 1e6)}/${plain(lengthM * 1e6)} um`)
    .join(', ');
  return costLine(
    'clamps',
    (columnEnds * 2 * um2) / UM2_PER_MM2,
    () =>
      `${count(columnEnds)} column ends x 2 bit lines x ${plain(um2)} um2 (${bitLine.clamp}: ${devices}; x ${layout.analogSpread.value}, and ${layout.clampSwitchesUm2.value} um2 of switches)`,
    [CHOSEN, layout.analogSpread, layout.clampSwitchesUm2, layout.deviceSideM, layout.deviceEndM],
  );
}

const unpricedClamps = (): CostLine =>
  costLine('clamps', 0, 'column.clamp is resistance, 0 W and 0 um2: an ideal has no price', [CHOSEN]);

function integratorAreaLine(
  { columnEnds, integratorsF }: Census,
  design: LogDomainCostDesign,
  { layout }: CostConstants,
): CostLine {
  return costLine(
    'integrators',
    integratorsF / layout.capacitorFPerUm2.value / UM2_PER_MM2,
    () =>
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
    () =>
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
      () => `${steps} analog steps x ${phases} phases x ${formatSi(seconds, 's')}`,
      [used],
    );
  return {
    lines: [
      phased('settle', design.settleTimeS, UNPROVEN),
      phased('integrate', design.integrationTimeS, CHOSEN),
      costLine(
        'convert',
        steps * convertS,
        () =>
          `${steps} analog steps x ${conversions} x ${design.adcColumnsShared} columns / ${formatSi(adc.rateHz.value, 'S/s')}`,
        [CHOSEN, adc.rateHz],
      ),
    ],
    stages: [{ name: 'analog step', seconds: stepS }],
  };
}

/** Bias of the clamps while their step lasts. */
function clampLine({ clampPhases, currentA }: Census, design: LogDomainCostDesign): CostLine {
  if (design.unpriced.includes('column.clamp')) return unpricedClamps();
  const { bitLine, supplyV } = design;
  const seconds = design.settleTimeS + design.integrationTimeS;
  return costLine(
    'clamps',
    currentEnergyJ(clampPhases * 2 * bitLine.biasA, supplyV, seconds),
    () =>
      `${count(clampPhases)} column ends and phases x 2 bit lines x ${formatSi(bitLine.biasA, 'A')} of a ${bitLine.clamp} clamp (the cells of a column took ${formatSi(currentA / clampPhases, 'A')} on average) x ${supplyV} V x ${formatSi(seconds, 's')}`,
    [UNPROVEN],
  );
}

function bitLineLine(counts: Census, { vdsV, supplyV, bitLine }: LogDomainCostDesign): CostLine {
  return costLine(
    'bit-lines',
    switchedEnergyJ(counts.columnEnds * 2 * bitLine.lineF, vdsV, supplyV),
    () =>
      `${count(counts.columnEnds)} column ends x 2 bit lines of ${formatSi(bitLine.lineF, 'F')} charged once per token to ${vdsV} V from ${supplyV} V`,
    [CHOSEN, SIMULATED_F],
  );
}

const SIMULATED_F: Provenance = {
  source: 'drain capacitance of the calibrated cell (SPICE) and the wire across it',
  tag: 'assumed',
};

function integratorLine(
  { adcConversions, convertedF }: Census,
  { swingV, supplyV }: LogDomainCostDesign,
): CostLine {
  return costLine(
    'integrators',
    switchedEnergyJ(convertedF, swingV, supplyV),
    () =>
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
    () =>
      `${count(adcConversions)} conversions x ${formatSi(energyJ, 'J')} (${adcBits} bit, ${formatSi(adc.rateHz.value, 'S/s')}, ${adc.technologyNm.value} nm, multiplier ${adc.energyMultiplier.value})`,
    [COUNTED, adc.energyMultiplier, adc.technologyNm],
  );
}
