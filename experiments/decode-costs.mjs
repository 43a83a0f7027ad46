/**
 * Prints processor seconds of decoding after an 8-token prompt, engine by engine, and the share of each stage:
 *
 *   npx node experiments/decode-costs.mjs [model.gguf] [tokens] [tokens of the range text]
 *
 * One thread. A chip is measured with its cells baked, as `generate` has them, and made for every token, over 8 tokens at most.
 */
import { closeHosts, createEngine } from '../src/engine/create.ts';
import { loadDesign } from '../src/fabric/design.ts';
import { loadFabric } from '../src/fabric/registry.ts';
import { findDataFile, readTextFile, requireDataFile } from '../src/files.ts';
import { GENERATE_DEFAULTS, RANGE_TEXT } from '../src/experiment/options.ts';
import { openModel } from '../src/model/model.ts';

const [path = GENERATE_DEFAULTS.model, tokens = '64', rangeTokens = '256'] = process.argv.slice(2);
const model = openModel(findDataFile(path) ?? path);
const { design } = loadDesign('log-domain', ['mapping.method=round'], {});
const needs = { model, fabric: loadFabric(design), threads: 1, contextTokens: 512 };
const prompt = model.tokenizer.encode('Once upon a time there was a little girl named Lily').slice(0, 8);

let last = 0;
/** Processor seconds since the last call. */
const lap = () => {
  const { user, system } = process.cpuUsage();
  const seconds = (user + system) / 1e6 - last;
  last += seconds;
  return seconds;
};

const range = await createEngine('wasm', { ...needs, mode: 'range' });
const text = readTextFile(requireDataFile(RANGE_TEXT, 'range text'), 'range text');
await range.prefill(model.tokenizer.encode(text).slice(0, Number(rangeTokens)), 0);
const ranges = range.ranges();
await range.close();

async function measure(label, request, count) {
  lap();
  const engine = await createEngine('wasm', { ...needs, ...request, profile: true });
  const loadS = lap();
  await engine.prefill(prompt, 0, () => {}, prompt.length - 1);
  const prefillS = lap();
  const before = engine.profile();
  for (let i = 1; i < count; i++) await engine.decode(100 + i);
  const decodeMs = (1e3 * lap()) / (count - 1);
  const stages = Object.entries(engine.profile()).map(([name, s]) => [name, s - before[name]]);
  const sum = stages.reduce((total, [, s]) => total + s, 0);
  const shares = stages.map(([name, s]) => `${name} ${((100 * s) / sum).toFixed(0)} %`).join(', ');
  console.log(
    `${label.padEnd(12)} load ${loadS.toFixed(2)} s, prompt ${prefillS.toFixed(2)} s, ${decodeMs.toFixed(2)} ms a token: ${shares}`,
  );
  await engine.close();
}

const count = Number(tokens);
await measure('digital', { mode: 'digital' }, count);
await measure('recoded', { mode: 'mapped' }, count);
for (const chipSeed of [1, 2, 3]) {
  await measure(`chip ${chipSeed}`, { mode: 'chip', chipSeed, ranges, tuning: { cells: 'baked' } }, count);
}
await measure('chip 1, made', { mode: 'chip', chipSeed: 1, ranges, tuning: { cells: 'made' } }, Math.min(count, 8));
await closeHosts();
model.close();
