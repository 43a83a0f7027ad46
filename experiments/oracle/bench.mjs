/**
 * llama.cpp's speed, measured between the turns of another engine.
 *
 *   node bench.mjs <threads> <contextTokens> <model.gguf> [<model.gguf> ...]
 *
 * Loads all models and prints {"ready":true,"system":"..."}. Then each line of standard input is a request, answered by
 * one line {"seconds": number, "processorSeconds": number}, the latter of all threads:
 *   {"model": 0, "prefill": [ids]}    a new text, evaluated in one batch, without logits
 *   {"model": 0, "decode": [ids]}     token by token, with logits, behind what is there; the mean of a token
 */
import { createInterface } from 'node:readline';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const [threads, contextSize, ...paths] = process.argv.slice(2);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.error,
});
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
console.log(JSON.stringify({ ready: true, system: llama.systemInfo }));

for await (const line of createInterface({ input: process.stdin })) {
  const { model, prefill, decode } = JSON.parse(line);
  const sequence = sequences[model];
  if (prefill) await sequence.clearHistory();
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
  console.log(JSON.stringify({ seconds, processorSeconds }));
}
process.exit(0);
