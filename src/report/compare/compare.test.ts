/** Runs side by side: what is paired, what is said, and no name as HTML. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectPageDraws, missingBrowser, startBrowser } from '../../testing/browser.ts';
import { needs } from '../../testing/needs.ts';
import { fixtureResult } from '../../testing/results.ts';
import { exportFigure } from '../export.ts';
import { comparisonFigures, differencesOf, renderRunComparison } from './compare.ts';
import type { ComparedRun } from './runs.ts';

const HOSTILE = `</script><img src=x onerror="alert(1)"><a href='https://evil.example/'>`;

/** Runs whose chips have `kl` nats per prediction in each of six windows, more by a little in each. */
function run(point: number, kl: number, textKey = 'text', name = `run-${point}`): ComparedRun {
  const result = fixtureResult(6);
  result.design.name = name;
  result.design.overrides = { [name]: name };
  for (const chip of result.chips) chip.kl = kl;
  result.summary.kl = { mean: kl, ci95: [0.9 * kl, 1.1 * kl] };
  result.overText.kl = result.summary.kl;
  const scored = [10, 10, 10, 10, 10, 10];
  const rows = result.chips.map((_, c) => scored.map((n, w) => n * (kl + 0.01 * c + 0.02 * w)));
  return {
    folder: `runs/${name}`,
    name,
    result,
    comparable: {
      point,
      textKey,
      chipsDiffer: true,
      units: { seeds: result.chips.map(({ seed }) => seed), scored, sums: { kl: rows, nll: rows } },
    },
  };
}

test('differences are paired: what chips and windows have in common is gone from them', () => {
  const [first, second] = [run(0, 0.3), run(1, 0.2)];
  const [{ comparison }] = differencesOf([first, second]);
  expect(comparison.difference).toBeCloseTo(-0.1, 12);
  expect(comparison.ci95![0]).toBeCloseTo(-0.1, 9);
  expect(comparison.ci95![1]).toBeCloseTo(-0.1, 9);
  expect(differencesOf([first, run(1, 0.2, 'another text')])).toEqual([]);
});

test('the page says what does not compare, and keeps names inert', () => {
  const other = run(1, 0.2, 'another', HOSTILE);
  other.result.text.sha256 = 'f'.repeat(64);
  const html = renderRunComparison([run(0, 0.3), other]).replace(/(id="plotly-gzip">)[^<]*/, '$1');
  expect(html).toContain('Different models or texts');
  expect(html).toContain('1 of 1 runs cannot be paired');
  expect(html).not.toContain('<img');
  expect(html).not.toMatch(/<a href='https/);
  expect(html.match(/<\/script>/g)!.length).toBe(html.match(/<script/g)!.length);
});

describe('in a browser', needs(missingBrowser), () => {
  test('is drawn on a phone, and a figure becomes an SVG', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'onefet-compare-'));
    const browser = await startBrowser();
    try {
      const runs = [run(0, 0.3), run(1, 0.02, 'text', HOSTILE)];
      const path = join(folder, 'page.html');
      writeFileSync(path, renderRunComparison(runs));
      expect((await expectPageDraws(browser, path, 390)).figures).toBe(4);
      const svg = join(folder, 'pareto.svg');
      exportFigure(comparisonFigures(runs)[1], 'svg', svg);
      const text = readFileSync(svg, 'utf8');
      expect(text).toMatch(/^<svg/);
      expect(text).toContain('Energy per token of one user (J)');
      expect(text).not.toContain('<img');
    } finally {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
