/**
 * A library in the exact form of SKY130 as open_pdks writes it, with this project's own numbers: sections that include other
 * folders, lengths in micrometres, transistors as subcircuits of bins, process parameters of {a} + b*AGAUSS(m,d,s). It holds
 * the card of planar130 and must give what planar130 gives. With ONEFET_SKY130 set to the folder that holds the real
 * sky130.lib.spice (or a combined_models with it), that library is calibrated as well.
 */
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { chdir, cwd, env } from 'node:process';
import { afterAll, expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { packageRoot } from '../files.ts';
import { calibrate } from './calibrate.ts';

const home = cwd();
afterAll(() => chdir(home));

/** The parameters of a model card, one a line, as SKY130 writes them. */
function cardLines(model: string): string {
  const text = readFileSync(join(packageRoot, 'spice', 'planar130', 'mos.inc'), 'utf8');
  const [, body] = text.match(new RegExp(`\\.model ${model} \\w+ ([\\s\\S]*?)(?=\\n\\.model|$)`))!;
  return body
    .replace(/\n\+/g, ' ')
    .trim()
    .split(/\s+/)
    .map((part) => part.replace('=', ' = '))
    .map((part) =>
      part.replace(
        'vth0 = {0.40+dvth_n}',
        `vth0 = {0.40+nfet__vth0_diff_0+MC_MM_SWITCH*AGAUSS(0,1.0,1)*(nfet__vth0_slope/sqrt(l*w*mult))}`,
      ),
    )
    .map((part) =>
      part.replace('{0.040*mu_n}', '{0.040*process_mu}').replace('+dtox}', '}').replace('{dxl}', '0'),
    )
    .map((part) => `+ ${part}`)
    .join('\n');
}

const bin = (k: number, range: string) =>
  `.model nfet__model.${k} nmos\n* Model Flag Parameters\n+ ${range}\n${cardLines('nch')}\n`;

const files: Record<string, string> = {
  'combined_models/sky130.lib.spice': `* Sections
* Typical corner (tt)
.lib tt
.param MC_MM_SWITCH=0
.param MC_PR_SWITCH=0
.include "corners/tt.spice"
.include "parameters/critical.spice"
.endl tt

.lib mc
.param MC_MM_SWITCH=0
.param MC_PR_SWITCH=1
.include "corners/gone.spice"
.endl mc
`,
  'combined_models/corners/tt.spice': `* SKY130 Spice File.
.include "../../cells/nfet/nfet__tt.corner.spice"
.include "../../cells/nfet/nfet__tt.pm3.spice"
.include "all.spice"
`,
  'combined_models/corners/all.spice': '.option scale=1.0u\n.options parser scale=1.0u\n',
  'combined_models/parameters/critical.spice':
    '.param\n+ process_mu = {1.0+MC_PR_SWITCH*0.0} + MC_PR_SWITCH*AGAUSS(0,1.0,1)*0.04\n',
  'cells/nfet/nfet__tt.corner.spice':
    '* Number of bins: 2\n.param\n+ nfet__vth0_slope = 3.4e-03\n*\n* nfet, Bin 000\n* ------\n+ nfet__vth0_diff_0 = 0.0\n',
  'cells/nfet/nfet__tt.pm3.spice': `* statistics {
*   mismatch { vary nfet__vth0_slope dist=gauss std = 1.0 }
* }
.subckt  nfet d g s b
+
.param  l = 1 w = 1 nf = 1.0 ad = 0 as = 0 pd = 0 ps = 0 nrd = 0 nrs = 0 sa = 0 sb = 0 sd = 0 mult = 1
mnfet d g s b nfet__model l = {l} w = {w} nf = {nf} ad = {ad} as = {as} pd = {pd} ps = {ps} nrd = {nrd} nrs = {nrs} sa = {sa} sb = {sb} sd = {sd}
${bin(0, 'lmin = 5.0e-07 lmax = 0.0001 wmin = 1.0e-07 wmax = 0.0001')}${bin(1, 'lmin = 1.0e-07 lmax = 5.0e-07 wmin = 1.0e-07 wmax = 0.0001')}.ends nfet

.subckt  cap_var c0 c1 b
.model cvar psp103va
n1 c0 c1 b cvar
.ends cap_var
`,
};

function workFolder(section: string, cell: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-sky130-'));
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  };
  write('spice/sky/models.lib', `.lib TT\n.lib 'pdk/${section}' tt\n.endl TT\n`);
  write(
    'spice/sky/technology.yaml',
    `schema: onefet.technology/1
name: sky
models: { file: models.lib, corners: { TT: TT }, scaleM: 1e-6 }
supplyV: { value: 1.2, source: x, tag: assumed }
minTempK: { value: 233.15, source: x, tag: assumed }
maxTempK: { value: 398.15, source: x, tag: assumed }
oxideM: { value: 3.2e-9, source: x, tag: assumed }
junctionLengthM: { value: 340e-9, source: x, tag: assumed }
mismatch:
  avtVm: { value: 5.0e-9, source: x, tag: assumed }
  abetaM: { value: 1.0e-8, source: x, tag: assumed }
cells:
  t1: { topology: t1, ${cell}, fullScaleA: 3e-9, source: x, tag: assumed }
`,
  );
  write(
    'netlists/t1/cell.inc',
    `* a foundry's subcircuit; the threshold shift is a source in the gate
.subckt cell d g s b dvt=0 gain=1
vdvt g gi {dvt}
x1 d gi s b {{model}} w={{width_m}} l={{length_m}} ad={{drain_area_m2}} as={{drain_area_m2}} pd={{drain_perimeter_m}} ps={{drain_perimeter_m}} m={gain}
.ends cell
`,
  );
  return folder;
}

