import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectPageDraws, missingBrowser, startBrowser } from '../testing/browser.ts';
import { needs } from '../testing/needs.ts';
import { fixtureCalibration, fixtureResult } from '../testing/results.ts';
import { escapeHtml, plotText, scriptJson, tableHtml, wrapPlotText } from './html.ts';
import { renderReport, writeReport } from './report.ts';

const HOSTILE = `</script><img src=x onerror="alert(1)"><a href='https://evil.example/'>&amp;`;

/** The document without the packed plotting library: what this code has written. */
function written(html: string): string {
  return html.replace(/(<script type="text\/plain" id="plotly-gzip">)[^<]*/, '$1');
}

it('a chip without a clip rate is left out of its figure, and the others keep their numbers', () => {
  const result = fixtureResult(3);
  const [first, ...others] = result.chips;
  const html = written(renderReport({ ...result, chips: [{ ...first, clipRate: null }, ...others] }, null));
  const table = html.slice(html.indexOf('<caption><span>Clip rate by chip'));
  const rows = [
    ...table.slice(0, table.indexOf('</table>')).matchAll(/<tr><th[^>]*>(\d+)<\/th><td[^>]*>(\d+)</g),
  ];
  expect(rows.map(([, chip, seed]) => [Number(chip), Number(seed)])).toEqual(
    others.map(({ seed }, i) => [i + 2, seed]),
  );
});

describe('escaping', () => {
  it('no text gets out of an element, an attribute or a script block (property)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(escapeHtml(text)).not.toMatch(/[<>"']/);
        expect(scriptJson({ text })).not.toMatch(/[<>\u2028\u2029]/);
        expect(JSON.parse(scriptJson({ text }))).toEqual({ text });
        expect(plotText(text)).not.toMatch(/[<>]/);
        expect(wrapPlotText(text, 10).replaceAll('<br>', '')).not.toMatch(/[<>]/);
      }),
    );
  });

  it('table cells are escaped unless this code built them', () => {
    const html = tableHtml({
      caption: HOSTILE,
      headers: [HOSTILE],
      rows: [[HOSTILE], [{ html: '<b>x</b>' }]],
    });
    expect(html).not.toContain('<img');
    expect(html).toContain('<b>x</b>');
  });
});

