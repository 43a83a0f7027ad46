/** `onefet report` on run folders of this version, of another one, and with another calibration on file. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { RESULT_SCHEMA } from '../experiment/result.ts';
import { sha256 } from '../files.ts';
import { encodeResult } from '../sources.ts';
import { fixtureResult } from '../testing/results.ts';
import { reportOfFolder } from './work.ts';

let folder: string;
let notices: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onefet-work-'));
  notices = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (result: object) =>
  writeFileSync(join(folder, 'result.json'), encodeResult(result, 'a result'));
const report = () =>
  readFileSync(
    reportOfFolder(folder, (text) => notices.push(text)),
    'utf8',
  );

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
