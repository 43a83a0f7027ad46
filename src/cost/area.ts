/**
 * Silicon area by component, mm2.
 *
 * A cell is as large as the larger of its device and of the wires that cross it: the taps of a row's ladder run
 * horizontally, two bit lines and a source line vertically, each at the metal pitch.
 */

import { count, formatSi, plain } from '../format.ts';
import { adcCost } from './adc.ts';
import type { Census, FormatCensus } from './census.ts';
import type { CostConstants } from './constants.ts';
import { CHOSEN, COUNTED, costLine, DESIGN } from './lines.ts';
import type { CostDesign } from './priced-design.ts';
import type { CostLine } from './report.ts';
import type { CostShape } from './shape.ts';
import { blockTensors, kvElementsPerToken } from './shape.ts';

const UM2_PER_MM2 = 1e6;

/** taps x vertical tracks x pitch^2, um2: seven taps, three verticals at 40 nm are 0.034 um2. */
export function trackAreaUm2(taps: number, verticalTracks: number, pitchM: number): number {
  return taps * verticalTracks * (pitchM * 1e6) ** 2;
}

export interface CellArea {
  deviceUm2: number;
  tracksUm2: number;
  um2: number;
  limitedBy: 'device' | 'wires';
}

/** A cell on a ladder of `taps`. */
export function cellArea(design: CostDesign, constants: CostConstants, taps: number): CellArea {
  const { layout } = constants;
  const deviceUm2 =
    (design.device.widthM + layout.deviceSideM.value) *
    (design.device.lengthM + layout.deviceEndM.value) *
    1e12;
  const tracksUm2 = trackAreaUm2(taps, layout.verticalTracks.value, layout.metalPitchM.value);
  return {
    deviceUm2,
    tracksUm2,
    um2: Math.max(deviceUm2, tracksUm2),
    limitedBy: deviceUm2 >= tracksUm2 ? 'device' : 'wires',
  };
}

/** Converters on the chip. */
export function adcCount(counts: Census, design: CostDesign): number {
  return Math.ceil(counts.columnEnds / design.adcColumnsShared);
}

export function adcOf(design: CostDesign, constants: CostConstants): { energyJ: number; areaUm2: number } {
  const { adc } = constants;
  // The regression starts at 4 bits; a coarser converter is priced as one of 4.
  const one = adcCost(Math.max(4, design.adcBits), adc.rateHz.value, adc.technologyNm.value);
  return {
    energyJ: one.energyJ * adc.energyMultiplier.value,
    areaUm2: one.areaUm2 * adc.areaMultiplier.value,
  };
}

/** Bytes of the key-value cache of one user. */
export function kvBytes(shape: CostShape, kvBits: number, contextTokens: number): number {
  return (kvElementsPerToken(shape) * contextTokens * kvBits) / 8;
}

/** mm2 of SRAM that holds `bytes`. */
export function sramMm2(bytes: number, constants: CostConstants): number {
  const { memory } = constants;
  return (bytes * 8 * memory.sramCellUm2.value) / memory.sramArrayEfficiency.value / UM2_PER_MM2;
}

/** Weights of the adapters: rank (N + K) for each linear layer of the blocks. */
export function loraWeights(shape: CostShape, rank: number): number {
  return shape.layers * rank * blockTensors(shape).reduce((sum, t) => sum + t.outputs + t.inputs, 0);
}

