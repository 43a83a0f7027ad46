/**
 * A fabric as the cost of a chip sees it: the components that it is built of. The parts that every chip has whatever
 * its fabric (vector units, attention, cache, embedding, leakage, supply) are added by chip.ts.
 *
 * A component is pure: it reads the model's shape, the constants and what the stages before it found, and answers with
 * lines. The stages are area, then latency (needs the area), then energy (needs both).
 */

import type { NamedShape } from '../model/shapes.ts';
import type { CostConstants } from './constants.ts';
import type { Floorplan } from './floorplan.ts';
import type { CostLine, CostReport, WeightCost } from './report.ts';

/** Inputs of every component. Constants change between calls: they are drawn from their bands. */
export interface PricedSystem {
  readonly shape: NamedShape;
  readonly constants: CostConstants;
  readonly contextTokens: number;
}

/** The part of a component's silicon that leaks while a token is under way; `passive`: cells and capacitors, counted elsewhere. */
export type Silicon = 'logic' | 'sram' | 'rom' | 'analog' | 'passive';

export interface AreaPart {
  readonly line: CostLine;
  readonly silicon: Silicon;
  /** Seconds of a token's time that it is powered, on average over its copies; absent: it is never switched off. */
  readonly onS?: number;
}

/** A chip whose area is known. */
export interface PlacedSystem extends PricedSystem {
  readonly area: readonly AreaPart[];
  readonly areaMm2: number;
  readonly dies: number;
  readonly floorplan: Floorplan;
}

/** A chip whose time per token is known, too. */
export interface TimedSystem extends PlacedSystem {
  readonly tokenTimeS: number;
}

export interface LatencyPart {
  /** Time that one token of one user spends, s. */
  readonly lines: readonly CostLine[];
  /** Times after which the parts can take the next token: the longest is a limit of a full pipeline. */
  readonly stages: readonly { readonly name: string; readonly seconds: number }[];
}

export interface CostComponent {
  /** For readers of the code and messages; lines have names of their own. */
  readonly name: string;
  /** Fed by the clock, whose distribution takes a share of its energy. */
  readonly clocked?: boolean;
  /** Silicon, mm2. */
  area?(system: PricedSystem): AreaPart[];
  latency?(system: PlacedSystem): LatencyPart;
  /** Energy of one token of one user, J. */
  energy?(system: TimedSystem): CostLine[];
  /** Power that flows whether tokens come or not and is in `energy` as well, W. Leakage is not part of it. */
  alwaysOnW?(system: TimedSystem): number;
}

/** Bits that a fabric moves per token between its parts and the digital units beside it. */
export interface Traffic {
  /** Inputs: each crosses the side of a layer. */
  readonly inputBits: number;
  readonly resultBits: number;
  /** Results: bits times the way of each, bit mm. */
  readonly resultBitMm: number;
}

/** A cost at one set of constants. */
export type ChipCost = Omit<CostReport, 'sensitivity' | 'bands'>;

export interface PricedDesign {
  /** Bits of an element of the key-value cache. */
  readonly kvBits: number;
  /** The fabric computes the head as well; otherwise the chip has digital multipliers for it. */
  readonly headInFabric: boolean;
  /** In the order of their lines. */
  readonly components: readonly CostComponent[];
  traffic(system: PricedSystem): Traffic;
  /** Cost of the tensors of each weight format, by bits ascending. */
  weights(constants: CostConstants): WeightCost[];
  /** Lines shown beside the breakdown, from the lines of the energy; not part of any sum. */
  references?(system: PricedSystem, energy: readonly CostLine[]): CostLine[];
  /** A machine that is bought whole: its cost in place of the sum of components and of the parts that every chip has. */
  readonly whole?: (system: PricedSystem) => ChipCost;
  /** Assumptions that these figures make although the run or the calibration speaks against it. */
  readonly warnings: readonly string[];
}
