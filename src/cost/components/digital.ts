/**
 * The digital units that every chip has whatever its fabric: vector units, attention with its cache, embedding, head
 * (where the fabric does not compute it), adapters, and the wires between them.
 */
import { count, formatSi, plain } from '../../format.ts';
import { blockMatrices, type ModelShape, normElements } from '../../model/shape.ts';
import type { CostConstants } from '../constants.ts';
import type { Floorplan } from '../floorplan.ts';
import { costLine, gatedSilicon, onSilicon, piecesLine } from '../lines.ts';
import type {
  AreaPart,
  CostComponent,
  LatencyPart,
  PlacedSystem,
  PricedDesign,
  PricedSystem,
  TimedSystem,
} from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { attentionMacPerToken, dependentSteps, kvElementsPerToken } from '../shape.ts';

// Physics.

/** Bytes of the key-value cache of one user. */
export function kvBytes(shape: ModelShape, kvBits: number, contextTokens: number): number {
  return (kvElementsPerToken(shape) * contextTokens * kvBits) / 8;
}

/** mm2 of SRAM that holds `bytes`: 8 bits x cell / efficiency. */
export function sramMm2(bytes: number, { memory }: CostConstants): number {
  return (bytes * 8 * memory.sramCellUm2.value) / memory.sramArrayEfficiency.value / 1e6;
}

/** mm2 of a compiled ROM. */
export function romMm2(bits: number, { memory }: CostConstants): number {
  return bits / memory.romBitsPerMm2.value;
}

/** Weights of the adapters: rank (N + K) for each linear layer of the blocks. */
export function loraWeights(shape: ModelShape, rank: number): number {
  return shape.layers * rank * blockMatrices(shape, 0).reduce((sum, m) => sum + m.outputs + m.inputs, 0);
}

/** Operations of the vector units of one token: norms, rotations, softmax, activations, residuals. */
export function vectorOpsPerToken(shape: ModelShape, contextTokens: number): number {
  const { layers, dim, ffnDim, heads, kvHeads, headDim } = shape;
  const norms = (layers * normElements(shape) + dim) * 3;
  const rotations = layers * (heads + kvHeads) * headDim * 3;
  const softmax = layers * heads * contextTokens * 4;
  const activations = layers * ffnDim * 5;
  const residuals = layers * 2 * dim;
  return norms + rotations + softmax + activations + residuals;
}

/** Energy of one multiply-accumulate with a weight that is read for it: E = E_mac + E_read bits / 8, J. */
export function storedMacJ(macJ: number, readJPerByte: number, bits: number): number {
  return macJ + (readJPerByte * bits) / 8;
}

/**
 * Time to read one layer's cache, s: all macros of the layer in parallel, each through its port,
 * t = bytes / (macros x port) / f.
 */
export function kvReadS(
  layerBytes: number,
  macroBytes: number,
  portBytesPerCycle: number,
  clockHz: number,
): { seconds: number; macros: number } {
  const macros = Math.max(1, Math.ceil(layerBytes / macroBytes));
  return { seconds: layerBytes / (macros * portBytesPerCycle) / clockHz, macros };
}

/** Time of attention of one layer, s: the slower of reading its cache and multiplying by it. */
export function attentionStep(
  kvBits: number,
  { shape, constants, contextTokens }: PricedSystem,
): { seconds: number; readS: number; macros: number; macs: number } {
  const { digital, memory } = constants;
  const clockHz = digital.clockHz.value;
  const layerBytes = kvBytes(shape, kvBits, contextTokens) / shape.layers;
  const read = kvReadS(layerBytes, memory.kvMacroBytes.value, memory.kvPortBytesPerCycle.value, clockHz);
  const macs = attentionMacPerToken(shape, contextTokens) / shape.layers;
  const computeS = macs / digital.attentionMacsPerCycle.value / clockHz;
  return { seconds: Math.max(read.seconds, computeS), readS: read.seconds, macros: read.macros, macs };
}

