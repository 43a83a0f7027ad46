/** Storage of one GGUF tensor type: blocks of `blockSize` values and `blockBytes` bytes. */
export interface Codec {
  /** ggml_type in the file. */
  readonly typeId: number;
  /** ggml's name, such as Q8_0. */
  readonly name: string;
  readonly blockSize: number;
  readonly blockBytes: number;
  /**
   * Decodes whole blocks: bytes[blocks * blockBytes] -> out[blocks * blockSize], where `blocks` follows from the
   * length of `bytes`. The values are those of ggml's own dequantisation, in float32: every product of factor, scale
   * and code fits 24 bits, so there is one rounding at most and no order of operations to choose. Any bytes decode:
   * a factor that is infinite or NaN gives values that are, which is for the reader of the values to refuse.
   */
  dequantise(bytes: Uint8Array, out: Float32Array): void;
  /**
   * The inverse, for finite values. F16, Q8_0 and Q4_0 round as ggml's reference quantisers do, byte for byte; the
   * others say what they do. Absent where nothing here writes the type.
   */
  quantise?(values: Float32Array, bytes: Uint8Array): void;
}
