/** The tensor types that can be read. A new type is one file and one line here. */
import { BF16 } from './bf16.ts';
import type { Codec } from './codec.ts';
import { F16 } from './f16.ts';
import { F32 } from './f32.ts';
import { IQ4_NL } from './iq4_nl.ts';
import { IQ4_XS } from './iq4_xs.ts';
import { Q2_K } from './q2_k.ts';
import { Q3_K } from './q3_k.ts';
import { Q4_0 } from './q4_0.ts';
import { Q4_1 } from './q4_1.ts';
import { Q4_K } from './q4_k.ts';
import { Q5_0 } from './q5_0.ts';
import { Q5_1 } from './q5_1.ts';
import { Q5_K } from './q5_k.ts';
import { Q6_K } from './q6_k.ts';
import { Q8_0 } from './q8_0.ts';

export const CODECS: ReadonlyMap<number, Codec> = new Map(
  [F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS].map(
    (codec) => [codec.typeId, codec],
  ),
);

/** Names of ggml types, to say which one a file holds when there is no codec for it (ggml.h, `enum ggml_type`). */
const TYPE_NAMES: Readonly<Record<number, string>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
};

/** ggml's name of a tensor type, or `type <id>`. */
export function typeName(typeId: number): string {
  return TYPE_NAMES[typeId] ?? `type ${typeId}`;
}

/** Looks a codec up by name, for writers; undefined when there is none. */
export function codecByName(name: string): Codec | undefined {
  for (const codec of CODECS.values()) if (codec.name === name) return codec;
  return undefined;
}
