/** What accuracy costs: points that no other beats in both. */
import { plain } from '../format.ts';
import { frontOf } from '../optimise/pareto.ts';
import { COLOURS, type Figure } from './figure.ts';
import { plotText } from './html.ts';
import { DESKTOP_FIELD, type Field, type KnownAxis, nameAnnotations, PHONE_FIELD } from './labels.ts';
import { logTicks } from './ticks.ts';

/** Numbers of the points that no other is at most as dear as and at least as good as, ascending in price. */
export function paretoFront(
  points: readonly { readonly price: number; readonly value: number }[],
  better: 'lower' | 'higher',
): number[] {
  const sign = better === 'lower' ? 1 : -1;
  const front = frontOf(points.map(({ price, value }) => [price, sign * value]));
  return front.sort((x, y) => points[x].price - points[y].price);
}

export interface ParetoPoint {
  readonly name: string;
  /** What stands beside the point; its name where nothing is said. */
  readonly short?: string;
  readonly price: number;
  readonly priceBand: readonly [number, number];
  readonly value: number;
  readonly valueInterval: readonly [number, number] | null;
}

export interface ParetoAxes {
  readonly id: string;
  readonly title: string;
  readonly price: string;
  readonly value: string;
  readonly better: 'lower' | 'higher';
  /** What the points are, in the plural. */
  readonly points: string;
  /** What stands beside them. */
  readonly names?: string;
}

/** Names stand beside the points where there are few. */
const MOST_NAMES = 9;

export function paretoOf(points: readonly ParetoPoint[], axes: ParetoAxes): Figure {
  const { id, title, price, value, better } = axes;
  const front = paretoFront(points, better);
  const x = knownAxis(points.flatMap((p) => [p.price, ...p.priceBand]));
  const y = knownAxis(points.flatMap((p) => [p.value, ...(p.valueInterval ?? [])]));
  const named = points.length <= MOST_NAMES ? points : [];
  const names = (field: Field) =>
    nameAnnotations(
      named.map((p) => ({ x: p.price, y: p.value, name: p.short ?? p.name })),
      x,
      y,
      field,
    );
  const [cheapest, best] = [front[0], front[front.length - 1]].map((i) => points[i].name);
  const ends =
    front.length === 1
      ? `${cheapest} is both cheapest and most accurate`
      : `The cheapest of them: ${cheapest}; the most accurate: ${best}`;
  return {
    id: `pareto-${id}`,
    title,
    caption: `${front.length} of ${points.length} ${axes.points} ${front.length === 1 ? 'is' : 'are'} beaten by no other in both (orange). ${ends}. Bars across: bands of the constants of cost; upright: 95 % intervals of accuracy.${axes.names && named.length > 0 ? ` Beside the points: ${axes.names}.` : ''}`,
    data: [
      {
        type: 'scatter',
        mode: 'lines',
        x: front.map((i) => points[i].price),
        y: front.map((i) => points[i].value),
        line: { color: COLOURS.orange, shape: 'hv', width: 2 },
        hoverinfo: 'skip',
      },
      marks(points, front),
    ],
    layout: {
      xaxis: { title: { text: plotText(price) }, zeroline: false, ...x },
      yaxis: { title: { text: plotText(value) }, zeroline: false, ...y },
      annotations: names(DESKTOP_FIELD),
      phone: { annotations: names(PHONE_FIELD) },
      hovermode: 'closest',
      showlegend: false,
    },
    height: 420,
    phoneHeight: 380,
    table: {
      caption: title,
      headers: ['Point', price, value, 'Beaten by no other'],
      rows: points.map((p, i) => [
        p.name,
        plain(p.price, 4),
        plain(p.value, 4),
        front.includes(i) ? 'yes' : 'no',
      ]),
    },
    rows: points.map((p, i) => ({
      point: p.name,
      [price]: p.price,
      [`${price}, band low`]: p.priceBand[0],
      [`${price}, band high`]: p.priceBand[1],
      [value]: p.value,
      [`${value}, 95 % low`]: p.valueInterval?.[0],
      [`${value}, 95 % high`]: p.valueInterval?.[1],
      beaten_by_no_other: front.includes(i),
    })),
  };
}

function marks(points: readonly ParetoPoint[], front: readonly number[]): Record<string, unknown> {
  const bars = (of: (p: ParetoPoint) => readonly [number, number], at: (p: ParetoPoint) => number) => ({
    type: 'data',
    symmetric: false,
    array: points.map((p) => Math.max(0, of(p)[1] - at(p))),
    arrayminus: points.map((p) => Math.max(0, at(p) - of(p)[0])),
    color: COLOURS.light,
    thickness: 1.2,
    width: 3,
  });
  return {
    type: 'scatter',
    mode: 'markers',
    x: points.map(({ price }) => price),
    y: points.map(({ value }) => value),
    text: points.map(({ name }) => plotText(name)),
    cliponaxis: false,
    error_x: bars(
      (p) => p.priceBand,
      (p) => p.price,
    ),
    error_y: bars(
      (p) => p.valueInterval ?? [p.value, p.value],
      (p) => p.value,
    ),
    marker: { size: 9, color: points.map((_, i) => (front.includes(i) ? COLOURS.orange : COLOURS.blue)) },
    hovertemplate: '%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>',
  };
}

/** `spanAxis` with a range where there is none: what is placed by hand needs it. */
function knownAxis(values: readonly number[]): KnownAxis & Record<string, unknown> {
  const axis = spanAxis(values);
  if (axis.range) return axis as unknown as KnownAxis & Record<string, unknown>;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = 0.07 * (high - low || Math.abs(high) || 1);
  return { ...axis, range: [low - room, high + room] };
}

/** More than a factor of ten is read on a log axis; a value of zero has none. */
export function spanAxis(values: readonly number[], most = 6): Record<string, unknown> {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (!(low > 0) || high / low <= 10) return {};
  return {
    type: 'log',
    ...logTicks(low, high, (v) => (v >= 1e6 || v < 1e-3 ? v.toExponential(0) : plain(v)), most),
  };
}
