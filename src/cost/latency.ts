/**
 * Time of one token of one user by component, s, and the time after which a stage can take the next token.
 *
 * A token passes 4 layers + 1 dependent steps. An analog step settles and integrates once per phase and then
 * converts, `adcColumnsShared` columns one after the other. The cache is read by each layer before its output step:
 * all macros of that layer in parallel, each through its port.
 */

import { count, formatSi, plain } from '../format.ts';
import { kvBytes } from './area.ts';
import type { CostConstants } from './constants.ts';
import { costLine, DESIGN } from './lines.ts';
import { type CostDesign, phasesOf } from './priced-design.ts';
import type { CostLine } from './report.ts';
import type { CostShape } from './shape.ts';
import { dependentSteps } from './shape.ts';

export interface Latency {
  lines: CostLine[];
  /** One analog step. */
  stepS: number;
  /** Reading one layer's cache. */
  kvReadPerLayerS: number;
  /** The digital head's products; 0 with an analog head. */
  headS: number;
}

export function latencyOf(
  shape: CostShape,
  design: CostDesign,
  constants: CostConstants,
  contextTokens: number,
  areaMm2: number,
  dies: number,
): Latency {
  const { digital, memory, adc, wire } = constants;
  const { phases, conversions } = phasesOf(design.sign);
  const steps = dependentSteps(shape) - (design.headFabric === 'digital' ? 1 : 0);
  const convertS = (conversions * design.adcColumnsShared) / adc.rateHz.value;
  const stepS = phases * (design.settleTimeS + design.integrationTimeS) + convertS;
  const clockHz = digital.clockHz.value;

  const layerBytes = kvBytes(shape, design.kvBits, contextTokens) / shape.layers;
  const macros = Math.max(1, Math.ceil(layerBytes / memory.kvMacroBytes.value));
  const portBytes = memory.kvPortBytesPerCycle.value;
  const kvReadPerLayerS = layerBytes / (macros * portBytes) / clockHz;

  const headMacs = shape.vocabulary * shape.embeddingLength;
  const headS = design.headFabric === 'digital' ? headMacs / digital.headMacsPerCycle.value / clockHz : 0;
  const depthCycles = shape.layers * digital.vectorDepthCyclesPerLayer.value + digital.headDepthCycles.value;
  const sideMm = Math.sqrt(areaMm2 / shape.layers);
  const wireSteps = dependentSteps(shape);
  const lines = [
    costLine(
      'settle',
      steps * phases * design.settleTimeS,
      `${steps} analog steps x ${phases} phases x ${formatSi(design.settleTimeS, 's')}`,
      [DESIGN],
    ),
    costLine(
      'integrate',
      steps * phases * design.integrationTimeS,
      `${steps} analog steps x ${phases} phases x ${formatSi(design.integrationTimeS, 's')}`,
      [DESIGN],
    ),
    costLine(
      'convert',
      steps * convertS,
      `${steps} analog steps x ${conversions} x ${design.adcColumnsShared} columns / ${formatSi(adc.rateHz.value, 'S/s')}`,
      [DESIGN, adc.rateHz],
    ),
    costLine(
      'kv-read',
      shape.layers * kvReadPerLayerS,
      `${shape.layers} layers x ${formatSi(layerBytes, 'B')} / (${count(macros)} macros x ${portBytes} B x ${formatSi(clockHz, 'Hz')})`,
      [memory.kvMacroBytes, memory.kvPortBytesPerCycle, digital.clockHz],
    ),
    costLine(
      'digital-depth',
      depthCycles / clockHz,
      `(${shape.layers} layers x ${digital.vectorDepthCyclesPerLayer.value} + ${digital.headDepthCycles.value}) cycles / ${formatSi(clockHz, 'Hz')}`,
      [digital.vectorDepthCyclesPerLayer, digital.clockHz],
    ),
    costLine(
      'wires',
      wireSteps * 2 * sideMm * wire.delaySPerMm.value + (dies - 1) * wire.dieLinkS.value,
      `${wireSteps} steps x 2 x ${plain(sideMm)} mm (side of a layer) x ${formatSi(wire.delaySPerMm.value, 's')} per mm + ${dies - 1} die crossings x ${formatSi(wire.dieLinkS.value, 's')}`,
      [wire.delaySPerMm, wire.dieLinkS],
    ),
  ];
  if (headS > 0) {
    lines.push(
      costLine(
        'head',
        headS,
        `${count(headMacs)} MAC / (${count(digital.headMacsPerCycle.value)} per cycle x ${formatSi(clockHz, 'Hz')})`,
        [digital.headMacsPerCycle, digital.clockHz],
      ),
    );
  }
  return { lines, stepS, kvReadPerLayerS, headS };
}
