/**
 * A fabric: what a chip's linear layers are made of. The rest of the program (engine, cost, experiment, report, command
 * line) sees this interface and never which fabric it is.
 *
 * To add a fabric:
 *   1. src/fabric/<word>.ts: the zod schema of its design (the shared shapes of common-design.ts plus its own keys, with
 *      `fabric: z.literal('<word>')`) and a FabricModule that makes a Fabric of a design
 *      (one whose arithmetic is that of integers: an IntegerKind, integer.ts does the rest)
 *   2. its entry in src/fabric/registry.ts, from which engines take its word
 *   3. src/cost/<word>.ts: the components that it is built of, priced (components/ has those that exist), and its entry in
 *      src/cost/fabrics.ts
 *   4. experiments/designs/<name>.yaml
 *   5. where it rests on a circuit: its netlist and calibration (src/calibrate, src/cell), read by `load`
 * src/fabric/fabric.test.ts holds every registered fabric to this interface.
 */
import type { z } from 'zod';
import type { Calibration } from '../cell/calibration.ts';
import type { SizedCell } from '../cell/sized-calibration.ts';
import type { CellSumsKind } from '../tile/cell-sums.ts';
import type { CodeReads } from '../tile/code-reads.ts';
import type { ChipInstance } from '../tile/draws.ts';
import type { TilePhysics } from '../tile/physics.ts';
import type { HardwareWeights } from '../tile/weight-code.ts';
import type { LayerActivity } from './activity.ts';
import type { CommonDesign } from './common-design.ts';
import type { Linear, LinearName } from './linear.ts';
import type { RangeRecord, RangeTable } from './ranges.ts';

/** One group of errors that can act alone, so that a run can say what limits the accuracy. */
export interface ErrorSource {
  readonly name: string;
  readonly description: string;
  /** Nothing is drawn: one chip is every chip, and its value has no interval. */
  readonly sameOnEveryChip: boolean;
}

/** A linear layer that counts what its hardware did. */
export interface CountedLinear<A extends LayerActivity = LayerActivity> extends Linear {
  readonly activity: A;
}

export interface LayerOptions {
  readonly chip: ChipInstance;
  /** Sums of a tile's cells, where there are cells. */
  readonly cellSums: CellSumsKind;
  /** Transformer blocks of the model: where on the die a tile lies. */
  readonly blocks: number;
  /** Full scales of the converters; undefined while they are measured, and for fabrics without converters. */
  readonly ranges: RangeTable | undefined;
  /** Filled while ranges are measured. */
  readonly record?: RangeRecord;
}

export interface ReadOptions {
  readonly chipSeed: number;
  /** As of LayerOptions. */
  readonly blocks: number;
  readonly ranges: RangeTable;
  /** Conversions that are averaged for a cell. */
  readonly reads: number;
}

/** The weights that one chip has, as it was read. */
export interface ReadWeights {
  /** In units of a code: code times the gain of its cells [N][K]. */
  readonly codes: Float32Array;
  /** Time of the reading, all tiles at once. */
  readonly seconds: number;
}

/** Plain data from which `loadFabric` makes the same fabric again, in a worker thread for example. */
export interface FabricParts<D extends CommonDesign = CommonDesign> {
  readonly design: D;
  /** Of the cell; undefined for fabrics without one. */
  readonly calibration: Calibration | undefined;
}

/** The calibrated cell that a fabric computes with, as a run's result states it. */
export interface CellProvenance {
  readonly process: string;
  readonly cell: string;
  readonly sha256: string;
  /** Row driver of the calibration: `ideal`, or simulated at transistor level. */
  readonly driver: string;
  /** Version of ngspice. */
  readonly engine: string;
  /** The separable response of weights of these bits: its rank and largest residual, as a share of full scale. */
  response(weightBits: number): { readonly rank: number; readonly residual: number };
}

/** A circuit beside the cell whose calibration decides what chips compute or cost (src/cell/circuits), as a run states it. */
export interface CircuitProvenance {
  readonly process: string;
  readonly circuit: string;
  readonly sha256: string;
  /** Version of ngspice. */
  readonly engine: string;
}

