/**
 * Energy of one token by component, J, for one user: what is biased all the time is paid by this token alone.
 *
 * The activity (currents, rows driven, conversions) is what the run counted. Static bias is charged for the token
 * time times its duty.
 */

import { count, formatSi, plain } from '../format.ts';
import { ELEMENTARY_CHARGE_C } from '../physical-constants.ts';
import { adcOf, cellArea, kvBytes, loraWeights } from './area.ts';
import type { Census } from './census.ts';
import type { Constant, CostConstants } from './constants.ts';
import { CHOSEN, COUNTED, costLine, DESIGN, DRAWN, lineValue, sumOf } from './lines.ts';
import { type CostDesign, phasesOf } from './priced-design.ts';
import type { CostLine } from './report.ts';
import type { CostShape } from './shape.ts';
import { attentionMacPerToken, dependentSteps, kvElementsPerToken, macPerToken } from './shape.ts';

/** Power of all row ladders: 27.3 million of 1 uA at 0.8 V are 22 W always on, 0.7 W at a duty of 1/32. */
export function ladderPowerW(ladders: number, currentA: number, supplyV: number, duty: number): number {
  return ladders * currentA * supplyV * duty;
}

export interface Energy {
  lines: CostLine[];
  /** Power of what never stops, regulator loss included, W. */
  staticPowerW: number;
}

