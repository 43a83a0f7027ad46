/**
 * Includes and library sections in the forms that people write them, and netlists that ask for what does not run here.
 */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { env } from 'node:process';
import { afterAll, describe, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { assembleText } from './deck.ts';
import { createSpicePool } from './pool.ts';
import { spiceValue } from './refuse.ts';

const pool = createSpicePool({ threads: 1 });
const root = mkdtempSync(join(tmpdir(), 'onefet-expand-'));
const saved = { HOME: env.HOME, PDK_ROOT: env.PDK_ROOT };
afterAll(async () => {
  Object.assign(env, saved);
  if (saved.PDK_ROOT === undefined) delete env.PDK_ROOT;
  await pool.close();
});

let folders = 0;
/** A folder of its own with these files. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = join(root, `f${folders++}`);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** The deck of a folder: a resistor of r ohm that the library gives. */
function assemble(files: Readonly<Record<string, string>>, include = '.lib models.lib TT') {
  const folder = folderOf(files);
  return assembleText(`t\n${include}\nv1 d 0 0.4\nr1 d 0 {r}\n.op\n.end\n`, join(folder, 'deck.cir'));
}

async function ohm(files: Readonly<Record<string, string>>, include?: string): Promise<number> {
  const deck = assemble(files, include);
  const { plots } = await pool.run({
    label: 'r',
    ...deck,
    commands: ['run', 'write x.raw i(v1)'],
    outputs: [{ file: 'x.raw', plot: 'Operating Point', variables: ['i(v1)'], points: 1 }],
  });
  return -0.4 / plots[0].real.get('i(v1)')![0];
}

function refusal(files: Readonly<Record<string, string>>, include?: string): OnefetError {
  try {
    assemble(files, include);
  } catch (error) {
    if (error instanceof OnefetError) return error;
    throw error;
  }
  throw new Error('accepted');
}

const section = (body: string, name = 'TT') => `.lib ${name}\n${body}\n.endl ${name}\n`;
const TEN = '.param r=10\n';

describe('libraries as they are written', () => {
  test.each<[string, Record<string, string>, string?]>([
    ['a byte order mark', { 'models.lib': `\uFEFF${section(TEN)}` }],
    [
      'a byte order mark in what it includes',
      { 'models.lib': section('.include r.inc'), 'r.inc': `\uFEFF${TEN}` },
    ],
    [
      'lines of Windows',
      {
        'models.lib': section(`.include r.inc\n* c`).replaceAll('\n', '\r\n'),
        'r.inc': '.param\r\n+ r=10\r\n',
      },
    ],
    ['lines of an old Macintosh', { 'models.lib': section(TEN).replaceAll('\n', '\r') }],
    [
      'a quoted section',
      { 'models.lib': section('.lib "inner lib.lib" "tt"'), 'inner lib.lib': section(TEN, 'tt') },
    ],
    [
      'a section in single quotes',
      { 'models.lib': section(".lib 'in.lib' 'tt'"), 'in.lib': section(TEN, "'tt'") },
    ],
    [
      'upper case, a comment, blanks',
      { 'models.lib': section('  .LIB in.lib Tt   $ typical'), 'in.lib': `.Lib TT ; here\n  ${TEN}.ENDL\n` },
    ],
    [
      'a quoted name with blanks',
      { 'models.lib': section('.include "my models/r.inc"'), 'my models/r.inc': TEN },
    ],
    ['a backslash', { 'models.lib': section('.include sub\\r.inc'), 'sub/r.inc': TEN }],
    ['.inc', { 'models.lib': section('.inc r.inc'), 'r.inc': TEN }],
    [
      'a section of the same file',
      { 'models.lib': `${section('.lib models.lib all')}${section(TEN, 'all')}` },
    ],
    ['the end of an included file', { 'models.lib': section('.include r.inc'), 'r.inc': `${TEN}.end\n` }],
    ['text around the sections', { 'models.lib': `.param r=1\n${section(TEN)}.param r=2\n` }],
    [
      'an include among sections that are not asked for',
      { 'models.lib': `${section('.include gone.inc', 'SS')}${TEN}` },
      '.include models.lib',
    ],
    ['a comment line that names a file', { 'models.lib': section(`* .include gone.inc\n${TEN}`) }],
    [
      'a subcircuit that nothing needs',
      { 'models.lib': section(`.subckt cap a b\nx1 a b gone\n.model c psp103va\n.ends\n${TEN}`) },
    ],
  ])('%s', async (_, files, include) => {
    expect(await ohm(files, include)).toBeCloseTo(10, 6);
  });

  test('~ and $NAME are the environment, within what a netlist may read', async () => {
    const pdk = folderOf({ 'sub/r.inc': TEN });
    const libraries = { 'models.lib': section('.include $PDK_ROOT/sub/r.inc') };
    delete env.PDK_ROOT;
    expect(refusal(libraries)).toMatchObject({
      code: 'SPICE_INCLUDE_MISSING',
      message: expect.stringContaining('$PDK_ROOT is not set'),
      hint: expect.stringContaining('set PDK_ROOT'),
    });
    env.PDK_ROOT = pdk;
    expect(await ohm(libraries)).toBeCloseTo(10, 6);
    expect(await ohm({ 'models.lib': section('.include "$PDK_ROOT/sub/r.inc"') })).toBeCloseTo(10, 6);
    expect(
      await ohm({ 'models.lib': section("  .include '$" + "{PDK_ROOT}/sub/r.inc' $ here") }),
    ).toBeCloseTo(10, 6);
    env.HOME = pdk;
    expect(await ohm({ 'models.lib': section('.include ~/sub/r.inc') })).toBeCloseTo(10, 6);
  });

  test('a file outside the folders of the netlist, the work and the PDK is refused, however it is named', () => {
    env.PDK_ROOT = join(root, 'nowhere');
    env.HOME = folderOf({ 'r.inc': TEN });
    const outside = folderOf({ 'r.inc': TEN, 'l.lib': section(TEN) });
    for (const line of [
      '.include /etc/hostname',
      `.include "${outside}/r.inc"`,
      `.lib '${outside}/l.lib' TT`,
      '.include ~/r.inc',
      '.include ../../../../../../../../etc/hostname',
      '.include ..\\..\\..\\..\\..\\..\\..\\etc\\hostname',
      '.inc $HOME/r.inc',
    ]) {
      expect(refusal({ 'models.lib': section(line) }), line).toMatchObject({
        code: 'SPICE_INCLUDE_OUTSIDE',
        hint: expect.stringContaining('PDK_ROOT'),
      });
      expect(refusal({}, line), line).toMatchObject({ code: 'SPICE_INCLUDE_OUTSIDE' });
    }
    // A link is the owner's decision: it was made outside the netlist.
    const linked = folderOf({ 'models.lib': section('.include pdk/r.inc') });
    symlinkSync(outside, join(linked, 'pdk'));
    const deck = 't\n.lib models.lib TT\nr1 d 0 {r}\n';
    expect(assembleText(deck, join(linked, 'deck.cir')).netlist).toContain('r=10');
  });

  test('300 files of another corner do not count', async () => {
    const files: Record<string, string> = {};
    for (let i = 0; i < 300; i++) files[`many/p${i}.inc`] = `.param p${i}=${i}\n`;
    const others = Object.keys(files).map((name) => `.include ${name}`);
    const models = `${section('.include r.inc')}${section(others.join('\n'), 'XX')}`;
    expect(await ohm({ ...files, 'models.lib': models, 'r.inc': TEN })).toBeCloseTo(10, 6);
    // They need not even be there.
    expect(await ohm({ 'models.lib': models, 'r.inc': TEN })).toBeCloseTo(10, 6);
  });

  test.each<[string, Record<string, string>, string, RegExp, RegExp?]>([
    [
      'a section without .endl',
      { 'models.lib': `.lib TT\n${TEN}` },
      'SPICE_SECTION_OPEN',
      /models\.lib:1: the section TT has no \.endl/,
    ],
    [
      'a section that opens in another',
      { 'models.lib': `.lib TT\n${TEN}.lib SS\n.endl\n` },
      'SPICE_SECTION_OPEN',
      /:1: the section TT/,
    ],
    [
      'a name with blanks, not quoted',
      { 'models.lib': section('.include my models/r.inc') },
      'SPICE_INCLUDE_NAME',
      /models\.lib:2: not an include/,
      /in quotes/,
    ],
    ['no name', { 'models.lib': section('.include') }, 'SPICE_INCLUDE_NAME', /models\.lib:2/],
    [
      'a missing file',
      { 'models.lib': section('.include gone.inc') },
      'SPICE_INCLUDE_MISSING',
      /models\.lib:2: included file not found: gone\.inc/,
      /^looked in [^,]+$/,
    ],
    [
      'a folder in place of a file',
      { 'models.lib': section('.include sub'), 'sub/x': '' },
      'SPICE_INCLUDE_MISSING',
      /not found: sub/,
    ],
    [
      'a section that is not there',
      { 'models.lib': section('.lib in.lib ttt'), 'in.lib': section(TEN, 'tt') },
      'SPICE_SECTION_MISSING',
      /models\.lib:2: no section ttt in in\.lib/,
      /did you mean tt\?/,
    ],
    [
      'a library without sections',
      { 'models.lib': section('.lib in.lib tt'), 'in.lib': TEN },
      'SPICE_SECTION_MISSING',
      /no section tt/,
      /write \.include "in\.lib"/,
    ],
    [
      'sections in a circle',
      { 'models.lib': `${section('.lib models.lib A')}${section('.lib models.lib TT', 'A')}` },
      'SPICE_INCLUDE_DEPTH',
      /includes itself/,
    ],
  ])('%s is refused', (_, files, code, message, hint) => {
    const error = refusal(files);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    if (hint) expect(error.hint).toMatch(hint);
  });
});

describe('what fights the deck or does not run here is refused by name, file and line', () => {
  const M = 'm1 d d 0 0 nch w=1u l=1u';
  test.each<[string, string, string, RegExp, RegExp]>([
    [
      '.temp',
      `.temp 85\n${TEN}`,
      'SPICE_TEMP',
      /models\.lib:2: "\.temp 85" sets the temperature/,
      /remove the line/,
    ],
    [
      '.option scale',
      `.option scale=1u\n${TEN}`,
      'SPICE_SCALE',
      /models\.lib:2: "\.option scale=1u"/,
      /scaleM: 0\.000001/,
    ],
    [
      'a FinFET card',
      `.model nch nmos level = 72 version = 107\n${M}\n${TEN}`,
      'SPICE_DEVICE',
      /models\.lib:2: model nch is of level 72 \(BSIM-CMG, FinFETs\)/,
      /--csv/,
    ],
    [
      'a PSP card',
      `.model nch psp103va type=1\n${M}\n${TEN}`,
      'SPICE_DEVICE',
      /model nch is of type psp103va/,
      /OSDI/,
    ],
    [
      'a binned card of another level',
      `.model nch.1 nmos (level=69 lmin=1)\n${M}\n${TEN}`,
      'SPICE_DEVICE',
      /level 69 \(PSP\)/,
      /BSIM4/,
    ],
    [
      'an OSDI device',
      `N1 d d 0 0 nch w=1u\n${TEN}`,
      'SPICE_DEVICE',
      /"N1 d d 0 0 nch w=1u" is a Verilog-A/,
      /BSIM4/,
    ],
    ['a code model', `a1 [d] [0] gain\n${TEN}`, 'SPICE_DEVICE', /is a code model/, /BSIM4/],
    [
      'pre_osdi',
      `.control\npre_osdi psp.osdi\n.endc\n${TEN}`,
      'SPICE_DEVICE',
      /models\.lib:3: "pre_osdi psp\.osdi" loads models/,
      /OSDI/,
    ],
    ['codemodel', `.control\ncodemodel x.cm\n.endc\n${TEN}`, 'SPICE_DEVICE', /loads models/, /OSDI/],
    [
      'shell',
      `.control\n  Shell cat x\n.endc\n${TEN}`,
      'SPICE_COMMAND',
      /"Shell cat x" starts a program/,
      /remove/,
    ],
    [
      'backquotes',
      '.control\necho `ls`\n.endc\n.param r=1',
      'SPICE_COMMAND',
      /starts a program/,
      /backquotes/,
    ],
    [
      'source',
      `.control\nop; source other.cir\n.endc\n${TEN}`,
      'SPICE_COMMAND',
      /reads or leaves files/,
      /\.include/,
    ],
    ['cd', `.control\ncd /\n.endc\n${TEN}`, 'SPICE_COMMAND', /files/, /remove/],
    [
      'write elsewhere',
      `.control\nwrite ../x.raw\n.endc\n${TEN}`,
      'SPICE_COMMAND',
      /writes outside its folder/,
      /plain file names/,
    ],
    [
      'a redirection',
      `.control\nprint i(v1) > /tmp/x\n.endc\n${TEN}`,
      'SPICE_COMMAND',
      /writes outside/,
      /plain/,
    ],
    ['quit', `.control\nquit\n.endc\n${TEN}`, 'SPICE_QUIT', /models\.lib:3: "quit" would end/, /remove/],
  ])('%s', (_, body, code, message, hint) => {
    const error = refusal({ 'models.lib': section(body) });
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
  });

  test('what is harmless in a library passes: tnom, an option temp, models that nothing uses', async () => {
    const body = '.option tnom=25\n.options temp=40\n.model unused nmos level=72\n.model v psp103va\n';
    expect(await ohm({ 'models.lib': section(`${body}${TEN}`) })).toBeCloseTo(10, 6);
  });

  test('numbers with suffixes', () => {
    expect(['1.0u', '1e-6', '.5MEG', '3mil', '1k', '2nm', '-4', 'x'].map(spiceValue)).toEqual([
      1e-6,
      1e-6,
      5e5,
      3 * 25.4e-6,
      1e3,
      2e-9,
      -4,
      undefined,
    ]);
  });
});

test('a device with a parameter that it does not have is named with its line', async () => {
  const files = {
    'models.lib': section('.model nch nmos level=14 version=4.8\n.include cell.inc\n.param r=1'),
    'cell.inc': '.subckt cell d g\n* a cell\nm1 d g 0 0 nch w=1u\n+ l=1u foo=3\n.ends\nx1 d d cell\n',
  };
  await expect(ohm(files)).rejects.toMatchObject({
    code: 'SPICE_LINE_IGNORED',
    message: expect.stringMatching(/cell\.inc:3 "m1 d g 0 0 nch w=1u".*foo=3; unknown parameter \(foo\)/),
  });
});
