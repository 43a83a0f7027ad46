/**
 * What the digital part does around mapped weights (src/mapping/apply.ts): subtract the means in front of the row drivers
 * and add their products behind, rotate by fast Hadamard transforms, and compute side and principal paths of low rank.
 *
 * Counted from the shape and the mapping alone, so that a model that did not run is priced in the same way. Means and
 * addends are constants of the model and stand in ROM; the paths stand in SRAM.
 */
import { count, formatSi } from '../../format.ts';
import { rotationAdditions, rotationOrder } from '../../mapping/hadamard.ts';
import { matricesReading, STAGES } from '../../model/architecture.ts';
import { blockMatrices, type ModelShape } from '../../model/shape.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, costLine, onSilicon, UNPROVEN } from '../lines.ts';
import type { AreaPart, CostComponent } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { sramMm2, storedMacJ } from './digital.ts';

/** What of a mapping costs something at run time. */
export interface MappingWork {
  readonly centred: boolean;
  /** The feed-forward's hidden vector is rotated before its second matrix. */
  readonly rotatedOnline: boolean;
  /** The stream is rotated behind the embedding, and back before the head. */
  readonly residualRotated: boolean;
  /** Ranks; 0 is none. */
  readonly side: number;
  readonly principal: number;
}

/** Of one token. */
export interface MappingCounts {
  /** Subtractions of means, additions of their products, butterflies of the transforms. */
  readonly additions: number;
  readonly macs: number;
  /** Numbers of 16 bits: means and addends. */
  readonly constants: number;
  /** Weights of the paths. */
  readonly pathWeights: number;
}

/** Additions of the fast transform of n elements (src/mapping/hadamard.ts). */
const transformAdditions = (n: number): number => rotationAdditions({ length: n, ...rotationOrder(n) });

export function mappingCounts(shape: ModelShape, work: MappingWork): MappingCounts {
  const matrices = blockMatrices(shape, 0);
  let [additions, macs, constants, pathWeights] = [0, 0, 0, 0];
  for (const stage of STAGES) {
    const readers = matricesReading(shape.architecture, stage).map((i) => matrices[i]);
    const { inputs } = readers[0];
    const outputs = readers.reduce((sum, matrix) => sum + matrix.outputs, 0);
    if (work.centred) {
      additions += inputs + outputs;
      constants += inputs + outputs;
    }
    // The principal part of an input is taken out once for all that read it: down, and down transposed.
    macs += work.principal * (2 * inputs + outputs) + work.side * (readers.length * inputs + outputs);
    pathWeights += work.principal * (inputs + outputs) + work.side * (readers.length * inputs + outputs);
  }
  const online = work.rotatedOnline ? transformAdditions(shape.ffnDim) : 0;
  const stream = work.residualRotated ? 2 * transformAdditions(shape.dim) : 0;
  const { layers } = shape;
  return {
    additions: layers * (additions + online) + stream,
    macs: layers * macs,
    constants: layers * constants,
    pathWeights: layers * pathWeights,
  };
}

/** Bits of a mean and of an addend. */
const CONSTANT_BITS = 16;

export function mapping(work: MappingWork): CostComponent {
  return {
    name: 'mapping',
    clocked: true,
    area: ({ shape, constants }) => mappingAreas(mappingCounts(shape, work), constants),
    latency: ({ shape, constants: { digital } }) => {
      const cycles = cyclesPerBlock(shape, work);
      if (cycles === 0) return { lines: [], stages: [] };
      const seconds = (shape.layers * cycles) / digital.clockHz.value;
      const formula = () =>
        `${shape.layers} layers x ${cycles} cycles (centring, transform, paths) / ${formatSi(digital.clockHz.value, 'Hz')}`;
      return { lines: [costLine('mapping', seconds, formula, [UNPROVEN, digital.clockHz])], stages: [] };
    },
    energy: ({ shape, constants }) => mappingEnergy(mappingCounts(shape, work), constants),
  };
}

/** One cycle for each subtraction and addition, one per stage of the transform, adder trees of the paths. */
function cyclesPerBlock({ ffnDim }: ModelShape, work: MappingWork): number {
  const transform = work.rotatedOnline ? Math.ceil(Math.log2(ffnDim)) : 0;
  // The side path runs beside the tiles; the principal part before them.
  const paths = work.principal > 0 ? STAGES.length * Math.ceil(Math.log2(ffnDim)) : 0;
  return (work.centred ? 2 * STAGES.length : 0) + transform + paths;
}

function mappingAreas(counts: MappingCounts, constants: CostConstants): AreaPart[] {
  const { memory, lora } = constants;
  const parts: AreaPart[] = [];
  if (counts.constants > 0) {
    parts.push(
      ...onSilicon(
        'rom',
        costLine(
          'centre-rom',
          (counts.constants * CONSTANT_BITS) / memory.romBitsPerMm2.value,
          () =>
            `${count(counts.constants)} means and addends x ${CONSTANT_BITS} bit / ${formatSi(memory.romBitsPerMm2.value, 'bit')} per mm2`,
          [CHOSEN, memory.romBitsPerMm2],
        ),
      ),
    );
  }
  if (counts.pathWeights > 0) {
    const bytes = (counts.pathWeights * lora.weightBits.value) / 8;
    parts.push(
      ...onSilicon(
        'sram',
        costLine(
          'paths-sram',
          sramMm2(bytes, constants),
          () =>
            `side and principal paths: ${count(counts.pathWeights)} weights x ${lora.weightBits.value} bit of SRAM`,
          [CHOSEN, lora.weightBits, memory.sramCellUm2],
        ),
      ),
    );
  }
  return parts;
}

function mappingEnergy(counts: MappingCounts, { digital, memory, lora }: CostConstants): CostLine[] {
  const lines: CostLine[] = [];
  if (counts.additions > 0) {
    const readJ = (counts.constants * CONSTANT_BITS * memory.romReadJPerByte.value) / 8;
    lines.push(
      costLine(
        'mapping-additions',
        counts.additions * digital.accumulateJ.value + readJ,
        () =>
          `${count(counts.additions)} additions (centring, addends, transforms) x ${formatSi(digital.accumulateJ.value, 'J')} + ${count(counts.constants)} numbers of ${CONSTANT_BITS} bit from ROM`,
        [CHOSEN, digital.accumulateJ, memory.romReadJPerByte],
      ),
    );
  }
  if (counts.macs > 0) {
    const perMacJ = storedMacJ(digital.macJ.value, memory.sramReadJPerByte.value, lora.weightBits.value);
    lines.push(
      costLine(
        'mapping-paths',
        counts.macs * perMacJ,
        () =>
          `side and principal paths: ${count(counts.macs)} MAC x (${formatSi(digital.macJ.value, 'J')} + ${lora.weightBits.value} bit of SRAM at ${formatSi(memory.sramReadJPerByte.value, 'J/B')})`,
        [CHOSEN, digital.macJ, memory.sramReadJPerByte],
      ),
    );
  }
  return lines;
}
