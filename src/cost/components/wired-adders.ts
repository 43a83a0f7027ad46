/**
 * Weights as adders and wires (src/fabric/hardwired.ts): all of them work at once on one bit of each input a cycle.
 *
 *   grouped  one adder bit for each nonzero weight (a counter of T wires has T - 1 full adders); then, for each output, tile
 *            and magnitude, an adder of the count's bits for each signed digit of the magnitude
 *   csd      one adder bit for each nonzero signed digit
 *   then     an accumulator for each output and tile that shifts and adds the planes of the inputs
 *
 * Time of a matrix: a cycle for each bit of the inputs, and the depth of its adders (levels of 3 to 2) in cycles.
 */
import { count, formatSi, plain } from '../../format.ts';
import { signedDigits } from '../../tile/signed-digits.ts';
import { weightFormat } from '../../tile/weight-code.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, COUNTED, costLine, gatedSilicon, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import type { CostComponent } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { dependentSteps } from '../shape.ts';
import type { MatrixTotals } from './matrices.ts';

export interface WiredCounts extends MatrixTotals {
  readonly arithmetic: 'grouped' | 'csd';
  readonly headInFabric: boolean;
  /** By bits of the weights, in the order of `formats`. */
  readonly wires: readonly WiredFormat[];
}

export interface WiredFormat {
  /** Nonzero weights, and nonzero signed digits of all. */
  readonly connected: number;
  readonly digits: number;
  /** Outputs times tiles. */
  readonly sums: number;
}

// Physics.

/** Bits of the adders of one format. */
export function wiredAdderBits(
  { arithmetic, tileRows }: Pick<WiredCounts, 'arithmetic' | 'tileRows'>,
  bits: number,
  { connected, digits, sums }: WiredFormat,
): number {
  if (arithmetic === 'csd') return digits;
  const countBits = Math.ceil(Math.log2(tileRows)) + 1;
  let digitsOfMagnitudes = 0;
  for (let m = 1; m <= weightFormat(bits).magnitudeMax; m++) digitsOfMagnitudes += signedDigits(m).length;
  return connected + sums * digitsOfMagnitudes * countBits;
}

/** Bits of the accumulator of one output and tile. */
export const accumulatorBits = ({ inputBits, tileRows }: MatrixTotals, bits: number): number =>
  inputBits + (bits - 1) + Math.ceil(Math.log2(tileRows));

/** Cycles of the adders' depth: levels of 3 to 2 from the rows of a tile, each `adderDelayS`. */
export function depthCycles(tileRows: number, { logic, digital }: CostConstants): number {
  const levels = Math.ceil(Math.log(tileRows / 2) / Math.log(1.5));
  return Math.ceil(levels * logic.adderDelayS.value * digital.clockHz.value);
}

/** Cycles in which a matrix is done: the bits of its inputs, and the depth. */
const stepCycles = ({ inputBits, tileRows }: MatrixTotals, constants: CostConstants): number =>
  inputBits + depthCycles(tileRows, constants);

function totals(counts: WiredCounts): { adders: number; accumulators: number } {
  let [adders, accumulators] = [0, 0];
  counts.formats.forEach(({ bits }, i) => {
    adders += wiredAdderBits(counts, bits, counts.wires[i]);
    accumulators += counts.wires[i].sums * accumulatorBits(counts, bits);
  });
  return { adders, accumulators };
}

/** Silicon of one format, um2. */
export function formatUm2(counts: WiredCounts, i: number, { logic }: CostConstants): number {
  const { bits } = counts.formats[i];
  const accumulators = counts.wires[i].sums * accumulatorBits(counts, bits);
  return (
    ((wiredAdderBits(counts, bits, counts.wires[i]) + accumulators) * logic.adderUm2.value +
      accumulators * logic.registerUm2.value) /
    logic.placementShare.value
  );
}

// Lines.

export function wiredAdders(counts: WiredCounts): CostComponent {
  return {
    name: 'wired-adders',
    clocked: true,
    area: ({ constants }) => {
      const stepS = stepCycles(counts, constants) / constants.digital.clockHz.value;
      return gatedSilicon(
        'logic',
        constants.gating.wiredAdders.value,
        stepS,
        wiredAreaLine(counts, constants),
      );
    },
    latency: ({ shape, constants }) => {
      const { clockHz } = constants.digital;
      const steps = dependentSteps(shape) - (counts.headInFabric ? 0 : 1);
      const depth = depthCycles(counts.tileRows, constants);
      const cycles = stepCycles(counts, constants);
      return {
        lines: [
          costLine(
            'wired-adders',
            (steps * cycles) / clockHz.value,
            () =>
              `${steps} steps x (${counts.inputBits} bits of an input + ${depth} cycles of depth) / ${formatSi(clockHz.value, 'Hz')}`,
            [CHOSEN, clockHz, constants.logic.adderDelayS],
          ),
        ],
        stages: [{ name: 'bits of an input', seconds: counts.inputBits / clockHz.value }],
      };
    },
    energy: ({ constants }) => [wiredEnergyLine(counts, constants)],
  };
}

export function wiredAreaLine(counts: WiredCounts, constants: CostConstants): CostLine {
  const { logic } = constants;
  const { adders, accumulators } = totals(counts);
  const mm2 =
    counts.formats.reduce((sum, _format, i) => sum + formatUm2(counts, i, constants), 0) / UM2_PER_MM2;
  return costLine(
    'wired-adders',
    mm2,
    () =>
      `((${count(adders)} + ${count(accumulators)}) adder bits x ${plain(logic.adderUm2.value)} um2 + ${count(accumulators)} register bits x ${plain(logic.registerUm2.value)} um2) / ${logic.placementShare.value} (${counts.arithmetic}; ${count(counts.wires.reduce((sum, w) => sum + w.connected, 0))} of ${count(counts.weights)} weights are not zero)`,
    [COUNTED, logic.adderUm2, logic.registerUm2, logic.placementShare],
  );
}

function wiredEnergyLine(counts: WiredCounts, { logic }: CostConstants): CostLine {
  const { adders, accumulators } = totals(counts);
  const perBit =
    (adders + accumulators) * logic.adderJPerBit.value + accumulators * logic.registerJPerBit.value;
  return costLine(
    'wired-adders',
    counts.inputBits * perBit,
    () =>
      `${counts.inputBits} bits of an input x (${count(adders + accumulators)} adder bits x ${formatSi(logic.adderJPerBit.value, 'J')} + ${count(accumulators)} register bits x ${formatSi(logic.registerJPerBit.value, 'J')})`,
    [COUNTED, UNPROVEN, logic.adderJPerBit, logic.registerJPerBit],
  );
}
