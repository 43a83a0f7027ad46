/**
 * The page around the sections: one file, no request to anywhere, light, for desktop, phone and paper.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { CLIENT_SCRIPT } from './client.ts';
import { type Figure, figureHtml } from './figure.ts';
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
h2 { font-size: 1.3rem; margin: 0; }
h3 { font-size: 1.05rem; margin: 0 0 8px; line-height: 1.3; }
p { margin: 0 0 12px; max-width: 74ch; }
a { color: var(--accent); }
.subtitle { color: var(--soft); overflow-wrap: anywhere; }
.skip { position: absolute; left: -9999px; }
.skip:focus { left: 8px; top: 8px; background: #fff; padding: 8px; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 12px 0 0; }
.banner { border-left: 4px solid #b37400; background: #fff8e8; padding: 12px 16px; margin: 16px 0; }
.verdict { border-left: 4px solid var(--edge, #0072b2); background: var(--ground, #f0f7fb); padding: 14px 18px 4px; margin: 16px 0; }
.as-good { --edge: #007a5a; --ground: #e7f6f0; } .worse { --edge: #b37400; --ground: #fff6e0; } .far-worse { --edge: #c2410c; --ground: #fdeee7; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 12px; margin: 16px 0; padding: 0; list-style: none; }
.cards li { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.cards .name, .cards .detail { display: block; color: var(--soft); font-size: .84rem; }
.cards .value { display: block; font-size: 1.45rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.answer { border-left: 6px solid var(--edge, #0072b2); background: var(--ground, #f0f7fb); padding: 14px 18px; margin: 16px 0; font-size: 1.2rem; line-height: 1.4; font-weight: 550; max-width: none; text-wrap: pretty; overflow-wrap: anywhere; }
.first { display: grid; grid-template-columns: minmax(0, 8fr) minmax(0, 5fr); gap: 20px; align-items: start; } .first.single { grid-template-columns: minmax(0, 1fr); }
.drawing { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 16px; min-width: 0; } .drawing svg { width: 100%; max-width: 440px; height: auto; display: block; margin: 0 auto; }
.drawing .known { display: block; margin-top: 6px; font-size: .88rem; }
.strip { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px; margin: 16px 0 4px; padding: 0; list-style: none; }
.strip li { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.strip .name, .strip .detail { display: block; color: var(--soft); font-size: .84rem; line-height: 1.35; }
.strip .value { display: block; font-size: 1.45rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.strip svg { display: block; width: 100%; height: 16px; } .strip .ends { display: flex; justify-content: space-between; font-size: .8rem; color: var(--soft); margin-bottom: 4px; }
.paper { display: none; }
.note { color: var(--soft); font-size: .84rem; }
.section > summary { list-style: none; border-top: 2px solid var(--line); margin-top: 28px; padding: 12px 0 8px; color: var(--ink); }
.section > summary::-webkit-details-marker { display: none; }
.section > summary h2 { display: inline; } .section > summary::before { content: '▸'; display: inline-block; width: 1.2em; color: var(--accent); }
.section[open] > summary::before { content: '▾'; }
.fold { margin: 10px 0 0; } button { font: inherit; font-size: .85rem; color: var(--accent); background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 2px 10px; cursor: pointer; }
.fold button { margin-right: 6px; }
.save { font-size: .85rem; color: var(--soft); margin: 0; } .save > * { margin-left: 8px; }
.figures { display: grid; grid-template-columns: minmax(0, 1fr); gap: 28px; }
.figures.pair { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 16px; min-width: 0; break-inside: avoid; }
.figure > .plot { width: 100%; min-height: var(--height); }
figcaption { color: var(--soft); margin: 8px 0; max-width: 80ch; }
p, figcaption, li { overflow-wrap: anywhere; }
details { margin-top: 8px; }
summary { cursor: pointer; color: var(--accent); padding: 4px 0; }
.table { overflow-x: auto; margin: 8px 0 20px; container-type: inline-size; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
caption { text-align: left; color: var(--soft); padding: 4px 0; } caption span { display: inline-block; position: sticky; left: 0; max-width: 100cqw; }
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
@media (max-width: 860px) { .figures.pair, .first { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 619px) {
  body { font-size: 15px; } main, header, footer { padding-left: 14px; padding-right: 14px; }
  h1 { font-size: 1.35rem; } .figure { padding: 12px 8px; } .figure > .plot { min-height: var(--phone); }
  .figure h3, figcaption, .figure details { padding: 0 4px; }
  .table table { min-width: 460px; } .table:has(.formula) table { min-width: 880px; }
  .answer { font-size: 1.05rem; padding: 12px; } .strip { grid-template-columns: minmax(0, 1fr); } .drawing { padding: 12px 8px; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); } .cards .value { font-size: 1.2rem; }
  dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0; } dl.facts dd { margin-bottom: 8px; }
}
@media print {
  @page { size: A4; margin: 11mm; }
  body { font-size: 8.6pt; line-height: 1.35; } main, header, footer { max-width: none; padding: 0; } header { padding: 0; }
  h1 { font-size: 15pt; } h2 { font-size: 11.5pt; } h3 { font-size: 9.5pt; margin: 0 0 2px; } p, figcaption { max-width: none; margin: 0 0 5px; }
  nav, .skip, .save, .fold, .figure details, details:not(.section) > summary { display: none; }
  .section > summary { margin: 8px 0 -200px; padding: 4px 0 202px; break-inside: avoid; border-top-width: 1px; } .section > summary::before { content: none !important; }
  .section:has(> .figures) > summary { margin-bottom: -400px; padding-bottom: 402px; }
  .answer { font-size: 11pt; padding: 8px 12px; margin: 8px 0; } .verdict { padding: 6px 10px 2px; margin: 6px 0; } .banner { padding: 4px 10px; margin: 6px 0; }
  .first { grid-template-columns: 420px minmax(0, 1fr); gap: 10px; } .first.single { grid-template-columns: minmax(0, 1fr); } .drawing { padding: 8px; } .drawing svg { max-width: 240px; }
  .strip, .cards { gap: 6px; margin: 6px 0 2px; } .cards { grid-template-columns: repeat(5, 1fr); } .strip li, .cards li { padding: 5px 7px; } .strip .value, .cards .value { font-size: 11pt; } .cards .name, .cards .detail, .strip .name, .strip .detail, .strip .ends, .note { font-size: 7pt; }
  .figures, .figures.pair { display: block; columns: 2; column-gap: 12px; } .figure { padding: 6px 8px; margin: 0 0 10px; break-inside: avoid; }
  .figure > .plot { min-height: 0; } figcaption, .drawing .known { font-size: 7.5pt; line-height: 1.3; margin: 2px 0; } p:has(+ .figures) { break-inside: avoid; }
  .screen { display: none; } .paper { display: block; } .ground { break-inside: avoid; } .ground svg { max-height: 420px !important; }
  .table { overflow: visible; container-type: normal; margin: 3px 0 8px; } caption span { max-width: none; } table { font-size: 6.6pt; line-height: 1.2; } th, td { padding: 1px 5px 1px 0; } tr, .table.short { break-inside: avoid; } caption { break-after: avoid; padding: 2px 0; } thead th { white-space: normal; } tbody th { min-width: 0; }
  td.formula, td .formula { min-width: 0; } .tag { border: 0; padding: 0; font-size: inherit; }
  dl.facts { font-size: 7.5pt; gap: 1px 12px; margin: 4px 0; } pre { white-space: pre-wrap; font-size: 5pt; line-height: 1.15; columns: 4; padding: 4px; margin: 4px 0; } footer { padding: 8px 0 0; font-size: 7pt; } ul { margin: 4px 0; }
}
`;

export interface PageSection {
  id: string;
  title: string;
  html: string;
  /** Shown at first; the others are folded until somebody asks, and on paper all are open. */
  open?: boolean;
  /** Not printed. */
  screenOnly?: boolean;
}

