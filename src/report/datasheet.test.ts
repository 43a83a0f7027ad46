/**
 * The datasheet against the calibration that it is made from, and its page in a browser.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Calibration, calibrationSchema } from '../cell/calibration.ts';
import {
  checkDatasheet,
  type DatasheetSpec,
  datasheetMarkdown,
  loadDatasheetSpec,
} from '../cell/datasheet/datasheet.ts';
import { QUANTITIES } from '../cell/datasheet/quantities.ts';
import { offCurrentA } from '../cell/operating-point.ts';
import { packageRoot } from '../files.ts';
import { decodeResult } from '../sources.ts';
import { expectPageDraws, missingBrowser, startBrowser } from '../testing/browser.ts';
import { needs } from '../testing/needs.ts';
import { datasheetHtml, requireDatasheet, writeDatasheet } from './datasheet.ts';

const read = (process: string, cell: string): Calibration =>
  calibrationSchema.parse(
    decodeResult(readFileSync(join(packageRoot, 'calibration', process, `${cell}.json`), 'utf8')),
  );
const t1 = read('planar32lp', 't1');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onefet-datasheet-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const sheetOf = (...specs: Partial<DatasheetSpec['specs'][number]>[]) =>
  checkDatasheet(
    {
      schema: 'onefet.datasheet/1',
      title: 'x',
      specs: specs.map((spec) => ({ quantity: 'off-current', at: {}, unit: 'pA', source: 'test', ...spec })),
    },
    t1,
  );

describe('specifications', () => {
  it('reads the numbers that the prototype measured: off current 2.1 pA, 1 % range 2.73 decades, 2.8 %/K', () => {
    const { rows } = sheetOf(
      { max: 3 },
      { quantity: 'exponential-range', unit: 'decades', min: 2.6 },
      { quantity: 'fixed-bias-drift', unit: '%/K', max: 4 },
    );
    expect(rows[0].found!.nominal).toBeCloseTo(2.1, 1);
    expect(rows[1].found!.nominal).toBeCloseTo(2.73, 2);
    expect(rows[2].found!.nominal).toBeCloseTo(2.8, 1);
    expect(rows.map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'pass']);
  });

  it('takes the worst over all combinations and says where it lies', () => {
    const [row] = sheetOf({ at: { corner: 'all', tempC: [-40, 85] }, max: 3 }).rows;
    const at = (corner: 'FF' | 'SS', tempC: number) =>
      1e12 * offCurrentA(t1, { corner, tempK: tempC + 273.15, vdsV: 0.4, fullScaleA: 3e-9 }, 0);
    expect(row.found!.high).toBe(at('FF', 85));
    expect(row.found!.low).toBe(at('SS', -40));
    expect(row.verdict).toBe('fail');
    expect(row.remark).toBe('worst at FF, 85\u00a0°C');
  });

  it('a limit is inclusive, a typical value alone is information', () => {
    const value = sheetOf({ max: 1 }).rows[0].found!.nominal;
    expect(sheetOf({ max: value }).rows[0].verdict).toBe('pass');
    expect(sheetOf({ min: value }).rows[0].verdict).toBe('pass');
    expect(sheetOf({ min: value * 1.0001 }).rows[0].verdict).toBe('fail');
    expect(sheetOf({ typ: 2 }).rows[0].verdict).toBe('info');
  });

  it('what cannot be shown fails: outside the calibrated range, a corner that is absent, nothing held out', () => {
    const [range] = sheetOf({ at: { tempC: 150 }, max: 1e9 }).rows;
    expect(range.verdict).toBe('fail');
    expect(range.remark).toMatch(/^not shown: .*outside the calibrated range/);
    const alone: Calibration = {
      ...t1,
      corners: { TT: { ...t1.corners.TT!, heldOutTemp: { points: 0, rms: 0, max: 0 } } },
    };
    const spec = (quantity: string, unit: string, at = {}) =>
      checkDatasheet(
        {
          schema: 'onefet.datasheet/1',
          title: 'x',
          specs: [{ quantity, at, unit, max: 1e9, source: 'test' }],
        },
        alone,
      ).rows[0];
    expect(spec('off-current', 'pA', { corner: 'FF' }).remark).toMatch(/no corner FF/);
    expect(spec('held-out-temperature-max', '%').remark).toMatch(/no point was held out/);
    expect(spec('off-current', 'pA', { corner: 'all' }).verdict).toBe('pass');
  });

  const wrong: readonly [string, string, RegExp][] = [
    [
      'an unknown quantity',
      '{ quantity: of-current, unit: pA, max: 1, source: x }',
      /specs.0: unknown quantity/,
    ],
    ['a unit of another kind', '{ quantity: off-current, unit: mV, max: 1, source: x }', /in "mV"/],
    [
      'a condition without effect',
      '{ quantity: flicker-noise, at: { tempC: 1 }, unit: 1/Hz, max: 1, source: x }',
      /does not depend on tempC/,
    ],
    ['no limit at all', '{ quantity: off-current, unit: pA, source: x }', /neither min nor typ nor max/],
    ['limits that cross', '{ quantity: off-current, unit: pA, min: 3, max: 1, source: x }', /do not ascend/],
    ['no source', '{ quantity: off-current, unit: pA, max: 1 }', /specs.0.source/],
    ['an unknown key', '{ quantity: off-current, unit: pA, maximum: 1, source: x }', /maximum/],
  ];
  it.each(wrong)('%s is refused', (_, spec, message) => {
    const path = join(folder, 'wrong.yaml');
    writeFileSync(path, `schema: onefet.datasheet/1\ntitle: x\nspecs:\n  - ${spec}\n`);
    expect(() => loadDatasheetSpec('planar32lp', 't1', path)).toThrow(message);
  });

  it.each([
    ['planar32lp', 't1'],
    ['planar32lp', 't1-large'],
    ['planar130', 't1'],
    ['planar130', 't1-large'],
  ])('the shipped one of %s/%s evaluates every row', (process, cell) => {
    const { rows } = checkDatasheet(loadDatasheetSpec(process, cell).spec, read(process, cell));
    expect(rows.filter(({ found }) => found === undefined)).toEqual([]);
    // The white noise of the BSIM4 card is known to disagree with 2qI coth: a datasheet that passes it is broken.
    expect(rows.find(({ quantity }) => quantity === 'white-noise-ratio')!.verdict).toBe('fail');
  });

  it('every quantity has a value on a full calibration', () => {
    for (const [name, quantity] of Object.entries(QUANTITIES)) {
      const unit = { A: 'A', V: 'V', F: 'fF', decades: 'decades' }[quantity.unit as string] ?? quantity.unit;
      const [row] = sheetOf({ quantity: name, unit, max: 1e9 }).rows;
      expect(row.found, name).toBeDefined();
    }
  });
});

describe('the pages', () => {
  it('Markdown has a row per specification; a failure ends a script with exit code 5', () => {
    const result = writeDatasheet({ process: 'planar32lp', cell: 't1', outFolder: folder, calibration: t1 });
    const text = readFileSync(result.markdownPath, 'utf8');
    expect(text.match(/^\| (?!Parameter)[^-].*\|$/gm)).toHaveLength(result.sheet.rows.length);
    expect(text).toContain(
      `**FAIL**: ${result.sheet.passed} specifications hold, ${result.sheet.failed} do not.`,
    );
    let code = 0;
    try {
      requireDatasheet(result);
    } catch (error) {
      code = (error as { exitCode: number }).exitCode;
    }
    expect(code).toBe(5);
    expect(() => requireDatasheet({ ...result, sheet: sheetOf({ max: 3 }) })).not.toThrow();
  });

  it('hostile names stay text', () => {
    const hostile = '</script><img src=x>|`';
    const sheet = checkDatasheet(
      {
        schema: 'onefet.datasheet/1',
        title: hostile,
        specs: [{ quantity: 'off-current', at: {}, unit: 'pA', max: 1, source: hostile }],
      },
      { ...t1, engine: hostile, topology: hostile },
    );
    const html = datasheetHtml(sheet, { ...t1, engine: hostile, topology: hostile });
    expect(html).not.toContain('<img');
    expect(datasheetMarkdown(sheet, t1)).not.toContain('<img');
  });
});

describe('in chromium, from a file', needs(missingBrowser), () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser.close());

  it.each([1280, 390])(
    'draws every figure at %i px without an error, a request or sideways scrolling',
    async (width) => {
      const { htmlPath } = writeDatasheet({
        process: 'planar32lp',
        cell: 't1',
        outFolder: folder,
        calibration: t1,
      });
      expect((await expectPageDraws(browser, htmlPath, width)).figures).toBe(11);
    },
  );
});
