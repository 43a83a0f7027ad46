/**
 * Selectors of routed products (src/fabric/routed.ts): pass gates that put the product of a weight's magnitude on the leaf of
 * an adder tree, the trees with an accumulator each, and the few adders that make the products.
 *
 *   product bits p  = input bits + magnitude bits of a cell; the sign inverts them
 *   leaf            (taps + 2) p pass gates (a product of each tap, true and inverted), p register bits
 *   tree of T       sum over levels l of T / 2^l adders of p + l - 1 bits, then an accumulator of p + log2(rows) bits
 *   product set     an adder of p bits for each odd magnitude above 1, a register for each odd magnitude
 *
 * The leaves of a block serve its weights in turn, one a cycle.
 */
import { count, formatSi, plain } from '../../format.ts';
import type { Provenance } from '../../provenance.ts';
import { routedAdders } from '../../tile/signed-digits.ts';
import { weightFormat } from '../../tile/weight-code.ts';
import type { CostConstants } from '../constants.ts';
import { COUNTED, costLine, gatedSilicon, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import type { CostComponent } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import type { MatrixTotals } from './matrices.ts';

export interface SelectorCounts extends MatrixTotals {
  readonly weightsPerAdder: number;
  readonly treeInputs: number;
  /** Leaves of all banks, in whole trees. */
  readonly leaves: number;
  /** Inputs that a bank takes at once, over all banks: makers of products. */
  readonly makers: number;
  /** Products selected, and inputs whose products were made, per token. */
  readonly selections: number;
  readonly productSets: number;
  /** Energy of one selected bit, J, and where it is from. */
  readonly selectedBitJ: number;
  readonly selector: Provenance;
}

// Physics.

export interface SelectorBits {
  /** Largest magnitude of a cell. */
  readonly taps: number;
  readonly product: number;
  readonly tree: number;
  readonly accumulator: number;
}

/** Adder bits of a binary tree of `inputs` numbers of `bits` bits: each level is half as many, of one bit more. */
export function treeAdderBits(inputs: number, bits: number): number {
  let sum = 0;
  for (let left = inputs, width = bits; left > 1; left = Math.ceil(left / 2), width++) {
    sum += Math.floor(left / 2) * width;
  }
  return sum;
}

export function selectorBits({ formats, inputBits, tileRows, treeInputs }: SelectorCounts): SelectorBits {
  const { taps } = weightFormat(Math.max(...formats.map(({ bits }) => bits)));
  const product = inputBits + Math.log2(taps + 1);
  return {
    taps,
    product,
    tree: treeAdderBits(treeInputs, product),
    accumulator: product + Math.ceil(Math.log2(tileRows)),
  };
}

export function leafUm2({ taps, product }: SelectorBits, { logic }: CostConstants): number {
  return (
    ((taps + 2) * product * logic.passGateUm2.value + product * logic.registerUm2.value) /
    logic.placementShare.value
  );
}

export function treeUm2({ tree, accumulator }: SelectorBits, { logic }: CostConstants): number {
  return (
    ((tree + accumulator) * logic.adderUm2.value + accumulator * logic.registerUm2.value) /
    logic.placementShare.value
  );
}

export function makerUm2({ taps, product }: SelectorBits, { logic }: CostConstants): number {
  return (
    (product *
      (routedAdders(taps) * logic.adderUm2.value + (routedAdders(taps) + 1) * logic.registerUm2.value)) /
    logic.placementShare.value
  );
}

// Lines.

export function selectors(counts: SelectorCounts): CostComponent {
  return {
    name: 'selectors',
    clocked: true,
    area: ({ constants }) => {
      const bankS = counts.weightsPerAdder / constants.digital.clockHz.value;
      return selectorAreas(counts, constants).flatMap((line) =>
        gatedSilicon('logic', constants.gating.selectors.value, bankS, line),
      );
    },
    latency: ({ constants: { digital } }) => {
      const bankS = counts.weightsPerAdder / digital.clockHz.value;
      return {
        lines: [
          costLine(
            'selectors',
            counts.banks.length * bankS,
            () =>
              `${count(counts.banks.length)} banks of selectors (one per block of the model) x ${count(counts.weightsPerAdder)} weights a selector / ${formatSi(digital.clockHz.value, 'Hz')}`,
            [UNPROVEN, digital.clockHz],
          ),
        ],
        stages: [{ name: 'selectors', seconds: bankS }],
      };
    },
    energy: ({ constants }) => selectorEnergies(counts, constants),
  };
}

export function selectorAreas(counts: SelectorCounts, constants: CostConstants): CostLine[] {
  const { logic } = constants;
  const bits = selectorBits(counts);
  const [leaf, tree, maker] = [leafUm2(bits, constants), treeUm2(bits, constants), makerUm2(bits, constants)];
  const trees = counts.leaves / counts.treeInputs;
  return [
    costLine(
      'selectors',
      (counts.leaves * leaf + counts.makers * maker) / UM2_PER_MM2,
      () =>
        `${count(counts.leaves)} selectors of ${bits.product} bit x ${plain(leaf)} um2 + ${count(counts.makers)} makers of products x ${plain(maker)} um2`,
      [UNPROVEN, logic.passGateUm2, logic.registerUm2, logic.adderUm2, logic.placementShare],
    ),
    costLine(
      'adder-trees',
      (trees * tree) / UM2_PER_MM2,
      () =>
        `${count(trees)} trees of ${counts.treeInputs} (${bits.tree} adder bits, accumulator of ${bits.accumulator}) x ${plain(tree)} um2`,
      [UNPROVEN, logic.adderUm2, logic.registerUm2, logic.placementShare],
    ),
  ];
}

function selectorEnergies(counts: SelectorCounts, { logic }: CostConstants): CostLine[] {
  const bits = selectorBits(counts);
  const { selections, productSets, treeInputs, selectedBitJ } = counts;
  const adderJ = logic.adderJPerBit.value;
  const registerJ = logic.registerJPerBit.value;
  const perSelection = bits.product * (selectedBitJ + registerJ);
  const perSet = bits.product * (routedAdders(bits.taps) * (adderJ + registerJ) + registerJ);
  const perTree = (bits.tree + bits.accumulator) * adderJ + bits.accumulator * registerJ;
  return [
    costLine(
      'selectors',
      selections * perSelection + productSets * perSet,
      () =>
        `${count(selections)} products x ${bits.product} bit x (${formatSi(selectedBitJ, 'J')} select + ${formatSi(registerJ, 'J')} register) + ${count(productSets)} product sets x ${formatSi(perSet, 'J')}`,
      [COUNTED, counts.selector, logic.registerJPerBit, logic.adderJPerBit],
    ),
    costLine(
      'adder-trees',
      (selections / treeInputs) * perTree,
      () =>
        `${count(selections / treeInputs)} sums of ${treeInputs} x (${bits.tree + bits.accumulator} adder bits x ${formatSi(adderJ, 'J')} + ${bits.accumulator} register bits x ${formatSi(registerJ, 'J')})`,
      [COUNTED, logic.adderJPerBit, logic.registerJPerBit],
    ),
  ];
}