function headWeights(shape: ModelShape): number {
  return shape.vocab * shape.dim;
}

/** Half the way around a layer: from its middle to its farthest corner. */
const halfRoundMm = ({ columnMm, layerMm }: Floorplan): number => (columnMm + layerMm) / 2;

// Lines.

type DigitalDesign = Pick<PricedDesign, 'kvBits' | 'headInFabric' | 'traffic'>;

export function digital(design: DigitalDesign): CostComponent {
  const head = !design.headInFabric;
  return {
    name: 'digital',
    clocked: true,
    area: (system) => [
      ...unitAreas(design.kvBits, system),
      ...memoryAreas(design.kvBits, system),
      ...(head ? headAreas(system) : []),
    ],
    latency: (system) => digitalLatency(design.kvBits, head, system),
    energy: (system) => [
      ...attentionLines(design.kvBits, system),
      ...(head ? [headLine(system)] : []),
      ...adapterLines(system),
      wireLine(design, system),
    ],
  };
}

/** Vector and attention units: a layer's are on while it is under way. */
function unitAreas(kvBits: number, system: PricedSystem): AreaPart[] {
  const { shape, constants } = system;
  const { layout, digital, gating } = constants;
  const perCycle = digital.attentionMacsPerCycle;
  const attentionS = attentionStep(kvBits, system).seconds;
  const depthS = digital.vectorDepthCyclesPerLayer.value / digital.clockHz.value;
  return [
    ...gatedSilicon(
      'logic',
      gating.vectorUnits.value,
      depthS,
      costLine(
        'vector-units',
        shape.layers * layout.vectorUnitMm2PerLayer.value,
        () => `${shape.layers} layers x ${layout.vectorUnitMm2PerLayer.value} mm2`,
        [layout.vectorUnitMm2PerLayer],
      ),
    ),
    ...gatedSilicon(
      'logic',
      gating.attentionUnits.value,
      attentionS,
      piecesLine(
        'attention-units',
        shape.layers * perCycle.value,
        layout.attentionMacUm2.value,
        `units (${shape.layers} layers x ${count(perCycle.value)} MAC per cycle)`,
        [layout.attentionMacUm2, perCycle],
      ),
    ),
  ];
}

function memoryAreas(kvBits: number, { shape, constants, contextTokens }: PricedSystem): AreaPart[] {
  const { memory, lora } = constants;
  const bytes = kvBytes(shape, kvBits, contextTokens);
  const adapters = (loraWeights(shape, lora.rank.value) * lora.weightBits.value) / 8;
  return [
    ...onSilicon(
      'sram',
      costLine(
        'kv-sram',
        sramMm2(bytes, constants),
        () =>
          `${formatSi(bytes, 'B')} (one user, ${contextTokens} tokens, ${kvBits} bit) x 8 x ${memory.sramCellUm2.value} um2 / ${memory.sramArrayEfficiency.value}`,
        [memory.sramCellUm2, memory.sramArrayEfficiency],
      ),
      costLine(
        'lora-sram',
        sramMm2(adapters, constants),
        () => `rank ${lora.rank.value}: ${formatSi(adapters, 'B')} of SRAM`,
        [lora.rank, memory.sramCellUm2],
      ),
    ),
    ...onSilicon('rom', romLine('embedding-rom', shape, memory.embeddingBits, memory.romBitsPerMm2)),
  ];
}

/** ROM that holds a value for each token of the vocabulary and each channel. */
function romLine(
  name: string,
  shape: ModelShape,
  bits: CostConstants['memory']['embeddingBits'],
  perMm2: CostConstants['memory']['romBitsPerMm2'],
): CostLine {
  return costLine(
    name,
    (shape.vocab * shape.dim * bits.value) / perMm2.value,
    () =>
      `${count(shape.vocab)} x ${shape.dim} x ${bits.value} bit / ${formatSi(perMm2.value, 'bit')} per mm2`,
    [perMm2, bits],
  );
}

