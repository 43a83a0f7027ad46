/**
 * Names beside the points of a figure, placed so that they cover neither each other nor a point: each takes the place around its
 * point that overlaps least with what stands already, and chooses again once all stand. Sizes of text are estimates in CSS pixels.
 */
import { COLOURS } from './figure.ts';
import { plotText } from './html.ts';

/** Where a point lies and what it is called. */
export interface NamedPoint {
  readonly x: number;
  readonly y: number;
  readonly name: string;
}

/** An axis whose range is known; of a log axis in powers of ten, as plotly has it. */
export interface KnownAxis {
  readonly type?: 'log';
  readonly range: readonly [number, number];
}

/** The field between the axes, as narrow as it gets: wider ones have more room. */
export interface Field {
  readonly widthPx: number;
  readonly heightPx: number;
  readonly fontPx: number;
}

export const DESKTOP_FIELD: Field = { widthPx: 600, heightPx: 330, fontPx: 11 };
export const PHONE_FIELD: Field = { widthPx: 290, heightPx: 280, fontPx: 10 };

/** Pixels to the right and down. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Width of a letter over the size of the font, of a sans serif face on average. */
const LETTER = 0.58;
const LINE = 1.2;
/** Half a marker and a little air. */
const MARK_PX = 6;

/** The line from a name that is not beside its point. */
const LEADER = { arrowwidth: 1, arrowcolor: COLOURS.grey, standoff: 5 };

type Side = 'left' | 'center' | 'right';

interface Place {
  readonly box: Box;
  readonly annotation: Record<string, unknown>;
}

/** Annotations for a layout, one a point, in the order of the points. */
export const nameAnnotations = (
  points: readonly NamedPoint[],
  x: KnownAxis,
  y: KnownAxis,
  field: Field,
): Record<string, unknown>[] => placeNames(points, x, y, field).map(({ annotation }) => annotation);

/** The boxes that the names take, in the order of the points. */
export const nameBoxes = (points: readonly NamedPoint[], x: KnownAxis, y: KnownAxis, field: Field): Box[] =>
  placeNames(points, x, y, field).map(({ box }) => box);

function placeNames(points: readonly NamedPoint[], x: KnownAxis, y: KnownAxis, field: Field): Place[] {
  const at = points.map((point) => ({
    x: field.widthPx * shareOf(x, point.x),
    y: field.heightPx * (1 - shareOf(y, point.y)),
  }));
  const marks = at.map((p) => boxAround(p.x - MARK_PX, p.y - MARK_PX, 2 * MARK_PX, 2 * MARK_PX));
  const choices = points.map((point, i) => placesOf(point, at[i], x, y, field));
  const chosen: Place[] = [];
  // Twice: the first names did not know of the last.
  for (let i = 0; i < 2 * points.length; i++) {
    const own = i % points.length;
    const others = [...chosen.filter((_, j) => j !== own).map(({ box }) => box), ...marks];
    const costs = choices[own].map(
      ({ box }) => 10 * outside(box, field) + others.reduce((sum, other) => sum + overlap(box, other), 0),
    );
    chosen[own] = choices[own][costs.indexOf(Math.min(...costs))];
  }
  return chosen;
}

const coordinate = ({ type }: KnownAxis, value: number): number =>
  type === 'log' ? Math.log10(value) : value;

const shareOf = (axis: KnownAxis, value: number): number =>
  (coordinate(axis, value) - axis.range[0]) / (axis.range[1] - axis.range[0]);

/** Places around a point, the best first: above, below, beside it; then further away, with a line to the point. */
function placesOf(
  { x, y, name }: NamedPoint,
  at: { readonly x: number; readonly y: number },
  xAxis: KnownAxis,
  yAxis: KnownAxis,
  { fontPx }: Field,
): Place[] {
  const width = LETTER * fontPx * name.length;
  const height = LINE * fontPx;
  const common = {
    ...{ x: coordinate(xAxis, x), y: coordinate(yAxis, y), text: plotText(name), yanchor: 'middle' },
    // Bars and lines behind a name do not strike it through.
    ...{ font: { size: fontPx }, bgcolor: 'rgba(255,255,255,0.75)', borderpad: 0 },
  };
  /** `dx`, `dy`: of the name's near end from the point, to the right and up. */
  const place = (side: Side, dx: number, dy: number, leader: boolean): Place => {
    const left = at.x + dx - { right: 0, center: width / 2, left: width }[side];
    const xanchor = { right: 'left', center: 'center', left: 'right' }[side];
    return {
      box: boxAround(left, at.y - dy - height / 2, width, height),
      annotation: leader
        ? { ...common, xanchor, showarrow: true, arrowhead: 0, ...LEADER, ax: dx, ay: -dy }
        : { ...common, xanchor, showarrow: false, xshift: dx, yshift: dy },
    };
  };
  const near = MARK_PX + height / 2;
  const sides: Side[] = ['center', 'right', 'left'];
  const close = [near, -near].flatMap((dy) => sides.map((side) => place(side, 0, dy, false)));
  const beside = [place('right', MARK_PX + 2, 0, false), place('left', -MARK_PX - 2, 0, false)];
  const far = [1, 2, 3, 4].flatMap((row) =>
    [1, -1].flatMap((up) => [
      place('right', 18, up * (near + (row - 1) * height), true),
      place('left', -18, up * (near + (row - 1) * height), true),
    ]),
  );
  return [...close, ...beside, ...far];
}

const boxAround = (left: number, top: number, width: number, height: number): Box => ({
  ...{ left, top, right: left + width, bottom: top + height },
});

/** Common area of two boxes, square pixels. */
export function overlap(a: Box, b: Box): number {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0;
}

/** Area of a box that lies outside the field. */
function outside(box: Box, { widthPx, heightPx }: Field): number {
  const area = (box.right - box.left) * (box.bottom - box.top);
  return area - overlap(box, { left: 0, top: 0, right: widthPx, bottom: heightPx });
}
