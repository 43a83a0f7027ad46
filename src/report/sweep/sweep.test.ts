/** The page of a sweep: figures in a browser, on a desktop and a phone, and what they are made of. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, describe, expect, test } from 'vitest';
import { toCsv } from '../../csv.ts';
import { expectPageDraws, missingBrowser, startBrowser } from '../../testing/browser.ts';
import { needs } from '../../testing/needs.ts';
import { accuracySweep, calibrationSweep } from '../../testing/sweeps.ts';
import { paretoFront } from '../pareto.ts';
import { renderSweep } from './sweep.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-sweep-page-'));
let browser: Browser | undefined;
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the front holds what no other point beats in both', () => {
  const points = [
    { price: 1, value: 9 },
    { price: 2, value: 5 },
    { price: 3, value: 5 },
    { price: 2, value: 7 },
    { price: 4, value: 1 },
    { price: 5, value: 2 },
  ];
  expect(paretoFront(points, 'lower')).toEqual([0, 1, 4]);
  expect(paretoFront(points, 'higher')).toEqual([0]);
});

test('the page has the table as CSV, every refusal, and no text of an experiment as HTML', () => {
  const sweep = accuracySweep();
  const html = renderSweep(sweep);
  const csv = /href="data:text\/csv;base64,([^"]+)"/.exec(html)![1];
  expect(Buffer.from(csv, 'base64').toString('utf8')).toBe(toCsv(sweep.rows));
  expect(html).toContain('too &lt;large&gt;');
  expect(html).toContain('What &lt;/script&gt; does it cost?');
  expect(html).toContain('p (Holm)');
});

describe('in a browser', needs(missingBrowser), () => {
  test.each([
    // KL and perplexity against two keys, the map of both, two Pareto figures.
    ['accuracy', accuracySweep, 7],
    // Three quantities by two keys, the map, SPICE beside the fit.
    ['calibration', calibrationSweep, 8],
  ])('%s', async (name, make, figures) => {
    browser ??= await startBrowser();
    const path = join(folder, `${name}.html`);
    writeFileSync(path, renderSweep(make()));
    for (const width of [1280, 390]) {
      expect(await expectPageDraws(browser, path, width)).toEqual({
        figures,
        heading: 'onefet sweep: made-up',
      });
    }
  });
});