/** A section that has figures, so that a page's figures can be had one by one. */
export interface Part {
  id: string;
  title: string;
  open?: boolean;
  screenOnly?: boolean;
  /** HTML above and below the figures. */
  before?: string;
  figures?: readonly Figure[];
  after?: string;
}

export const sectionOf = ({
  id,
  title,
  open,
  screenOnly,
  before = '',
  figures = [],
  after = '',
}: Part): PageSection => ({
  id,
  title,
  html: `${before}${figures.length > 0 ? figuresHtml(figures) : ''}${after}`,
  ...(open ? { open } : {}),
  ...(screenOnly ? { screenOnly } : {}),
});

export const figuresHtml = (figures: readonly Figure[]): string =>
  `<div class="figures">${figures.map(figureHtml).join('\n')}</div>`;

/** A page with figures. `intro` stands before the first section. */
export const pageHtml = (
  title: string,
  subtitle: string,
  intro: string,
  sections: readonly PageSection[],
): string =>
  documentHtml({
    ...{ title, subtitle, sections },
    intro: `<p id="plot-status" class="banner" role="status" hidden></p>
<noscript><p class="banner">Figures need JavaScript; the table under each figure has its numbers.</p></noscript>
${intro}
<p class="fold"><button type="button" data-sections="open">Open all sections</button><button type="button" data-sections="close">Fold all</button></p>`,
    credits: ' Figures: plotly.js (MIT licence).',
    scripts: `<script type="text/plain" id="plotly-gzip">${plotlyBase64()}</script>
<script>${CLIENT_SCRIPT}</script>`,
  });

export interface DocumentParts {
  readonly title: string;
  readonly subtitle: string;
  readonly sections: readonly PageSection[];
  /** Script elements, last on the page. */
  readonly scripts: string;
  /** Before the first section. */
  readonly intro?: string;
  /** Rules beside those of every page. */
  readonly style?: string;
  readonly credits?: string;
}

/** The whole document. */
export function documentHtml({
  title,
  subtitle,
  sections,
  scripts,
  intro = '',
  style = '',
  credits = '',
}: DocumentParts): string {
  const links = sections.map((s) => `<li><a href="#${s.id}">${escapeHtml(s.title)}</a></li>`).join('');
  const body = sections
    .map(
      (s) =>
        `<section aria-labelledby="${s.id}"${s.screenOnly ? ' class="screen"' : ''}><details class="section" open${s.open ? '' : ' data-fold'}><summary><h2 id="${s.id}">${escapeHtml(s.title)}</h2></summary>\n${s.html}\n</details></section>`,
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
<style>${STYLE}${style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="subtitle">${escapeHtml(subtitle)}</p>
<nav aria-label="Sections"><ul>${links}</ul></nav>
</header>
<main id="content">
${intro}
${body}
</main>
<footer>Made by onefet. This file is complete: it loads nothing from anywhere.${credits}</footer>
${scripts}
</body>
</html>
`;
}
