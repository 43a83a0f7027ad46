/**
 * A figure as a file: CSV by itself; SVG and PNG as a headless chromium draws it, by the code of the page, without network.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { env, getuid, platform } from 'node:process';
import { pathToFileURL } from 'node:url';
import { nearestName, OnefetError } from '../error.ts';
import { writeFileAtomic } from '../files.ts';
import type { Figure } from './figure.ts';
import { figureCsv } from './figure-data.ts';
import type { FigureFormat } from './figure-spec.ts';
import { figuresHtml, pageHtml } from './page.ts';

const BROWSERS = [
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
  'chrome',
  'msedge',
];
/** Where installers put it outside the path. */
const PLACES = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** Path of a chromium; undefined where there is none. */
export function findBrowser(): string | undefined {
  const suffix = platform === 'win32' ? '.exe' : '';
  const onPath = (env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => BROWSERS.map((name) => join(folder, `${name}${suffix}`)));
  return [...onPath, ...PLACES].find((path) => existsSync(path));
}

/** Finds a figure by its id. Error: FIGURE_UNKNOWN (usage), with all that there are. */
export function pickFigure(figures: readonly Figure[], name: string): Figure {
  const found = figures.find(({ id }) => id === name);
  if (found) return found;
  const ids = figures.map(({ id }) => id);
  const near = nearestName(name, ids);
  throw new OnefetError('usage', 'FIGURE_UNKNOWN', `this report has no figure ${name}`, {
    hint: `${near === undefined ? '' : `did you mean ${near}? `}it has ${ids.join(', ')}`,
  });
}

/** Writes the figure. Errors: NO_BROWSER (usage), FIGURE_FAILED (internal). `browser`: its path, '' where there is none. */
export function exportFigure(
  figure: Figure,
  format: FigureFormat,
  path: string,
  browser: string = findBrowser() ?? '',
): void {
  if (format === 'csv') {
    writeFileAtomic(path, figureCsv(figure));
    return;
  }
  if (browser === '') {
    throw new OnefetError(
      'usage',
      'NO_BROWSER',
      `drawing a figure as ${format.toUpperCase()} needs chromium, and there is none`,
      {
        hint: 'on Debian: apt-get install chromium; the report has buttons for SVG and PNG, and --format csv needs none',
      },
    );
  }
  writeFileAtomic(path, imageOf(drawInBrowser(figure, format, browser), format));
}

/** Drawn at this width in CSS pixels, PNG twice as fine. */
const WIDTH = 900;
const DRAW_MS = 90_000;

/** Returns the page as chromium left it: in it the image as a data URL. */
function drawInBrowser(figure: Figure, format: FigureFormat, browser: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-figure-'));
  try {
    const page = join(folder, 'figure.html');
    const draw = `<script>(() => {
const draw = async () => {
  if (document.body.dataset.figures === undefined) return setTimeout(draw, 50);
  const plot = document.querySelector('.plot');
  const url = await Plotly.toImage(plot, { format: '${format}', width: ${WIDTH}, height: ${figure.height}, scale: ${format === 'png' ? 2 : 1} });
  document.body.innerHTML = '<pre id="image"></pre>';
  document.getElementById('image').textContent = url;
};
draw();
})();</script>`;
    const section = { id: 'figure', title: 'Figure', html: `${figuresHtml([figure])}${draw}`, open: true };
    writeFileSync(page, pageHtml('figure', '', '', [section]));
    const { stdout } = spawnSync(
      browser,
      [
        ...['--headless', '--disable-gpu', '--hide-scrollbars', `--window-size=${WIDTH + 100},1200`],
        // Chromium's sandbox does not start for root.
        ...(getuid?.() === 0 ? ['--no-sandbox'] : []),
        ...[`--user-data-dir=${join(folder, 'profile')}`, '--virtual-time-budget=60000', '--dump-dom'],
        pathToFileURL(page).href,
      ],
      { encoding: 'utf8', maxBuffer: 256 * 2 ** 20, timeout: DRAW_MS },
    );
    return stdout ?? '';
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function imageOf(dom: string, format: FigureFormat): string | Buffer {
  const url = /<pre id="image">(data:image\/[^<]+)<\/pre>/.exec(dom)?.[1].replaceAll('&amp;', '&');
  const content = url?.slice(url.indexOf(',') + 1);
  if (!content) {
    throw new OnefetError('internal', 'FIGURE_FAILED', 'chromium did not draw the figure', {
      hint: 'open the report and use its buttons, or take --format csv',
    });
  }
  return format === 'svg' ? decodeURIComponent(content) : Buffer.from(content, 'base64');
}
