/**
 * A foundry library with corners, nested sections and agauss mismatch: the open GF180MCU card inside the simulator
 * package, and a small library tree of our own in the shapes that libraries come in.
 */

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd } from 'node:process';
import { afterAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../files.ts';
import { assembleDeck, assembleText } from './deck.ts';
import { ENGINE_CARDS, engineCardText } from './pdk.ts';
import { samplePdkMismatch } from './pdk-mismatch.ts';
import { createSpicePool } from './pool.ts';

const pool = createSpicePool({ threads: 1 });
afterAll(() => pool.close());
const folder = mkdtempSync(join(tmpdir(), 'onefet-pdk-'));
const gf180 = join(packageRoot, 'spice', 'gf180mcu', 'models.lib');

async function currents(lines: string, path: string): Promise<number[]> {
  const text = `t\n${lines}\nvg g 0 0\nvd d 0 0.4\n.options gmin=1e-18 abstol=1e-18 reltol=1e-5\n.control\ndc vg 0.3 0.5 0.1\nwrite x.raw i(vd)\n.endc\n.end`;
  const deck = assembleText(text, path);
  const { plots } = await pool.run({
    label: 'pdk',
    netlist: deck.netlist,
    commands: [],
    outputs: [{ file: 'x.raw', plot: 'DC', variables: ['i(vd)'], points: 3 }],
  });
  return Array.from(plots[0].real.get('i(vd)')!, (value) => -value);
}

describe('cards inside the simulator package', () => {
  test('every card that is offered grants its licence in its own text', () => {
    for (const [name, { licence, holder }] of Object.entries(ENGINE_CARDS)) {
      const text = engineCardText(name);
      expect(text.length, name).toBeGreaterThan(1000);
      // FreePDK states its licence in the package's type file only; see its entry.
      if (name !== 'modelcard.FreePDK45') {
        expect(licence).toBe('Apache-2.0');
        expect(text, name).toContain('Licensed under the Apache License, Version 2.0');
        expect(text, name).toContain(holder.replace(/,? \d{4}.*$/, '').replace(/^The /, ''));
      }
    }
  });

  test('an unknown card is refused by name', () => {
    expect(() => assembleText(`t\n.include engine:sm14164.ngspice\nr1 a 0 1`, join(folder, 'x.cir'))).toThrow(
      /engine:sm14164.ngspice is not a card/,
    );
  });

  test('the same text as the simulator itself holds: equal currents from its own file', async () => {
    const own = await currents(`.lib models.lib TT\nm1 d g 0 0 nmos_3p3 w=0.6u l=0.6u`, gf180);
    const { plots } = await pool.run({
      label: 'own file',
      netlist: `t\n.param sw_stat_global=0 sw_stat_mismatch=0 mc_skew=3 fnoicor=0\n.lib /sm141064.ngspice typical\nm1 d g 0 0 nmos_3p3 w=0.6u l=0.6u\nvg g 0 0\nvd d 0 0.4\n.options gmin=1e-18 abstol=1e-18 reltol=1e-5\n.control\ndc vg 0.3 0.5 0.1\nwrite x.raw i(vd)\n.endc\n.end`,
      commands: [],
      outputs: [{ file: 'x.raw', plot: 'DC', variables: ['i(vd)'], points: 3 }],
    });
    expect(own).toEqual(Array.from(plots[0].real.get('i(vd)')!, (value) => -value));
    expect(own[2]).toBeGreaterThan(1e-9);
  });

  test('corners differ in the direction of their names', async () => {
    const [tt, ff, ss] = await Promise.all(
      ['TT', 'FF', 'SS'].map((c) =>
        currents(`.lib models.lib ${c}\nm1 d g 0 0 nmos_3p3 w=0.6u l=0.6u`, gf180),
      ),
    );
    expect(ff[1]).toBeGreaterThan(1.5 * tt[1]);
    expect(ss[1]).toBeLessThan(tt[1] / 1.5);
  });
});

describe('statistics of the library', () => {
  test('agauss in a subcircuit is nominal unless drawn: switch on, equal to the bare transistor, run after run', async () => {
    const sub = `.lib models.lib TT\nx1 d g 0 0 nmos_3p3 w=0.6u l=0.6u`;
    const first = await currents(sub, gf180);
    expect(await currents(sub, gf180)).toEqual(first);
    const bare = await currents(`.lib models.lib TT\nm1 d g 0 0 nmos_3p3 w=0.6u l=0.6u`, gf180);
    // The subcircuit states its junction areas as zero, the bare transistor lets the card compute them: femtoamperes.
    for (const [i, value] of first.entries()) {
      expect(Math.abs(value - bare[i])).toBeLessThan(2e-14 + 1e-9 * value);
    }
  });

  test('1000 drawn devices have the sigma(Vt) that the card states at 0.6/0.6 um, 9.0 mV', async () => {
    const devices = 1000;
    const sample = await samplePdkMismatch({
      pool,
      libraryPath: gf180,
      section: 'TT',
      subcircuit: 'nmos_3p3',
      widthM: 0.6e-6,
      lengthM: 0.6e-6,
      tempK: 300.15,
      vdsV: 0.4,
      vgs: { start: 0.3, step: 0.01, count: 3 },
      devices,
      seed: 5,
    });
    // agauss(0, var_k, 1) and agauss(0, var_vth, 1); the card draws the first and does not use it.
    expect(sample.draws).toHaveLength(2);
    const sigmaVt = (Math.SQRT1_2 * 7.148e-3 * 1e-6) / Math.sqrt((0.6e-6 - 0.15e-6) * (0.6e-6 + 0.1e-6));
    // ln I moves by -gm/I per volt of threshold; gm/I from the median device itself.
    const ln = (k: number) => sample.drainA.map((values) => Math.log(values[k]));
    const mean = (values: readonly number[]) => values.reduce((s, v) => s + v, 0) / values.length;
    const gm = (mean(ln(2)) - mean(ln(0))) / 0.02;
    const centre = mean(ln(1));
    const spread = Math.sqrt(mean(ln(1).map((v) => (v - centre) ** 2)));
    const drawn = Math.sqrt(mean(Array.from(sample.draws[1], (z) => z * z)));
    // Against the card's formula: the sample's own sigma removes the sampling error. What is left, 3 %, is that a
    // threshold shift does a little more than a gate step (vertical field, calibration's thresholdGain).
    expect(spread / (gm * sigmaVt * drawn)).toBeGreaterThan(0.99);
    expect(spread / (gm * sigmaVt * drawn)).toBeLessThan(1.04);
    console.info(
      `spread over gm/I times the card's sigma(Vt): ${(spread / (gm * sigmaVt * drawn)).toFixed(3)}`,
    );
    // Device by device: a higher threshold is a lower current.
    const rho = mean(ln(1).map((v, i) => (v - centre) * sample.draws[1][i])) / (spread * drawn);
    expect(rho).toBeLessThan(-0.999);
  }, 30_000);
});

describe('a library tree of our own', () => {
  test('corners, quoted names, comments after a name, sections of the same file, includes in other folders', async () => {
    mkdirSync(join(folder, 'lib', 'nmos models'), { recursive: true });
    writeFileSync(
      join(folder, 'lib', 'top.lib'),
      `.LIB tt ; typical
.param dvt=0
.lib "top.lib" all $ shared
.endl tt
.lib ff
.param dvt='-0.05'
.lib 'top.lib' all
.endl ff
.lib all
.include "nmos models/n.inc"   ; with a space
.endl all
`,
    );
    writeFileSync(
      join(folder, 'lib', 'nmos models', 'n.inc'),
      `.subckt nch d g s b w=1u l=1u\n.param mis=agauss(0, 0.02, 1)\nm1 d g s b nmod w=w l=l delvto='mis+dvt'\n.ends\n.model nmod nmos level=14 version=4.8 vth0=0.5\n`,
    );
    const [tt, ff] = await Promise.all(
      ['tt', 'ff'].map((c) =>
        currents(`.lib lib/top.lib ${c}\nx1 d g 0 0 nch w=1u l=1u`, join(folder, 'x.cir')),
      ),
    );
    // 50 mV at 1/(n Ut), n between 1.05 and 1.6 for a BSIM4 card of default values.
    const shift = Math.log(ff[0] / tt[0]) / 0.05;
    expect(shift).toBeGreaterThan(24);
    expect(shift).toBeLessThan(37);
    const deck = assembleDeck(writeDeck(), {});
    expect(deck.sources.map((path) => path.slice(folder.length + 1))).toEqual([
      'deck.cir',
      'lib/top.lib',
      'lib/nmos models/n.inc',
    ]);
  });

  test("a cell.inc in the working folder stands in for the package's, with the package's decks", () => {
    const deck = join(packageRoot, 'netlists', 't1', 'capacitance.cir');
    const slots = {
      models: 'top.lib',
      corner: 'tt',
      model: 'nch',
      temp_c: 27,
      vds_v: 0.4,
      vgs_v: 0.3,
      freq_hz: 1e6,
    };
    const home = cwd();
    mkdirSync(join(folder, 'netlists', 't1'), { recursive: true });
    // A transistor that the library has as a subcircuit only.
    writeFileSync(
      join(folder, 'netlists', 't1', 'cell.inc'),
      '.subckt cell d g s b dvt=0 gain=1\nbg gi s v=v(g,s)-dvt\nx1 d gi s b {{model}} w=1u l=1u m={gain}\n.ends\n',
    );
    try {
      chdir(folder);
      const { sources } = assembleDeck(deck, slots, { includeFolders: [join(folder, 'lib')] });
      expect(sources[0]).toBe(deck);
      expect(sources.filter((path) => path.endsWith('cell.inc'))).toEqual([
        join(cwd(), 'netlists', 't1', 'cell.inc'),
      ]);
    } finally {
      chdir(home);
    }
  });

  test('a missing include with a comment after it is refused, not left to hang the simulator', () => {
    expect(() => assembleText(`t\n.include 'gone.inc' ; later\nr1 a 0 1`, join(folder, 'x.cir'))).toThrow(
      /included file not found: gone.inc/,
    );
  });

  test('a section that the library does not have is refused by name, not left to hang the simulator', () => {
    expect(() => assembleText(`t\n.lib models.lib TTT\nr1 a 0 1`, gf180)).toThrow(
      /no section TTT in models.lib/,
    );
  });

  function writeDeck(): string {
    const path = join(folder, 'deck.cir');
    writeFileSync(path, `t\n.lib 'lib/top.lib' tt\nr1 a 0 1\n.end\n`);
    return path;
  }
});