export function energyOf(
  counts: Census,
  shape: CostShape,
  design: CostDesign,
  constants: CostConstants,
  contextTokens: number,
  area: readonly CostLine[],
  tokenTimeS: number,
  dies: number,
): Energy {
  const { digital, memory, analog, power, wire, lora } = constants;
  const v = design.supplyV;
  // A ladder is on at least while its own layer settles and integrates, whatever duty is asked for.
  const stepS = phasesOf(design.sign).phases * (design.settleTimeS + design.integrationTimeS);
  const ladderDuty = Math.min(1, Math.max(design.ladderDuty, stepS / tokenTimeS));
  const alwaysOn = ladderDuty === 1;
  const duty = `${formatSi(tokenTimeS, 's')} x duty ${plain(ladderDuty)}`;
  const lines: CostLine[] = [];
  const add = (name: string, value: number, formula: string, ...used: readonly Constant[]) => {
    lines.push(costLine(name, value, formula, used));
  };

  // Analog.
  add(
    'array',
    counts.currentA * v * design.integrationTimeS,
    `${formatSi(counts.currentA, 'A')} summed over column ends and phases x ${v} V x ${formatSi(design.integrationTimeS, 's')}`,
    DRAWN,
    CHOSEN,
  );
  add(
    'array-settling',
    counts.currentA * v * design.settleTimeS,
    `the same current while the lines settle: x ${v} V x ${formatSi(design.settleTimeS, 's')}`,
    DRAWN,
    DESIGN,
  );
  const { rowDriver } = design;
  if (rowDriver) {
    const measured = (value: number): Constant => ({ value, source: rowDriver.source, tag: 'measured' });
    add(
      'row-drivers',
      ladderPowerW(counts.ladders, rowDriver.currentA, v, ladderDuty) * tokenTimeS,
      `${count(counts.ladders)} ladders with their followers (one per row and ${design.ladderColumns} columns) x ${formatSi(rowDriver.currentA, 'A')} x ${v} V x ${duty} (always on: ${formatSi(ladderPowerW(counts.ladders, rowDriver.currentA, v, 1), 'W')})`,
      measured(rowDriver.currentA),
      CHOSEN,
    );
    add(
      'row-references',
      ladderPowerW(counts.references, rowDriver.sharedA, v, ladderDuty) * tokenTimeS,
      `${count(counts.references)} references (one per tile and ${design.ladderColumns} columns) x ${formatSi(rowDriver.sharedA, 'A')} x ${v} V x ${duty}`,
      measured(rowDriver.sharedA),
      CHOSEN,
    );
  } else {
    add(
      'ladders',
      ladderPowerW(counts.ladders, design.ladderCurrentA, v, ladderDuty) * tokenTimeS,
      `${count(counts.ladders)} ladders x ${formatSi(design.ladderCurrentA, 'A')} x ${v} V x ${duty} (always on: ${formatSi(ladderPowerW(counts.ladders, design.ladderCurrentA, v, 1), 'W')})`,
      DESIGN,
    );
    add(
      'row-buffers',
      ladderPowerW(counts.ladders, analog.rowBufferA.value, v, ladderDuty) * tokenTimeS,
      `${count(counts.ladders)} buffers x ${formatSi(analog.rowBufferA.value, 'A')} x ${v} V x ${duty}`,
      DESIGN,
      analog.rowBufferA,
    );
  }
  const rowsA = rowDriver
    ? counts.ladders * rowDriver.currentA + counts.references * rowDriver.sharedA
    : counts.ladders * (design.ladderCurrentA + analog.rowBufferA.value);
  if (!alwaysOn) {
    add(
      'wake-up',
      rowsA * v * analog.ladderWakeUpS.value,
      `${formatSi(rowsA, 'A')} of all ladders and what drives them x ${v} V x ${formatSi(analog.ladderWakeUpS.value, 's')}, once per token`,
      analog.ladderWakeUpS,
    );
  }
  const formats = counts.formats.map((format) => {
    const sideM = Math.sqrt(cellArea(design, constants, format.taps).um2) * 1e-6;
    return { ...format, sideM, wireF: sideM * analog.wireFPerM.value };
  });
  const total = (of: (format: (typeof formats)[number]) => number) =>
    formats.reduce((sum, format) => sum + of(format), 0);
  const gateF = (format: (typeof formats)[number]) => design.device.gateF + format.taps * format.wireF;
  add(
    'gates',
    total((format) => format.gateCharges * gateF(format)) * analog.gateSwingV.value * v,
    `${formats.map((format) => `${count(format.gateCharges)} gates switched x (${formatSi(design.device.gateF, 'F')} gate + ${formatSi(format.taps * format.wireF, 'F')} tap wires)`).join(' + ')} x ${analog.gateSwingV.value} V swing x ${v} V`,
    COUNTED,
    DESIGN,
    analog.gateSwingV,
    analog.wireFPerM,
  );
  add(
    'dacs',
    counts.dacConversions * analog.dacJ.value,
    `${count(counts.dacConversions)} conversions x ${formatSi(analog.dacJ.value, 'J')}`,
    COUNTED,
    analog.dacJ,
  );
  // Class A: a clamp that takes up to I from its bit line is biased with at least I, whatever flows.
  const clampA = analog.clampBiasRatio.value * design.clampMaxA;
  const clampS = design.settleTimeS + design.integrationTimeS;
  add(
    'clamps',
    counts.clampPhases * 2 * clampA * v * clampS,
    `${count(counts.clampPhases)} column ends and phases x 2 bit lines x ${analog.clampBiasRatio.value} x ${formatSi(design.clampMaxA, 'A')} (the most that a column may carry; on average it carried ${formatSi(counts.currentA / counts.clampPhases, 'A')}) x ${v} V x ${formatSi(clampS, 's')}`,
    analog.clampBiasRatio,
    DESIGN,
  );
  add(
    'bit-lines',
    (counts.connectedCells * design.device.drainF + total(({ cells, wireF }) => cells * 2 * wireF)) *
      design.vdsV *
      v,
    `(${count(counts.connectedCells)} drains x ${formatSi(design.device.drainF, 'F')} + ${formats.map(({ cells, wireF }) => `${count(cells)} cells x ${formatSi(2 * wireF, 'F')}`).join(' + ')} of two bit lines) charged once per token to ${design.vdsV} V from ${v} V`,
    DESIGN,
    analog.wireFPerM,
  );
  add(
    'integrators',
    counts.convertedF * design.swingV * v,
    `${count(counts.adcConversions)} conversions x ${formatSi(counts.convertedF / counts.adcConversions, 'F')} x ${design.swingV} V x ${v} V: restoring the charge of full scale once per conversion`,
    COUNTED,
    CHOSEN,
  );
  const converter = adcOf(design, constants);
  add(
    'adcs',
    counts.adcConversions * converter.energyJ,
    `${count(counts.adcConversions)} conversions x ${formatSi(converter.energyJ, 'J')} (${design.adcBits} bit, ${formatSi(constants.adc.rateHz.value, 'S/s')}, ${constants.adc.technologyNm.value} nm, multiplier ${constants.adc.energyMultiplier.value})`,
    COUNTED,
    constants.adc.energyMultiplier,
    constants.adc.technologyNm,
  );

  // Digital.
  const digitalStart = lines.length;
  const perResultJ = digital.accumulateJ.value + digital.scaleMultiplyJ.value;
  add(
    'accumulation',
    counts.adcConversions * perResultJ,
    `${count(counts.adcConversions)} tile results x (${formatSi(digital.accumulateJ.value, 'J')} add + ${formatSi(digital.scaleMultiplyJ.value, 'J')} scale)`,
    COUNTED,
    digital.accumulateJ,
    digital.scaleMultiplyJ,
  );
  const vectorOps = vectorOpsPerToken(shape, contextTokens);
  add(
    'vector-units',
    vectorOps * digital.vectorOpJ.value,
    `${count(vectorOps)} operations (norms, rotations, softmax, activations, residuals) x ${formatSi(digital.vectorOpJ.value, 'J')}`,
    digital.vectorOpJ,
  );
  const attentionMacs = attentionMacPerToken(shape, contextTokens);
  add(
    'attention',
    attentionMacs * digital.attentionMacJ.value,
    `${count(attentionMacs)} MAC at ${contextTokens} tokens of context x ${formatSi(digital.attentionMacJ.value, 'J')}`,
    digital.attentionMacJ,
  );
  const readBytes = kvBytes(shape, design.kvBits, contextTokens);
  const writeBytes = (kvElementsPerToken(shape) * design.kvBits) / 8;
  add(
    'kv-sram',
    readBytes * memory.sramReadJPerByte.value + writeBytes * memory.sramWriteJPerByte.value,
    `${formatSi(readBytes, 'B')} read x ${formatSi(memory.sramReadJPerByte.value, 'J/B')} + ${formatSi(writeBytes, 'B')} written x ${formatSi(memory.sramWriteJPerByte.value, 'J/B')}`,
    memory.sramReadJPerByte,
  );
  if (design.headFabric === 'digital') {
    const macs = shape.vocabulary * shape.embeddingLength;
    const perMacJ = digital.macJ.value + (memory.romReadJPerByte.value * digital.headWeightBits.value) / 8;
    add(
      'head',
      macs * perMacJ,
      `${count(macs)} MAC x (${formatSi(digital.macJ.value, 'J')} + ${digital.headWeightBits.value} bit of ROM at ${formatSi(memory.romReadJPerByte.value, 'J/B')})`,
      digital.macJ,
      memory.romReadJPerByte,
      digital.headWeightBits,
    );
  }
  if (lora.rank.value > 0) {
    const weights = loraWeights(shape, lora.rank.value);
    const perMacJ = digital.macJ.value + (memory.sramReadJPerByte.value * lora.weightBits.value) / 8;
    add(
      'lora',
      weights * perMacJ,
      `rank ${lora.rank.value}: ${count(weights)} MAC x (${formatSi(digital.macJ.value, 'J')} + ${lora.weightBits.value} bit of SRAM)`,
      lora.rank,
      digital.macJ,
      memory.sramReadJPerByte,
    );
  }
  const areaMm2 = sumOf(area);
  const sideMm = Math.sqrt(areaMm2 / shape.layers);
  const inputBits = counts.dacConversions * (design.dacBits + 1);
  const resultBits = counts.adcConversions * design.adcBits;
  const resultBitMm = total(
    ({ adcConversions, sideM }) => adcConversions * design.adcBits * design.tileRows * sideM * 1e3,
  );
  const crossingBits = (dies - 1) * shape.embeddingLength * 16;
  add(
    'wires',
    (inputBits * sideMm + resultBitMm) * wire.energyJPerBitMm.value +
      crossingBits * wire.dieLinkJPerBit.value,
    `(${count(inputBits)} input bits x ${plain(sideMm)} mm + ${count(resultBits)} result bits x ${plain(resultBitMm / resultBits)} mm) x ${formatSi(wire.energyJPerBitMm.value, 'J')} per bit and mm + ${dies - 1} die crossings x ${formatSi(shape.embeddingLength * 16 * wire.dieLinkJPerBit.value, 'J')}`,
    wire.energyJPerBitMm,
    wire.dieLinkJPerBit,
  );
  const digitalJ = sumOf(lines.slice(digitalStart));
  add(
    'clock',
    digitalJ * digital.clockShare.value,
    `${digital.clockShare.value} x ${formatSi(digitalJ, 'J')} of digital energy`,
    digital.clockShare,
  );

  // What flows while the token is under way.
  const of = (...names: string[]) => names.reduce((sum, name) => sum + lineValue(area, name), 0);
  const logicMm2 = of('accumulators', 'vector-units', 'head-macs');
  const sram = of('kv-sram', 'lora-sram');
  const rom = of('embedding-rom', 'head-rom');
  const analogMm2 = of('ladders', 'row-buffers', 'dacs', 'clamps', 'adcs');
  const leakageW =
    logicMm2 * power.logicLeakageWPerMm2.value +
    sram * power.sramLeakageWPerMm2.value +
    rom * power.romLeakageWPerMm2.value +
    analogMm2 * power.analogLeakageWPerMm2.value;
  add(
    'leakage',
    leakageW * tokenTimeS,
    `(${plain(logicMm2)} mm2 logic x ${power.logicLeakageWPerMm2.value} + ${plain(sram)} SRAM x ${power.sramLeakageWPerMm2.value} + ${plain(rom)} ROM x ${power.romLeakageWPerMm2.value} + ${plain(analogMm2)} analog x ${power.analogLeakageWPerMm2.value} W/mm2) = ${formatSi(leakageW, 'W')} x ${formatSi(tokenTimeS, 's')}`,
    power.logicLeakageWPerMm2,
    power.sramLeakageWPerMm2,
    power.romLeakageWPerMm2,
    power.analogLeakageWPerMm2,
  );
  const load = sumOf(lines);
  const lossShare = 1 / power.regulatorEfficiency.value - 1;
  add(
    'regulator',
    load * lossShare,
    `${formatSi(load, 'J')} x (1 / ${power.regulatorEfficiency.value} - 1)`,
    power.regulatorEfficiency,
  );
  const biasW = alwaysOn ? rowsA * v : 0;
  return { lines, staticPowerW: (leakageW + biasW) * (1 + lossShare) };
}

