/** node:buffer of a page: bytes that decode themselves. */

/** The part of Node's Buffer that text files are read with. */
export class Buffer extends Uint8Array<ArrayBuffer> {
  static allocUnsafe(length: number): Buffer {
    return new Buffer(new ArrayBuffer(length));
  }

  static concat(parts: readonly Uint8Array[]): Buffer {
    const all = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  override toString(encoding: string = 'utf8'): string {
    return new TextDecoder(encoding).decode(this);
  }
}

export function isUtf8(bytes: Uint8Array<ArrayBuffer>): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
