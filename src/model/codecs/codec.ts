/** How one GGUF tensor type stores its values: in blocks of `blockSize` values and `blockBytes` bytes. */
export interface Codec {
  /** ggml_type in the file. */
  readonly typeId: number;
  /** ggml's name, such as Q8_0. */
  readonly name: string;
  readonly blockSize: number;
  readonly blockBytes: number;
  /**
   * Decodes whole blocks: bytes[blocks * blockBytes] -> out[blocks * blockSize], where `blocks` follows from the
   * length of `bytes`. The values are those of ggml's own dequantisation, in float32.
   */
  dequantise(bytes: Uint8Array, out: Float32Array): void;
  /** The inverse, rounding as ggml's reference quantiser does. Absent where nothing here writes the type. */
  quantise?(values: Float32Array, bytes: Uint8Array): void;
}