/** Words of the verdict of a run about a fabric. */
export interface FabricWording {
  /** Name of what a chip loses beyond the mapping of its weights: "the analog part". */
  readonly loss: string;
  /** The last sentence: what this fabric is, compared with what is known of the chip that the question is about. */
  readonly remark: string;
}

/** A weight matrix [outputs, inputs] as hardware holds it. */
export interface CodedMatrix {
  readonly outputs: number;
  readonly inputs: number;
  readonly weightBits: number;
}

export interface Fabric {
  /** The word of the design: `log-domain`, ... */
  readonly kind: string;
  readonly design: CommonDesign;
  readonly parts: FabricParts;
  readonly cell: CellProvenance | undefined;
  readonly circuit: CircuitProvenance | undefined;
  readonly wording: FabricWording;
  /** False: nothing is drawn, so one chip is every chip. */
  readonly chipsDiffer: boolean;
  /** It has converters whose full scales are measured on the nominal chip before any chip can be built. */
  readonly measuresRanges: boolean;
  readonly errorSources: readonly ErrorSource[];
  /** Keys of the activity of a layer that are sums over tokens; the others describe the layer. */
  readonly counters: readonly string[];
  /** Physics of its analog tiles, for engines that compute them with kernels of their own; undefined without tiles. */
  readonly physics: TilePhysics | undefined;
  /** Inputs of exact arithmetic: magnitude bits and group of their scale. Undefined: the inputs are real-valued or coded by its tiles. */
  readonly inputCodes: { readonly bits: number; readonly scale: 'tile' | 'token' } | undefined;
  /** How a chip misreads the codes that its masks hold; engines apply it where weights are loaded. Undefined: never. */
  readonly misreads: CodeReads | undefined;
  /** `activityOf` wants the magnitudes of a matrix's codes. */
  readonly countsCodes: boolean;
  /** Bytes per weight that a layer made by `build` takes beside the mapped weights. */
  bytesPerWeight(cellSums: CellSumsKind): number;
  /** Whether it computes this layer; the others are exact digital arithmetic on the model's own weights. */
  carries(name: LinearName): boolean;
  /** Maps a matrix, given row by row, onto the hardware: the coding loss is in the result. */
  mapWeights(
    name: LinearName,
    outputs: number,
    inputs: number,
    row: (n: number, out: Float32Array) => void,
  ): HardwareWeights;
  /** One layer of one chip in scalar TypeScript. */
  build(name: LinearName, weights: HardwareWeights, options: LayerOptions): CountedLinear;
  /** The weights of one chip as its own converters read them; undefined where there is nothing to read. */
  readWeights(name: LinearName, weights: HardwareWeights, options: ReadOptions): ReadWeights | undefined;
  /**
   * A layer's activity where it follows from the matrix and tokens alone, for engines that do not `build` layers; undefined
   * where it must be counted. `magnitudes`: weights by |code|, where `countsCodes`.
   */
  activityOf(
    name: LinearName,
    matrix: CodedMatrix,
    tokens: number,
    magnitudes?: ArrayLike<number>,
  ): LayerActivity | undefined;
  /** Share of the conversions that clipped; null without converters. */
  clipRate(activity: readonly LayerActivity[]): number | null;
  /** The part of the design that decides the ranges: the key under which they are kept. */
  nominalDesign(): object;
  /** Full scales from what was recorded of the nominal chip; {} without converters. */
  ranges(record: RangeRecord): RangeTable;
  /** The fabric with everything ideal: exact arithmetic on the mapped weights, to rounding. */
  withoutErrors(): Fabric;
  /** The fabric without what is drawn anew for each token; what differs from chip to chip stays. */
  withoutNoise(): Fabric;
  /** The fabric with one of its `errorSources` acting and all others off. */
  withOnly(source: string): Fabric;
  /** Full scales of this fabric's converters, given those measured on the whole design: wider for some `withOnly`. */
  converterRanges(measured: RangeTable): RangeTable;
}

/** A fabric's file: its schema and how it is made. */
export interface FabricModule<D extends CommonDesign = CommonDesign> {
  readonly schema: z.ZodType<D>;
  /** The cell whose calibration `load` reads. Absent: none. */
  cell?(design: D): SizedCell;
  /** `calibration`: one that was just made; by default the one on file. Throws what the design asks and cannot be. */
  load(design: D, calibration?: Calibration): Fabric;
}
