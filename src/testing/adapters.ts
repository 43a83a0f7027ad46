/** LoRA adapter files of drawn numbers. */
import { F32 } from '../model/codecs/f32.ts';
import { type GgufField, writeGguf } from '../model/gguf-writer.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';

const FIELDS: Record<string, GgufField> = {
  'general.architecture': { type: 'string', value: 'llama' },
  'general.type': { type: 'string', value: 'adapter' },
  'adapter.type': { type: 'string', value: 'lora' },
  'adapter.lora.alpha': { type: 'f32', value: 6 },
};

/** By the model's tensor: [rows of B, rank, columns of A]. */
export type AdapterSizes = Readonly<Record<string, readonly [number, number, number]>>;

/** Of the small model that writeFixture writes by default. */
export const FIXTURE_ADAPTER = {
  'blk.0.attn_q.weight': [64, 3, 64],
  'blk.1.attn_v.weight': [32, 2, 64],
  'blk.1.ffn_down.weight': [64, 4, 96],
  'blk.0.ffn_gate.weight': [96, 3, 64],
} as const satisfies AdapterSizes;

/** Writes an adapter file; `fields` replaces metadata, undefined leaves a key out. */
export function writeAdapter(
  path: string,
  sizes: AdapterSizes,
  fields: Readonly<Record<string, GgufField | undefined>> = {},
): string {
  const half = (tensor: string, rows: number, columns: number) => ({
    name: tensor,
    shape: [rows, columns],
    codec: F32,
    row(n: number, out: Float32Array) {
      const key = streamKey(7, nameCoordinate(tensor), n);
      for (let k = 0; k < columns; k++) out[k] = 0.2 * gaussian(key, k);
    },
  });
  const metadata = new Map<string, GgufField>();
  for (const [key, field] of Object.entries({ ...FIELDS, ...fields })) if (field) metadata.set(key, field);
  const tensors = Object.entries(sizes).flatMap(([tensor, [rows, rank, columns]]) => [
    half(`${tensor}.lora_a`, rank, columns),
    half(`${tensor}.lora_b`, rows, rank),
  ]);
  writeGguf(path, metadata, tensors);
  return path;
}
