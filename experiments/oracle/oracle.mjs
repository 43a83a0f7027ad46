/**
 * llama.cpp as an oracle: tokens, per-token probabilities and greedy continuations of a GGUF file.
 *
 *   node oracle.mjs <model.gguf> <request.json> <answer.json>
 *
 * request: {
 *   texts:  string[]      tokenised without BOS and without parsing special tokens
 *   digests: string[][]   lists of texts tokenised likewise; their numbers of ids and hashes are wanted
 *   ends:   number[]      ids; those are wanted that end a generation, only with digests
 *   score:  number[][]    sequences of ids, BOS included; ids[p + 1] is predicted from position p
 *   logits: number[][]    sequences of ids; all logits behind every token are wanted
 *   greedy: number[][]    prompts as ids
 *   steps:  number        tokens to generate per prompt
 *   adapters: { filePath: string, scale: number }[]    LoRA adapters
 * }
 * answer: {
 *   vocabulary: { bos, eos },
 *   tokens: number[][],
 *   tokenizer: { addsBos, digests: string[], ends: number[] }    where digests are asked for
 *   score:  { nll: number[] }[]    nats, one per prediction
 *   logits: number[][][]           [sequence][position][vocabulary]
 *   greedy: number[][]
 * }
 *
 * The key-value cache is float32, so that what differs from another float32 implementation is the order of the sums
 * only (and, for quantised weights, llama.cpp's quantisation of the activations).
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const [modelPath, requestPath, answerPath] = process.argv.slice(2);
const request = JSON.parse(readFileSync(requestPath, 'utf8'));
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: 1,
  logLevel: LlamaLogLevel.error,
});
// Files for digests may have a vocabulary and no tensors.
const vocabOnly = request.digests !== undefined;
const model = await llama.loadModel({ modelPath, gpuLayers: 0, vocabOnly });
if (vocabOnly) {
  const digest = (texts) => {
    const numbers = texts.flatMap((text) => {
      const ids = model.tokenize(text);
      return [ids.length, ...ids];
    });
    const hash = createHash('sha256')
      .update(new Uint8Array(Int32Array.from(numbers).buffer))
      .digest('hex');
    return `${numbers.length - texts.length} ${hash.slice(0, 16)}`;
  };
  const tokenizer = {
    addsBos: model._model.shouldPrependBosToken(),
    digests: request.digests.map(digest),
    // llama.cpp's own word: node-llama-cpp's isEogToken() also counts the end of a turn where llama.cpp does not.
    ...(request.ends === undefined ? {} : { ends: request.ends.filter((id) => model._model.isEogToken(id)) }),
  };
  const { bos, eos } = model.tokens;
  const rest = { tokens: [], score: [], logits: [], greedy: [] };
  writeFileSync(answerPath, JSON.stringify({ vocabulary: { bos, eos }, ...rest, tokenizer }));
  process.exit(0);
}
const context = await model.createContext({
  contextSize: model.trainContextSize,
  batchSize: 64,
  threads: 1, // small models, and llama.cpp's threads spin while they wait
  flashAttention: false,
  experimentalKvCacheKeyType: 'F32',
  experimentalKvCacheValueType: 'F32',
  ...(request.adapters === undefined ? {} : { lora: { adapters: request.adapters } }),
});
const sequence = context.getSequence();

const answer = {
  vocabulary: { bos: model.tokens.bos, eos: model.tokens.eos },
  tokens: (request.texts ?? []).map((text) => model.tokenize(text)),
  score: [],
  logits: [],
  greedy: [],
};

for (const ids of request.score ?? []) {
  await sequence.clearHistory();
  const input = ids.slice(0, -1).map((id) => [id, { generateNext: { token: true, logits: true } }]);
  const outputs = await sequence.controlledEvaluate(input);
  const nll = outputs.map(({ next }, position) => {
    // All logits: with a filter of { tokens, includeMax }, version 3.22.1 gives the largest logit for every token.
    const logits = [...next.logits.values()];
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const weight = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
    return largest + Math.log(weight) - next.logits.get(ids[position + 1]);
  });
  answer.score.push({ nll });
}

for (const ids of request.logits ?? []) {
  await sequence.clearHistory();
  const input = ids.map((id) => [id, { generateNext: { token: true, logits: true } }]);
  const outputs = await sequence.controlledEvaluate(input);
  answer.logits.push(
    outputs.map(({ next }) => {
      const logits = new Array(next.logits.size);
      for (const [id, logit] of next.logits) logits[id] = logit;
      return logits;
    }),
  );
}

for (const ids of request.greedy ?? []) {
  await sequence.clearHistory();
  const generated = [];
  let input = ids;
  while (generated.length < request.steps) {
    const items = input.map((id, i) =>
      i === input.length - 1 ? [id, { generateNext: { token: true } }] : id,
    );
    const outputs = await sequence.controlledEvaluate(items);
    const id = outputs[outputs.length - 1].next.token;
    generated.push(id);
    if (id === model.tokens.eos) break;
    input = [id];
  }
  answer.greedy.push(generated);
}

writeFileSync(answerPath, JSON.stringify(answer));
process.exit(0);
