/**
 * The page around the sections: one file, no request to anywhere, light, for desktop, phone and paper.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { CLIENT_SCRIPT } from './client.ts';
import { escapeHtml } from './html.ts';
import { TAG_STYLE } from './tags.ts';

let packedPlotly: string | undefined;

/** plotly.js of the installed package, gzip and base64; packed once per process. */
function plotlyBase64(): string {
  if (packedPlotly === undefined) {
    try {
      const file = createRequire(import.meta.url).resolve('plotly.js-dist');
      packedPlotly = gzipSync(readFileSync(file), { level: 6 }).toString('base64');
    } catch (cause) {
      throw new OnefetError('internal', 'PLOTLY_MISSING', `cannot read plotly.js-dist: ${reasonOf(cause)}`, {
        hint: 'reinstall the dependencies with npm install',
        cause,
      });
    }
  }
  return packedPlotly;
}

const STYLE = `
:root { --ink:#1c2430; --soft:#4b5563; --line:#d9dee5; --wash:#f5f7f9; --accent:#0072b2; color-scheme: light; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 32px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 48px 0 8px; padding-top: 16px; border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 0 0 8px; line-height: 1.3; }
p { margin: 0 0 12px; max-width: 74ch; }
a { color: var(--accent); }
.subtitle { color: var(--soft); overflow-wrap: anywhere; }
.skip { position: absolute; left: -9999px; }
.skip:focus { left: 8px; top: 8px; background: #fff; padding: 8px; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 12px 0 0; }
.banner { border-left: 4px solid #b37400; background: #fff8e8; padding: 12px 16px; margin: 16px 0; }
.verdict { border-left: 4px solid var(--accent); background: #f0f7fb; padding: 14px 18px 4px; margin: 20px 0; font-size: 1.08rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 12px; margin: 16px 0; padding: 0; list-style: none; }
.cards li { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.cards .name { display: block; color: var(--soft); font-size: .88rem; }
.cards .value { display: block; font-size: 1.5rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.cards .detail { display: block; color: var(--soft); font-size: .85rem; }
.figures { display: grid; grid-template-columns: minmax(0, 1fr); gap: 28px; }
.figures.pair { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 16px; min-width: 0; break-inside: avoid; }
.figure > .plot { width: 100%; min-height: var(--height); }
figcaption { color: var(--soft); margin: 8px 0; max-width: 80ch; }
details { margin-top: 8px; }
summary { cursor: pointer; color: var(--accent); padding: 4px 0; }
.table { overflow-x: auto; margin: 8px 0 20px; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
caption { text-align: left; color: var(--soft); padding: 4px 0; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
thead th { border-bottom: 2px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 600; min-width: 7em; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.formula, td .formula { display: block; min-width: 18em; }
.tag { display: inline-block; border-radius: 999px; padding: 0 9px; font-size: .8rem; line-height: 1.5; white-space: nowrap; border: 1px solid; }
${TAG_STYLE}
.tag.pass { color: #045d46; background: #e7f6f0; } .tag.fail { color: #8a4b00; background: #fff3e0; }
dl.facts { display: grid; grid-template-columns: minmax(9em, max-content) minmax(0, 1fr); gap: 4px 18px; font-size: .92rem; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 8px; padding: 12px; overflow-x: auto; font-size: .82rem; line-height: 1.45; }
footer { color: var(--soft); font-size: .85rem; padding-top: 32px; padding-bottom: 48px; }
#plot-status { margin: 16px 0; }
@media (max-width: 860px) { .figures.pair { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 619px) {
  body { font-size: 15px; } main, header, footer { padding-left: 14px; padding-right: 14px; }
  h1 { font-size: 1.35rem; } .figure { padding: 12px 8px; } .figure > .plot { min-height: var(--phone); }
  .figure h3, figcaption, .figure details { padding: 0 4px; }
  .table table { min-width: 460px; } .table:has(.formula) table { min-width: 880px; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); } .cards li { padding: 10px; } .cards .value { font-size: 1.2rem; }
  dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0; } dl.facts dd { margin-bottom: 8px; }
}
@media print {
  @page { margin: 14mm; } body { font-size: 10.5pt; } nav, summary, .skip { display: none; }
  .figures, .figures.pair { display: block; } .figure { margin-bottom: 12px; } h2 { break-after: avoid; }
  .cards { grid-template-columns: repeat(3, 1fr); } .table { overflow: visible; } pre { white-space: pre-wrap; }
}
`;

export interface PageSection {
  id: string;
  title: string;
  html: string;
}

/** The whole document. `intro` stands before the first section. */
export function pageHtml(
  title: string,
  subtitle: string,
  intro: string,
  sections: readonly PageSection[],
): string {
  const links = sections.map((s) => `<li><a href="#${s.id}">${escapeHtml(s.title)}</a></li>`).join('');
  const body = sections
    .map(
      (s) =>
        `<section aria-labelledby="${s.id}"><h2 id="${s.id}">${escapeHtml(s.title)}</h2>\n${s.html}\n</section>`,
    )
    .join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="subtitle">${escapeHtml(subtitle)}</p>
<nav aria-label="Sections"><ul>${links}</ul></nav>
</header>
<main id="content">
<p id="plot-status" class="banner" role="status" hidden></p>
<noscript><p class="banner">Figures need JavaScript; the table under each figure has its numbers.</p></noscript>
${intro}
${body}
</main>
<footer>Made by onefet. This file is complete: it loads nothing from anywhere. Figures: plotly.js (MIT licence).</footer>
<script type="text/plain" id="plotly-gzip">${plotlyBase64()}</script>
<script>${CLIENT_SCRIPT}</script>
</body>
</html>
`;
}
