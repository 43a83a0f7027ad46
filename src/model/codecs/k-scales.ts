/**
 * The 12 bytes in which Q4_K and Q5_K pack eight 6-bit scales s_g and eight 6-bit minima m_g (ggml's
 * get_scale_min_k4), g = 0..7:
 *   bytes 0..3   byte g: s_g in bits 0..5, high two bits of s_(g + 4) in bits 6..7
 *   bytes 4..7   byte 4 + g: m_g in bits 0..5, high two bits of m_(g + 4) in bits 6..7
 *   bytes 8..11  byte 8 + g: low four bits of s_(g + 4) in the low nibble, of m_(g + 4) in the high nibble
 */

/** s_g, from the 12 bytes that start at bytes[at]. */
export function scaleAt(bytes: Uint8Array, at: number, group: number): number {
  return group < 4
    ? bytes[at + group] & 63
    : (bytes[at + 4 + group] & 15) | ((bytes[at + group - 4] >>> 6) << 4);
}

/** m_g, from the 12 bytes that start at bytes[at]. */
export function minimumAt(bytes: Uint8Array, at: number, group: number): number {
  return group < 4
    ? bytes[at + 4 + group] & 63
    : (bytes[at + 4 + group] >>> 4) | ((bytes[at + group] >>> 6) << 4);
}

/** Packs scales[8] and minima[8], each 0..63, into the 12 bytes that start at bytes[at]. */
export function putScales(
  bytes: Uint8Array,
  at: number,
  scales: ArrayLike<number>,
  minima: ArrayLike<number>,
): void {
  for (let g = 0; g < 4; g++) {
    bytes[at + g] = scales[g] | ((scales[g + 4] >>> 4) << 6);
    bytes[at + 4 + g] = minima[g] | ((minima[g + 4] >>> 4) << 6);
    bytes[at + 8 + g] = (scales[g + 4] & 15) | ((minima[g + 4] & 15) << 4);
  }
}