function headAreas({ shape, constants }: PricedSystem): AreaPart[] {
  const { layout, memory, digital, gating } = constants;
  const headS = headWeights(shape) / digital.headMacsPerCycle.value / digital.clockHz.value;
  return [
    ...onSilicon('rom', romLine('head-rom', shape, digital.headWeightBits, memory.romBitsPerMm2)),
    ...gatedSilicon(
      'logic',
      gating.headMacs.value,
      headS,
      piecesLine('head-macs', digital.headMacsPerCycle.value, layout.macUm2.value, 'MAC units', [
        digital.headMacsPerCycle,
        layout.macUm2,
      ]),
    ),
  ];
}

function digitalLatency(kvBits: number, head: boolean, system: PlacedSystem): LatencyPart {
  const { shape, constants, contextTokens, floorplan, dies } = system;
  const { digital, memory, wire } = constants;
  const clockHz = digital.clockHz.value;
  const layerBytes = kvBytes(shape, kvBits, contextTokens) / shape.layers;
  const portBytes = memory.kvPortBytesPerCycle.value;
  const attention = attentionStep(kvBits, system);
  const depthCycles = shape.layers * digital.vectorDepthCyclesPerLayer.value + digital.headDepthCycles.value;
  const halfMm = halfRoundMm(floorplan);
  const steps = dependentSteps(shape);
  const headMacs = headWeights(shape);
  const headS = head ? headMacs / digital.headMacsPerCycle.value / clockHz : 0;
  const lines = [
    costLine(
      'attention',
      shape.layers * attention.seconds,
      () =>
        `${shape.layers} layers x the longer of ${formatSi(layerBytes, 'B')} / (${count(attention.macros)} macros x ${portBytes} B x ${formatSi(clockHz, 'Hz')}) and ${count(attention.macs)} MAC / (${count(digital.attentionMacsPerCycle.value)} per cycle x ${formatSi(clockHz, 'Hz')})`,
      [memory.kvMacroBytes, memory.kvPortBytesPerCycle, digital.attentionMacsPerCycle, digital.clockHz],
    ),
    costLine(
      'digital-depth',
      depthCycles / clockHz,
      () =>
        `(${shape.layers} layers x ${digital.vectorDepthCyclesPerLayer.value} + ${digital.headDepthCycles.value}) cycles / ${formatSi(clockHz, 'Hz')}`,
      [digital.vectorDepthCyclesPerLayer, digital.clockHz],
    ),
    costLine(
      'wires',
      (steps * 2 * halfMm + floorplan.snakeMm) * wire.delaySPerMm.value + (dies - 1) * wire.dieLinkS.value,
      () =>
        `(${steps} steps x 2 x ${plain(halfMm)} mm from the middle of a layer of ${plain(floorplan.columnMm)} x ${plain(floorplan.layerMm)} mm to its corner + ${plain(floorplan.snakeMm)} mm from layer to layer) x ${formatSi(wire.delaySPerMm.value, 's')} per mm + ${dies - 1} die crossings x ${formatSi(wire.dieLinkS.value, 's')}`,
      [wire.delaySPerMm, wire.dieLinkS],
    ),
  ];
  if (headS > 0) {
    lines.push(
      costLine(
        'head',
        headS,
        () =>
          `${count(headMacs)} MAC / (${count(digital.headMacsPerCycle.value)} per cycle x ${formatSi(clockHz, 'Hz')})`,
        [digital.headMacsPerCycle, digital.clockHz],
      ),
    );
  }
  return { lines, stages: [{ name: 'head', seconds: headS }] };
}

