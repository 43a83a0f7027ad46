/** Numbers of half precision in WebAssembly, which has none. */
import { heldF32, heldI32 } from '../../../emit/constants.ts';
import { type Body, f32x4, i32x4, type V128, v128 } from '../../../emit/wat.ts';

/** Prepares four f16, extended to words with their signs (load.i16x4), to become four f32; exact, no infinities. */
export function halves(f: Body): (words: V128) => V128 {
  // The bits of an f16 below its sign, moved to the place of an f32's, are the value times 2^-112; the sign is extended.
  const kept = heldI32(f, 'kept', 0x8fffe000);
  const rescale = heldF32(f, 'rescale', 2 ** 112);
  return (words) => f32x4.mul(v128.and(i32x4.shl(words, 13), kept), rescale);
}