test('a library in the form of SKY130 gives what the same card gives as planar130', async () => {
  const shipped = loadCalibration('planar130', 't1');
  const folder = workFolder(
    'combined_models/sky130.lib.spice',
    'model: nfet, widthM: 0.4e-6, lengthM: 0.2e-6',
  );
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, 'spice', 'sky', 'pdk', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  chdir(folder);
  const cal = await calibrate({ process: 'sky', cell: 't1', cacheFolder: null });
  const [tt, other] = [cal.corners.TT!, shipped.corners.TT!];
  expect(cal.nominal.fullScaleVgsV).toBeCloseTo(shipped.nominal.fullScaleVgsV, 5);
  expect(cal.nominal.ladderSlopeFactorN).toBeCloseTo(shipped.nominal.ladderSlopeFactorN, 4);
  expect(tt.fit.rms).toBeCloseTo(other.fit.rms, 5);
  for (const [i, value] of tt.gate.highV.entries()) expect(value).toBeCloseTo(other.gate.highV[i], 4);
  expect(Object.keys(cal.sources).filter((name) => name.includes('/pdk/'))).toHaveLength(6);
});

if (env.ONEFET_SKY130 !== undefined) {
  test('SKY130 itself, nfet_01v8 of 1/0.5 um at 3 nA', async () => {
    const folder = workFolder(
      'sky130.lib.spice',
      'model: sky130_fd_pr__nfet_01v8, widthM: 1.0e-6, lengthM: 0.5e-6',
    );
    symlinkSync(env.ONEFET_SKY130!, join(folder, 'spice', 'sky', 'pdk'));
    chdir(folder);
    const { corners, nominal } = await calibrate({ process: 'sky', cell: 't1', cacheFolder: null });
    // Native ngspice 39 on the whole library: 2.619 nA at 0.4 V, 29.08 nA at 0.5 V.
    expect(nominal.fullScaleVgsV).toBeGreaterThan(0.4);
    expect(nominal.fullScaleVgsV).toBeLessThan(0.41);
    expect(corners.TT!.fit.max).toBeLessThan(0.03);
    console.info(JSON.stringify([nominal, corners.TT!.fit, corners.TT!.heldOutVds, corners.TT!.heldOutTemp]));
  }, 600_000);
}
