/**
 * Runs the gallery and holds it against what is committed in results/.
 *
 *   npm run gallery                       every experiment whose model is there; numbers are compared
 *   npm run gallery -- fabrics eight-b    these
 *   npm run gallery -- --write fabrics    results and figures are written anew, and the counts that the explorer prices from
 *
 * Finished jobs are not done again (runs/): remove that folder to time it.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { argv, execPath, exit, stderr, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import { fromCsv } from '../../src/csv.ts';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const program = join(root, 'src', 'onefet.js');
const SMOLLM2 = '.onefet/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const EIGHT_B = '.onefet/models/llama-3.1-8b.gguf';

/** Experiments, the figure kept of each, and what must be there first. */
const GALLERY = [
  { name: 'fabrics', figure: 'pareto-area' },
  { name: 'mapping-steps', figure: 'pareto-energy' },
  { name: 'weight-bits', figure: 'pareto-area' },
  { name: 'device-area', figure: 'pareto-area' },
  { name: 'mismatch-scale', figure: 'key-mismatch-scale' },
  { name: 'temperature-ladder', figure: 'key-tempK' },
  { name: 'adc-bits-tile-rows', figure: 'map' },
  { name: 'current-noise', figure: 'pareto-energy' },
  { name: 'surface', figure: 'pareto-area', activity: surfaceActivity },
  { name: 'smollm2-mismatch', figure: 'key-mismatch-scale', needs: SMOLLM2, remedy: 'npm run fetch-model, and node experiments/halve-text.mjs wiki.test.raw' },
  { name: 'smollm2-tasks', figure: 'choices', needs: '.onefet/tasks', remedy: 'npm run fetch-model, and the files that experiments/README.md names under Tasks' },
  { name: 'eight-b', figure: 'pareto-area', needs: EIGHT_B, remedy: `onefet synth llama-3.1-8b --out ${EIGHT_B}` },
];
/** Columns that another machine may make other. */
const OF_THE_MACHINE = /^(run_folder|engine)$/;

function onefet(...words) {
  const done = spawnSync(execPath, [program, ...words], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // 6: points that cannot be are rows that say so.
  if (done.status !== 0 && done.status !== 6) throw new Error(`onefet ${words.join(' ')}: exit code ${done.status}`);
  return done.stdout;
}

/** What differs between two tables, machine's columns aside; nothing where they are the same. */
function differences(found, committed) {
  const [ours, theirs] = [fromCsv(found), fromCsv(committed)];
  if (ours.length !== theirs.length) return [`${ours.length} rows, committed are ${theirs.length}`];
  return ours.flatMap((row, i) =>
    Object.keys({ ...row, ...theirs[i] })
      .filter((name) => !OF_THE_MACHINE.test(name) && row[name] !== theirs[i][name])
      .map((name) => `point ${i + 1}, ${name}: ${row[name]}, committed ${theirs[i][name]}`),
  );
}

/** Name of the file in experiments/activity that holds what a point of the surface counted: the explorer prices from it. */
function surfaceActivity(point) {
  const width = point['gate.widthM'] === 'cell' ? 0.8 : Number(point['gate.widthM']) * 1e6;
  const rows = Number(point['tile.rows']);
  // Bits of the converters change no count; the default's own counts stand in log-domain.json.
  if (point['adc.bits'] !== '8' || (width === 0.8 && rows === 256)) return undefined;
  return `log-domain-gate-${Number(width.toFixed(2))}-rows-${rows}.json`;
}

function runOne({ name, figure, activity }, write) {
  const { folder } = JSON.parse(onefet('sweep', `experiments/gallery/${name}.yaml`, '--json'));
  const found = readFileSync(join(root, folder, 'results.csv'), 'utf8');
  const path = join(here, 'results', `${name}.csv`);
  if (write) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, found);
    const drawn = join(here, 'figures', `${name}.svg`);
    onefet('report', folder, '--figure', figure, '--format', 'svg', '--out', drawn);
    for (const point of activity ? fromCsv(found) : []) {
      const kept = activity(point);
      if (!kept) continue;
      copyFileSync(join(root, folder, point.run_folder, 'activity.json'), join(root, 'experiments', 'activity', kept));
    }
    return [];
  }
  if (!existsSync(path)) return [`${basename(path)} is not committed`];
  return differences(found, readFileSync(path, 'utf8'));
}

const words = argv.slice(2);
const write = words.includes('--write');
const asked = words.filter((word) => word !== '--write');
const unknown = asked.filter((word) => !GALLERY.some(({ name }) => name === word));
if (unknown.length > 0) {
  stderr.write(`no experiment ${unknown.join(', ')}; there are ${GALLERY.map(({ name }) => name).join(', ')}\n`);
  exit(2);
}
let failed = 0;
for (const experiment of GALLERY.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
  const { name, needs, remedy } = experiment;
  if (needs && !existsSync(join(root, needs))) {
    stdout.write(`${name}: left out, ${needs} is not there (${remedy})\n`);
    continue;
  }
  const found = runOne(experiment, write);
  failed += found.length > 0 ? 1 : 0;
  const said = write ? 'written' : found.length === 0 ? 'as committed' : `${found.length} values differ`;
  stdout.write(`${name}: ${said}\n${found.slice(0, 5).map((line) => `  ${line}\n`).join('')}`);
}
exit(failed > 0 ? 5 : 0);
