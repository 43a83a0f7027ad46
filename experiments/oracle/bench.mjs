/**
 * llama.cpp's speed, measured between the turns of another engine.
 *
 *   node bench.mjs [--build=haswell] <threads> <contextTokens> <model.gguf> [<model.gguf> ...]
 *
 * `--build` takes one of the package's builds for x86 by name in place of the best that the processor takes; they are the files
 * libggml-cpu-*.so below node_modules/@node-llama-cpp/linux-x64/bins. Haswell has AVX2 and no VNNI.
 *
 * Loads all models and prints {"ready":true,"system":"..."}. Then each line of standard input is a request, answered by
 * one line {"seconds": number, "processorSeconds": number}, the latter of all threads:
 *   {"model": 0, "prefill": [ids]}    a new text, evaluated in one batch, without logits
 *   {"model": 0, "decode": [ids]}     token by token, with logits, behind the last prefill; the mean of a token
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const BINARIES = '@node-llama-cpp/linux-x64';
const BUILD = /libggml-cpu-(\w+)\.so/;

const asked = process.argv[2].match(/^--build=(\w+)$/)?.[1];
const [threads, contextSize, ...paths] = process.argv.slice(asked ? 3 : 2);
const copy = asked && (await leaveBuild(asked));
const { getLlama, LlamaLogLevel } = await import('node-llama-cpp');
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.error,
});
const system = describeSystem(llama.systemInfo);
// What is loaded needs no file any more.
if (copy) rmSync(copy, { recursive: true, force: true });
const sequences = [];
for (const modelPath of paths) {
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: Number(contextSize),
    batchSize: Number(contextSize),
    threads: Number(threads),
  });
  sequences.push(context.getSequence());
}
console.log(JSON.stringify({ ready: true, system }));

/** Tokens of the last prefill. */
const prefilled = paths.map(() => 0);
for await (const line of createInterface({ input: process.stdin })) {
  const { model, prefill, decode } = JSON.parse(line);
  const sequence = sequences[model];
  if (prefill) await sequence.clearHistory();
  else await sequence.eraseContextTokenRanges([{ start: prefilled[model], end: sequence.nextTokenIndex }]);
  const started = performance.now();
  const before = process.cpuUsage();
  if (prefill) {
    await sequence.evaluateWithoutGeneratingNewTokens(prefill);
  } else {
    for (const id of decode) {
      await sequence.controlledEvaluate([[id, { generateNext: { token: true } }]]);
    }
  }
  const { user, system } = process.cpuUsage(before);
  const items = prefill ? 1 : decode.length;
  const seconds = (performance.now() - started) / 1e3 / items;
  const processorSeconds = (user + system) / 1e6 / items;
  if (prefill) prefilled[model] = sequence.nextTokenIndex;
  console.log(JSON.stringify({ seconds, processorSeconds }));
}
process.exit(0);

/** Has the package find a copy of its binaries with one build alone, since it takes the best that is there; returns the folder. */
async function leaveBuild(build) {
  const { getBinsDir } = await import(BINARIES);
  const { binsDir, packageVersion } = getBinsDir();
  const copy = mkdtempSync(join(tmpdir(), 'onefet-llama-cpp-'));
  const filter = (path) => (path.match(BUILD)?.[1] ?? build) === build;
  cpSync(binsDir, copy, { recursive: true, filter });
  if (!readdirSync(copy, { recursive: true }).some((name) => BUILD.test(name)))
    throw new Error(`the package has no build "${build}"`);
  const source = `export const getBinsDir = () => (${JSON.stringify({ binsDir: copy, packageVersion })});`;
  const url = `data:text/javascript,${encodeURIComponent(source)}`;
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === BINARIES ? { url, shortCircuit: true } : next(specifier, context),
  });
  return copy;
}

/** The build that was loaded, and the features of the processor that it uses. */
function describeSystem(info) {
  const features = [...info.matchAll(/(\w+) = 1/g)].map(([, name]) => name).join(' ');
  return `build ${readFileSync('/proc/self/maps', 'utf8').match(BUILD)?.[1] ?? 'unknown'}: ${features}`;
}
