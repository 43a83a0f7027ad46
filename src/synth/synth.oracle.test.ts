/**
 * Reference case F on synthetic models: llama.cpp loads the files, tokenises as this project does, and gives the same
 * logits for every token of the vocabulary.
 *
 * What differs is the order of sums and, but for F32 weights, what llama.cpp makes of the activations of a matrix: half
 * precision for F16, blocks of 32 with 8 bits (Q8_0) for Q8_0 and Q4_0, blocks of 256 with 8 bits (Q8_K) for the K
 * types, where the outlier channel sets a coarse step. The reference rounds them in the same way here, so that the
 * comparison is of the weights and not of the rounding. What is left is single activations that a sum's last bit rounds
 * to the other side, and what the layers behind make of that step.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import type { LinearBuilder } from '../fabric/linear.ts';
import { F16 } from '../model/codecs/f16.ts';
import { Q8_0 } from '../model/codecs/q8_0.ts';
import { forward, newSession } from '../model/forward.ts';
import { buildLayers, openModel } from '../model/model.ts';
import { logitSketch, openOracle } from '../testing/oracle.ts';
import { synthesise } from './synthesise.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-synth-oracle-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const oracle = openOracle('synth');

const TEXT = 'One transistor per weight? caf\u00e9, 12345\n\n  and <|eot_id|>.';

/** a[K] as llama.cpp passes it to a matrix of a type; overwrites nothing. */
const ROUNDING: Record<string, (a: Float32Array) => Float32Array> = {
  F32: (a) => a,
  F16: (a) => {
    const bytes = new Uint8Array(2 * a.length);
    const out = new Float32Array(a.length);
    F16.quantise!(a, bytes);
    F16.dequantise(bytes, out);
    return out;
  },
  Q8_0: (a) => {
    const bytes = new Uint8Array((a.length / 32) * 34);
    const out = new Float32Array(a.length);
    Q8_0.quantise!(a, bytes);
    Q8_0.dequantise(bytes, out);
    return out;
  },
  // ggml's quantize_row_q8_K: the extreme becomes -127.
  Q8_K: (a) => {
    const out = new Float32Array(a.length);
    for (let from = 0; from < a.length; from += 256) {
      const block = a.subarray(from, from + 256);
      const extreme = block.reduce((m, v) => (Math.abs(v) > Math.abs(m) ? v : m), 0);
      const inverse = Math.fround(-127 / extreme);
      const step = Math.fround(1 / inverse);
      block.forEach((v, i) => {
        out[from + i] = step * Math.min(127, Math.round(Math.fround(inverse * v)));
      });
    }
    return out;
  },
};
const ROUNDING_OF: Record<string, string> = { Q4_0: 'Q8_0', Q4_K: 'Q8_K', Q6_K: 'Q8_K' };

function roundingBuilder(type: string, headType: string): LinearBuilder {
  return (name, outputs, inputs, row) => {
    const linear = buildDigital(name, outputs, inputs, row);
    const as = name.tensor === 'output' ? headType : type;
    const round = ROUNDING[ROUNDING_OF[as] ?? as];
    return { outputs, inputs, apply: (y, a, at) => linear.apply(y, round(a), at) };
  };
}

describe('llama.cpp reads synthetic models', () => {
  test.each([
    ['tiny', 'F32', 1e-5],
    ['small', 'F32', 1e-5],
    ['tiny', 'F16', 5e-3],
    ['tiny', 'Q8_0', 0.1],
    ['tiny', 'Q4_0', 0.1],
    ['small', 'Q4_0', 0.3],
    ['tiny', 'Q4_K', 0.1],
    ['tiny', 'Q6_K', 0.1],
  ])('%s %s, logits of deviation 2 within %f rms', async (shape, type, bound) => {
    const path = join(folder, `${shape}-${type}.gguf`);
    await synthesise({ shape, type, path, threads: 2 });
    const model = openModel(path);
    const ids = [...model.tokenizer.encode(TEXT)];
    const answer = await oracle.ask(`${shape} ${type}`, path, { texts: [TEXT], logits: [ids] });
    expect(answer.tokens[0]).toEqual(ids.slice(1));
    expect(answer.vocabulary).toEqual({ bos: model.tokenizer.bosId, eos: model.tokenizer.eosId });
    const headType = model.file.tensors.get(model.shape.tied ? 'token_embd.weight' : 'output.weight')!.codec
      .name;
    const session = newSession(model, buildLayers(model, roundingBuilder(type, headType)), ids.length);
    let squares = 0;
    for (const [position, id] of ids.entries()) {
      const own = logitSketch(forward(session, id, { window: 0, position }));
      own.forEach((sum, i) => {
        squares += (sum - answer.sketches[0][position][i]) ** 2;
      });
    }
    // The square of a sum's difference is, in the mean, the sum of the logits' squared differences.
    const rms = Math.sqrt(squares / (ids.length * model.shape.vocab));
    expect(rms).toBeLessThan(bound);
    model.close();
  });
});
