import { totalmem } from 'node:os';
import { constrainedMemory, memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { OnefetError } from './error.ts';

/** Memory that this process may use: the machine's, or the container's limit where there is one. */
export function memoryLimitBytes(): number {
  const constrained = constrainedMemory() ?? 0;
  return constrained > 0 ? Math.min(totalmem(), constrained) : totalmem();
}

/**
 * Refuses before an allocation that cannot succeed: the system hands out pages lazily and would end the process later
 * without a word. Throws OnefetError('usage', 'MEMORY') naming what is asked for and what there is.
 */
export function requireMemory(bytes: number, what: string, hint: string): void {
  const limit = memoryLimitBytes();
  const used = memoryUsage().arrayBuffers;
  if (used + bytes <= limit) return;
  const gib = (n: number): string => `${(n / 2 ** 30).toFixed(1)} GiB`;
  throw new OnefetError(
    'usage',
    'MEMORY',
    `${what} needs ${gib(bytes)}${used > 2 ** 28 ? ` beside ${gib(used)} in use` : ''}; the machine has ${gib(limit)}`,
    { hint },
  );
}

/** Less than this is left to the collector's own time. */
const WORTH_COLLECTING_BYTES = 2 ** 28;

/**
 * Collects the garbage of this thread where `bytes` that lie outside its heap were let go: the collector does not feel
 * them, and an engine of 8B would be allocated beside the one before it. Returns the bytes that are left for the next time.
 */
export function collectGarbage(bytes: number): number {
  if (bytes < WORTH_COLLECTING_BYTES) return bytes;
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  return 0;
}
