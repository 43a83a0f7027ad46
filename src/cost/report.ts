import type { Tag } from '../provenance.ts';

/** One line of a cost breakdown: a value with the formula, the activity and the source that it comes from. */
export interface CostLine {
  /** Key in breakdownJ / breakdownMm2 / the latency table. */
  readonly name: string;
  readonly value: number;
  /** Human-readable formula with the numbers that went in. */
  readonly formula: string;
  readonly source: string;
  readonly tag: Tag;
}

export interface CostSensitivity {
  /** Group and key in cost.yaml. */
  constant: string;
  tag: Tag;
  value: number;
  /** The ends of its band. */
  lowValue: number;
  highValue: number;
  /** Energy of one token, J, and area, mm2, with these. */
  lowPerTokenJ: number;
  highPerTokenJ: number;
  lowAreaMm2: number;
  highAreaMm2: number;
}

/** 5th, 50th and 95th percentile over draws of the constants. */
export interface CostBand {
  low: number;
  median: number;
  high: number;
}

/** Bands of the figures of a cost: all constants drawn between their low and high (bands.ts). */
export interface CostBands {
  draws: number;
  seed: number;
  perTokenJ: CostBand;
  areaMm2: CostBand;
  tokensPerSecondPerUser: CostBand;
  perTokenAggregateJ: CostBand;
  tokensPerSecondAggregate: CostBand;
  powerW: CostBand;
}

/** Cost of the tensors of one weight format. */
export interface WeightCost {
  bits: number;
  tensors: string[];
  /** Cells, or weights stored where each takes one place. */
  cells: number;
  cellUm2: number;
  cellsMm2: number;
  /** Of analog cells: taps of the ladder, ends of columns, and conversions per token. */
  taps?: number;
  columnEnds?: number;
  adcConversions?: number;
}

export interface CostReport {
  shape: { name: string; layers: number; macPerToken: number };
  contextTokens: number;
  /** Energy of one token by component, J; the sum is perTokenJ. */
  energyJ: CostLine[];
  perTokenJ: number;
  /** Silicon area by component, mm2; the sum is areaMm2. */
  areaLinesMm2: CostLine[];
  areaMm2: number;
  /** Dies of the reticle limit that the area needs. */
  dies: number;
  /** Width over height of a die; absent of a machine that is bought whole. */
  dieAspect?: number;
  /** Time of one token of one user by component, s; the sum is tokenTimeS. */
  latencyS: CostLine[];
  tokenTimeS: number;
  tokensPerSecondPerUser: number;
  /** The bound of the full pipeline's throughput, and the aggregate rate. */
  binding: string;
  tokensPerSecondAggregate: number;
  /** Power at the aggregate rate. */
  powerW: number;
  /** Energy of one token at the aggregate rate, J: leakage is shared by all tokens in flight. */
  perTokenAggregateJ: number;
  /** Power that flows whether tokens come or not, W. */
  staticPowerW: number;
  /** The rates that were compared for `binding`, tokens/s, lowest first. */
  limits: { name: string; tokensPerSecond: number; formula: string }[];
  /** Users whose key-value cache of the stated context fits beside the rest of the chip. */
  usersHeld: number;
  /** Energy and area with each constant at either end of its band, one at a time, largest effect on the energy first. */
  sensitivity: CostSensitivity[];
  bands: CostBands;
  /** By bits of the weights, ascending: more than one with weights.overrides. */
  weights: WeightCost[];
  /** Assumptions that these figures make although the run or the calibration speaks against it. */
  warnings: string[];
  /** Values shown beside the breakdown, not part of any sum: the physical lower bound of the array's energy. */
  references: CostLine[];
}
