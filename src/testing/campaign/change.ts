/** Changes of files and of plain data, drawn from a stream: structure-aware and byte by byte. */

/** Whole numbers below n, from one stream. */
export type Draw = (n: number) => number;

export const SCRIPT = '</script><script>alert(1)</script>';
const ODD: readonly unknown[] = [
  ...[null, true, 0, -1, 1e308, 2 ** 53, '', 'x', SCRIPT, '\ud800', [], {}, [[]], [1], 'float', '1e999'],
  JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}'),
];

/** None (an input that must be taken) to eight changes of bytes: flips, odd values, cuts, repeats and swaps of parts. */
export function changeBytes(source: Uint8Array, draw: Draw): Buffer {
  let bytes: Buffer = Buffer.from(source);
  for (let changes = draw(9); changes > 0 && bytes.length > 0; changes--) {
    const at = draw(bytes.length);
    const length = 1 + draw(Math.min(64, bytes.length - at));
    switch (draw(6)) {
      case 0:
        bytes[at] ^= 1 << draw(8);
        break;
      case 1:
        bytes.fill([0, 255, 127, 128][draw(4)], at, at + length);
        break;
      case 2:
        bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      default:
        if (at + 8 <= bytes.length)
          bytes.writeBigUInt64LE([2n ** 63n, 2n ** 32n, 0n, 2n ** 20n][draw(4)], at);
    }
  }
  return bytes;
}

/** A copy of plain data with one to three values changed, removed, or put under odd names. */
export function changeData(source: unknown, draw: Draw): unknown {
  const copy = structuredClone(source);
  for (let changes = 1 + draw(3); changes > 0; changes--) {
    let at = copy as Record<string, unknown>;
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = keys[draw(keys.length)];
      const next = at[key];
      if (typeof next === 'object' && next !== null && draw(8) > 0) {
        at = next as Record<string, unknown>;
        continue;
      }
      if (draw(4) === 0) delete at[key];
      else
        at[draw(8) === 0 && !Array.isArray(at) ? ['length', 'toString', 'x.y', SCRIPT][draw(4)] : key] =
          structuredClone(ODD[draw(ODD.length)]);
      break;
    }
  }
  return copy;
}
