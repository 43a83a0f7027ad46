/** Plans the operations of an engine, and how much memory their weights take. */

import { MEMORY_BYTES } from '../../../emit/arena.ts';
import { tensorBits } from '../../../fabric/common-design.ts';
import type { Fabric } from '../../../fabric/fabric.ts';
import type { LinearName } from '../../../fabric/linear.ts';
import { type ModelShape, modelMatrices } from '../../../model/shape.ts';
import { largestColumnA } from '../../../tile/bit-line.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import { weightFormat } from '../../../tile/weight-code.ts';
import type { EngineMode } from '../../backend.ts';
import { type ImagePlan, imageMatrix } from '../../image.ts';
import { INPUT_TOP } from '../../integers.ts';
import type { NoiseKind } from '../kernels/adc.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { tableBytes, tableKind } from '../kernels/panel-job.ts';
import { QUAD_BYTES, type Source } from '../kernels/prepare.ts';
import { planDigital } from './digital.ts';
import { countQuads, type Operation, type WeightsPlace } from './operations.ts';

/** Rows that share a scale in int8 weights: those of Q8_0. */
const INT8_ROWS = 32;

/** Q4_0 has codes of -8 .. 7 times a scale per 32 rows: digital weights are these codes, exactly and in half the memory. */
const hasOwnCodes = (codec: string | undefined): boolean => codec === 'Q4_0';

export interface OperationChoice {
  readonly mode: EngineMode;
  readonly fabric: Fabric;
  readonly precision: 'fast' | 'exact';
  /** Real-valued inputs have a second pass over what the first leaves. */
  readonly refined: boolean;
  /** Bytes per int8 weight: 1, or 2 for a second byte with the rounding error of the first. */
  readonly int8Terms: 1 | 2;
  readonly noise: NoiseKind;
  readonly floatConverter: boolean;
  /** Static errors differ from cell to cell: the weights of a chip are made of its cells, or were before. */
  readonly varied: boolean;
  readonly baked: boolean;
  /** Rank of the response by number of taps. */
  rankOf(taps: number): number;
  readonly image?: ImagePlan | undefined;
  /** GGUF type of a layer's weights, where they come from a file. */
  codec(name: LinearName): string | undefined;
}

/** The linear layers in the order of the data flow, with their places in as many memories as they need. */
export function planOperations(shape: ModelShape, choice: OperationChoice): Operation[] {
  const shapes = modelMatrices(shape).map(({ name, outputs, inputs }) =>
    operationShape(name, outputs, inputs, choice, shape),
  );
  const places = placeResident(shapes);
  const baked = placeBaked(shapes, places);
  return shapes.map((o, i) => ({ ...o, ...places[i], baked: baked[i] }));
}

type Places = Pick<Operation, 'part' | 'resident' | 'scalesAt' | 'countsAt' | 'tablesAt'>;
type OperationShape = Omit<Operation, keyof Places | 'baked'>;

/** Weights that engines of other modes have as well, or not: in memories of their own. */
const partOf = ({ kind, name }: OperationShape): 'head' | 'int8' | 'codes' =>
  kind !== 'int8' ? 'codes' : name.layer < 0 ? 'head' : 'int8';

/** Where the next operation of a part goes. */
interface PartEnd {
  readonly part: number;
  memory: number;
  at: number;
  tablesAt: number;
  scalesAt: number;
  countsAt: number;
}

function placeResident(shapes: readonly OperationShape[]): Places[] {
  const ends = new Map<string, PartEnd>();
  let memories = 0;
  return shapes.map((o) => {
    const name = partOf(o);
    const end = ends.get(name) ?? {
      part: ends.size,
      memory: memories++,
      at: 0,
      tablesAt: 0,
      scalesAt: 0,
      countsAt: 0,
    };
    ends.set(name, end);
    const panelBytes = weightBytes(o, o.kind === 'int8' ? o.source : 'codes', 1);
    const tables = o.panels * o.panelTables;
    if (end.at + o.panels * panelBytes > MEMORY_BYTES || end.tablesAt + tables > MEMORY_BYTES) {
      end.memory = memories++;
      end.at = 0;
      end.tablesAt = 0;
    }
    const { part, memory, at, tablesAt, scalesAt, countsAt } = end;
    end.at += o.panels * panelBytes;
    end.tablesAt += tables;
    end.scalesAt += o.panels * o.cells * o.tiles * PANEL_COLUMNS;
    end.countsAt += o.cells * o.tiles;
    return { part, resident: { memory, at, panelBytes }, scalesAt, countsAt, tablesAt };
  });
}

