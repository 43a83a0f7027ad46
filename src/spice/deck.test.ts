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

  test('includes are followed in their own folder and in the folders given, and renamed flat', () => {
    const deck = assembleDeck(join(folder, 'deck.cir'), slots, [join(folder, 'models')]);
    expect(deck.netlist).toContain('.lib f0_my.lib TT');
    expect(deck.files['f0_my.lib']).toContain('.include f1_part.inc');
    expect(deck.files['f2_cell.inc']).toContain('w=2e-7');
    expect(deck.sources).toHaveLength(4);
    // No path of this machine reaches the netlist, and with it the hash.
    expect(JSON.stringify([deck.netlist, deck.files])).not.toContain(folder);
  });

  test('a slot that no file uses is an error: the deck would ignore a stimulus', () => {
    expect(() =>
      assembleDeck(join(folder, 'deck.cir'), { ...slots, temp_c: 27 }, [join(folder, 'models')]),
    ).toThrow(
      expect.objectContaining({
        code: 'NETLIST_SLOT_MISSING',
        message: expect.stringContaining('{{temp_c}}'),
      }),
    );
  });

  test('a file that includes itself ends', () => {
    writeFileSync(join(folder, 'loop.cir'), 't\n.include loop.inc\nr1 a 0 1\n');
    writeFileSync(join(folder, 'loop.inc'), '.include loop.inc\n');
    const deck = assembleDeck(join(folder, 'loop.cir'), {});
    expect(Object.keys(deck.files)).toEqual(['f0_loop.inc']);
  });
});