function attentionLines(kvBits: number, { shape, constants, contextTokens }: PricedSystem): CostLine[] {
  const { digital, memory } = constants;
  const vectorOps = vectorOpsPerToken(shape, contextTokens);
  const attentionMacs = attentionMacPerToken(shape, contextTokens);
  const readBytes = kvBytes(shape, kvBits, contextTokens);
  const writeBytes = (kvElementsPerToken(shape) * kvBits) / 8;
  return [
    costLine(
      'vector-units',
      vectorOps * digital.vectorOpJ.value,
      () =>
        `${count(vectorOps)} operations (norms, rotations, softmax, activations, residuals) x ${formatSi(digital.vectorOpJ.value, 'J')}`,
      [digital.vectorOpJ],
    ),
    costLine(
      'attention',
      attentionMacs * digital.attentionMacJ.value,
      () =>
        `${count(attentionMacs)} MAC at ${contextTokens} tokens of context x ${formatSi(digital.attentionMacJ.value, 'J')}`,
      [digital.attentionMacJ],
    ),
    costLine(
      'kv-sram',
      readBytes * memory.sramReadJPerByte.value + writeBytes * memory.sramWriteJPerByte.value,
      () =>
        `${formatSi(readBytes, 'B')} read x ${formatSi(memory.sramReadJPerByte.value, 'J/B')} + ${formatSi(writeBytes, 'B')} written x ${formatSi(memory.sramWriteJPerByte.value, 'J/B')}`,
      [memory.sramReadJPerByte],
    ),
  ];
}

function headLine({ shape, constants: { digital, memory } }: PricedSystem): CostLine {
  const macs = headWeights(shape);
  const perMacJ = storedMacJ(digital.macJ.value, memory.romReadJPerByte.value, digital.headWeightBits.value);
  return costLine(
    'head',
    macs * perMacJ,
    () =>
      `${count(macs)} MAC x (${formatSi(digital.macJ.value, 'J')} + ${digital.headWeightBits.value} bit of ROM at ${formatSi(memory.romReadJPerByte.value, 'J/B')})`,
    [digital.macJ, memory.romReadJPerByte, digital.headWeightBits],
  );
}

function adapterLines({ shape, constants: { digital, memory, lora } }: PricedSystem): CostLine[] {
  if (lora.rank.value === 0) return [];
  const weights = loraWeights(shape, lora.rank.value);
  const perMacJ = storedMacJ(digital.macJ.value, memory.sramReadJPerByte.value, lora.weightBits.value);
  return [
    costLine(
      'lora',
      weights * perMacJ,
      () =>
        `rank ${lora.rank.value}: ${count(weights)} MAC x (${formatSi(digital.macJ.value, 'J')} + ${lora.weightBits.value} bit of SRAM)`,
      [lora.rank, digital.macJ, memory.sramReadJPerByte],
    ),
  ];
}

function wireLine(design: DigitalDesign, system: TimedSystem): CostLine {
  const { shape, floorplan, dies } = system;
  const { wire } = system.constants;
  const { inputBits, resultBits, resultBitMm } = design.traffic(system);
  const halfMm = halfRoundMm(floorplan);
  const perCrossingBits = shape.dim * 16;
  return costLine(
    'wires',
    (inputBits * halfMm + resultBitMm + perCrossingBits * floorplan.snakeMm) * wire.energyJPerBitMm.value +
      (dies - 1) * perCrossingBits * wire.dieLinkJPerBit.value,
    () =>
      `(${count(inputBits)} input bits x ${plain(halfMm)} mm + ${count(resultBits)} result bits x ${plain(resultBitMm / resultBits)} mm + ${count(perCrossingBits)} bits x ${plain(floorplan.snakeMm)} mm from layer to layer) x ${formatSi(wire.energyJPerBitMm.value, 'J')} per bit and mm + ${dies - 1} die crossings x ${formatSi(perCrossingBits * wire.dieLinkJPerBit.value, 'J')}`,
    [wire.energyJPerBitMm, wire.dieLinkJPerBit],
  );
}
