/**
 * Multiply-accumulate units beside a ROM that holds the mapped weights: what a digital fabric is built of.
 *
 * The units of a block serve its matrices in turn, one weight a cycle each; a weight is read from the ROM for every product.
 */
import { count, formatSi, plain } from '../../format.ts';
import type { Provenance } from '../../provenance.ts';
import type { Constant, CostConstants } from '../constants.ts';
import { CHOSEN, COUNTED, costLine, gatedSilicon, onSilicon, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import type { CostComponent, PricedSystem, Traffic } from '../priced-design.ts';
import type { CostLine, WeightCost } from '../report.ts';
import { romMm2 } from './digital.ts';
import type { MatrixFormat, MatrixTotals } from './matrices.ts';
import { SCALE_BITS, scaleLine, scaleRomLine } from './scales.ts';

/** A design with multiply-accumulate units at the activity of a run, per token, as far as its cost needs it. */
export interface MacCounts extends MatrixTotals {
  readonly weightsPerUnit: number;
  /** Units of all banks. */
  readonly units: number;
  /** Time that reading a weight takes, where it is more than a cycle of the clock; undefined: a cycle. */
  readonly read?: ((constants: CostConstants) => ReadTime) | undefined;
}

export interface ReadTime {
  readonly seconds: number;
  readonly formula: string;
  readonly used: readonly Provenance[];
}

/** Returns the time in which a unit takes its next weight, s: a cycle of the clock, or a read that takes longer. */
function weightTime({ read }: MacCounts, constants: CostConstants): ReadTime {
  const { clockHz } = constants.digital;
  const cycle = {
    seconds: 1 / clockHz.value,
    formula: `1 / ${formatSi(clockHz.value, 'Hz')}`,
    used: [clockHz],
  };
  const one = read?.(constants);
  return one !== undefined && one.seconds > cycle.seconds ? one : cycle;
}

/** Bits of a result on its way to the vector units. */
const RESULT_BITS = 16;

// Physics.

/**
 * Interpolates a figure of a multiply-accumulate of w x a bits: a line in the product w a (the adders of an array multiplier)
 * through 4 x 4 and 8 x 8 bits, whose intercept is the accumulator.
 */
export function macFigure(weightBits: number, inputBits: number, at4x4: number, at8x8: number): number {
  return at4x4 + ((at8x8 - at4x4) * (weightBits * inputBits - 16)) / 48;
}

function mostBits(formats: readonly MatrixFormat[]): number {
  return Math.max(...formats.map(({ bits }) => bits));
}

function storedBits({ formats, scales }: Pick<MatrixTotals, 'formats' | 'scales'>): {
  weights: number;
  scales: number;
} {
  return {
    weights: formats.reduce((sum, { bits, weights }) => sum + bits * weights, 0),
    scales: scales * SCALE_BITS,
  };
}

// Lines.

/** Weights and scales in mask ROM. */
export function weightRom(counts: MacCounts): CostComponent {
  return {
    name: 'weight-rom',
    clocked: true,
    area: ({ constants }) => {
      const { romBitsPerMm2 } = constants.memory;
      const bits = storedBits(counts);
      const terms = counts.formats.map((f) => `${count(f.weights)} weights x ${f.bits} bit`).join(' + ');
      return onSilicon(
        'rom',
        costLine(
          'weight-rom',
          romMm2(bits.weights, constants),
          () => `(${terms}) / ${formatSi(romBitsPerMm2.value, 'bit')} per mm2`,
          [CHOSEN, romBitsPerMm2],
        ),
        scaleRomLine(counts, constants),
      );
    },
    energy: ({ constants: { memory } }) => {
      const bits = storedBits(counts);
      const bytes = (bits.weights + bits.scales) / 8;
      return [
        costLine(
          'weight-rom',
          bytes * memory.romReadJPerByte.value,
          () =>
            `${formatSi(bytes, 'B')} of weights and scales, each read once x ${formatSi(memory.romReadJPerByte.value, 'J/B')}`,
          [COUNTED, memory.romReadJPerByte],
        ),
      ];
    },
  };
}

/** The units, their accumulators and what scales the sum of a tile. */
export function macUnits(counts: MacCounts): CostComponent {
  return {
    name: 'macs',
    clocked: true,
    area: ({ constants }) =>
      gatedSilicon(
        'logic',
        constants.gating.macs.value,
        counts.weightsPerUnit * weightTime(counts, constants).seconds,
        unitLine(counts, constants),
      ),
    latency: ({ constants }) => {
      const { seconds, formula, used } = weightTime(counts, constants);
      const bankS = counts.weightsPerUnit * seconds;
      return {
        lines: [
          costLine(
            'macs',
            counts.banks.length * bankS,
            () =>
              `${count(counts.banks.length)} banks of units (one per block of the model) x ${count(counts.weightsPerUnit)} weights a unit x ${formula}`,
            [UNPROVEN, ...used],
          ),
        ],
        stages: [{ name: 'multiply-accumulate', seconds: bankS }],
      };
    },
    energy: ({ constants }) => [productLine(counts, constants), scaleLine(counts, constants)],
  };
}

function unitLine(
  { units, weights, weightsPerUnit, formats, inputBits }: MacCounts,
  { layout }: CostConstants,
): CostLine {
  const bits = mostBits(formats);
  const um2 = macFigure(bits, inputBits, layout.mac4Um2.value, layout.macUm2.value);
  return costLine(
    'macs',
    (units * um2) / UM2_PER_MM2,
    () =>
      `${count(weights)} weights / ${count(weightsPerUnit)} a unit = ${count(units)} units of ${bits} x ${inputBits} bit x ${plain(um2)} um2 (line through ${layout.mac4Um2.value} at 4 x 4 and ${layout.macUm2.value} at 8 x 8 bit)`,
    [UNPROVEN, layout.mac4Um2, layout.macUm2],
  );
}

function productLine({ formats, inputBits }: MacCounts, { digital }: CostConstants): CostLine {
  const each = (bits: number) => macFigure(bits, inputBits, digital.mac4J.value, digital.macJ.value);
  return costLine(
    'macs',
    formats.reduce((sum, { bits, macs }) => sum + macs * each(bits), 0),
    () =>
      `${formats.map(({ bits, macs }) => `${count(macs)} MAC of ${bits} x ${inputBits} bit x ${formatSi(each(bits), 'J')}`).join(' + ')} (line through ${formatSi(digital.mac4J.value, 'J')} at 4 x 4 and ${formatSi(digital.macJ.value, 'J')} at 8 x 8 bit)`,
    [COUNTED, INTERPOLATED, digital.mac4J, digital.macJ],
  );
}

const INTERPOLATED: Pick<Constant, 'source' | 'tag'> = {
  source: 'linear in the product of the widths (adders of an array multiplier)',
  tag: 'assumed',
};

export function macTraffic(counts: MacCounts, { constants }: PricedSystem): Traffic {
  const bits = storedBits(counts);
  return bankTraffic(
    counts,
    romMm2(bits.weights + bits.scales, constants) + unitLine(counts, constants).value,
  );
}

/** Inputs cross a layer (components/digital.ts); results leave the silicon of a block's weights and adders, of `mm2` in all. */
export function bankTraffic({ banks, inputs, inputBits, outputs }: MatrixTotals, mm2: number): Traffic {
  const bankSideMm = Math.sqrt(mm2 / banks.length);
  const resultBits = outputs * RESULT_BITS;
  return { inputBits: inputs * inputBits, resultBits, resultBitMm: resultBits * bankSideMm };
}

/** Silicon of the units, mm2. */
export const unitsMm2 = (counts: MacCounts, constants: CostConstants): number =>
  unitLine(counts, constants).value;

export function storedWeights({ formats }: MacCounts, constants: CostConstants): WeightCost[] {
  return formats.map(({ bits, tensors, weights }) => {
    const mm2 = romMm2(bits * weights, constants);
    return { bits, tensors, cells: weights, cellUm2: (mm2 * UM2_PER_MM2) / weights, cellsMm2: mm2 };
  });
}
