/**
 * Counter-based random numbers: a draw is a pure function of its coordinates, so results do not depend on
 * thread count, batch size, order or resume point.
 *
 * A stream is a 64-bit key (two 32-bit words) folded from coordinates such as (seed, layer, tensor). A draw is
 *   h = mix(mix(index + key.a) ^ key.b)
 * where `mix` is the 32-bit finaliser "lowbias32" (C. Wellons, hash-prospector, public domain; avalanche bias
 * 0.174). Two words rather than one: with a single word, streams would be shifted windows of one 2^32 sequence
 * and would overlap for a model with 7.5e9 cells.
 */
export interface StreamKey {
  readonly a: number;
  readonly b: number;
}

export function mix32(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Folds integer coordinates into a stream key; the order of the coordinates matters. */
export function streamKey(...coordinates: readonly number[]): StreamKey {
  let a = 0x243f6a88; // first fraction bits of pi: any non-zero constants do
  let b = 0x85a308d3;
  for (const c of coordinates) {
    const low = c | 0;
    const high = Math.floor(c / 4294967296) | 0;
    a = mix32(a ^ mix32(low ^ 0x9e3779b9));
    b = mix32((b + mix32(low + 0x3c6ef372) + mix32(high ^ 0x1b873593)) | 0);
  }
  return { a, b };
}

/** 32 random bits. */
export function bits32(key: StreamKey, index: number): number {
  return mix32(mix32((index + key.a) | 0) ^ key.b);
}

/** Uniform on the open interval (0, 1). */
export function uniform(key: StreamKey, index: number): number {
  return (bits32(key, index) + 0.5) / 4294967296;
}

/**
 * Standard normal by Box-Muller. Draws 2j and 2j+1 of a stream share their two uniforms (cosine and sine
 * branch) and are independent. The largest magnitude is sqrt(-2 ln(2^-33)) = 6.76.
 */
export function gaussian(key: StreamKey, index: number): number {
  const pair = index & ~1;
  const radius = Math.sqrt(-2 * Math.log(uniform(key, pair)));
  const angle = 2 * Math.PI * uniform(key, pair + 1);
  return index & 1 ? radius * Math.sin(angle) : radius * Math.cos(angle);
}

/** sigma times gaussian(key, first .. first + count - 1), the same bits at half the price: both branches of a pair at once. */
export function gaussians(key: StreamKey, count: number, sigma: number, first = 0): Float64Array {
  const values = new Float64Array(count);
  const end = first + count;
  for (let pair = first & ~1; pair < end; pair += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform(key, pair)));
    const angle = 2 * Math.PI * uniform(key, pair + 1);
    if (pair >= first) values[pair - first] = sigma * (radius * Math.cos(angle));
    if (pair + 1 < end) values[pair + 1 - first] = sigma * (radius * Math.sin(angle));
  }
  return values;
}

/** FNV-1a of a name, to use a word as a coordinate. */
export function nameCoordinate(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** Place in the text at which a product is formed: the key of everything that is drawn per token. */
export interface TokenPosition {
  /** Index of the scored window, document or generation. */
  readonly window: number;
  /** Position of the token in its window. */
  readonly position: number;
}
