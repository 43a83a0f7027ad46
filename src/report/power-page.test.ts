/** The page of `onefet power` in a browser: figures, the plan of the ground, and numbers that lead to their lines. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadComparators } from '../cost/comparators.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { contextCurves, userCurves } from '../power/curves.ts';
import { powerRows, subjectOf } from '../power/power.ts';
import { expectPageDraws, missingBrowser, startBrowser } from '../testing/browser.ts';
import { floorplanHtml } from './floorplan.ts';
import { renderPowerPage, writePowerPage } from './power-page.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-power-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const subjects = ['routed', 'gpu'].map((design) => subjectOf(design, [], 'no-such-folder'));
const rows = powerRows(subjects, { shape: LLAMA_3_1_8B, contexts: [1024], draws: 2 });
const page = {
  ...{ rows, comparators: loadComparators(), compare: true, answers: [] },
  byContext: contextCurves(subjects, LLAMA_3_1_8B),
  byUsers: userCurves(rows),
};

test('curves: more context costs energy, more users of a gpu save it, and the last point is the full pipeline', () => {
  for (const { points } of page.byContext) {
    for (const [i, { oneUserJ }] of points.slice(1).entries())
      expect(oneUserJ).toBeGreaterThan(points[i].oneUserJ);
  }
  for (const [i, { points }] of page.byUsers.entries()) {
    const [first, last] = [points[0], points.at(-1)!];
    expect(first).toMatchObject({ x: 1 });
    expect(first.fullJ / rows[i].cost.perTokenJ).toBeCloseTo(1, 9);
    expect(last.x).toBe(rows[i].cost.usersHeld);
    expect(last.fullJ / rows[i].cost.perTokenAggregateJ).toBeCloseTo(1, 9);
  }
});

test('the plan has a rectangle for every block of every layer, and a gpu has none', () => {
  const [{ cost }, gpu] = rows;
  const svg = floorplanHtml('ground', 'routed', cost);
  const layers = svg.match(/<title>Selectors, layer \d+<\/title>/g)!;
  expect(new Set(layers).size).toBe(32);
  expect(svg).not.toMatch(/NaN|undefined/);
  expect(floorplanHtml('ground', 'gpu', gpu.cost)).toBe('');
});

test('numbers lead to their lines', () => {
  const html = renderPowerPage(page);
  expect(html).toContain('<a href="#lines-0">1.57 mJ</a>');
  expect(html).toContain('<a id="lines-0"></a>');
  expect(html).toContain('<a id="lines-1"></a>');
});

test.skipIf(missingBrowser !== undefined)(
  'it draws on a desktop and on a phone',
  async () => {
    const path = join(folder, 'power.html');
    writePowerPage(path, page);
    const browser = await startBrowser();
    try {
      for (const width of [1280, 390]) {
        const { figures } = await expectPageDraws(browser, path, width);
        expect(figures).toBe(8);
      }
    } finally {
      await browser.close();
    }
  },
  120_000,
);
