/** A strip of quantities with their bands: one number each, large, and where its band lies on a log scale of its own. */
import type { CostReport } from '../cost/report.ts';
import { formatSi, plain } from '../format.ts';
import { areaText } from './figures-cost.ts';
import { escapeHtml } from './html.ts';

interface Quantity {
  readonly name: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly text: (value: number) => string;
  readonly detail: string;
  readonly better: 'less' | 'more';
}

/** Energy, area and speed of a projection. */
export function costStrip(report: CostReport): string {
  const { bands, shape } = report;
  const quantities: Quantity[] = [
    {
      name: 'Energy per token',
      value: report.perTokenJ,
      ...bands.perTokenJ,
      text: (v) => formatSi(v, 'J'),
      detail: `one user, ${report.contextTokens.toLocaleString('en-US')} tokens of context; ${formatSi(report.perTokenAggregateJ, 'J')} in a full pipeline`,
      better: 'less',
    },
    {
      name: 'Silicon',
      value: report.areaMm2,
      ...bands.areaMm2,
      text: areaText,
      detail: `${report.dies} ${report.dies === 1 ? 'die' : 'dies'} of the reticle limit`,
      better: 'less',
    },
    {
      name: 'Speed of one user',
      value: report.tokensPerSecondPerUser,
      ...bands.tokensPerSecondPerUser,
      text: (v) => `${plain(v)} tok/s`,
      detail: `${plain(report.tokensPerSecondAggregate)} tokens/s together, bound by ${report.binding}`,
      better: 'more',
    },
  ];
  return `<ul class="strip" aria-label="Projected energy, area and speed">${quantities.map(quantityHtml).join('')}</ul>
<p class="note">${escapeHtml(shape.name)}, projected, not measured. Bars: 90 % of ${bands.draws} draws of all constants of cost within their bands, logarithmic; the dot is the likely value.</p>`;
}

function quantityHtml({ name, value, low, high, text, detail, better }: Quantity): string {
  return `<li><span class="name">${escapeHtml(name)}</span><span class="value">${escapeHtml(text(value))}</span>${bandSvg(value, low, high)}<span class="ends"><span>${escapeHtml(text(low))}</span><span>${escapeHtml(text(high))}</span></span><span class="detail">${escapeHtml(`${detail}; ${better} is better`)}</span></li>`;
}

/** A bar from low to high with a dot at the value; the value may lie outside where many constants are skewed. */
function bandSvg(value: number, low: number, high: number): string {
  const [from, to] = [Math.log(Math.min(low, value)), Math.log(Math.max(high, value))];
  const at = (v: number) => (to > from ? 8 + (184 * (Math.log(v) - from)) / (to - from) : 100);
  const [a, b, c] = [at(low), at(high), at(value)].map((x) => x.toFixed(1));
  return `<svg viewBox="0 0 200 16" aria-hidden="true" preserveAspectRatio="none"><line x1="${a}" y1="8" x2="${b}" y2="8" stroke="#9cc7e3" stroke-width="7" stroke-linecap="round"/><circle cx="${c}" cy="8" r="6" fill="#0072b2"/></svg>`;
}
