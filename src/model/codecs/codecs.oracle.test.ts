/**
 * Every block type, value by value, against llama.cpp (reference case F). The model exposes its embedding matrix: one
 * layer whose values and feed-forward outputs are zero, and an identity head, so that the logits behind token t are
 *   row_t / sqrt(mean(row_t^2) + epsilon)
 * where llama.cpp decodes row_t from the quantised matrix with its own dequantiser. The blocks are random bytes but
 * for their factors, which are random halves of magnitude 1/4 to 4, so that every bit field takes every value.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { bits32, nameCoordinate, streamKey } from '../../random.ts';
import { writeFixture } from '../../testing/models.ts';
import { logitSketch, openOracle } from '../../testing/oracle.ts';
import type { Codec } from './codec.ts';
import { F32 } from './f32.ts';
import { codecByName } from './registry.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-codecs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const oracle = openOracle('codecs');

const DIM = 256;
const TOKENS = 256;
const EPSILON = 1e-5;

/** The bytes of a row: `factors` are the offsets of the halves in a block. */
function rowBytes(codec: Codec, factors: readonly number[], row: number): Uint8Array {
  const key = streamKey(7, nameCoordinate(codec.name), row);
  const bytes = Uint8Array.from(
    { length: (DIM / codec.blockSize) * codec.blockBytes },
    (_, i) => bits32(key, i) & 255,
  );
  for (let block = 0; block < bytes.length; block += codec.blockBytes) {
    for (const at of factors) {
      // Sign and fraction stay random, the exponent becomes -2 .. 1.
      bytes[block + at + 1] =
        (bytes[block + at + 1] & 0x83) | ((13 + ((bytes[block + at + 1] >>> 2) & 3)) << 2);
    }
  }
  return bytes;
}

describe('decoded values are llama.cpp\u2019s', () => {
  test.each([
    ['Q8_0', [0]],
    ['Q4_0', [0]],
    ['Q4_1', [0, 2]],
    ['Q5_0', [0]],
    ['Q5_1', [0, 2]],
    ['Q2_K', [80, 82]],
    ['Q3_K', [108]],
    ['Q4_K', [0, 2]],
    ['Q5_K', [0, 2]],
    ['Q6_K', [208]],
    ['IQ4_NL', [0]],
    ['IQ4_XS', [0]],
  ])('%s', async (name, factors) => {
    const codec = codecByName(name)!;
    const path = join(folder, `${name}.gguf`);
    const exposing: Codec = {
      ...codec,
      quantise: (values, bytes) => bytes.set(rowBytes(codec, factors, values[0])),
    };
    writeFixture(path, {
      dim: DIM,
      layers: 1,
      fields: {
        'llama.context_length': { type: 'u32', value: TOKENS },
        'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: EPSILON },
      },
      tensors: (tensors) =>
        tensors.map((tensor) => {
          if (tensor.name === 'token_embd.weight') {
            return { ...tensor, codec: exposing, row: (n, out) => out.fill(n) };
          }
          const row = (n: number, out: Float32Array): void => {
            out.fill(tensor.name === 'output_norm.weight' ? 1 : 0);
            if (tensor.name === 'output.weight' && n < DIM) out[n] = 1;
          };
          return { ...tensor, codec: F32, row };
        }),
    });
    const ids = Array.from({ length: TOKENS }, (_, id) => id);
    const [sketches] = (await oracle.ask(name, path, { logits: [ids], logitsTo: DIM })).sketches;
    const row = new Float32Array(DIM);
    let largest = 0;
    for (const id of ids) {
      codec.dequantise(rowBytes(codec, factors, id), row);
      const meanSquare = row.reduce((sum, x) => sum + x * x, 0) / DIM;
      const expected = row.map((x) => x / Math.sqrt(meanSquare + EPSILON));
      logitSketch(expected).forEach((sum, group) => {
        largest = Math.max(largest, Math.abs(sketches[id][group] - sum));
      });
    }
    // Logits have a root mean square of 1; what is left is the float32 norm, in sums of 64. One code off by one is
    // above 1e-4.
    expect(largest).toBeLessThan(3e-5);
  });
});
