/**
 * A plan of the chip's ground, to scale: where its blocks lie and how long the ways between them are.
 *
 *   dies      equal shares of the area, each `layout.dieAspect` as wide as high
 *   columns   a die is cut into columns about as wide as a layer is long, filled up one and down the next: a snake
 *   order     embedding, the layers one after the other, then the head; each takes its area of the snake
 *
 *   column w = W / round(W / sqrt(a)),  layer l = a / w,  snake S = A / w      (a: area of a layer, A of the chip, W of a die's side)
 *
 * A layer may lie on two dies: dies are counted by area alone. Pads, grid and empty space are spread over all blocks.
 */
import type { CostLine } from './report.ts';

/** Lines of area that are there once, not in each layer. */
const FIRST = ['embedding-rom'];
const LAST = ['head-rom', 'head-macs'];
/** Spread over the others. */
const SPREAD = 'overhead';

export interface Floorplan {
  readonly dies: number;
  readonly dieWidthMm: number;
  readonly dieHeightMm: number;
  readonly columns: number;
  readonly columnMm: number;
  /** Length of one layer along the snake. */
  readonly layerMm: number;
  /** Length of the snake on all dies. */
  readonly snakeMm: number;
  readonly layerMm2: number;
  /** Parts in the order of the snake, pads and space included; those of layers are of one layer. */
  readonly first: readonly PlacedPart[];
  readonly layer: readonly PlacedPart[];
  readonly last: readonly PlacedPart[];
}

interface PlacedPart {
  readonly name: string;
  readonly mm2: number;
}

/** Plans the ground of a chip of `layers` layers from the lines of its area; `aspect` is a die's width over its height. */
export function planFloor(
  lines: readonly CostLine[],
  layers: number,
  dies: number,
  aspect: number,
): Floorplan {
  const areaMm2 = lines.reduce((sum, { value }) => sum + value, 0);
  const spread = lines.find(({ name }) => name === SPREAD)?.value ?? 0;
  const factor = areaMm2 / (areaMm2 - spread);
  const parts = lines.filter(({ name, value }) => name !== SPREAD && value > 0);
  const of = (keep: (name: string) => boolean, copies: number): PlacedPart[] =>
    parts
      .filter(({ name }) => keep(name))
      .map(({ name, value }) => ({ name, mm2: (value * factor) / copies }));
  const layer = of((name) => !FIRST.includes(name) && !LAST.includes(name), layers);
  const layerMm2 = layer.reduce((sum, { mm2 }) => sum + mm2, 0);
  const dieWidthMm = Math.sqrt((areaMm2 / dies) * aspect);
  const columns = Math.max(1, Math.round(dieWidthMm / Math.sqrt(layerMm2)));
  const columnMm = dieWidthMm / columns;
  return {
    dies,
    dieWidthMm,
    dieHeightMm: dieWidthMm / aspect,
    columns,
    columnMm,
    layerMm: layerMm2 / columnMm,
    snakeMm: areaMm2 / columnMm,
    layerMm2,
    first: of((name) => FIRST.includes(name), 1),
    layer,
    last: of((name) => LAST.includes(name), 1),
  };
}

/** A rectangle of a part on a die, mm from the die's upper left corner. */
export interface FloorRectangle {
  readonly die: number;
  readonly name: string;
  /** Layer, -1 for what is there once. */
  readonly layer: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Lays the parts along the snake: rectangles, cut where a column or a die ends. */
export function layOut(plan: Floorplan, layers: number): FloorRectangle[] {
  const { columns, columnMm, dieHeightMm } = plan;
  const found: FloorRectangle[] = [];
  let at = 0;
  const place = ({ name, mm2 }: PlacedPart, layer: number): void => {
    const end = at + mm2 / columnMm;
    while (end - at > 1e-9 * plan.snakeMm) {
      const column = Math.floor(at / dieHeightMm + 1e-9);
      const from = Math.max(0, at - column * dieHeightMm);
      const length = Math.min(end - at, dieHeightMm - from);
      const onDie = column % columns;
      found.push({
        die: Math.floor(column / columns),
        name,
        layer,
        x: onDie * columnMm,
        y: column % 2 === 0 ? from : dieHeightMm - from - length,
        width: columnMm,
        height: length,
      });
      at += length;
    }
  };
  for (const part of plan.first) place(part, -1);
  for (let layer = 0; layer < layers; layer++) for (const part of plan.layer) place(part, layer);
  for (const part of plan.last) place(part, -1);
  return found;
}
