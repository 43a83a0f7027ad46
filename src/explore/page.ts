/** The explorer's page: one file with model, data and controls in it, that loads nothing. */
import { gzipSync } from 'node:zlib';
import { plain } from '../format.ts';
import { SERIES } from '../report/figure.ts';
import { escapeHtml, tableHtml } from '../report/html.ts';
import { documentHtml } from '../report/page.ts';
import type { AccuracyPoint } from './accuracy.ts';
import { EXPLORER_CLIENT } from './client.ts';
import type { ExplorerData } from './data.ts';

const STYLE = `
.explorer { display: grid; grid-template-columns: minmax(0, 300px) minmax(0, 1fr); gap: 24px; align-items: start; }
.controls { border: 1px solid var(--line); border-radius: 8px; padding: 14px; position: sticky; top: 12px; }
.control { display: block; margin-bottom: 12px; font-size: .9rem; } .control .name { display: block; color: var(--soft); } .control output { color: var(--ink); font-weight: 600; }
.control select, .control input { width: 100%; margin: 4px 0 0; font: inherit; } .control select { padding: 4px; }
.strip.wide { grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); margin-top: 0; }
.strip.wide .value { overflow-wrap: anywhere; } .strip.wide .band { display: block; font-size: .82rem; color: var(--soft); min-height: 1.3em; } .strip.wide .words { font-size: 1.05rem; }
.stack { display: flex; height: 26px; border-radius: 5px; overflow: hidden; background: #eef1f4; } .stack span { min-width: 1px; }
.legend { list-style: none; display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 2px 18px; padding: 0; margin: 8px 0 18px; font-size: .85rem; }
.legend li { display: flex; gap: 6px; align-items: baseline; } .legend i { width: 10px; height: 10px; border-radius: 2px; flex: none; } .legend span { flex: 1; overflow-wrap: anywhere; } .legend b { font-weight: 600; white-space: nowrap; }
.along { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 12px; } .along svg { width: 100%; max-width: 380px; }
.stale { opacity: .35; } #command { display: block; overflow-wrap: anywhere; background: var(--wash); padding: 8px 10px; border-radius: 6px; white-space: normal; }
#warnings { padding-left: 18px; font-size: .88rem; }
@media (max-width: 859px) { .explorer { grid-template-columns: minmax(0, 1fr); } .controls { position: static; } }
@media print { .explorer { display: block; } .controls { display: none; } }
`;

const CARDS: readonly (readonly [id: string, name: string, words?: boolean])[] = [
  ['energy', 'Energy'],
  ['load', 'Energy at these users'],
  ['speed', 'Speed'],
  ['area', 'Silicon'],
  ['full', 'Full pipeline'],
  ['kl', 'Accuracy'],
  ['binds', 'What binds', true],
  ['price', 'Money'],
];

const card = ([id, name, words]: (typeof CARDS)[number]): string =>
  `<li><span class="name">${name}</span><span class="value${words ? ' words' : ''}" id="${id}-value"></span><span class="detail" id="${id}-detail"></span><span class="band" id="${id}-band"></span></li>`;

const stack = (id: string, title: string): string =>
  `<h3>${title}</h3><div class="stack" id="${id}-bar"></div><ul class="legend" id="${id}-legend"></ul>`;

export function renderExplorer(data: ExplorerData): string {
  const { bundle, ...rest } = data;
  const pack = (text: string) => gzipSync(text, { level: 9 }).toString('base64');
  return documentHtml({
    title: 'onefet explorer',
    subtitle:
      'What a chip that holds Llama 3.1 8B would cost, and what was measured of its accuracy on a small model. Move a control: the page computes with the same code as the command.',
    style: STYLE,
    sections: [
      {
        id: 'explore',
        title: 'Chip',
        open: true,
        html: `<p id="explorer-status" class="banner" role="status" hidden></p><div class="explorer"><div class="controls"><div id="explorer-controls"></div><p class="fold"><button type="button" id="copy">Copy address</button><button type="button" id="reset">Default</button></p></div>
<div id="explorer-results" aria-live="polite"><ul class="strip wide">${CARDS.map(card).join('')}</ul>
<p class="note">Ranges: 5th to 95th percentile over the bands of all constants. Of accuracy: 95 %, over what is said.</p>
${stack('energy', 'Energy of a token, one user')}${stack('areas', 'Silicon')}${stack('time', 'Time of a token')}
<h3>Accuracy that was measured around here</h3><p class="note" id="along-note"></p><div class="along" id="along"></div></div></div>`,
      },
      {
        id: 'how',
        title: 'The same from the command line',
        open: true,
        html: '<code id="command"></code><p>Counts of what happens in a token: <span id="source"></span></p><ul id="warnings"></ul>',
      },
      { id: 'every-line', title: 'Every line of the cost', html: '<div id="lines"></div>' },
      { id: 'measured', title: 'Designs whose accuracy was measured', html: measuredHtml(data.accuracy) },
    ],
    scripts: `<script type="text/plain" id="explorer-script">${pack(bundle)}</script><script type="text/plain" id="explorer-data">${pack(JSON.stringify({ ...rest, colours: SERIES }))}</script><script>${EXPLORER_CLIENT}</script>`,
  });
}

/** Points by their source. */
function measuredHtml(points: readonly AccuracyPoint[]): string {
  const bySource = new Map<string, AccuracyPoint[]>();
  for (const point of points) bySource.set(point.source, [...(bySource.get(point.source) ?? []), point]);
  return `${tableHtml({
    caption: 'What the accuracy is from. Nothing is interpolated between these designs',
    headers: ['Command', 'Model', 'Designs', 'Predictions', 'Chips', 'KL, nats'],
    rows: [...bySource].map(([source, found]) => [
      source,
      [...new Set(found.map(({ model }) => model))].join(', '),
      found.length,
      range(found.map(({ predictions }) => predictions)),
      range(found.map(({ chips }) => chips)),
      range(found.map(({ kl }) => kl)),
    ]),
  })}<p>${escapeHtml('A design that was not measured is said to be so, with its nearest neighbour: run it (onefet run), and name the run: onefet explore runs/latest.')}</p>`;
}

function range(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? plain(least, 2) : `${plain(least, 2)} to ${plain(most, 2)}`;
}
