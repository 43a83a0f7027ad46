/** The plan of the ground as SVG, to scale: dies, the blocks on them, and the way of a token from layer to layer. */
import { type FloorRectangle, layOut, planFloor } from '../cost/floorplan.ts';
import type { CostReport } from '../cost/report.ts';
import { plain } from '../format.ts';
import { areaText, label } from './figures-cost.ts';
import { escapeHtml, tableHtml } from './html.ts';

/** What a block is for, by the names of lines; the first that fits, the last for all else. */
const KINDS: readonly { readonly name: string; readonly colour: string; readonly lines: RegExp }[] = [
  { name: 'weights', colour: '#7fb8dd', lines: /^(cells|weight-cells|weight-rom|scale-rom|wired-adders)$/ },
  { name: 'converters, clamps, integrators', colour: '#e6a06a', lines: /^(adcs|clamps|integrators)$/ },
  { name: 'row drivers', colour: '#d8b44a', lines: /^(ladders|row-buffers|dacs)$/ },
  {
    name: 'arithmetic',
    colour: '#6fb59c',
    lines: /^(accumulators|macs|selectors|adder-trees|sense|vector-units|attention-units|head-macs)$/,
  },
  { name: 'memories', colour: '#c08db4', lines: /(sram|embedding-rom|head-rom|centre-rom)$/ },
  { name: 'other', colour: '#c8ced6', lines: /./ },
];

const kindOf = (name: string) => KINDS.find(({ lines }) => lines.test(name))!;
const GAP_MM = 4;
/** Dies beside one another. */
const ACROSS = 4;

/** Draws the chip; `id` must be its own on the page. Empty where the cost says no shape of its dies: a machine that is bought whole. */
export function floorplanHtml(id: string, name: string, cost: CostReport): string {
  if (cost.dieAspect === undefined) return '';
  const { layers } = cost.shape;
  const plan = planFloor(cost.areaLinesMm2, layers, cost.dies, cost.dieAspect);
  const rectangles = layOut(plan, layers);
  const { dieWidthMm: wide, dieHeightMm: high } = plan;
  const across = Math.min(ACROSS, plan.dies);
  const rows = Math.ceil(plan.dies / across);
  const size = { x: across * (wide + GAP_MM) - GAP_MM, y: rows * (high + GAP_MM) - GAP_MM };
  const at = (die: number) => ({
    x: (die % across) * (wide + GAP_MM),
    y: Math.floor(die / across) * (high + GAP_MM),
  });
  const mm = (value: number) => String(Number(value.toFixed(3)));
  const block = ({ die, name: part, layer, x, y, width, height }: FloorRectangle) =>
    `<rect x="${mm(at(die).x + x)}" y="${mm(at(die).y + y)}" width="${mm(width)}" height="${mm(height)}" fill="${kindOf(part).colour}"><title>${escapeHtml(`${label(part)}${layer >= 0 ? `, layer ${layer}` : ''}`)}</title></rect>`;
  const dies = Array.from({ length: plan.dies }, (_, die) => {
    const { x, y } = at(die);
    return `<rect x="${mm(x)}" y="${mm(y)}" width="${mm(wide)}" height="${mm(high)}" fill="none" stroke="#1c2430" stroke-width="${mm(wide / 150)}"/>`;
  });
  const pieces = layerPieces(rectangles, layers);
  const borders = pieces.map(
    ({ die, x, y, width, height }) =>
      `<rect x="${mm(at(die).x + x)}" y="${mm(at(die).y + y)}" width="${mm(width)}" height="${mm(height)}" fill="none" stroke="#ffffff" stroke-width="${mm(wide / 200)}"/>`,
  );
  const way = pieces.map(
    ({ die, x, y, width, height }) => `${mm(at(die).x + x + width / 2)},${mm(at(die).y + y + height / 2)}`,
  );
  const shown = KINDS.filter((kind) => rectangles.some(({ name: part }) => kindOf(part) === kind));
  const legend = shown
    .map(
      ({ name: text, colour }) =>
        `<span style="white-space:nowrap;margin-right:14px"><span style="display:inline-block;width:12px;height:12px;background:${colour};margin-right:5px"></span>${text}</span>`,
    )
    .join('');
  const caption = `${name}, to scale: ${plan.dies} ${plan.dies === 1 ? 'die' : 'dies'} of ${plain(wide)} x ${plain(high)} mm in columns of ${plain(plan.columnMm)} mm, filled up one and down the next. A layer is ${plain(plan.layerMm)} mm of a column (${areaText(plan.layerMm2)}); the line is the way of a token from layer to layer, ${plain(plan.snakeMm)} mm in all. Pads, grid and empty space are spread over all blocks.`;
  return `<figure class="drawing ground" id="${escapeHtml(id)}"><h3>Plan of the ground, ${escapeHtml(name)}</h3>
<svg viewBox="${mm(-wide / 100)} ${mm(-wide / 100)} ${mm(size.x + wide / 50)} ${mm(size.y + wide / 50)}" role="img" aria-label="${escapeHtml(caption)}" style="max-width:none;max-height:760px">
${rectangles.map(block).join('')}
${borders.join('')}
<polyline points="${way.join(' ')}" fill="none" stroke="#1c2430" stroke-opacity="0.55" stroke-width="${mm(wide / 220)}" stroke-linejoin="round"/>
${dies.join('')}
</svg>
<p style="margin:8px 0;font-size:.85rem">${legend}</p>
<figcaption class="ground">${escapeHtml(caption)}</figcaption>
<details class="screen"><summary>Table of this plan</summary>${tableHtml({
    caption: 'Blocks with their share of pads and space',
    headers: ['Block', 'Where', 'mm²'],
    rows: [
      ...plan.layer.map((part) => [label(part.name), `each of ${layers} layers`, plain(part.mm2)]),
      ...[...plan.first, ...plan.last].map((part) => [label(part.name), 'once', plain(part.mm2)]),
    ],
  })}</details>
</figure>`;
}

type Piece = Pick<FloorRectangle, 'die' | 'x' | 'y' | 'width' | 'height'>;

/** The parts of a layer in one column as one rectangle each, in the order of the way. */
function layerPieces(rectangles: readonly FloorRectangle[], layers: number): Piece[] {
  const pieces: Piece[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const columns = new Map<string, Piece>();
    for (const one of rectangles) {
      if (one.layer !== layer) continue;
      const key = `${one.die}:${one.x}`;
      const known = columns.get(key);
      if (known === undefined) {
        columns.set(key, one);
        continue;
      }
      const y = Math.min(known.y, one.y);
      const end = Math.max(known.y + known.height, one.y + one.height);
      columns.set(key, { ...known, y, height: end - y });
    }
    pieces.push(...columns.values());
  }
  return pieces;
}