/** In memories behind the resident ones; each goes with one resident memory, whose tables it shares. */
function placeBaked(
  shapes: readonly OperationShape[],
  places: readonly Places[],
): (WeightsPlace | undefined)[] {
  let memory = Math.max(...places.map(({ resident }) => resident.memory));
  let at = 0;
  let of = -1;
  return shapes.map((o, i) => {
    if (!o.misread && (o.kind !== 'tile' || o.source !== 'bytes')) return undefined;
    const panelBytes = weightBytes(o, o.source, o.rank * o.banks);
    const bytes = o.panels * panelBytes;
    if (of !== places[i].resident.memory || at + bytes > MEMORY_BYTES) {
      memory++;
      at = 0;
      of = places[i].resident.memory;
    }
    const place = { memory, at, panelBytes };
    at += bytes;
    return place;
  });
}

/** Bytes of a panel's weights in one storage; those of every rank where they are baked. */
function weightBytes(
  { cells, tiles, rows, lastRows }: OperationShape,
  source: Source,
  parts: number,
): number {
  const quads = (tiles - 1) * countQuads(rows) + countQuads(lastRows);
  return cells * quads * parts * QUAD_BYTES[source];
}

/** May a column carry more than its clamps? Then its current is watched while ranges are measured. */
const mayOverload = ({ design, meanGain, clampMaxA }: TilePhysics): boolean =>
  largestColumnA(design, meanGain) > clampMaxA;

function operationShape(
  name: LinearName,
  outputs: number,
  inputs: number,
  choice: OperationChoice,
  shape: ModelShape,
): OperationShape {
  const { mode, fabric } = choice;
  const mapped = mode !== 'digital' && fabric.carries(name);
  const onHardware = mapped && mode !== 'mapped';
  const kind = !mapped ? 'int8' : onHardware && fabric.physics ? 'tile' : 'codes';
  const codes = onHardware && kind === 'codes' ? fabric.inputCodes : undefined;
  const meta = mapped ? imageMatrix(choice, name) : undefined;
  const bits = meta?.bits ?? tensorBits(fabric.design, name.tensor);
  const format = weightFormat(bits);
  const rows = Math.min(kind === 'int8' ? INT8_ROWS : fabric.design.tile.rows, 8 * Math.ceil(inputs / 8));
  const tiles = Math.ceil(inputs / rows);
  const lastRows = inputs - (tiles - 1) * rows;
  const ownCodes = kind === 'int8' && hasOwnCodes(choice.codec(name));
  const cells = ownCodes ? 1 : kind === 'int8' ? choice.int8Terms : format.cellWeights.length;
  const rank = kind === 'tile' ? choice.rankOf(format.taps) : 1;
  const made: Source = choice.baked ? 'bytes' : 'cells';
  const source = kind === 'int8' && !ownCodes ? 'bytes' : kind === 'tile' && choice.varied ? made : 'codes';
  const planes = kind === 'tile' && choice.precision === 'fast' ? 1 : 2;
  const watched = mode === 'range' && kind === 'tile' && mayOverload(fabric.physics!);
  const epilogue =
    kind !== 'tile'
      ? kind === 'int8'
        ? ('blocks' as const)
        : ('accumulate' as const)
      : mode === 'range'
        ? watched
          ? ('watch' as const)
          : ('record' as const)
        : { noise: choice.noise, float: choice.floatConverter };
  const table = tableBytes(tableKind(source, epilogue));
  const sign = kind === 'tile' ? fabric.physics!.design.tile.sign : 'integrate';
  // Cells that are all alike give the same whichever of two is driven.
  const banks = sign === 'paired-rows' && source !== 'codes' ? 2 : 1;
  const conversions = sign === 'two-conversion' ? 2 : 1;
  return {
    name,
    outputs,
    inputs,
    panels: Math.ceil(outputs / PANEL_COLUMNS),
    kind,
    bits,
    taps: format.taps,
    rows,
    lastRows,
    tiles,
    cells,
    rank,
    planes,
    refined: choice.refined && kind !== 'tile' && !codes,
    inputTop: codes ? 2 ** codes.bits - 1 : INPUT_TOP[planes],
    inputScale: kind === 'tile' ? fabric.physics!.design.input.scale : (codes?.scale ?? 'tile'),
    small: kind === 'int8' ? ownCodes : kind === 'codes' || planes === 1,
    source,
    epilogue,
    banks,
    conversions,
    phases: banks === 2 || conversions === 2 || (watched && sign === 'integrate') ? 2 : 1,
    misread: mode === 'chip' && kind === 'codes' && fabric.misreads !== undefined,
    panelTables: cells * tiles * table,
    digital: meta && planDigital(meta, shape, name.ordinal),
  };
}