/** Operations of the vector units of one token. */
export function vectorOpsPerToken(shape: CostShape, contextTokens: number): number {
  const { layers, embeddingLength: d, feedForwardLength: ffn, heads, kvHeads, headLength } = shape;
  const norms = (2 * layers + 1) * d * 3;
  const rotations = layers * (heads + kvHeads) * headLength * 3;
  const softmax = layers * heads * contextTokens * 4;
  const activations = layers * ffn * 5;
  const residuals = layers * 2 * d;
  return norms + rotations + softmax + activations + residuals;
}

/**
 * The physical lower bound of current-mode multiplication, per token: E = Vdd q SNR / s^2 for each product, s^2 the
 * normalised variance of the products and B = 1 / 2T (0.7 V, s^2 = 0.1, 20 dB: 0.11 fJ). Shown beside the array's
 * energy: an array below it multiplies with less than the stated SNR, and the line says with how much.
 */
export function shotNoiseBoundJ(supplyV: number, snrDb: number, productVariance: number): number {
  return (supplyV * ELEMENTARY_CHARGE_C * 10 ** (snrDb / 10)) / productVariance;
}

export function referenceLines(
  counts: Census,
  shape: CostShape,
  design: CostDesign,
  constants: CostConstants,
  energy: readonly CostLine[],
): CostLine[] {
  const { bound, analog } = constants;
  const perMacJ = shotNoiseBoundJ(design.supplyV, bound.snrDb.value, bound.productVariance.value);
  const drawnJ = (counts.currentA * design.supplyV * design.integrationTimeS) / counts.macs;
  const drawnDb = 10 * Math.log10(drawnJ / shotNoiseBoundJ(design.supplyV, 0, bound.productVariance.value));
  const lines: CostLine[] = [];
  if (design.rowDriver) {
    const assumedA = design.ladderCurrentA + analog.rowBufferA.value;
    lines.push(
      costLine(
        'row-drivers-assumed',
        (lineValue(energy, 'row-drivers') * assumedA) / design.rowDriver.currentA,
        `the row drivers at the assumed ${formatSi(design.ladderCurrentA, 'A')} per ladder and ${formatSi(analog.rowBufferA.value, 'A')} per buffer instead of the simulated ${formatSi(design.rowDriver.currentA, 'A')}`,
        [DESIGN, analog.rowBufferA],
      ),
    );
  }
  return [
    ...lines,
    costLine(
      'shot-noise-bound',
      counts.macs * perMacJ,
      `${count(counts.macs)} analog MAC (of ${count(macPerToken(shape))}, ${dependentSteps(shape)} steps) x ${design.supplyV} V x q x 10^(${bound.snrDb.value}/10) / ${bound.productVariance.value} = ${formatSi(perMacJ, 'J')} each; the current drawn is ${formatSi(drawnJ, 'J')} each, enough for ${plain(drawnDb)} dB per product`,
      [bound.snrDb, bound.productVariance],
    ),
  ];
}