describe('the page', () => {
  const html = renderReport(fixtureResult(), fixtureCalibration());

  it('loads nothing: no address in any src, href or url(), and a policy that forbids it', () => {
    const own = written(html);
    expect(own).not.toMatch(/(src|href|action|data|poster)\s*=\s*["']?\s*(https?:)?\/\//i);
    expect(own).not.toMatch(/url\(\s*["']?(https?:)?\/\//i);
    expect(own).not.toMatch(/@import/);
    expect(own).toContain(`default-src 'none'`);
  });

  it('says how the weights were mapped, where they were', () => {
    expect(written(html)).not.toContain('id="mapping"');
    const steps = [
      { step: 'scales', error: 0.02 },
      { step: 'refit', error: 0.0125 },
    ] as const;
    const matrix = {
      outputs: 4,
      inputs: 4,
      bits: 4,
      side: 0,
      principal: 0,
      rotatedOnline: false,
      centred: true,
    };
    const mapping = {
      method: 'auto',
      settings: {},
      reasons: ['stream: centred <1 %'],
      imageSha256: 'a'.repeat(64),
      text: { file: 'calibration.txt', sha256: 'b'.repeat(64), tokens: 100 },
      cellsPerWeight: 1,
      digitalNumbers: 8,
      correction: { rank: 12, reads: 4, readingS: 0.02 },
      residualRotated: false,
      ranges: null,
      matrices: [{ name: 'blk.0.attn_q', ...matrix, steps: [...steps] }],
    };
    const own = written(renderReport({ ...fixtureResult(), mapping }, fixtureCalibration()));
    expect(own).toContain('<h2 id="mapping">Mapping</h2>');
    expect(own).toContain('stream: centred &lt;1 %');
    expect(own).toContain('1.25 %');
    expect(own).toContain('a side path of rank 12 are fitted');
  });

  it('has one heading of level one, figures with a caption and a table each, and every cost line', () => {
    const own = written(html);
    expect(own.match(/<h1/g)).toHaveLength(1);
    const figures = own.match(/<figure class="figure"/g)!.length;
    expect(figures).toBeGreaterThanOrEqual(13);
    expect(own.match(/<figcaption>[^<]{20,}<\/figcaption>/g)).toHaveLength(figures);
    expect(own.match(/Table of this figure/g)).toHaveLength(figures);
    const result = fixtureResult();
    for (const report of [result.cost, result.projection]) {
      for (const line of [...report.energyJ, ...report.areaLinesMm2, ...report.latencyS]) {
        expect(own, line.name).toContain(escapeHtml(line.formula));
      }
    }
  });

  it('keeps hostile names out of the markup', () => {
    const result = fixtureResult();
    result.model.name = HOSTILE;
    result.model.file = HOSTILE;
    result.design.name = HOSTILE;
    result.design.resolved = { [HOSTILE]: HOSTILE };
    result.verdict = [HOSTILE];
    result.warnings = [HOSTILE];
    result.emulation.command = [HOSTILE];
    result.coding[0].tensor = HOSTILE;
    result.attribution[0].source = HOSTILE;
    result.attribution[0].description = HOSTILE;
    result.projection.energyJ[0] = { ...result.projection.energyJ[0], source: HOSTILE };
    result.cost.shape.name = HOSTILE;
    const own = written(renderReport(result, { ...fixtureCalibration(), topology: HOSTILE }));
    expect(own).not.toContain('<img');
    expect(own).not.toMatch(/<a href='https/);
    // As many script ends as scripts: none came from data.
    expect(own.match(/<\/script>/g)!.length).toBe(own.match(/<script/g)!.length);
  });

  it('draws the cell with its simulated currents, and no other topology', () => {
    const own = written(html);
    const drawing = own.slice(own.indexOf('<figure class="drawing"'), own.indexOf('two bit lines'));
    // Tap 5 of 7 at full input: 5/7 of 3 nA, as simulated.
    const { multiply, nominal } = fixtureCalibration();
    const tapA = nominal.fullScaleA * multiply.spice[1][4 * multiply.codes + multiply.codes - 1];
    expect(drawing).toContain(`5/7   ${(tapA * 1e9).toFixed(2)} nA`);
    const result = fixtureResult();
    result.design.resolved.fullScaleA = 6e-9;
    expect(written(renderReport(result, fixtureCalibration()))).toContain(
      'full input at 3 nA of full scale (the design&#39;s is 6 nA)',
    );
    const other = written(renderReport(fixtureResult(), { ...fixtureCalibration(), topology: 't4' }));
    expect(other).not.toContain('class="drawing"');
  });

  it('answers in one sentence, coloured by the verdict', () => {
    const own = written(html);
    // Perplexity 5.0 against 3.55.
    expect(own).toMatch(
      /<p class="answer far-worse">On log-domain-4bit, stories260K is far worse than on a digital/,
    );
    const good = fixtureResult();
    good.summary.perplexity.mean = good.digital.perplexity;
    expect(written(renderReport(good, null))).toContain('<p class="answer as-good">');
  });

  it('each figure has its numbers as CSV, with all digits', () => {
    const own = written(html);
    const files = [
      ...own.matchAll(/download="([\w-]+)\.csv" href="data:text\/csv;charset=utf-8;base64,([^"]+)"/g),
    ];
    expect(files).toHaveLength(own.match(/<figure class="figure"/g)!.length);
    const csv = new Map(files.map(([, name, text]) => [name, Buffer.from(text, 'base64').toString('utf8')]));
    const result = fixtureResult();
    expect(csv.get('accuracy')).toContain(`chip 1,${result.chips[0].perplexity},`);
    const [largest] = [...result.projection.energyJ].sort((a, b) => b.value - a.value);
    const energies = csv
      .get('projection-energy')!
      .split('\n')
      .map((line) => Number.parseFloat(line));
    expect(Math.max(...energies.filter((x) => x > 0))).toBeCloseTo(largest.value * 1e6, 9);
    for (const text of csv.values()) expect(text).not.toMatch(/NaN|undefined|\[object/);
  });

  it('a synthetic model has no perplexity anywhere', () => {
    const result = fixtureResult();
    result.model.synthetic = true;
    const own = written(renderReport(result, fixtureCalibration()));
    expect(own).toContain('Synthetic weights');
    expect(own).not.toContain('Perplexity, chip');
    expect(own).not.toContain('Published accuracies');
    expect(own.match(/"title":\{"text":"Perplexity/g)).toBeNull();
  });

  it('one chip has no interval, and the page says so', () => {
    const own = written(renderReport(fixtureResult(1), null));
    expect(own).toContain('one chip: no interval');
    expect(own).toContain('Only one chip ran');
    // The page's own script says `undefined`; what it is given must not.
    expect(own.split('id="plotly-gzip"')[0].match(/.{40}(NaN|undefined|\[object).{10}/)).toBeNull();
  });

  it('is written whole, and nothing beside it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'onefet-report-'));
    try {
      writeReport(join(folder, 'report.html'), fixtureResult(), fixtureCalibration());
      expect(readdirSync(folder)).toEqual(['report.html']);
      expect(statSync(join(folder, 'report.html')).size).toBeLessThan(5e6);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('in chromium, from a file', needs(missingBrowser), () => {
  let folder: string;
  let browser: Browser;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'onefet-report-'));
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true });
  });

  it.each([
    { width: 1280, name: 'stories' },
    { width: 390, name: HOSTILE },
  ])(
    'draws every figure at $width px without an error, a request or sideways scrolling',
    async ({ width, name }) => {
      const result = fixtureResult();
      result.model.name = name;
      const path = join(folder, `report-${width}.html`);
      writeReport(path, result, fixtureCalibration());
      const { heading } = await expectPageDraws(browser, path, width);
      expect(heading).toContain(name);
    },
  );
});
