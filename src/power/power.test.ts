/** `onefet power` on the activities that come with the shipped designs. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadComparators } from '../cost/comparators.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { shippedDesigns } from './find-activity.ts';
import { costAt, type PowerSubject, powerRows, subjectOf } from './power.ts';
import { powerRecord, publishedRecord } from './records.ts';
import { powerNotes, powerTable } from './table.ts';

const NO_RUNS = 'no-such-folder';
const subject = (design: string, settings: string[] = []): PowerSubject =>
  subjectOf(design, settings, NO_RUNS);

test('every shipped design has counts of its circuit; where they are of another mapping, that is a warning', () => {
  const designs = shippedDesigns();
  expect(designs.length).toBeGreaterThan(7);
  expect(designs[0]).toBe('log-domain');
  for (const design of designs) {
    const { found, run } = subject(design);
    expect(run.activity.layers.length > 0 || design === 'gpu', design).toBe(true);
    const { method } = found.activity.design.resolved.mapping as { method: string };
    const own = subject(design).fabric.design.mapping.method;
    if (method !== own && design !== 'gpu')
      expect(found.warning, design).toContain(`mapping.method ${method}, not ${own}`);
  }
});

test('a budget of cells is a circuit of its own: counts of another one do not price it', () => {
  for (const design of ['log-domain', 'digital']) {
    expect(() => subject(design, ['mapping.cellsPerWeight=1.25'])).toThrowError(
      expect.objectContaining({ code: 'ACTIVITY_MISSING' }),
    );
  }
  const { found } = subject('log-domain', ['mapping.principal=8']);
  expect(found.warning).toContain('mapping.principal 0, not 8');
});

test('a damaged file of some run is passed over, with a word, and ends nothing', () => {
  const runs = mkdtempSync(join(tmpdir(), 'onefet-power-'));
  mkdirSync(join(runs, 'one'));
  writeFileSync(join(runs, 'one', 'manifest.json'), '{}');
  writeFileSync(join(runs, 'one', 'activity.json'), '{"schema":"onefet.activity/2"}');
  const { found } = subjectOf('routed', [], runs);
  rmSync(runs, { recursive: true });
  expect(found.path).toMatch(/experiments.activity.routed\.json/);
  expect(found.warning).toMatch(/passed over: .*one.activity\.json/);
});

test('what does not count can be changed and is priced, its accuracy is not known then', () => {
  const shared = subject('log-domain', ['adc.columnsShared=128']);
  expect(shared.found.sameDesign).toBe(false);
  const [base, wide] = [subject('log-domain'), shared].map((one) => costAt(one, LLAMA_3_1_8B, 1024));
  expect(wide.areaMm2).toBeLessThan(0.95 * base.areaMm2);
  expect(wide.tokenTimeS).toBeGreaterThan(base.tokenTimeS);
  const [row] = powerRows([shared], { shape: LLAMA_3_1_8B, contexts: [1024], draws: 2 });
  expect(powerRecord(row, loadComparators()).klSeen).toBeNull();
});

test.each([['tile.rows=128'], ['weights.bits=3'], ['input.bits=5']])(
  'counts of another circuit are not taken: %s',
  (setting) => {
    expect(() => subject('digital', [setting])).toThrow(/counted what design digital does with --set/);
  },
);

test('a constant that is changed changes the row', () => {
  const base = subject('routed');
  const { logic } = base.constants;
  const dear = {
    ...base.constants,
    logic: { ...logic, adderJPerBit: { ...logic.adderJPerBit, value: 2 * logic.adderJPerBit.value } },
  };
  const [before, after] = [base, { ...base, constants: dear }].map((one) => costAt(one, LLAMA_3_1_8B, 1024));
  expect(after.perTokenJ).toBeGreaterThan(1.05 * before.perTokenJ);
  expect(after.areaMm2).toBe(before.areaMm2);
});

test('table, notes and records of a chip and a GPU beside what is published', () => {
  const comparators = loadComparators();
  const rows = powerRows([subject('hardwired'), subject('gpu')], {
    shape: LLAMA_3_1_8B,
    contexts: [512, 8192],
    draws: 3,
  });
  const records = [
    ...rows.map((row) => powerRecord(row, comparators)),
    ...comparators.systems.map(publishedRecord),
  ];
  const lines = powerTable(records);
  expect(lines).toHaveLength(1 + 4 + comparators.systems.length);
  expect(lines[1]).toMatch(/^hardwired +512 +\d.* [µm]J/);
  expect(lines.find((line) => line.startsWith('Taalas HC1'))).toMatch(/11\.8 mJ to 14\.7 mJ.*16,960/);
  // A longer context costs energy, time and users.
  expect(rows[1].cost.perTokenJ).toBeGreaterThan(rows[0].cost.perTokenJ);
  expect(rows[1].cost.tokensPerSecondAggregate).toBeLessThan(rows[0].cost.tokensPerSecondAggregate);
  const notes = powerNotes(rows, records).join('\n');
  expect(notes).toContain('experiments/activity/hardwired.json: onefet run --design hardwired');
  expect(rows[2].price).toMatchObject({ economics: null });
});

test('paths of low rank and a correction are priced before any run: Llama 3.1 8B by hand', () => {
  const correction = ['mapping.correction.source=reading', 'mapping.correction.rank=32'];
  const asked = subject('log-domain', ['mapping.principal=32', ...correction]);
  const [plain, priced] = [subject('log-domain'), asked].map((one) => costAt(one, LLAMA_3_1_8B, 1024));
  const added = (name: string, lines: 'energyJ' | 'areaLinesMm2') => {
    expect(plain[lines].map((line) => line.name)).not.toContain(name);
    return priced[lines].find((line) => line.name === name)!.value;
  };
  const { memory, lora, digital } = asked.constants;
  const sramMm2 = (bytes: number) =>
    (bytes * 8 * memory.sramCellUm2.value * 1e-6) / memory.sramArrayEfficiency.value;
  // Inputs and outputs of the readers of the four stages: the principal part is shared by them, the side path is each one's.
  const stages = [
    { inputs: 4096, outputs: [4096, 1024, 1024] },
    { inputs: 4096, outputs: [4096] },
    { inputs: 4096, outputs: [14_336, 14_336] },
    { inputs: 14_336, outputs: [4096] },
  ];
  const sum = (of: (stage: (typeof stages)[number], outputs: number) => number) =>
    stages.reduce(
      (total, stage) =>
        total +
        of(
          stage,
          stage.outputs.reduce((a, b) => a + b, 0),
        ),
      0,
    );
  const weights =
    32 *
    32 *
    (sum(({ inputs }, outputs) => inputs + outputs) +
      sum((stage, outputs) => stage.outputs.length * stage.inputs + outputs));
  expect(added('paths-sram', 'areaLinesMm2')).toBeCloseTo(sramMm2((weights * lora.weightBits.value) / 8), 6);
  const macs = weights + 32 * 32 * sum(({ inputs }) => inputs);
  const macJ = digital.macJ.value + (memory.sramReadJPerByte.value * lora.weightBits.value) / 8;
  expect(added('mapping-paths', 'energyJ') / (macs * macJ)).toBeCloseTo(1, 9);
  const scaleBytes = 32 * (218_103_808 / 256) * 2;
  expect(added('corrected-scales-sram', 'areaLinesMm2')).toBeCloseTo(sramMm2(scaleBytes), 6);
  expect(added('corrected-scales', 'energyJ') / (scaleBytes * memory.sramReadJPerByte.value)).toBeCloseTo(
    1,
    9,
  );
  const [row] = powerRows([asked], { shape: LLAMA_3_1_8B, contexts: [1024], draws: 2 });
  expect(powerNotes([row], []).join('\n')).toMatch(/each chip is read cell by cell before it is used, \d/);
});

test('a mapping that was not counted is priced as it is asked for: rounded weights need nothing', () => {
  const [auto, rounded, rotated] = [[], ['mapping.method=round'], ['mapping.method=rotated']].map(
    (settings) => costAt(subject('log-domain', settings), LLAMA_3_1_8B, 1024),
  );
  const names = ({ energyJ }: typeof auto) => energyJ.map(({ name }) => name);
  expect(names(rounded)).not.toContain('mapping-additions');
  expect(rounded.perTokenJ).toBeLessThan(auto.perTokenJ);
  // What auto chose on the model that ran is all that there is.
  expect(rotated.perTokenJ).toBe(auto.perTokenJ);
});

test.each(['digital', 'mask-rom'])(
  'a correction of chips that cannot be corrected has no price: %s',
  (design) => {
    expect(() => subject(design, ['mapping.correction.source=reading'])).toThrowError(
      expect.objectContaining({ kind: 'usage', code: 'MAPPING_CORRECTION' }),
    );
  },
);
