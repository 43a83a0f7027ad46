/** A weight that is no number must never give a result: whatever it is, wherever it stands, whichever engine computes. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import type { Codec } from '../model/codecs/codec.ts';
import { F16 } from '../model/codecs/f16.ts';
import { F32 } from '../model/codecs/f32.ts';
import { Q8_0 } from '../model/codecs/q8_0.ts';
import { openModel } from '../model/model.ts';
import { runText } from '../testing/engines.ts';
import { writeFixture } from '../testing/models.ts';
import { runFolder } from '../testing/run-folder.ts';

const ids = Int32Array.of(1, 5, 9, 300);
const fabric = loadFabric(loadDesign('log-domain').design);
const folder = runFolder('not-finite');

/** A model in which a codec's own bytes are put over those of one row. */
function damaged(
  name: string,
  tensor: string,
  row: number,
  change: (bytes: Uint8Array) => void,
  codec?: Codec,
) {
  const path = join(folder, `${name}.gguf`);
  writeFixture(path, {
    layers: 1,
    ...(codec ? { codec } : {}),
    ropeFactors: new Array(8).fill(1),
    tensors: (all) =>
      all.map((source) => {
        if (source.name !== tensor) return source;
        let at = -1;
        return {
          ...source,
          codec: {
            ...source.codec,
            quantise(values, bytes) {
              source.codec.quantise!(values, bytes);
              at++;
              if (at === row) change(bytes);
            },
          },
        };
      }),
  });
  return path;
}

const f32Bits = (at: number, bits: number) => (bytes: Uint8Array) =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, bits, true);
const halfBits = (at: number, bits: number) => (bytes: Uint8Array) =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(at, bits, true);

const NAN = 0x7fc00000;
const MINUS_INFINITY = 0xff800000;
const cases: [string, string, number, (bytes: Uint8Array) => void, Codec | undefined, RegExp][] = [
  [
    'nan-weight',
    'blk.0.ffn_up.weight',
    7,
    f32Bits(12, NAN),
    F32,
    /"blk.0.ffn_up.weight" holds NaN in row 7, column 3/,
  ],
  [
    'inf-weight',
    'blk.0.attn_q.weight',
    0,
    halfBits(8, 0x7c00),
    F16,
    /"blk.0.attn_q.weight" holds Infinity in row 0, column 4/,
  ],
  [
    'nan-scale',
    'blk.0.attn_v.weight',
    2,
    halfBits(34, 0x7e00),
    Q8_0,
    /"blk.0.attn_v.weight" holds NaN in row 2, column 32.*scale of its block/,
  ],
  [
    'inf-head',
    'output.weight',
    1023,
    halfBits(2, 0xfc00),
    F16,
    /"output.weight" holds -Infinity in row 1023, column 1/,
  ],
  [
    'nan-norm',
    'blk.0.attn_norm.weight',
    0,
    f32Bits(40, NAN),
    undefined,
    /"blk.0.attn_norm.weight" holds NaN in value 10/,
  ],
  [
    'inf-output-norm',
    'output_norm.weight',
    0,
    f32Bits(0, MINUS_INFINITY),
    undefined,
    /"output_norm.weight" holds -Infinity/,
  ],
  [
    'nan-embedding',
    'token_embd.weight',
    9,
    f32Bits(4, NAN),
    F32,
    /"token_embd.weight" holds NaN in row 9, column 1/,
  ],
  [
    'nan-rope',
    'rope_freqs.weight',
    0,
    f32Bits(4, NAN),
    undefined,
    /"rope_freqs.weight" holds NaN in value 1/,
  ],
];

for (const [name, tensor, row, change, codec, message] of cases) {
  test(`${name} is refused by tensor and place, on every engine`, async () => {
    const model = openModel(damaged(name, tensor, row, change, codec));
    try {
      for (const engine of ['wasm', 'scalar'] as const) {
        await expect(runText(engine, { model, fabric, mode: 'digital' }, ids), engine).rejects.toMatchObject({
          kind: 'input',
          code: 'MODEL_NOT_FINITE',
          message: expect.stringMatching(message),
        });
      }
    } finally {
      model.close();
    }
  });
}

test('weights that are finite but overflow float32 on the way are refused by position', async () => {
  const path = damaged(
    'overflow',
    'blk.0.ffn_down.weight',
    3,
    (bytes) => {
      for (let at = 0; at < bytes.length; at += 4) f32Bits(at, 0x7f7fffff)(bytes);
    },
    F32,
  );
  const model = openModel(path);
  try {
    for (const engine of ['wasm', 'scalar'] as const) {
      await expect(runText(engine, { model, fabric, mode: 'digital' }, ids), engine).rejects.toMatchObject({
        kind: 'input',
        code: 'NOT_FINITE',
      });
    }
  } finally {
    model.close();
  }
});