export function areaLines(
  counts: Census,
  shape: CostShape,
  design: CostDesign,
  constants: CostConstants,
  contextTokens: number,
): CostLine[] {
  const { layout, memory, adc, digital, lora } = constants;
  const adcs = adcCount(counts, design);
  const converter = adcOf(design, constants);
  const bytes = kvBytes(shape, design.kvBits, contextTokens);
  const adapters = (loraWeights(shape, lora.rank.value) * lora.weightBits.value) / 8;
  const lines = [
    cellLine(counts.formats, design, constants),
    ladderLine(counts.formats, design, constants),
    um2Line('row-buffers', counts.ladders, layout.rowBufferUm2.value, 'row buffers', [layout.rowBufferUm2]),
    um2Line('dacs', counts.rows, layout.dacUm2.value, 'row DACs', [layout.dacUm2]),
    costLine(
      'clamps',
      (counts.columnEnds * 2 * layout.clampUm2.value) / UM2_PER_MM2,
      `${count(counts.columnEnds)} column ends x 2 bit lines x ${layout.clampUm2.value} um2`,
      [layout.clampUm2],
    ),
    costLine(
      'integrators',
      counts.integratorsF / layout.capacitorFPerUm2.value / UM2_PER_MM2,
      `${count(counts.columnEnds)} column ends x ${formatSi(counts.integratorsF / counts.columnEnds, 'F')} (mean full-scale current x ${formatSi(design.integrationTimeS, 's')} / ${design.swingV} V) / ${formatSi(layout.capacitorFPerUm2.value, 'F')} per um2`,
      [CHOSEN, layout.capacitorFPerUm2],
    ),
    costLine(
      'adcs',
      (adcs * converter.areaUm2) / UM2_PER_MM2,
      `${count(counts.columnEnds)} column ends / ${design.adcColumnsShared} shared = ${count(adcs)} converters x ${plain(converter.areaUm2)} um2 (${design.adcBits} bit, ${formatSi(adc.rateHz.value, 'S/s')}, ${adc.technologyNm.value} nm)`,
      [DESIGN, adc.areaMultiplier, adc.technologyNm, adc.rateHz],
    ),
    um2Line('accumulators', adcs, layout.accumulatorUm2.value, 'accumulators', [layout.accumulatorUm2]),
    costLine(
      'vector-units',
      shape.layers * layout.vectorUnitMm2PerLayer.value,
      `${shape.layers} layers x ${layout.vectorUnitMm2PerLayer.value} mm2`,
      [layout.vectorUnitMm2PerLayer],
    ),
    costLine(
      'kv-sram',
      sramMm2(bytes, constants),
      `${formatSi(bytes, 'B')} (one user, ${contextTokens} tokens, ${design.kvBits} bit) x 8 x ${memory.sramCellUm2.value} um2 / ${memory.sramArrayEfficiency.value}`,
      [memory.sramCellUm2, memory.sramArrayEfficiency],
    ),
    costLine(
      'lora-sram',
      sramMm2(adapters, constants),
      `rank ${lora.rank.value}: ${formatSi(adapters, 'B')} of SRAM`,
      [lora.rank, memory.sramCellUm2],
    ),
    costLine(
      'embedding-rom',
      (shape.vocabulary * shape.embeddingLength * memory.embeddingBits.value) / memory.romBitsPerMm2.value,
      `${count(shape.vocabulary)} x ${shape.embeddingLength} x ${memory.embeddingBits.value} bit / ${formatSi(memory.romBitsPerMm2.value, 'bit')} per mm2`,
      [memory.romBitsPerMm2, memory.embeddingBits],
    ),
  ];
  if (design.headFabric === 'digital') {
    lines.push(
      costLine(
        'head-rom',
        (shape.vocabulary * shape.embeddingLength * digital.headWeightBits.value) /
          memory.romBitsPerMm2.value,
        `${count(shape.vocabulary)} x ${shape.embeddingLength} x ${digital.headWeightBits.value} bit / ${formatSi(memory.romBitsPerMm2.value, 'bit')} per mm2`,
        [memory.romBitsPerMm2, digital.headWeightBits],
      ),
      um2Line('head-macs', digital.headMacsPerCycle.value, layout.headMacUm2.value, 'MAC units', [
        digital.headMacsPerCycle,
        layout.headMacUm2,
      ]),
    );
  }
  const before = lines.reduce((sum, line) => sum + line.value, 0);
  lines.push(
    costLine(
      'overhead',
      before * layout.overheadShare.value,
      `${layout.overheadShare.value} x ${plain(before)} mm2`,
      [layout.overheadShare],
    ),
  );
  return lines;
}

/** Tensors of different weight bits have different cells; each format is a term of the sum. */
function cellLine(formats: readonly FormatCensus[], design: CostDesign, constants: CostConstants): CostLine {
  const { layout } = constants;
  const { widthM, lengthM } = design.device;
  const used = new Set<Parameters<typeof costLine>[3][number]>([DESIGN]);
  let um2 = 0;
  const terms = formats.map(({ bits, taps, cells }) => {
    const cell = cellArea(design, constants, taps);
    um2 += cells * cell.um2;
    for (const constant of cell.limitedBy === 'device'
      ? [layout.deviceSideM, layout.deviceEndM]
      : [layout.metalPitchM, layout.verticalTracks]) {
      used.add(constant);
    }
    return `${count(cells)} cells of ${bits}-bit weights x max(device ${plain(cell.deviceUm2)} um2 = (${plain(widthM * 1e6)} + ${plain(layout.deviceSideM.value * 1e6)}) x (${plain(lengthM * 1e6)} + ${plain(layout.deviceEndM.value * 1e6)}) um, tracks ${plain(cell.tracksUm2)} um2 = ${taps} taps x ${layout.verticalTracks.value} verticals x (${formatSi(layout.metalPitchM.value, 'm')})^2)`;
  });
  return costLine('cells', um2 / UM2_PER_MM2, terms.join(' + '), [...used]);
}

/** Taps and bias device of the ladder that `layout.ladderUm2` is stated for. */
const STATED_LADDER_TAPS = 7;

/** A ladder of m taps is m resistors and a bias device. */
function ladderLine(
  formats: readonly FormatCensus[],
  design: CostDesign,
  { layout }: CostConstants,
): CostLine {
  let um2 = 0;
  const terms = formats.map(({ taps, ladders }) => {
    const one = (layout.ladderUm2.value * (taps + 1)) / (STATED_LADDER_TAPS + 1);
    um2 += ladders * one;
    return `${count(ladders)} row ladders (one per row and ${design.ladderColumns} columns) of ${taps} taps x ${plain(one)} um2`;
  });
  return costLine('ladders', um2 / UM2_PER_MM2, terms.join(' + '), [layout.ladderUm2]);
}

function um2Line(
  name: string,
  number: number,
  um2: number,
  what: string,
  used: Parameters<typeof costLine>[3],
): CostLine {
  return costLine(
    name,
    (number * um2) / UM2_PER_MM2,
    `${count(number)} ${what} x ${plain(um2)} um2`,
    used.length > 0 ? used : [COUNTED],
  );
}

/** Dies of the reticle limit that an area needs. */
export function diesOf(areaMm2: number, constants: CostConstants): number {
  return Math.max(1, Math.ceil(areaMm2 / constants.layout.reticleMm2.value));
}
