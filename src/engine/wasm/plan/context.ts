/** Data of an engine that every worker is given, and what it derives from it once. */

import type { RangeTable } from '../../../fabric/ranges.ts';
import type { ModelShape } from '../../../model/shape.ts';
import type { CodeReads } from '../../../tile/code-reads.ts';
import type { ChipInstance, TileNoise } from '../../../tile/draws.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import type { EngineMode } from '../../backend.ts';
import type { CellFormat } from '../../cell-format.ts';
import type { IntegerResponse } from '../../integer-response.ts';
import type { Crew } from '../control.ts';
import type { CacheKind } from '../kernels/attention.ts';
import { instantiate, type Kernels } from '../kernels/module.ts';
import type { Layout } from './layout.ts';
import type { Operation, ResidentPart } from './operations.ts';
import { tileStarts, virtualStarts } from './operations.ts';

/** The hardware codes of the operations on disk; see load/codes-cache.ts. */
export interface CodesFile {
  readonly path: string;
  readonly mode: 'read' | 'write';
  /** Per operation: first byte of its panel 0, and bytes from panel to panel; 0 where it has no codes. */
  readonly starts: readonly number[];
  readonly recordBytes: readonly number[];
  readonly bytes: number;
  /** [1], shared by all threads: not 0 where a record could not be written, or read as it was written. */
  readonly spoilt: Int32Array;
}

/** What the threads are given of an engine: plain data. */
export interface EngineData {
  /** GGUF file; undefined: weights are drawn (`bench`). */
  readonly modelPath: string | undefined;
  /** Chip image, where codes come from one. */
  readonly imagePath: string | undefined;
  readonly shape: ModelShape;
  readonly mode: EngineMode;
  readonly operations: readonly Operation[];
  readonly layout: Layout;
  readonly state: WebAssembly.Memory;
  /** The resident ones, which hold what depends on the model and its formats alone, then those of baked weights. */
  readonly weights: readonly WebAssembly.Memory[];
  readonly parts: readonly ResidentPart[];
  /** Parts that are to be loaded: no engine has done it. */
  readonly missing: readonly number[];
  /** Tables of the columns of each weights memory: the engine's own. */
  readonly tables: readonly WebAssembly.Memory[];
  readonly threads: number;
  readonly cache: CacheKind;
  readonly ownInputs: boolean;
  /** Of modes with analog tiles. */
  readonly physics: TilePhysics | undefined;
  /** By number of taps. */
  readonly integerResponses: ReadonlyMap<number, IntegerResponse>;
  readonly cellFormats: ReadonlyMap<number, CellFormat>;
  readonly chip: ChipInstance;
  readonly ranges: RangeTable | undefined;
  /** [all virtual tiles][FIGURES], written after loading: see FIGURE. */
  readonly figures: Float64Array;
  /** [threads][operations tiles][2]: sums of magnitudes and of driven rows, whole numbers. */
  readonly rowSums: Float64Array;
  /** How the chip misreads codes; undefined: never. */
  readonly misreads: CodeReads | undefined;
  /** [operations][MAGNITUDE_COUNTS] weights by |code|, added up while loading; undefined where nobody asks. */
  readonly magnitudes: Int32Array | undefined;
  /** File of hardware codes that later engines read; see codes-cache.ts. */
  readonly codesFile: CodesFile | undefined;
  /** Seconds by stage (STAGES of forward.ts), when profiling. */
  readonly profile: Float64Array | undefined;
}

export const TAP_COUNTS = 8;
/** Columns of `figures`: what a token's parameters on a virtual tile follow from. */
export const FIGURE = {
  /** Mean |w| of all cells of the tile, in stored units; mean w^2 / mean |w|. */
  meanWeight: 0,
  squareRatio: 1,
  /** Variance in LSB^2: constant part, and per unit of m |w|. */
  floor: 2,
  perCurrent: 3,
  /** Converter step in I_fs, common gain of the tile. */
  lsb: 4,
  gain: 5,
  /** Connected cells of the tile. */
  connected: 6,
} as const;
export const FIGURES = 8;

export interface WorkerContext {
  readonly data: EngineData;
  readonly crew: Crew;
  readonly index: number;
  /** One instance per weights memory. */
  readonly kernels: readonly Kernels[];
  readonly bytes: Uint8Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly physics: TilePhysics | undefined;
  readonly integerResponses: ReadonlyMap<number, IntegerResponse>;
  readonly virtualStarts: readonly number[];
  readonly tileStarts: readonly number[];
  /** By tile of all operations: keys of its draws, filled when first used. */
  readonly noises: TileNoise[];
  /** Of the profile: when the last stage ended, ms. */
  readonly clock: { last: number };
}

export async function newContext(
  data: EngineData,
  crew: Crew,
  module: WebAssembly.Module,
  index: number,
): Promise<WorkerContext> {
  return {
    data,
    crew,
    index,
    kernels: await Promise.all(
      data.weights.map((weights, i) => instantiate(module, data.state, weights, data.tables[i])),
    ),
    bytes: new Uint8Array(data.state.buffer),
    i32: new Int32Array(data.state.buffer),
    f32: new Float32Array(data.state.buffer),
    physics: data.physics,
    integerResponses: data.integerResponses,
    virtualStarts: virtualStarts(data.operations),
    tileStarts: tileStarts(data.operations),
    noises: [],
    clock: { last: 0 },
  };
}
