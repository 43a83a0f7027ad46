/** `onefet report` on run folders of this version, of another one, and with another calibration on file. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { RESULT_SCHEMA } from '../experiment/result.ts';
import { packageRoot, sha256 } from '../files.ts';
import { exportFigure, pickFigure } from '../report/export.ts';
import { encodeResult } from '../sources.ts';
import { fixtureResult } from '../testing/results.ts';
import { reportPage, writePage } from './report-work.ts';

let folder: string;
let notices: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onefet-work-'));
  notices = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (result: object) =>
  writeFileSync(join(folder, 'result.json'), encodeResult(result, 'a result'));
const report = () => reportPage([folder], (text) => notices.push(text)).html();

it('draws the cell of the calibration that the run used', () => {
  const result = fixtureResult();
  result.calibration!.sha256 = sha256(JSON.stringify(loadCalibration('planar32lp', 't1')));
  write(result);
  expect(report()).toContain('id="cell"');
  expect(notices).toEqual([]);
});

it('leaves the cell out where another calibration, or none, is on file, and says so', () => {
  const result = fixtureResult();
  write(result);
  expect(report()).not.toContain('id="cell"');
  result.calibration!.cell = 'gone';
  write(result);
  expect(report()).not.toContain('id="cell"');
  expect(notices[0]).toMatch(
    /calibration of planar32lp\/t1 that is on file is not the one that the run used/,
  );
  expect(notices[1]).toMatch(/calibration of planar32lp\/gone not found/);
});

it('of another version is refused with both schemas and the command that makes it again', () => {
  // As written before attribution had intervals: schema 1, other fields.
  const { warnings: _warnings, ...old } = {
    ...fixtureResult(),
    schema: 'onefet.run/1',
    attribution: [{ kl: 1 }],
  };
  write(old);
  try {
    report();
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({
      kind: 'input',
      code: 'RESULT_SCHEMA',
      message: expect.stringMatching(
        new RegExp(`its schema is onefet.run/1, this version reads ${RESULT_SCHEMA}$`),
      ),
      hint: 'give its command again: onefet run --design log-domain-4bit --chips 8 --seed 1',
    });
  }
  write({});
  expect(report).toThrow(/its schema is missing/);
  writeFileSync(join(folder, 'result.json'), '{');
  expect(report).toThrow(/is not valid JSON/);
  rmSync(join(folder, 'result.json'));
  expect(report).toThrow(/has no result.json/);
});

it('several runs stand on one page, named by their set, and one run twice is no comparison', () => {
  const places = ['a', 'b'].map((name, i) => {
    const place = join(folder, name);
    mkdirSync(place);
    const result = fixtureResult(3 + i);
    writeFileSync(join(place, 'result.json'), encodeResult(result, 'a result'));
    return place;
  });
  const page = reportPage(places, () => {});
  const path = writePage(page);
  expect(path).toMatch(/comparison-[0-9a-f]{12}\.html$/);
  expect(readFileSync(path, 'utf8')).toContain('2 runs side by side');
  expect(page.figures().map(({ id }) => id)).toEqual(['accuracy', 'pareto-energy', 'pareto-area']);
  expect(() => reportPage([places[0], places[0]], () => {})).toThrow(/1 different run to compare/);
  expect(() => reportPage([places[0], join(folder, 'gone')], () => {})).toThrow(/has no result.json/);
});

it('a figure is written as CSV without a browser, an image not; names are helped with', () => {
  write(fixtureResult());
  const figures = reportPage([folder], () => {}).figures();
  const out = join(folder, 'accuracy.csv');
  exportFigure(pickFigure(figures, 'accuracy'), 'csv', out, '');
  expect(readFileSync(out, 'utf8')).toMatch(
    /^model,perplexity,nll_nats,kl_nats,top1_share,seed,clip_share\ndigital,/,
  );
  expect(() => pickFigure(figures, 'acuracy')).toThrow(/no figure acuracy/);
  expect(() => exportFigure(figures[0], 'png', join(folder, 'a.png'), '')).toThrow(/needs chromium/);
});

it('the page and the figures of an optimisation are made again from its sealed result', () => {
  const { sha256: _, ...found } = JSON.parse(
    readFileSync(join(packageRoot, 'experiments/results/optimise/front-kl005.json'), 'utf8'),
  );
  const path = join(folder, 'optimise.json');
  const sealed = encodeResult(found, 'an optimisation');
  writeFileSync(path, sealed);
  expect(report()).toContain('Accuracy against energy');
  const figures = reportPage([folder], () => {}).figures();
  expect(figures.map(({ id }) => id)).toEqual(['front-energy', 'front-area', 'front-cost']);
  for (const [text, reason] of [
    [JSON.stringify(found), /SHA-256 is missing/],
    [sealed.replace('"minimise":"energy"', '"minimise":"area"'), /SHA-256 is missing or does not hold/],
    [sealed.slice(0, 400), /not valid JSON/],
    [encodeResult({ ...found, schema: 'onefet.optimise/0' }, 'an old one'), /schema is onefet.optimise\/0/],
  ] as const) {
    writeFileSync(path, text);
    expect(report).toThrow(reason);
  }
});
