import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { assembleDeck, fillSlots } from './deck.ts';

describe('slots', () => {
  test('are filled, with or without spaces', () => {
    expect(fillSlots('vd d 0 {{vds_v}} {{ corner }}', { vds_v: 0.4, corner: 'TT' }, 'deck')).toBe(
      'vd d 0 0.4 TT',
    );
  });
  test('an unknown one suggests the nearest', () => {
    expect(() => fillSlots('{{vsd_v}}', { vds_v: 1 }, 'deck')).toThrow(
      expect.objectContaining({ code: 'NETLIST_SLOT_UNKNOWN', hint: 'did you mean {{vds_v}}?' }),
    );
    expect(() => fillSlots('{{constructor}}', { a: 1 }, 'deck')).toThrow(
      expect.objectContaining({ code: 'NETLIST_SLOT_UNKNOWN' }),
    );
  });
  test('a number that is not finite is refused', () => {
    expect(() => fillSlots('{{a}}', { a: Number.NaN }, 'deck')).toThrow(
      expect.objectContaining({ code: 'NETLIST_SLOT_VALUE' }),
    );
  });
});

describe('assembly', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-deck-'));
  mkdirSync(join(folder, 'models'));
  writeFileSync(
    join(folder, 'deck.cir'),
    'title\n.lib {{models}} TT\n.include cell.inc\nv1 d 0 {{vds_v}}\n.op\n.end\n',
  );
  writeFileSync(join(folder, 'cell.inc'), 'x1 d 0 cell w={{width_m}}\n');
  writeFileSync(join(folder, 'models', 'my.lib'), '.lib TT\n.include part.inc\n.endl TT\n');
  writeFileSync(join(folder, 'models', 'part.inc'), '.model nch nmos\n');
  const slots = { models: 'my.lib', vds_v: 0.4, width_m: '2e-7' };
  const options = { includeFolders: [join(folder, 'models')] };

  test('includes are put in place, from their own folder and from the folders given; each line says where it is from', () => {
    const deck = assembleDeck(join(folder, 'deck.cir'), slots, options);
    expect(deck.netlist).toBe('title\n.model nch nmos\nx1 d 0 cell w=2e-7\nv1 d 0 0.4\n.op\n.end\n');
    expect([1, 2, 3, 4, 7].map((line) => deck.locate(line)?.slice(folder.length + 1))).toEqual([
      'deck.cir:1',
      'models/part.inc:1',
      'cell.inc:1',
      'deck.cir:4',
      undefined,
    ]);
    expect(deck.sources.map((path) => path.slice(folder.length + 1))).toEqual([
      'deck.cir',
      'models/my.lib',
      'models/part.inc',
      'cell.inc',
    ]);
  });

  test('a slot that no file uses is an error: the deck would ignore a stimulus', () => {
    expect(() => assembleDeck(join(folder, 'deck.cir'), { ...slots, temp_c: 27 }, options)).toThrow(
      expect.objectContaining({
        code: 'NETLIST_SLOT_MISSING',
        message: expect.stringContaining('{{temp_c}}'),
      }),
    );
  });

  test('junction areas may be left out: a foundry subcircuit may compute them itself', () => {
    const more = { ...slots, drain_area_m2: 1e-14, drain_perimeter_m: 1e-6 };
    expect(assembleDeck(join(folder, 'deck.cir'), more, options).netlist).toContain('w=2e-7');
  });

  test('lengths and areas are written in the unit of the models', () => {
    writeFileSync(
      join(folder, 'scaled.cir'),
      't\n.include scaled.lib\nr1 a 0 1\nx1 d 0 cell w={{width_m}} ad={{drain_area_m2}} v={{vds_v}}\n',
    );
    writeFileSync(join(folder, 'scaled.lib'), '.option scale=1.0u\n');
    const values = { width_m: '2e-7', drain_area_m2: 3e-14, vds_v: 0.4 };
    const path = join(folder, 'scaled.cir');
    expect(assembleDeck(path, values, { scaleM: 1e-6 }).netlist).toContain('w=0.2 ad=0.03 v=0.4');
    expect(() => assembleDeck(path, values)).toThrow(
      expect.objectContaining({
        code: 'SPICE_SCALE',
        message: expect.stringMatching(/scaled\.lib:1: "\.option scale=1\.0u"/),
        hint: expect.stringContaining('scaleM: 0.000001'),
      }),
    );
    writeFileSync(join(folder, 'scaled.lib'), '.option tnom=27\n');
    expect(() => assembleDeck(path, values, { scaleM: 1e-6 })).toThrow(
      expect.objectContaining({ code: 'SPICE_SCALE' }),
    );
  });

  test('a file that includes itself is refused by name', () => {
    writeFileSync(join(folder, 'loop.cir'), 't\n.include loop.inc\nr1 a 0 1\n');
    writeFileSync(join(folder, 'loop.inc'), '.include loop.inc\n');
    expect(() => assembleDeck(join(folder, 'loop.cir'), {})).toThrow(
      /loop\.inc:1: loop\.inc includes itself/,
    );
  });
});
