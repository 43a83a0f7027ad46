/** Bump allocation in a shared WebAssembly memory, with bounds. */
import { OnefetError } from '../error.ts';

const PAGE_BYTES = 65536;
/** A memory addresses 2^32 bytes; the last page stays unused, so that no address computation wraps. */
export const MEMORY_BYTES = 65535 * PAGE_BYTES;

export interface Arena {
  readonly memory: WebAssembly.Memory;
  readonly bytes: number;
  used: number;
}

/** A memory of at least `bytes`; pages are only backed by the system once they are touched. */
export function newArena(bytes: number, start = 0): Arena {
  const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
  if (pages * PAGE_BYTES > MEMORY_BYTES) {
    throw new OnefetError('internal', 'ENGINE_MEMORY', `one memory has no room for ${bytes} bytes`);
  }
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory, bytes: pages * PAGE_BYTES, used: start };
}

/** Address of `bytes` fresh bytes, zero, aligned to 64 (a cache line). */
export function allocate(arena: Arena, bytes: number, what: string): number {
  const at = Math.ceil(arena.used / 64) * 64;
  if (!(bytes >= 0) || at + bytes > arena.bytes) {
    throw new OnefetError(
      'internal',
      'ENGINE_MEMORY',
      `${what} needs ${bytes} bytes, ${arena.bytes - at} of ${arena.bytes} are left`,
    );
  }
  arena.used = at + bytes;
  return at;
}
